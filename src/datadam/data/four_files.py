"""Sets that are four files, or two: images and labels, of the training and of the test part, as MNIST and its kin are published.

idx files (`train-images-idx3-ubyte`, `emnist-letters-train-images-idx3-ubyte.gz`) and .npz files of one array
(`kmnist-train-imgs.npz`). The images of EMNIST lie on their side in its files, rows where columns should be.

Shapes: N images, H x W pixels.
"""

import csv
import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from datadam.data.arrays import from_arrays
from datadam.data.binary import read_idx
from datadam.data.real import Raw
from datadam.errors import DataError

NAME = re.compile(
    r"(?P<set>.*?)[-_.]?(?P<part>train|test|t10k)[-_.](?P<what>images|imgs|labels)(?:[-.]idx(?:1|3)-ubyte)?(?P<end>\.npz|\.gz|)",
    re.IGNORECASE,
)
ON_THEIR_SIDE = "emnist"


class Files(NamedTuple):
    """The files of a set called `name`: images and labels of the training part, and of the test part if it is there."""

    name: str
    paths: tuple[Path, ...]


def sets_in(place: Path) -> list[Files]:
    """The sets of four files in a folder, in the order of their names; or the one that the file `place` belongs to.

    Where a file is there plain and gzipped, the plain one counts.
    """
    folder = place if place.is_dir() else place.parent
    found: dict[str, dict[tuple[str, str], Path]] = defaultdict(dict)
    matched = [(path, match) for path in folder.iterdir() if (match := NAME.fullmatch(path.name))]
    for path, match in sorted(matched, reverse=True, key=lambda item: item[0]):  # so that plain ones come last
        if match["end"].lower() == ".npz" or "idx" in path.name.lower():
            part = "train" if match["part"].lower() == "train" else "test"
            found[match["set"]][part, "labels" if match["what"].lower() == "labels" else "images"] = path
    keys = [(part, what) for part in ("train", "test") for what in ("images", "labels")]
    sets = [
        Files(name, tuple(files[key] for key in keys if key in files))
        for name, files in sorted(found.items())
        if [key for key in keys if key in files] in (keys[:2], keys)
    ]
    return sets if place.is_dir() else [files for files in sets if place in files.paths]


def read(place: Path, *, labels_as_numbers: bool = False, skip_unlabelled: bool = False) -> Raw:
    """The set of four files in a folder, or the one of which `place` is a file.

    The arguments as in `datadam.data.numbering.joined`. Classes are called as a table beside the files says
    (`emnist-letters-mapping.txt`, `kmnist_classmap.csv`), else by their numbers. Raises DataError.
    """
    sets = sets_in(place)
    if len(sets) != 1:
        named = ", ".join(f"{files.name or 'without a name'} ({files.paths[0].name})" for files in sets)
        raise DataError(f"{place} holds {len(sets)} sets: {named}. Give the file of training images of one of them.")
    (files,) = sets
    arrays = [only_array(path) for path in files.paths]
    notes = []
    if ON_THEIR_SIDE in files.name.lower() and all(images.ndim == 3 for images in arrays[::2]):
        arrays[::2] = [images.transpose(0, 2, 1) for images in arrays[::2]]
        notes.append("the images lie on their side in files of EMNIST: rows and columns were swapped.")
    names = _names(files)
    if names is not None:
        arrays[1::2] = [_called(labels, names, files) for labels in arrays[1::2]]
    raw = from_arrays(arrays, labels_as_numbers=labels_as_numbers, skip_unlabelled=skip_unlabelled)
    return Raw(raw.classes, raw.train, raw.test, (*notes, *raw.notes))


def only_array(path: Path) -> npt.NDArray[Any]:
    """The only array in an idx file or an .npz. Raises DataError."""
    if path.suffix.lower() != ".npz":
        return read_idx(path)
    from datadam.data.archive import load_npz

    found = load_npz(path)
    if len(found) != 1:
        raise DataError(f"{path} must hold one array, such as arr_0; it holds {', '.join(found) or 'none'}.")
    return next(iter(found.values()))


def _names(files: Files) -> Mapping[int, str] | None:
    """What the numbers are called, as a table beside the files says; None without one, and where names are not different."""
    folder = files.paths[0].parent
    mapping, classes = folder / f"{files.name}-mapping.txt", folder / f"{files.name}_classmap.csv"
    try:
        if mapping.exists():  # number, and the codes of the letters that it stands for
            rows = [line.split() for line in mapping.read_text(encoding="utf-8").splitlines() if line.strip()]
            names = {int(row[0]): chr(int(row[1])) for row in rows}
        elif classes.exists():
            with classes.open(newline="", encoding="utf-8-sig") as file:
                names = {int(row["index"]): row["char"] for row in csv.DictReader(file)}
        else:
            return None
    except (ValueError, LookupError, TypeError, OverflowError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{mapping if mapping.exists() else classes} cannot be read: {error}. Repair or move it away.") from error
    return names if len(set(names.values())) == len(names) else None


def _called(labels: npt.NDArray[Any], names: Mapping[int, str], files: Files) -> npt.NDArray[Any]:
    """Labels as names. Raises DataError for numbers that have none."""
    wrong = sorted(set(np.unique(labels).tolist()) - set(names))
    if wrong:
        raise DataError(f"{files.name or files.paths[0]}: the table of names lacks the labels {', '.join(map(str, wrong[:8]))}.")
    return np.array([names[int(label)] for label in labels.reshape(-1)], dtype=np.str_)
