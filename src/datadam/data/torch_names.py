"""What the classes of torch data sets are called, also those of parts and chains of such sets.

A set that is a part of another (`Subset`, or any with `dataset`) has the names of that one, and the pieces of a chain
(`ConcatDataset`, or any with `datasets`) have each their own.

Letters: N items.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from datadam.data.columns import LABEL_COLUMNS, pick
from datadam.errors import DataError

Names = tuple[str, ...] | None
Places = npt.NDArray[np.int64]


def names_of(data: Any, count: int) -> tuple[list[Names], Places]:
    """The different lists of class names in a data set of `count` items (None: numbers alone), and which one each item has [N].

    Raises DataError where pieces have different names and nothing says which item is from which piece.
    """
    return _names(data, np.arange(count))


def own_names(data: Any) -> Names:
    """What a data set itself calls its classes: `classes`, a list or a mapping, `class_to_idx`, or `features`, as the package
    datasets has them; None if it does not say."""
    classes = getattr(data, "classes", None)
    if isinstance(classes, (list, tuple, np.ndarray)) and len(classes):
        return tuple(_text(name) for name in classes)
    for given in (classes, getattr(data, "class_to_idx", None)):
        if isinstance(given, Mapping) and given:
            pairs = [(k, name) if isinstance(k, int) else (name, k) for k, name in given.items()]
            named = {k: _text(name) for k, name in pairs if isinstance(k, int)}
            if sorted(named) == list(range(len(given))):
                return tuple(named[k] for k in range(len(given)))
    features = getattr(data, "features", None)  # of a data set of the package datasets
    column = pick(LABEL_COLUMNS, features) if isinstance(features, Mapping) else None
    names = getattr(features[column], "names", None) if features is not None and column is not None else None
    return tuple(map(str, names)) if names else None


def _text(name: Any) -> str:
    """torchvision gives some classes several words each."""
    return ", ".join(map(str, name)) if isinstance(name, (list, tuple)) else str(name)


def _names(data: Any, items: Places) -> tuple[list[Names], Places]:
    if (own := own_names(data)) is not None:
        return [own], np.zeros(len(items), dtype=np.int64)
    if isinstance(pieces := getattr(data, "datasets", None), Sequence) and pieces:
        return _pieces(data, pieces, items)
    inner = getattr(data, "dataset", None)
    if inner is None or inner is data:
        return [None], np.zeros(len(items), dtype=np.int64)
    indices = getattr(data, "indices", None)
    return _names(inner, items if indices is None else np.asarray(indices, dtype=np.int64)[items])


def _pieces(data: Any, pieces: Sequence[Any], items: Places) -> tuple[list[Names], Places]:
    ends = getattr(data, "cumulative_sizes", None)
    if ends is None or (len(items) and items.max() >= ends[-1]):
        each = [_names(piece, np.arange(0))[0] for piece in pieces]
        if any(names != each[0] for names in each) or len(each[0]) > 1:
            raise DataError(
                f"{type(data).__name__} is made of data sets whose classes have different names, and does not say which item is "
                "from which. Give a torch ConcatDataset of them, or the same `classes` to all."
            )
        return each[0], np.zeros(len(items), dtype=np.int64)
    known: list[Names] = []
    which = np.zeros(len(items), dtype=np.int64)
    of_piece = np.searchsorted(ends, items, side="right")
    for number, piece in enumerate(pieces):
        here = np.flatnonzero(of_piece == number)
        names, inside = _names(piece, items[here] - (ends[number - 1] if number else 0))
        known += [one for one in names if one not in known]
        which[here] = np.array([known.index(one) for one in names], dtype=np.int64)[inside]
    return known, which
