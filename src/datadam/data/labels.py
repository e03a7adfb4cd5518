"""The labels that files hold: numbers with or without names, words, one-hot rows.

-1 is the mark of data sets for "unlabelled", and no class.

Letters: N images, K classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from datadam.data.class_names import some
from datadam.errors import DataError

Numbers = npt.NDArray[np.int64]

NONE = -1  # the number of an image that has no label


@dataclass(frozen=True)
class Labels:
    """The labels of one file or split: `numbers` [N] (-1: none); `names`, what number k is called (None: numbers alone);
    `what`, what messages call the part; `words`, whether the labels were names themselves, so that numbers are mere places."""

    numbers: Numbers
    names: tuple[str, ...] | None
    what: str
    words: bool = False
    notes: tuple[str, ...] = ()

    @property
    def used(self) -> list[int]:
        """The numbers that an image has, in ascending order."""
        return [int(k) for k in np.unique(self.numbers) if k != NONE]

    @property
    def unlabelled(self) -> bool:
        """Whether there are images, and none of them has a label."""
        return bool(len(self.numbers)) and bool((self.numbers == NONE).all())


def labels_of(values: npt.NDArray[Any], what: str, names: Sequence[str] | None = None) -> Labels:
    """The labels of one part: whole numbers or words, [N] or [N, 1], or one-hot rows [N, K].

    Arguments: `what`, what messages call the part; `names`, what class k is called. Raises DataError for anything else, by name
    for several labels an image and for soft labels.
    """
    given = values
    notes: tuple[str, ...] = ()
    if values.ndim > 1 and values.size == len(values):
        values = values.reshape(-1)
    if values.ndim == 2 and values.dtype.kind in "iufb" and values.shape[1]:
        values, notes = _one_hot(values, what), (f"{what}: labels were one-hot: read as class numbers.",)
        if names is not None and len(names) != given.shape[1]:
            raise DataError(
                f"{what}: labels are one-hot for {given.shape[1]} classes, and {len(names)} classes are named: {some(names)}."
            )
    if values.dtype.kind == "b":
        values = values.astype(np.int64)
    if values.dtype.kind == "S":
        values = np.array([word.decode("utf-8", "replace") for word in values.tolist()], dtype=np.str_)
    if values.ndim != 1 or values.dtype.kind not in "iuU":
        raise DataError(
            f"{what}: labels must be integers [N], words [N] or one-hot rows [N, K]; {given.dtype} {list(given.shape)} came. "
            "Number the classes 0 .. K - 1."
        )
    if values.dtype.kind == "U":
        words, numbers = np.unique(values, return_inverse=True)
        return Labels(numbers.astype(np.int64), tuple(str(word) for word in words), what, words=True)
    if len(values) and int(values.max()) > np.iinfo(np.int64).max:
        raise DataError(f"{what}: labels must be class numbers; {values.max()} came.")
    return Labels(values.astype(np.int64), None if names is None else tuple(names), what, notes=notes)


def labels_of_column(values: Sequence[Any], what: str, column: str, names: Sequence[str] | None = None) -> Labels:
    """As `labels_of`, of a column of a table: a number or word in each row, None for no label, or a list of them."""
    rows = [value for value in values if value is not None]
    if rows and all(isinstance(value, list) for value in rows):
        lengths = sorted({len(value) for value in rows})
        if lengths == [1]:
            values = [None if value is None else value[0] for value in values]
            rows = [value for value in values if value is not None]
        elif len(lengths) == 1 and lengths[0] and names is None and len(rows) == len(values):
            return labels_of(np.asarray(values), f"{what}, column {column}")
        else:
            raise DataError(_several(what, f"column {column} holds lists of {lengths[0]} to {lengths[-1]} labels"))
    kinds = {type(value).__name__ for value in rows}
    if len(kinds) > 1 or not kinds <= {"int", "str", "bool"}:
        raise DataError(f"{what}: labels (column {column}) must be whole numbers or words; found: {some(sorted(kinds))}.")
    if kinds != {"str"}:
        whole = np.array([NONE if value is None else int(value) for value in values], dtype=np.int64)
        return labels_of(whole, what, names)
    words = labels_of(np.array(rows, dtype=np.str_), what)
    numbers = np.full(len(values), NONE, dtype=np.int64)
    numbers[[value is not None for value in values]] = words.numbers
    return replace(words, numbers=numbers)


def counted_from_one(parts: Sequence[Labels]) -> list[Labels]:
    """Parts whose names are listed beside their numbers, in one list for all: number 1 is the first name where the numbers go up
    to the number of names, and none is 0. Raises DataError where the parts do not agree."""
    first = parts[0]
    if first.names is None or first.words or not first.used or first.used[0] < 1 or first.used[-1] != len(first.names):
        return list(parts)
    k = len(first.names)
    if other := [part for part in parts if 0 in part.used]:
        raise DataError(
            f"labels of {first.what} go from {first.used[0]} to {k}, so that 1 is the first of {k} names, and those of "
            f"{other[0].what} begin at 0. Number both from 0 on."
        )
    note = f"labels go from {first.used[0]} to {k}, and {k} classes are named: 1 is {first.names[0]}, {k} is {first.names[-1]}."
    return [
        replace(part, numbers=np.where(part.numbers == NONE, NONE, part.numbers - 1), notes=(*part.notes, note)) for part in parts
    ]


def _one_hot(rows: npt.NDArray[Any], what: str) -> Numbers:
    """Class numbers [N] of rows [N, K] of which each has exactly one 1 and else 0. Raises DataError for others."""
    shape = list(rows.shape)
    if not np.isin(rows, (0, 1)).all():
        if rows.dtype.kind == "f":
            raise DataError(
                f"{what}: labels {shape} are soft: numbers other than 0 and 1. Real images need one class each; take the most "
                "likely one yourself (.argmax(1)) if that is what you mean."
            )
        raise DataError(_several(what, f"labels {shape} hold numbers other than 0 and 1"))
    ones = (rows == 1).sum(axis=1)
    if (ones != 1).any():
        raise DataError(
            _several(what, f"of the rows of labels {shape}, {(ones > 1).sum()} have several 1s and {(ones == 0).sum()} none")
        )
    return np.asarray(rows.argmax(axis=1), dtype=np.int64)


def _several(what: str, why: str) -> str:
    return (
        f"{what}: labels are multi-label, several an image, which is not supported: {why}. Choose one column, whose 0 and 1 are "
        "the classes then, or keep the images of exactly one class."
    )
