"""Which class of the data each class of a set is that others made: by name where both sides name them, never by a guess.

Letters: K classes of the data, M images of the set.
"""

import re
from collections.abc import Collection, Sequence
from typing import Literal, NamedTuple

from datadam.data.class_names import match, some
from datadam.data.name_forms import as_number, numeric
from datadam.data.name_forms import wordnet as wordnet_number
from datadam.errors import ArtifactError, DataError, InvalidInput

Order = Literal["data", "sorted"] | Sequence[str]
NUMBERED = re.compile(r"([^0-9]*)([0-9]+)")
CURE = (
    "Say what number 0, 1, ... of the set is with --class-order: data, the classes in the order of the data; sorted, in that of "
    "their WordNet numbers, or else of their names; or a list of names (a file with one a line)"
)


class Placed(NamedTuple):
    """`places`, the number among the K classes of the data of each class of the set (-1 for one that has no image); `notes`."""

    places: tuple[int, ...]
    notes: tuple[str, ...]


def place(
    names: Sequence[str] | None, used: Collection[int], classes: Sequence[str], *, order: Order | None, own: bool, where: str,
    wordnet: Sequence[str] | None = None,
) -> Placed:  # fmt: skip
    """Where the classes of a set stand among those of the data.

    Arguments: `names`, what the set calls its class number k (None: numbers alone); `used`, the class numbers that have images;
    `classes`, K names; `order`, what number 0, 1, ... of the set is, if somebody said so; `own`, whether programs that write this
    format number the subsets of ImageNet as our catalog does; `wordnet`, the WordNet numbers of the K classes, where names do not
    tell them. Raises `ArtifactError` where it cannot be known, and `InvalidInput`
    for an order that is none of these classes, or that names contradict.
    """
    used = sorted(used)
    by_order = None if order is None else _ordered(order, classes)
    if names is None:
        return _numbers(used, classes, by_order, own, where)
    refused: DataError | None = None
    for known in (classes, wordnet) if wordnet else (classes,):
        try:
            found = match(names, known, used=used, who="the set", whom="the data set")
        except DataError as error:
            refused = refused or error
            continue
        if by_order is not None and any(found.places[k] != by_order[k] for k in used):
            raise InvalidInput(f"{where} names its classes, and --class-order says other ones; leave it out")
        said = (
            ()
            if known is classes
            else (f"class names of the set were matched by their number of WordNet: {_pairs(names, found.places, classes)}.",)
        )
        return Placed(found.places, (*found.notes, *said))
    numbers = _numbered(names, used)
    if by_order is not None and len(used) == len(classes) and not _any(names, used, classes):
        ranked = sorted(used) if numbers is None else sorted(used, key=lambda k: numbers[used.index(k)])
        places = [-1] * len(names)
        for rank, k in enumerate(ranked):
            places[k] = by_order[rank]
        return Placed(
            tuple(places), (f"the classes of the set were taken in the order that was said: {_pairs(names, places, classes)}",)
        )
    if numbers is None:
        raise ArtifactError(
            f"{where}: {refused} If none of the names means a class of the data, their order can be said instead. {CURE}"
        ) from refused
    if len(numbers) != len(classes):
        raise ArtifactError(
            f"{where} has {len(numbers)} classes ({some([names[k] for k in used])}), the data have {len(classes)}; name the "
            "--data that the set was made from"
        )
    return _counted(names, used, numbers, classes, by_order, own, where)


def sorted_order(classes: Sequence[str]) -> list[int]:
    """The class numbers in the order of their WordNet numbers, where all have one, else of their names: as programs number class
    folders."""
    return sorted(range(len(classes)), key=_keys(classes).__getitem__)


def doubted(classes: Sequence[str]) -> bool:
    """Whether these classes are known in two orders: a subset of ImageNet, not in the order of WordNet's numbers."""
    numbers = [wordnet_number(name) for name in classes]
    return None not in numbers and sorted_order(classes) != list(range(len(classes)))


def _keys(classes: Sequence[str]) -> list[str]:
    numbers = [wordnet_number(name) for name in classes]
    known = [number for number in numbers if number is not None]
    return known if len(set(known)) == len(classes) else list(classes)


def _ordered(order: Order, classes: Sequence[str]) -> list[int]:
    """The class that number 0, 1, ... is. Raises `InvalidInput`."""
    if order == "data":
        return list(range(len(classes)))
    if order == "sorted":
        return sorted_order(classes)
    if isinstance(order, str):
        raise InvalidInput(f"--class-order is {order!r}; allowed: data, sorted, or a list of the {len(classes)} class names")
    if len(order) != len(classes):
        raise InvalidInput(f"--class-order names {len(order)} classes, and the data have {len(classes)}: {some(classes)}")
    try:
        return list(match(order, classes, who="the class order", whom="the data set").places)
    except DataError as error:
        raise InvalidInput(*error.faults) from error


def _any(names: Sequence[str], used: Sequence[int], classes: Sequence[str]) -> bool:
    """Whether at least one of these names, which are no numbers, means a class of the data."""
    if numeric([names[k] for k in used]):
        return False
    for k in used:
        try:
            match(names, classes, used=[k])
        except DataError:
            continue
        return True
    return False


def _numbered(names: Sequence[str], used: Sequence[int]) -> list[int] | None:
    """The numbers in names that are nothing else: 00003, or one word with a number, such as new003; None for true names."""
    found = [NUMBERED.fullmatch(names[k]) for k in used]
    if any(wordnet_number(names[k]) for k in used) or None in found:
        return None
    parts = [one.groups() for one in found if one is not None]
    return [int(number) for _, number in parts] if len({word for word, _ in parts}) == 1 else None


def _numbers(
    used: Sequence[int], classes: Sequence[str], by_order: list[int] | None, own: bool, where: str
) -> Placed:  # fmt: skip
    """Classes that are numbers without names."""
    k = len(classes)
    values = [int(value) for name in classes if (value := as_number(name)) is not None] if numeric(classes) else []
    in_place, in_value = not used or used[-1] < k, bool(values) and set(used) <= set(values)
    if by_order is None and in_value and (not in_place or values == list(range(k))):
        places = [values.index(n) if n in values else -1 for n in range(max(k, used[-1] + 1 if used else 0))]
        return Placed(tuple(places), () if in_place else ("labels are the numbers that the data call their classes",))
    if not in_place:
        raise ArtifactError(
            f"{where}: labels go from {used[0]} to {used[-1]}; the data have {k} classes, 0 to {k - 1}. Name the --data that the "
            "set was made from"
        )
    if by_order is not None:
        return Placed(
            tuple(by_order), (f"class numbers were taken in the order that was said: {some([classes[n] for n in by_order])}",)
        )
    if in_value:
        raise ArtifactError(
            f"{where} has the class numbers {used[0]} to {used[-1]}, and the data call their classes {some(classes)}: number 1 "
            f'may be the class "1", or the second one. {CURE}'
        )
    return Placed(tuple(range(k)), tuple(_in_doubt(classes, own, where)))


def _counted(
    names: Sequence[str], used: Sequence[int], numbers: list[int], classes: Sequence[str], by_order: list[int] | None, own: bool,
    where: str,
) -> Placed:  # fmt: skip
    """Classes that are called by numbers, one for each class of the data."""
    shown = some([names[k] for k in used])
    if len(set(numbers)) < len(numbers):
        raise ArtifactError(f"{where} has two classes of one number ({shown}); rename one")
    first = min(numbers)
    if by_order is None and (first > 1 or max(numbers) - first + 1 > len(numbers)):
        raise ArtifactError(
            f"{where} calls its classes by numbers with gaps ({shown}), which may be those of a larger set of data; the data "
            f"call theirs {some(classes)}. {CURE}"
        )
    remarks = [] if by_order is not None else _in_doubt(classes, own, where)
    order = by_order or list(range(len(classes)))
    places = [-1] * len(names)
    for rank, number in enumerate(sorted(numbers)):
        places[used[numbers.index(number)]] = order[rank]
    said = "that was said" if by_order is not None else "of their numbers"
    note = f"classes that are called by numbers were taken in the order {said}: {_pairs(names, places, classes)}"
    if by_order is None and not remarks and list(classes) != sorted(classes):
        note += "; if whoever made the set numbered sorted names, say class_order=sorted (--class-order sorted)"
    return Placed(tuple(places), (note, *remarks))


def _in_doubt(classes: Sequence[str], own: bool, where: str) -> list[str]:
    """A note, or a question, where the data are known in two orders."""
    if not doubted(classes):
        return []
    both = (
        f"that of the data ({some(classes[:3])}, ...) and that of WordNet's numbers, in which ImageFolder, RDED and SRe2L sort "
        f"class folders ({some([classes[k] for k in sorted_order(classes)[:3]])}, ...)"
    )
    if own:
        return [
            f"class numbers were taken in the order of the data. Two orders are in use, {both}: class_order=sorted "
            "(--class-order sorted) takes the other"
        ]
    raise ArtifactError(f"{where} numbers its classes and does not name them, and two orders are in use: {both}. {CURE}")


def _pairs(names: Sequence[str], places: Sequence[int], classes: Sequence[str]) -> str:
    return some(
        [f"{names[k]} is {classes[place]}" for k, place in sorted(enumerate(places), key=lambda pair: pair[1]) if place >= 0]
    )
