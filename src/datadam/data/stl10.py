"""STL-10 from its binary files, whose images lie column by column. Its unlabelled images are left alone.

Shapes: N images, C channels, H x W pixels.
"""

from pathlib import Path

import numpy as np

from datadam.data.named import Download, Layout, NamedData
from datadam.data.official import Asked
from datadam.data.real import Raw, Split
from datadam.errors import DataError

CLASSES = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")
SHAPE = (3, 96, 96)
BYTES = 3 * 96 * 96


def read(folder: Path, asked: Asked) -> Raw:
    """train_X.bin, train_y.bin, test_X.bin and test_y.bin; labels count from 1. Raises DataError."""
    train, test = (_part(folder / f"{part}_X.bin", folder / f"{part}_y.bin") for part in ("train", "test"))
    return Raw(CLASSES, train, test)


def _part(images: Path, labels: Path) -> Split:
    sizes = [file.stat().st_size if file.is_file() else 0 for file in (images, labels)]
    if sizes[0] == 0 or sizes[0] != BYTES * sizes[1]:
        raise DataError(
            f"{images} has {sizes[0]} bytes and {labels.name} {sizes[1]}: missing or cut off (an image has {BYTES} bytes, "
            "a label one). Fetch the set again."
        )
    numbers = np.fromfile(labels, dtype=np.uint8).astype(np.int64) - 1
    if numbers.min() < 0 or numbers.max() >= len(CLASSES):
        raise DataError(
            f"{labels}: labels must be 1 .. 10; {numbers.min() + 1} .. {numbers.max() + 1} came. Fetch the set again."
        )
    columns = np.fromfile(images, dtype=np.uint8).reshape(-1, *SHAPE)
    return Split(np.ascontiguousarray(columns.transpose(0, 1, 3, 2)), numbers)


STL10 = NamedData(
    title="STL-10: 10 classes, 3 x 96 x 96, 5 000 + 8 000 (the download has 100 000 images without labels as well)",
    shape=SHAPE,
    layouts=(Layout("stl10_binary", "test_y.bin", read),),
    downloads=(Download("https://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz", "md5:91f7769df0f17e558f3565bffb0c7dfb"),),
)
