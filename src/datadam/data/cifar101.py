"""CIFAR-10.1, a second test part for CIFAR-10: two .npy files, images and labels, of one version.

Source: https://github.com/modestyachts/CIFAR-10.1, its folder datasets. Shapes: N images, H x W pixels, C channels.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from datadam.data.real import Split
from datadam.errors import DataError

SIDE = (32, 32, 3)
WANTED = "Give cifar10.1_v6_data.npy, with cifar10.1_v6_labels.npy beside it, or a folder that holds one such pair"


def read(place: Path) -> Split:
    """The pair in a folder, or that of the file of images `place`. Raises DataError."""
    found = sorted(place.glob("*_data.npy")) if place.is_dir() else [place]
    if len(found) != 1 or not found[0].name.endswith("_data.npy"):
        held = ", ".join(path.name for path in found) or "no such file"
        raise DataError(f"{place} is no test part for CIFAR-10 ({held}). {WANTED}.")
    images = _array(found[0])
    labels = _array(found[0].with_name(found[0].name.replace("_data.npy", "_labels.npy")))
    if images.dtype != np.uint8 or images.shape[1:] != SIDE or labels.shape != images.shape[:1] or labels.dtype.kind not in "iu":
        raise DataError(
            f"{found[0]} must be uint8 [N, 32, 32, 3] with N labels; {images.dtype} {list(images.shape)} and {labels.dtype} "
            f"{list(labels.shape)} came. {WANTED}."
        )
    return Split(np.ascontiguousarray(images.transpose(0, 3, 1, 2)), labels.astype(np.int64))


def _array(path: Path) -> npt.NDArray[Any]:
    """The array of a file, whose size is held against its head before anything is read."""
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} cannot be read: {error}. {WANTED}.") from error
