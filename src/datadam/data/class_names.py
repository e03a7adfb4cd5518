"""Which class of one list of names is which class of another: a class is its name, never its place in a list.

Names are compared in stages, and each stage looks only at what the ones before left over: letter by letter; without case;
without punctuation, spaces and leading zeros (T-shirt/top is T_shirt_top, 01 is 1); by the numbers of WordNet (n01440764 is
tench). A stage takes only what is unambiguous. What is left over is refused, and never taken by its place.

Letters: K known classes.
"""

from collections.abc import Collection, Sequence
from fractions import Fraction
from typing import NamedTuple

from datadam.data.name_forms import STAGES, as_number, numeric, plain
from datadam.errors import DataError

SHOWN = 12
CURE = (
    "If number k is the k-th of these names, counted from 0, say so with --labels-as-numbers; else give "
    "both parts the same names."
)


class Matched(NamedTuple):
    """`places`, for each name given its number among the K known ones, -1 for one that was not asked about; `absent`, the known
    ones that no name asked about means; `notes`, what a user must be told of names that are not the same letter by letter."""

    places: tuple[int, ...]
    absent: tuple[int, ...]
    notes: tuple[str, ...]


def match(
    given: Sequence[str],
    known: Sequence[str],
    *,
    used: Collection[int] | None = None,
    as_numbers: bool = False,
    who: str = "the test part",
    whom: str = "the training part",
) -> Matched:
    """The number among `known` of each name `given`.

    Arguments: `used`, the places in `given` that matter (None: all), such as those of classes that have images; `as_numbers`,
    the user says that a class is its number on both sides, so that names that do not agree count by their places; `who` and
    `whom`, what messages call the two sides. Raises DataError, with both lists, where a name has no partner or more than one,
    and where one side has names and the other numbers.
    """
    asked = sorted(set(range(len(given)) if used is None else used))
    wanted = [given[i] for i in asked]
    found, notes = _in_stages(wanted, known, who)
    if None in found and as_numbers:
        named, found = found, [_place(given, i, known) for i in asked]
        against = [k for k, place in enumerate(named) if place is not None and place != found[k]]
        if against:
            raise DataError(
                f"a class of {who} shall be its number, and their names say otherwise: {_pairs(wanted, known, named)}; "
                f"{who} has {some(given)}, and {whom} {some(known)}. Give both the same names."
            )
        notes = [f"a class of {who} is its number, as was said: {_pairs(wanted, known, found)}."]
    missing = [name for name, place in zip(wanted, found, strict=True) if place is None]
    if missing:
        if as_numbers:
            raise DataError(
                f"{who} has class numbers that none of the {len(known)} classes of {whom} ({some(known)}) has: {some(missing)}."
            )
        raise DataError(_refusal(missing, wanted, known, who, whom))
    places = [-1] * len(given)
    for i, place in zip(asked, found, strict=True):
        places[i] = -1 if place is None else place
    return Matched(tuple(places), tuple(k for k in range(len(known)) if k not in places), tuple(notes))


def match_numbers(
    given: Sequence[int],
    known: Sequence[str],
    *,
    places: bool = True,
    as_numbers: bool = False,
    who: str = "the test part",
    whom: str = "the training part",
) -> Matched:
    """The number among the names `known` of each class number `given` that has no name.

    A number is taken where it can mean one thing alone: where the names are those numbers themselves. Number 3 of names 1 to 10
    may be "3" as well as the fourth, and number 3 of cat, dog, ... says nothing. Arguments: `places`, whether the known names are
    numbered, so that a number may mean a place; the rest, and errors, as in `match`.
    """
    values = [as_number(name) for name in known]
    by_value = [values.index(Fraction(number)) if values.count(Fraction(number)) == 1 else None for number in given]
    by_place = [number if 0 <= number < len(known) else None for number in given]
    if as_numbers:
        by_value = by_place
    if None in by_value or (places and None not in by_place and by_place != by_value):
        shown = some([str(number) for number in given])
        if as_numbers:
            raise DataError(
                f"{who} has the class numbers {shown}; of the {len(known)} classes of {whom} ({some(known)}) they can be 0 to "
                f"{len(known) - 1} only."
            )
        raise DataError(f"{who} has class numbers without names ({shown}), and {whom} the names {some(known)}. {CURE}")
    found = [place for place in by_value if place is not None]
    wanted = [str(number) for number in given]
    same = all(known[place] == name for name, place in zip(wanted, found, strict=True))
    notes = () if same else (f"class numbers of {who} were read as names of {whom}: {_pairs(wanted, known, found)}.",)
    return Matched(tuple(found), tuple(k for k in range(len(known)) if k not in found), notes)


def match_to_numbers(
    given: Sequence[str],
    numbers: Sequence[int],
    *,
    used: Collection[int],
    who: str = "the test part",
    whom: str = "the training part",
) -> Matched:
    """The place among `numbers`, classes that have no other names, of each name `given`, of which k is that of number k.

    As `match_numbers`, the other way round: the names must be these numbers, and nothing else possible. Errors as in `match`.
    """
    asked = sorted(set(used))
    values = [as_number(given[k]) for k in asked]
    by_value = all(value in numbers for value in values)
    if not by_value or (all(k in numbers for k in asked) and values != asked):
        raise DataError(
            f"{who} has the class names {some([given[k] for k in asked])}, and {whom} class numbers without names "
            f"({some([str(number) for number in numbers])}). {CURE}"
        )
    return match(given, [str(number) for number in numbers], used=used, who=who, whom=whom)


def new_names(given: Sequence[str], known: Sequence[str]) -> list[str]:
    """Those of the names `given` that are none of the known ones, however written."""
    found, _ = _in_stages(given, known, "")
    forms = {plain(name) for name in known} - {None}
    return [name for name, place in zip(given, found, strict=True) if place is None and plain(name) not in forms]


def some(names: Sequence[str]) -> str:
    """The first names, and how many there are besides."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{', '.join(names[:SHOWN])}{more}"


def _in_stages(wanted: Sequence[str], known: Sequence[str], who: str) -> tuple[list[int | None], list[str]]:
    """The place of each name among the known ones (None: no partner, or several), and notes."""
    found: list[int | None] = [None] * len(wanted)
    notes = []
    for key, words in STAGES:
        places: dict[str, list[int]] = {}
        for k, name in enumerate(known):
            if (said := key(name)) is not None:
                places.setdefault(said, []).append(k)
        asked: dict[str, list[int]] = {}
        for i, name in enumerate(wanted):
            if (said := key(name)) is not None:
                asked.setdefault(said, []).append(i)
        new = [(here[0], places[said][0]) for said, here in asked.items() if len(here) == len(places.get(said, ())) == 1]
        new = [(i, k) for i, k in new if found[i] is None and k not in found]
        for i, k in new:
            found[i] = k
        if new and words:
            pairs = _pairs([wanted[i] for i, _ in new], known, [k for _, k in new])
            notes.append(f"class names of {who} were matched {words}: {pairs}.")
    return found, notes


def _place(given: Sequence[str], i: int, known: Sequence[str]) -> int | None:
    """The place among the known ones of the i-th name given, where a class is its number: of a name that is one, that one."""
    number = as_number(given[i]) if numeric(given) else Fraction(i)
    places = [as_number(name) if numeric(known) else Fraction(k) for k, name in enumerate(known)]
    return places.index(number) if places.count(number) == 1 else None


def _pairs(wanted: Sequence[str], known: Sequence[str], places: Sequence[int | None]) -> str:
    return some([f"{name} is {known[k]}" for name, k in zip(wanted, places, strict=True) if k is not None])


def _refusal(missing: Sequence[str], wanted: Sequence[str], known: Sequence[str], who: str, whom: str) -> str:
    if numeric(wanted) != numeric(known) and len(missing) == len(wanted):
        return f"classes of {who} are called {some(wanted)}, and those of {whom} {some(known)}. {CURE}"
    forms = {plain(name) for name in known} - {None}
    near = [name for name in missing if plain(name) in forms]
    if near == missing:
        return (
            f"classes of {who} cannot be told apart but for case and punctuation: {some(near)}; {who} has {some(wanted)}, and "
            f"{whom} has {some(known)}. Give both the same names."
        )
    return (
        f"{who} has classes that {whom} lacks: {some(missing)}; {whom} has {some(known)}. Give both the same names, or leave "
        "these images out."
    )
