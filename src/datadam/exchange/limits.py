"""How large a file may be before it is believed to hold a set of images."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from datadam import machine
from datadam.errors import ArtifactError, NotEnoughMemory
from datadam.exchange.base import Found, Wanted

WIDEST = 8  # bytes of the widest number that a file may hold
SPARE = 1 << 20  # bytes for names, labels, settings and pickles


def bytes_of(wanted: Wanted, sets: int = 1) -> int:
    """The most bytes that a file may have: as many images as the real data have, in the widest numbers, and their labels."""
    return sets * wanted.most * WIDEST * (math.prod(wanted.shape) + len(wanted.classes)) + SPARE


def check(files: Sequence[Path], wanted: Wanted) -> None:
    """Raise `ArtifactError` for what is no file (a device would never end), and for far more than a set can have."""
    for file in files:
        if not file.is_file():
            raise ArtifactError(f"{file} is no file; give the file or folder of a distilled set")
    total, most = sum(file.stat().st_size for file in files), 100 * bytes_of(wanted)
    if total > most:
        raise ArtifactError(f"{files[0].parent} holds {total} bytes of images; no set of these data has more than {most}")


def cell(wanted: Wanted) -> int:
    """The most bytes that one encoded image may have: its pixels in the widest numbers, and room for a camera's notes."""
    return WIDEST * math.prod(wanted.shape) + SPARE


def check_room(sets: Sequence[Found], wanted: Wanted) -> None:
    """Raise `NotEnoughMemory` when the images of all sets, as float32, do not fit twice: once laid out, once looked at."""
    images = sum(len(one.images) for one in sets if isinstance(one.images, Tensor | np.ndarray) and one.images.ndim)
    needed = 4 * images * math.prod(wanted.shape)
    if needed > (free := machine.available_memory() // 2):
        raise NotEnoughMemory(
            f"{images} images in {len(sets)} sets take {needed} bytes twice, and {2 * free} are free; free some memory"
        )


def read_whole(path: Path, most: int) -> bytes:
    """A file's bytes. Raises ArtifactError for one that cannot be read or is larger than `most`, NotEnoughMemory."""
    try:
        size = path.stat().st_size
        if size > most:
            raise ArtifactError(
                f"{path} has {size} bytes, and a set with as many images as the real data would have {most} at most; give the "
                "file of a distilled set, and the --data that it was made from"
            )
        if size > machine.available_memory() // 4:
            raise NotEnoughMemory(f"{path} has {size} bytes, which would take four times as many to read; free some memory")
        return path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror}; give the file or folder of a distilled set") from error
