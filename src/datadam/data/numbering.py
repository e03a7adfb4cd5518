"""One numbering 0 .. K - 1 of the classes of a training part and a test part, each of one or more files.

A class is its name, and numbers without names agree with numbers without names alone.

Letters: N images, K classes.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from datadam.data.class_names import Matched, match, match_numbers, match_to_numbers, new_names, some
from datadam.data.labels import NONE, Labels, Numbers
from datadam.errors import DataError

Mask = npt.NDArray[np.bool_]

LARGEST = 1_000_000  # class numbers of arrays are below it
NOTHING = frozenset(("n/a", "na", "none", "null", ""))  # what lists of names call number 0 where labels begin at 1
SKIP = "Leave them out with --skip-unlabelled, or label them. If -1 is a class of yours, number from 0 on."


class Joined(NamedTuple):
    """`classes`, K names; class numbers of the images that were kept, of both parts (`test` None: there is no test part); which
    ones were `kept`, bool [N] of each part; what a user must be told."""

    classes: tuple[str, ...]
    train: Numbers
    test: Numbers | None
    kept: tuple[Mask, Mask]
    notes: tuple[str, ...]


def joined(
    train: Sequence[Labels],
    test: Sequence[Labels] | None = None,
    *,
    as_numbers: bool = False,
    skip_unlabelled: bool = False,
    contiguous: bool = False,
) -> Joined:
    """The classes of both parts, and the class numbers of their images.

    Arguments: `as_numbers`, the user says that equal numbers are equal classes, whatever they are called; `skip_unlabelled`,
    leave out images without a label; `contiguous`, numbers without names must be 0 .. K - 1 or 1 .. K.
    Classes are called, and in the order, as in the first training file with names; words are sorted. Raises DataError for images
    without a label, for a test class that the training part lacks, and where one part has names and the other numbers.
    """
    notes = [note for part in (*train, *(test or ())) for note in part.notes]
    kept, said = _labelled(train, test or (), skip=skip_unlabelled)
    here, there = ([replace(part, numbers=part.numbers[part.numbers != NONE]) for part in parts] for parts in (train, test or ()))
    names, numbers, more = _united(here, as_numbers=as_numbers)
    notes += [*said, *more]
    if names is None and as_numbers:  # the test part knows what the numbers are called
        names = next((part.names for part in there if part.names is not None), None)
    if names is not None:
        classes = names
        _check_range(numbers, names, "the training part")
    else:
        values = np.unique(numbers)
        classes, numbers = tuple(str(value) for value in values), np.searchsorted(values, numbers).astype(np.int64)
        notes += _called_by_number(values.tolist(), contiguous=contiguous)
    testing = None
    if test is not None:
        words = all(part.words for part in here)
        found = [_placed(part, classes, bare=names is None, words=words, as_numbers=as_numbers) for part in there]
        testing = np.concatenate([places for places, _ in found])
        notes += [note for _, remarks in found for note in remarks]
    if (
        names is not None
        and classes[0].strip().casefold() in NOTHING
        and 0 not in numbers
        and (testing is None or 0 not in testing)
    ):
        notes.append(f"number 0 is called {classes[0]!r} and has no image: it is no class.")
        classes, numbers, testing = classes[1:], numbers - 1, None if testing is None else testing - 1
    return Joined(classes, numbers, testing, kept, tuple(dict.fromkeys(notes)))


def _labelled(train: Sequence[Labels], test: Sequence[Labels], *, skip: bool) -> tuple[tuple[Mask, Mask], list[str]]:
    """Which images of both parts have a label, and a note. Raises DataError where one has none and may not be left out."""
    counts, masks = [], []
    for what, parts in (("training", train), ("test", test)):
        mask = np.concatenate([part.numbers != NONE for part in parts] or [np.ones(0, dtype=np.bool_)])
        if len(mask) and not mask.any():
            raise DataError(f"none of the {len(mask)} {what} images has a label (all are -1). Give labelled ones.")
        if not mask.all():
            counts.append(f"{(~mask).sum()} of {len(mask)} {what} images")
        masks.append(mask)
    if counts and not skip:
        raise DataError(f"{' and '.join(counts)} have no label (-1, the mark for unlabelled, or none at all). {SKIP}")
    return (masks[0], masks[1]), [f"{' and '.join(counts)} have no label and were left out."] if counts else []


def _united(parts: Sequence[Labels], *, as_numbers: bool) -> tuple[tuple[str, ...] | None, Numbers, list[str]]:
    """The names of the files of one part (None: no file has names), and all their numbers among these."""
    named = [part for part in parts if part.names is not None]
    if not named:
        return None, np.concatenate([part.numbers for part in parts]), []
    if all(part.words for part in parts):
        words = np.concatenate([np.array(part.names, dtype=np.str_)[part.numbers] for part in parts])
        known, numbers = np.unique(words, return_inverse=True)
        return tuple(str(word) for word in known), numbers.astype(np.int64), []
    base = next((part for part in named if not part.words), named[0])
    names, found = base.names or (), []
    notes: list[str] = []
    for part in named:
        if part.names is not None and not (as_numbers and not part.words):
            _check_range(part.numbers, part.names, part.what)
            names = (*names, *new_names([part.names[k] for k in part.used], names))
    for part in parts:
        places, said = _placed(part, names, bare=False, words=base.words, as_numbers=as_numbers, whom=base.what)
        found.append(places)
        notes += said
    return names, np.concatenate(found), notes


def _placed(
    part: Labels, classes: tuple[str, ...], *, bare: bool, words: bool, as_numbers: bool, whom: str = "the training part"
) -> tuple[Numbers, tuple[str, ...]]:
    """The class numbers of a part among `classes`, and notes. `bare`: those are numbers that have no other names; `words`: they
    have no numbers."""
    used, given = part.used, part.names
    if given is not None:
        _check_range(part.numbers, given, part.what)
        if given == classes:
            return part.numbers, ()
        if bare and not part.words:
            found = match_to_numbers(given, [int(name) for name in classes], used=used, who=part.what, whom=whom)
        else:
            numbered = bare or not (part.words or words)
            found = match(given, classes, used=used, as_numbers=as_numbers and numbered, who=part.what, whom=whom)
        return np.array(found.places, dtype=np.int64)[part.numbers], found.notes
    if bare:
        values = {int(name): k for k, name in enumerate(classes)}
        if missing := [str(number) for number in used if number not in values]:
            raise DataError(
                f"{part.what} has classes that {whom} lacks: {some(missing)}; {whom} has {some(classes)}. Number the classes of "
                "both alike, or leave these images out."
            )
        found = Matched(tuple(values[number] for number in used), (), ())
    else:
        found = match_numbers(used, classes, places=not words, as_numbers=as_numbers, who=part.what, whom=whom)
    return np.array(found.places, dtype=np.int64)[np.searchsorted(used, part.numbers)], found.notes


def _check_range(numbers: Numbers, names: Sequence[str], what: str) -> None:
    wrong = numbers[(numbers < 0) | (numbers >= len(names))]
    if len(wrong):
        raise DataError(
            f"{what}: {len(names)} classes are named ({some(names)}), and {len(wrong)} labels are none of them, such as "
            f"{wrong[0]}."
        )


def _called_by_number(values: list[int], *, contiguous: bool) -> list[str]:
    """A note where classes are called by numbers other than 0 .. K - 1. Raises DataError where these may not be."""
    first, last, k = values[0], values[-1], len(values)
    if first == 0 and last == k - 1:
        return []
    if contiguous and (first not in (0, 1) or last - first != k - 1):
        if not 0 <= first <= last < LARGEST:
            raise DataError(f"labels must be 0 .. K - 1 or 1 .. K; {first} .. {last} came.")
        missing = sorted(set(range(min(first, 1), last)) - set(values))
        raise DataError(
            f"labels go from {first} to {last}, and there is no training image of class {some([str(k) for k in missing])}. "
            "Number the classes 0 .. K - 1 or 1 .. K, without gaps."
        )
    svhn = " (in files of SVHN 10 is the digit 0)" if (first, last, k) == (1, 10, 10) else ""
    gaps = "" if last - first == k - 1 else " with gaps"
    return [f"labels go from {first} to {last}{gaps}: the {k} classes are called by these numbers{svhn}."]
