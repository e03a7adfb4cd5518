"""What a format is made of: what goes into its files, what is found in them, and how its numbers come from pixels.

Letters: M images, N images per class, K classes, C channels, H rows, W columns.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from datadam.data import Transform


@dataclass(frozen=True, kw_only=True)
class Outgoing:
    """One set as its files shall hold it.

    `images` [M, C, H, W], float32 as the format's readers expect them or uint8 pixels; `labels` [M], int64; `classes`, K names;
    `data`, `method` and `net` as datadam calls them; `ipc` N; `lr`, the rate that a student is trained with; `space`, in which
    the images are (None: pixels).
    """

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    data: str
    method: str
    net: str
    ipc: int
    lr: float
    space: Transform | None


@dataclass(frozen=True)
class Wanted:
    """What the real data say about a set that is to be read: `shape` (C, H, W), `classes`, and `most` images it may have."""

    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    most: int


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a reader took out of files; only its types have been looked at.

    `images`, any layout and dtype that `checked.sound` knows; `labels`, an array, or None where the format has none; `last`,
    whether channels come last; `method`, if a name says it; `transform`, if the file itself says it; `notes` for the user.
    """

    images: Any
    labels: Any
    last: bool = False
    method: str = ""
    transform: Transform | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Format:
    """A format: `title` and `readers` in words; `kept` and `lost`, what comes back and what does not.

    `numbers(data, own)`: the normalisation that its readers expect of a data set, given the set's own (None: 8-bit pixels).
    `own_space`: its files hold the set's own space, whitening included. `several`: one file may hold several sets.
    `files(path)`: the files that a set at this path consists of. `write(folder, sets)`, `read(path, wanted)`.
    """

    title: str
    readers: str
    kept: str
    lost: str
    numbers: Callable[[str, Transform], Transform] | None
    write: Callable[[Path, Sequence[Outgoing]], None]
    read: Callable[[Path, Wanted], list[Found]]
    files: Callable[[Path], list[Path]]
    own_space: bool = False
    several: bool = False
