"""USPS, digits of postal codes, from its two files of the LIBSVM collection: a line an image, `LABEL INDEX:VALUE ...`.

Labels are 1 .. 10 for the digits 0 .. 9, values lie in [-1, 1], and what a line leaves out is 0. Shapes: N images, H x W pixels.
"""

import bz2
from pathlib import Path

import numpy as np
import numpy.typing as npt

from datadam.data.named import Download, Layout, NamedData
from datadam.data.official import Asked
from datadam.data.real import Raw, Split
from datadam.errors import DataError

HOST = "https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass"
PIXELS = 16 * 16
LONGEST = 1 << 14  # bytes of a line: 256 times an index and a number need far fewer
MOST = 100_000  # lines; the real files have 7 291 and 2 007, and a packed file may hold any number
AGAIN = "Fetch the set again"


def read(folder: Path, asked: Asked) -> Raw:
    """usps.bz2 and usps.t.bz2. Raises DataError."""
    return Raw(tuple("0123456789"), _part(folder / "usps.bz2"), _part(folder / "usps.t.bz2"))


def _part(path: Path) -> Split:
    rows: list[npt.NDArray[np.uint8]] = []
    labels: list[int] = []
    try:
        with bz2.open(path) as file:
            while line := file.readline(LONGEST):
                if len(labels) >= MOST or len(line) == LONGEST:
                    raise ValueError(f"it has more than {MOST} lines, or one of {LONGEST} bytes or more")
                label, pixels = _image(line)
                labels.append(label)
                rows.append(pixels)
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"{path} cannot be read, line {len(labels) + 1}: {error}. {AGAIN}.") from error
    if not rows:
        raise DataError(f"{path} holds no image. {AGAIN}.")
    return Split(np.stack(rows).reshape(-1, 1, 16, 16), np.array(labels, dtype=np.int64))


def _image(line: bytes) -> tuple[int, npt.NDArray[np.uint8]]:
    """The digit of a line, and its pixels [256], each value the nearest of 256 levels. Raises ValueError."""
    label, *fields = line.split()
    values = np.zeros(PIXELS)
    for field in fields:
        index, _, value = field.partition(b":")
        if not 1 <= int(index) <= PIXELS:
            raise ValueError(f"there is no pixel {int(index)}; they are 1 .. {PIXELS}")
        values[int(index) - 1] = float(value)
    if not 1 <= float(label) <= 10 or not (np.abs(values) <= 1).all():
        raise ValueError("labels must be 1 .. 10, and values lie in [-1, 1]")
    return int(float(label)) - 1, np.rint((values + 1) / 2 * 255).astype(np.uint8)


USPS = NamedData(
    title="USPS: 10 digits of postal codes, 1 x 16 x 16, 7 291 + 2 007",
    shape=(1, 16, 16),
    layouts=tuple(Layout(folder, "usps.t.bz2", read) for folder in ("usps", "USPS")),
    flips=False,
    downloads=(
        Download(f"{HOST}/usps.bz2", "md5:ec16c51db3855ca6c91edd34d0e9b197", to="usps"),
        Download(f"{HOST}/usps.t.bz2", "md5:8ea070ee2aca1ac39742fdd1ef5ed118", to="usps"),
    ),
)
