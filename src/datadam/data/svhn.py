"""SVHN, digits of house numbers, from its Matlab files of cropped digits. The label 10 is the digit 0 there.

Shapes: N images, C channels, H x W pixels.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from datadam import machine
from datadam.data.named import Layout, NamedData
from datadam.data.official import Asked
from datadam.data.real import Raw, Split
from datadam.errors import DataError, NotEnoughMemory

HOST = "http://ufldl.stanford.edu/housenumbers"
SIDE = (32, 32, 3)
ZERO = 10  # the label of the digit 0
AGAIN = "Fetch the set again"


def read(folder: Path, asked: Asked) -> Raw:
    """train_32x32.mat and test_32x32.mat: X uint8 [H, W, C, N], y [N, 1] from 1 to 10. Raises DataError, NotEnoughMemory."""
    return Raw(tuple("0123456789"), _part(folder / "train_32x32.mat"), _part(folder / "test_32x32.mat"))


def _part(path: Path) -> Split:
    found = _arrays(path)
    pixels, labels = found["X"], found["y"].reshape(-1)
    if pixels.dtype != np.uint8 or pixels.shape[:3] != SIDE or labels.shape != pixels.shape[3:] or labels.dtype.kind not in "iuf":
        raise DataError(
            f"{path}: X must be uint8 [32, 32, 3, N] and y N labels; {pixels.dtype} {list(pixels.shape)} and "
            f"{labels.dtype} {list(labels.shape)} came. {AGAIN}."
        )
    if not np.isin(labels, np.arange(1, ZERO + 1)).all():
        raise DataError(f"{path}: labels must be 1 .. 10, where 10 is the digit 0; others came. {AGAIN}.")
    return Split(np.ascontiguousarray(pixels.transpose(3, 2, 0, 1)), labels.astype(np.int64) % ZERO)


def _arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """X and y of a Matlab file. Its list of contents is read first: only arrays of numbers, which hold no code, that fit are."""
    import scipy.io

    if not path.exists():
        raise DataError(f"{path} is missing. {AGAIN}.")
    try:
        listed = {name: (shape, kind) for name, shape, kind in scipy.io.whosmat(path)}
        wrong = [name for name in ("X", "y") if name not in listed or listed[name][1] in ("cell", "struct", "object", "function")]
        if wrong:
            raise DataError(f"{path} has no array {' and no array '.join(wrong)}; it is not SVHN's of cropped digits. {AGAIN}.")
        told = sum(int(np.prod(listed[name][0], dtype=object)) for name in ("X", "y"))
        if told > machine.available_memory() // 4:
            raise NotEnoughMemory(f"{path} says that it holds {told} numbers, which do not fit into memory; free some memory")
        read = scipy.io.loadmat(path, variable_names=("X", "y"))
        return {name: np.asarray(read[name]) for name in ("X", "y")}
    except (DataError, NotEnoughMemory):
        raise
    except Exception as error:  # a damaged file can raise nearly anything
        raise DataError(f"{path} cannot be read as a Matlab file: {type(error).__name__}: {error}. {AGAIN}.") from error


SVHN = NamedData(
    title="SVHN: 10 digits of house numbers, 3 x 32 x 32, 73 257 + 26 032",
    shape=(3, 32, 32),
    layouts=tuple(Layout(folder, "test_32x32.mat", read) for folder in ("svhn", "SVHN")),
    flips=False,
    ask=f"Fetch {HOST}/train_32x32.mat (md5 e26dedcc434d2e4c54c9b2d4a06d8373) and {HOST}/test_32x32.mat "
    "(md5 eb5a983be6a315427106f1b164d9cef3), which come without https, into {root}/svhn",
)
