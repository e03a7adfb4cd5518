"""What a format is made of: what goes into its files, what is found in them, and how its numbers come from pixels.

Letters: M images of the files, N images per class, K classes, C channels, H rows, W columns.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from datadam.data import Transform


@dataclass(frozen=True, kw_only=True)
class Outgoing:
    """One set as its files shall hold it: the images that students are trained on, whatever is stored of them in a run.

    `images` [M, C, H, W], float32 as the format's readers expect them or uint8 pixels; `labels` [M], int64; `logits` [M, K],
    float32, of soft labels at this `temperature` (None: the labels are hard); `classes`, K names; `data`, `method` and `net` as
    datadam calls them; `ipc` N (the most of any class); `lr`, the rate that a student is trained with, and whether the set has
    `learned` it; `space`, in which the images are (None: pixels).
    """

    images: Tensor
    labels: Tensor
    logits: Tensor | None
    temperature: float
    classes: tuple[str, ...]
    data: str
    method: str
    net: str
    ipc: int
    lr: float
    learned: bool
    space: Transform | None


@dataclass(frozen=True)
class Wanted:
    """What the real data say about a set that is to be read: `shape` (C, H, W), `classes`, `most` images it may have, and the
    WordNet numbers of the classes, where the data have folders that are called so and the classes are not."""

    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    most: int
    wordnet: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a reader took out of files; only its types have been looked at.

    `images`, any layout and dtype that `checked.sound` knows; `labels`, an array, or None where the format has none; `names`,
    what the set calls class number k (None: numbers alone); `logits`, soft labels that stand beside them, with their
    `temperature`; `rate`, that of students, if the file has one; `last`, whether channels come last; `method`, if a name says
    it; `transform`, if the file itself says it; `decoder`, what makes training images of these, if a name says it; `earlier`,
    the same set on its way there, from its start on; `notes` for the user.
    """

    images: Any
    labels: Any
    names: tuple[str, ...] | None = None
    logits: Any = None
    temperature: Any = None
    rate: Any = None
    last: bool = False
    method: str = ""
    transform: Transform | None = None
    decoder: str | None = None
    earlier: "tuple[Found, ...]" = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Format:
    """A format: `title` and `readers` in words; `kept` and `lost`, what comes back and what does not.

    `numbers(data, own)`: the normalisation that its readers expect of a data set, given the set's own (None: 8-bit pixels).
    `own_space`: its files hold the set's own space, whitening included. `several`: one file may hold several sets. `soft`: its
    labels may be soft. `rated`: it has a place for the rate of students. `equal`: every class has equally many images. `bare`:
    its numbers are pixels in [0, 1], which its readers normalise. `ordered`: its programs number the subsets of ImageNet in the
    order of the catalog.
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
    soft: bool = False
    rated: bool = False
    equal: bool = False
    bare: bool = False
    ordered: bool = False
