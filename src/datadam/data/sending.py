"""The training images of some classes, in a form that another machine can be given: by value, or by where they lie.

Letters: K classes, N images, C channels, H x W pixels.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from datadam.data import RealData, Transform
from datadam.data.real import Split
from datadam.errors import RunFailed


@dataclass(frozen=True)
class Mapped:
    """Pixels uint8 `shape` in a file of the cache, from byte `offset` on."""

    file: str
    offset: int
    shape: tuple[int, ...]

    @classmethod
    def of(cls, pixels: "np.memmap[tuple[int, ...], np.dtype[np.uint8]]") -> "Mapped | None":
        """Where a map lies; None for one that is no plain piece of its file."""
        root = pixels
        while isinstance(root.base, np.memmap):  # a view keeps the offset of the map that it is a view of
            root = root.base
        if pixels.filename is None or not pixels.flags.c_contiguous:
            return None
        return cls(str(pixels.filename), root.offset + pixels.ctypes.data - root.ctypes.data, pixels.shape)

    def open(self) -> npt.NDArray[np.uint8]:
        """The pixels, mapped again. Raises `RunFailed` where the file cannot be seen."""
        path = Path(self.file)
        if not path.exists() or path.stat().st_size < self.offset + int(np.prod(self.shape)):
            raise RunFailed(
                f"a worker cannot read {path}, in which the decoded images lie; set DATADAM_CACHE to a folder that all machines "
                "share and begin anew, or give the command enough --memory-limit to send them from memory"
            )
        return np.memmap(path, dtype=np.uint8, mode="r", offset=self.offset, shape=self.shape)


@dataclass(frozen=True)
class ClassData:
    """The training images of the classes `names`, ready to be sent: `pixels`, or where they lie, and which ones; `labels` [N]."""

    name: str
    names: tuple[str, ...]
    pixels: npt.NDArray[np.uint8] | Mapped
    chosen: npt.NDArray[np.int64] | None
    labels: npt.NDArray[np.int64]

    @classmethod
    def of(cls, real: RealData, first: int, last: int) -> "ClassData":
        """Those of the classes first .. last - 1, in the order in which they lie."""
        chosen = np.sort(np.concatenate(real.by_class[first:last]))
        labels = real.train.labels[chosen] - first
        if isinstance(lies := lie(real.train.pixels), Mapped):
            return cls(real.name, real.classes[first:last], lies, chosen, labels)
        return cls(real.name, real.classes[first:last], real.train.take(chosen).pixels, None, labels)

    def open(self, transform: Transform) -> RealData:
        """The data of these classes, renumbered from 0, without a test part; only they are held in memory.

        Classes that lie one after another in the file stay there. Raises `RunFailed` where the file cannot be seen.
        """
        pixels = opened(self.pixels)
        if self.chosen is not None:
            pixels = Split(pixels, np.zeros(len(pixels), np.int64)).take(self.chosen).pixels
        train, none = Split(pixels, self.labels), Split(pixels[:0], self.labels[:0])
        return RealData(self.name, "", {}, self.names, train, none, transform)


@dataclass(frozen=True)
class SentData:
    """All of the data, ready to be sent: arrays by value, pixels in a file of the cache by where they lie."""

    fields: dict[str, Any]
    parts: tuple[tuple[npt.NDArray[np.uint8] | Mapped, npt.NDArray[np.int64]], ...]
    transform: tuple[dict[str, Any], dict[str, npt.NDArray[np.floating]] | None]
    checksum: str

    @classmethod
    def of(cls, real: RealData) -> "SentData":
        """These data."""
        parts = tuple((lie(part.pixels), part.labels) for part in (real.train, real.test))
        fields = {name: getattr(real, name) for name in ("name", "source", "options", "classes", "notes")}
        return cls(fields, parts, plain(real.transform), real.checksum)

    def open(self) -> RealData:
        """The data again. Raises `RunFailed` where a file cannot be seen."""
        train, test = (Split(opened(pixels), labels) for pixels, labels in self.parts)
        real = RealData(**self.fields, train=train, test=test, transform=rebuilt(self.transform))
        vars(real)["checksum"] = self.checksum  # known, and long to find
        return real


def lie(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8] | Mapped:
    """The pixels, or where they lie."""
    return (Mapped.of(pixels) or pixels) if isinstance(pixels, np.memmap) else pixels


def opened(pixels: npt.NDArray[np.uint8] | Mapped) -> npt.NDArray[np.uint8]:
    """The pixels of `lie`. Raises `RunFailed` where their file cannot be seen."""
    return pixels.open() if isinstance(pixels, Mapped) else pixels


def plain(transform: Transform) -> tuple[dict[str, Any], dict[str, npt.NDArray[np.floating]] | None]:
    """A transform as its card and arrays: tensors would need shared memory between processes."""
    zca = transform.zca
    return transform.to_card(), {name: tensor.numpy() for name, tensor in zca.tensors().items()} if zca else None


def rebuilt(plain: tuple[dict[str, Any], dict[str, npt.NDArray[np.floating]] | None]) -> Transform:
    """The transform of `plain`."""
    card, arrays = plain
    return Transform.from_card(card, {name: torch.from_numpy(array) for name, array in arrays.items()} if arrays else None)
