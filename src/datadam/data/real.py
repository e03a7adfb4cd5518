"""The real data: images as uint8 pixels with labels, a training and a test part, and the way into network space.

Shapes: K classes, N images, C channels, H x W pixels.
"""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from datadam.data.cache import pixels as pixels_of
from datadam.data.cache import release
from datadam.data.field import Normalisation, numbers
from datadam.data.shown import grid, html
from datadam.data.whitening import ZCA, Transform, Variant, check_dimension, check_variant
from datadam.errors import DataError, InvalidInput
from datadam.rng import stream
from datadam.wording import count, plural

HELD_OUT = 0.2  # the share of each class that becomes the test part when there is none
MAPPED = 64  # images read from a memory map before its pages are given back
PICTURED = 10  # classes, and images of each, that a notebook shows
SHOWN = 12  # names of classes in a note
CHUNK = 1 << 22  # bytes of pixels read at a time, wherever memory must not grow with N


@dataclass(frozen=True, eq=False)
class Split:
    """Training or test part: `pixels` uint8 [N, C, H, W], maybe a read-only memory map, and `labels` int64 [N]."""

    pixels: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        pixels, labels = self.pixels, self.labels
        images = pixels.dtype == np.uint8 and pixels.ndim == 4 and 0 not in pixels.shape[1:]
        if not images or labels.dtype != np.int64 or labels.shape != pixels.shape[:1]:
            raise DataError(
                "a part needs pixels, uint8 [N, C, H, W], and as many labels, int64 [N]; "
                f"{pixels.dtype} {list(pixels.shape)} and {labels.dtype} {list(labels.shape)} came."
            )

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: npt.NDArray[np.int64]) -> "Split":
        """The images of these ascending indices: a view where they follow one another, else a copy in memory."""
        if len(indices) and indices[-1] - indices[0] == len(indices) - 1:
            run = slice(int(indices[0]), int(indices[-1]) + 1)
            return Split(self.pixels[run], self.labels[run])
        return Split(gather(self.pixels, indices), self.labels[indices])


@dataclass(frozen=True, eq=False)
class Raw:
    """What a reader of files returns: decoded images, before a missing test part or normalisation are seen to."""

    classes: tuple[str, ...]
    train: Split
    test: Split | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class RealData:
    """Labelled real images, as the methods and the evaluation read them.

    Fields: `name`, such as "mnist" or the folder's name; `source`, what `load` was given, as text ("" for arrays);
    `options`, the arguments with which `load(source, **options)` loads the same again; `classes`, K different names;
    `train` and `test`; `transform`, between pixels and network space; `notes`, what a user must be told aloud.
    Raises DataError for labels outside 0 .. K - 1, a class without training image, or parts of different shapes.
    """

    name: str
    source: str
    options: dict[str, Any]
    classes: tuple[str, ...]
    train: Split
    test: Split
    transform: Transform
    notes: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        faults = [*_faults_of_classes(self.classes, self.train, self.test)]
        if self.train.pixels.shape[1:] != self.test.pixels.shape[1:]:
            shapes = " and ".join(str(list(part.pixels.shape[1:])) for part in (self.train, self.test))
            faults.append(f"training and test images must have one shape [C, H, W]; {shapes} came.")
        if len(self.transform.mean) != self.shape[0]:
            faults.append(f"the normalisation is for {len(self.transform.mean)} channels, and the images have {self.shape[0]}.")
        if faults:
            raise DataError(*faults)

    def __repr__(self) -> str:
        parts = f"{count(len(self.train))} training and {plural(len(self.test), 'test image')}"
        sizes = "x".join(map(str, self.shape))
        return f"<RealData {self.name!r}: {parts} of {plural(len(self.classes), 'class', 'classes')}, {sizes}>"

    def _repr_html_(self) -> str:
        """For notebooks: the first training images of the first classes."""
        return html(grid([gather(self.train.pixels, members[:PICTURED]) for members in self.by_class[:PICTURED]]), repr(self))

    @classmethod
    def from_dataset(cls, train: Any, test: Any | None = None, **options: Any) -> "RealData":
        """The data of a data set object of torch or of the package datasets; `test`, the object of the test part, or the name of
        a split. The rest, and errors, as in `datadam.load`."""
        from datadam.data.catalog import load

        return load(train, test=test, **options)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        _, c, h, w = self.train.pixels.shape
        return c, h, w

    @property
    def flips(self) -> bool:
        """Whether a mirror leaves an image in its class, as far as whoever loaded the data has said."""
        return bool(self.options.get("flip", True))

    @property
    def members(self) -> int:
        """Training images of the smallest class."""
        return min(map(len, self.by_class))

    @property
    def training_images(self) -> int:
        """Training images of all classes."""
        return len(self.train)

    @cached_property
    def by_class(self) -> list[npt.NDArray[np.int64]]:
        """For each class the indices of its training images, in ascending order."""
        order = np.argsort(self.train.labels, kind="stable")
        sizes = np.bincount(self.train.labels, minlength=len(self.classes))
        return np.split(order, np.cumsum(sizes)[:-1])

    @cached_property
    def checksum(self) -> str:
        """SHA-256 of the decoded pixels and labels of both parts, "sha256:<hex>", whatever the order of the images."""
        total = hashlib.sha256(json.dumps({"shape": self.shape, "classes": self.classes}).encode())
        for name, part in (("train", self.train), ("test", self.test)):
            digests = sorted(_digests(part))
            total.update(f"{name} {len(digests)} ".encode())
            total.update(b"".join(digests))
        return f"sha256:{total.hexdigest()}"

    @cached_property
    def order(self) -> npt.NDArray[np.int64]:
        """Training indices [N] sorted by the digest of image and label: one order, however the files lie."""
        digests = np.frombuffer(b"".join(_digests(self.train)), dtype=">u8").reshape(-1, 4)
        return np.lexsort(digests.T[::-1]).astype(np.int64)

    def part(self, name: Literal["train", "test"]) -> Split:
        """The training or the test part, by its name."""
        if name not in ("train", "test"):
            raise InvalidInput(f"unknown part {name!r}. Known: train, test.")
        return self.train if name == "train" else self.test

    def images(
        self,
        indices: npt.ArrayLike | Tensor,
        part: Literal["train", "test"] = "train",
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """Images in network space.

        Arguments: `indices` [n], into that part; `dtype`, any float type; `device`, where the result lies (pixels
        travel as bytes).
        Returns a new tensor [n, C, H, W].
        """
        where = np.asarray(indices.cpu() if isinstance(indices, Tensor) else indices)
        if where.ndim != 1 or (len(where) and where.dtype.kind not in "iu"):
            raise InvalidInput(f"indices must be integers [n]; {where.dtype} {list(where.shape)} came.")
        chosen = gather(self.part(part).pixels, where.astype(np.int64))
        return self.transform.bytes_to_network(torch.from_numpy(chosen).to(device or "cpu"), dtype)

    def subset(self, classes: Sequence[int]) -> "RealData":
        """Only these classes, in this order, renumbered from 0; names, transform and the order of images are kept."""
        wanted = [int(k) for k in classes]
        if not wanted or len(set(wanted)) < len(wanted) or not set(wanted) <= set(range(len(self.classes))):
            raise InvalidInput(f"a subset needs different classes from 0 to {len(self.classes) - 1}; {wanted} came.")
        new = np.full(len(self.classes), -1, dtype=np.int64)
        new[wanted] = np.arange(len(wanted))
        chosen = [part.take(np.flatnonzero(new[part.labels] >= 0)) for part in (self.train, self.test)]
        train, test = (Split(part.pixels, new[part.labels]) for part in chosen)
        return replace(self, classes=tuple(self.classes[k] for k in wanted), train=train, test=test)

    def with_normalisation(self, normalisation: Normalisation) -> "RealData":
        """The same images, by the mean and standard deviation that the released code of the field has for data of this name.

        Argument: `normalisation`, "field" or "mtt" (see data/field.py); "own", or data that the field does not know: unchanged.
        Raises `InvalidInput` where whitening was fitted under other numbers.
        """
        known = numbers(normalisation, self.name, self.shape[0])
        if known is None or known == (self.transform.mean, self.transform.std):
            return self
        if self.transform.zca is not None:
            if self.transform.zca.variant == "kornia":  # fitted on pixels, which no normalisation has touched
                return self
            raise InvalidInput(f"these images were whitened under other numbers; load them with normalisation={normalisation!r}")
        return replace(self, transform=Transform(*known), options={**self.options, "normalisation": normalisation})

    def with_zca(self, variant: Variant) -> "RealData":
        """The same images, their network space ZCA-whitened with statistics of the training part.

        Argument: `variant`, "kornia" (fitted on pixels in [0, 1], which take the place of mean and std) or "official"
        (fitted on pixels already normalised). Raises NotEnoughMemory for C * H * W above 12 288. Source: Kornia's
        ZCAWhitening, eps 0.1.
        """
        check_variant(variant)
        check_dimension(int(np.prod(self.shape)))
        if self.transform.zca is not None:
            raise InvalidInput(
                f"these images are ZCA-whitened already ({self.transform.zca.variant}); load them without it first."
            )
        c = self.shape[0]
        before = Transform((0.0,) * c, (1.0,) * c) if variant == "kornia" else self.transform

        def read(start: int, stop: int) -> Tensor:
            chunk = np.array(self.train.pixels[start:stop])
            release(self.train.pixels)
            return before.bytes_to_network(torch.from_numpy(chunk))

        zca = ZCA.fit(read, len(self.train), variant=variant)
        return replace(self, transform=replace(before, zca=zca), options={**self.options, "zca": variant})


def gather(pixels: npt.NDArray[np.uint8], indices: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """pixels[indices], in memory and writable. A memory map is read in the order of the file: kinder to a disk."""
    if not isinstance(pixels, np.memmap):
        return np.take(pixels, indices, axis=0)
    order = np.argsort(indices, kind="stable")
    chosen = np.empty((len(indices), *pixels.shape[1:]), dtype=np.uint8)
    for start in range(0, len(order), MAPPED):  # a page fault maps far more than one image
        part = order[start : start + MAPPED]
        chosen[part] = pixels[indices[part]]
        release(pixels)
    return chosen


def statistics(pixels: npt.NDArray[np.uint8]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel of pixels / 255; a constant channel gets the standard deviation 1."""
    n, c, h, w = pixels.shape
    if not n:
        raise DataError("there is no training image.")
    totals, squares = np.zeros(c), np.zeros(c)  # sums of whole numbers, which float64 keeps exactly
    step = max(1, CHUNK // (c * h * w))
    for start in range(0, n, step):
        chunk = pixels[start : start + step].astype(np.float64)
        totals += chunk.sum(axis=(0, 2, 3))
        squares += np.einsum("nchw,nchw->c", chunk, chunk)
        release(pixels)
    count = n * h * w
    mean = tuple(total / count / 255 for total in totals.tolist())
    spread = (count * int(square) - int(total) ** 2 for total, square in zip(totals, squares, strict=True))
    return mean, tuple(math.sqrt(s) / count / 255 if s else 1.0 for s in spread)


def hold_out(raw: Raw) -> tuple[Split, Split, tuple[str, ...]]:
    """Training part, test part and notes; where there is no test part, a fifth of each class, always the same images.

    A class keeps at least one training image, and one of two or more images gives at least one.
    """
    if not len(raw.train):
        raise DataError("there is no training image.")
    if raw.test is not None:
        seen = np.bincount(raw.test.labels[raw.test.labels >= 0], minlength=len(raw.classes))
        absent = [name for name, count in zip(raw.classes, seen.tolist(), strict=False) if not count]
        more = f" and {len(absent) - SHOWN} more" if len(absent) > SHOWN else ""
        lacks = (
            f"the test part has no image of {len(absent)} of the {len(raw.classes)} classes: {', '.join(absent[:SHOWN])}{more}."
        )
        return raw.train, raw.test, (*raw.notes, lacks) if absent else raw.notes
    labels = raw.train.labels
    held = np.zeros(len(labels), dtype=bool)
    for k, name in enumerate(raw.classes):
        of_class = np.flatnonzero(labels == k)
        n = len(of_class)
        share = min(n - 1, max(1, round(n * HELD_OUT))) if n else 0
        held[of_class[torch.randperm(n, generator=stream(0, "holdout", name)).numpy()[:share]]] = True
    if not held.any():
        raise DataError("no test part, and no class has two images, so none can be held out; give one with test=.")
    train, test = (_split(raw.train, np.flatnonzero(chosen)) for chosen in (~held, held))
    note = f"no test part: 20 % of the images of each class held out as one ({held.sum()} of {len(held)})."
    return train, test, (*raw.notes, note)


def _split(part: Split, indices: npt.NDArray[np.int64]) -> Split:
    """As `Split.take`; what lay on the disk because memory is short stays there."""
    if not isinstance(part.pixels, np.memmap):
        return part.take(indices)
    source = part.pixels

    def fill(start: int, stop: int, out: npt.NDArray[np.uint8]) -> None:
        out[:] = gather(source, indices[start:stop])

    chosen = hashlib.sha256(indices.astype("<i8").tobytes()).hexdigest()
    key = f"images {chosen} of {source.filename}"
    return Split(pixels_of(len(indices), source.shape[1:], fill, key=key, memory_limit=0), part.labels[indices])


def _faults_of_classes(classes: Sequence[str], train: Split, test: Split) -> Iterable[str]:
    k = len(classes)
    twice = sorted(name for name, count in Counter(classes).items() if count > 1)
    if twice:
        yield f"class names must differ; more than once: {', '.join(twice)}."
    if not len(train):
        yield "there is no training image."
        return
    for what, part in (("training", train), ("test", test)):
        low, high = (part.labels.min(), part.labels.max()) if len(part) else (0, 0)
        if low < 0 or high >= k:
            yield f"{what} labels must lie in 0 .. {k - 1} (there are {k} training classes); {low} .. {high} came."
            return
    sizes = np.bincount(train.labels, minlength=k).tolist()
    empty = [name for name, size in zip(classes, sizes, strict=True) if not size]
    if empty:
        more = f" and {len(empty) - 10} more" if len(empty) > 10 else ""
        yield f"no training image of class {', '.join(empty[:10])}{more}. Remove it, or number labels without gaps."


def _digests(part: Split) -> Iterable[bytes]:
    labels = part.labels.astype("<i8")
    for i in range(len(part)):
        digest = hashlib.sha256(labels[i].tobytes())
        digest.update(part.pixels[i].tobytes())
        yield digest.digest()
        if i % 1024 == 0:
            release(part.pixels)


def require_members(real: RealData, ipc: int, each: int = 1, *, cure: str = "") -> None:
    """Raise `InvalidInput` unless every class has the training images for `ipc` stored ones, at least 1, each of which holds
    `each` of them; `cure`, what could be done beside asking for fewer."""
    if ipc < 1:
        raise InvalidInput(f"ipc (images per class) is {ipc}; it must be at least 1")
    smallest = min(range(len(real.classes)), key=lambda k: len(real.by_class[k]))
    if (size := len(real.by_class[smallest])) < ipc * each:
        holds = "" if each == 1 else f" of {each} real images each"
        ways = [f"ask for at most {size // each}"] if size >= each else []
        ways += ["--set decoder=plain, which needs one each"] if each > 1 else []
        raise InvalidInput(
            f"ipc is {ipc}{holds} but class {real.classes[smallest]!r} has only {size} training images; "
            f"{', or '.join(ways)}{cure}"
        )
