"""Images that are in memory already: arrays, tensors, and torch data sets of (image, label).

Shapes: N images, C channels, H x W pixels.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from datadam.data.axes import FIRST, LAST, declared, layout, refuse_volumes
from datadam.data.columns import IMAGE_COLUMNS, LABEL_COLUMNS, pick
from datadam.data.labels import NONE, Labels, counted_from_one, labels_of
from datadam.data.numbering import joined
from datadam.data.real import Raw, Split
from datadam.data.torch_names import names_of
from datadam.errors import DataError

ROUNDING = 1e-3  # of one of 256 levels: a float pixel further than this from a level is rounded aloud
CONVERTED = ("1", "P", "PA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV")  # Pillow's modes of 8 bits that are not plain
LOSSY = "float pixels were rounded to the nearest of 256 levels."


def from_arrays(
    arrays: Sequence[Any],
    axes: str | None = None,
    *,
    names: tuple[Sequence[str] | None, Sequence[str] | None] = (None, None),
    test_asked: bool = False,
    labels_as_numbers: bool = False,
    skip_unlabelled: bool = False,
) -> Raw:
    """Arrays or tensors (x_train, y_train) or (x_train, y_train, x_test, y_test).

    Images are uint8, or floats in [0, 1] that become uint8, of a layout that `layout` knows or that `axes` declares, such as
    "HWCN"; labels as in `datadam.data.labels.labels_of`, and numbers are 0 .. K - 1 or 1 .. K. Arguments: `names`, what the
    classes of both parts are called, if that is known; `test_asked`, the test part was asked for, so that one without labels
    is an error; the others as in `datadam.data.numbering.joined`. Raises DataError for anything else.
    """
    if len(arrays) not in (2, 4):
        raise DataError(f"arrays come as (x_train, y_train) or (x_train, y_train, x_test, y_test); {len(arrays)} came.")
    x = [_array(images) for images in arrays[::2]]
    x = x if axes is None else [declared(images, axes) for images in x]
    order, note = layout(x[0].shape, len(_array(arrays[1]))) if axes is None else (FIRST if x[0].ndim == 4 else None, "")
    if x[0].shape[1:] != x[-1].shape[1:]:
        shapes = f"{list(x[0].shape)} and {list(x[-1].shape)}"
        raise DataError(f"training and test images must have one shape; {shapes} came.")
    notes = [note] if note else []
    parts = []
    for what, images, given, called in zip(("training", "test"), x, arrays[1::2], names, strict=False):
        pixels, lossy = to_bytes(images, what)
        notes += [LOSSY] if lossy else []
        labels = labels_of(_array(given), f"the {what} part", called)
        parts.append((pixels[:, None] if order is None else pixels.transpose(order), labels))
    if len(parts) > 1 and parts[1][1].unlabelled and not test_asked:
        notes.append(f"the test part was left alone: none of its {len(parts.pop()[0])} images has a label (all are -1).")
    told = [labels for _, labels in parts]
    told = counted_from_one(told) if names[0] == names[1] else [counted_from_one([labels])[0] for labels in told]
    read = [Part(pixels, [labels]) for (pixels, _), labels in zip(parts, told, strict=True)]
    return _raw(read, notes, as_numbers=labels_as_numbers, skip=skip_unlabelled)


def from_dataset(train: Any, test: Any | None = None, *, labels_as_numbers: bool = False, skip_unlabelled: bool = False) -> Raw:
    """Torch data sets of (image, label), or of dictionaries that hold them; class names as `torch_names` finds them.

    An image is a picture of Pillow, a tensor [C, H, W] or [H, W], or an array of a layout that `layout` knows; labels and the
    other arguments as in `from_arrays`.
    Raises DataError when a data set gives something else, or images of several shapes.
    """
    parts, notes = [], []
    for what, data in (("training", train), ("test", test)):
        if data is not None:
            pixels, labels, remarks = _columns(data, what)
            known, which = names_of(data, len(labels))
            pieces = [
                counted_from_one([labels_of(labels[which == k], f"the {what} part", names)])[0] for k, names in enumerate(known)
            ]
            parts.append(Part(pixels, pieces, np.argsort(which, kind="stable")))
            notes += remarks
    return _raw(parts, notes, as_numbers=labels_as_numbers, skip=skip_unlabelled)


def to_bytes(images: npt.NDArray[Any], what: str = "images") -> tuple[npt.NDArray[np.uint8], bool]:
    """uint8 as it is, floats in [0, 1] as the nearest of 256 levels; and whether that lost anything."""
    if images.dtype == np.uint8:
        return images, False
    if images.dtype.kind != "f":
        raise DataError(
            f"{what}: pixels must be uint8, or floats in [0, 1]; {images.dtype} came. Use .astype(np.uint8) for 0 .. 255."
        )
    out = np.empty(images.shape, dtype=np.uint8)
    allowed = max(ROUNDING, 255 * float(np.finfo(images.dtype).eps))  # half precision cannot come nearer to a level
    lossy = False
    for i in range(0, len(images), 256):
        chunk = images[i : i + 256].astype(np.float64)
        if not np.isfinite(chunk).all():
            bad = i + int(np.flatnonzero(~np.isfinite(chunk).reshape(len(chunk), -1).all(axis=1))[0])
            raise DataError(f"{what}: image {bad} has pixels that are NaN or infinite. Remove or repair it.")
        if chunk.min() < 0 or chunk.max() > 1:
            raise DataError(
                f"{what}: float pixels must lie in [0, 1]; values from {chunk.min():.4g} to {chunk.max():.4g} came. "
                "Divide by 255, or give the images before they are normalised."
            )
        levels = np.rint(chunk * 255)
        lossy = lossy or bool((np.abs(chunk * 255 - levels) > allowed).any())
        out[i : i + 256] = levels
    return out, lossy


class Part(NamedTuple):
    """Images [N, C, H, W] and their labels, piece by piece, where pieces call classes differently; `order` [N], which image each
    label belongs to (None: as they come)."""

    pixels: npt.NDArray[np.uint8]
    pieces: Sequence[Labels]
    order: npt.NDArray[np.int64] | None = None


def _raw(parts: Sequence[Part], notes: Iterable[str], *, as_numbers: bool, skip: bool) -> Raw:
    for what, part in zip(("training", "test"), parts, strict=False):
        if not len(part.pixels):
            raise DataError(f"there is no {what} image.")
        count = sum(len(piece.numbers) for piece in part.pieces)
        if len(part.pixels) != count:
            raise DataError(f"{what}: each image needs a label; {len(part.pixels)} images and {count} labels came.")
    pieces = [part.pieces for part in parts]
    found = joined(pieces[0], pieces[1] if pieces[1:] else None, as_numbers=as_numbers, skip_unlabelled=skip, contiguous=True)
    train = _split(parts[0], found.train, found.kept[0])
    test = None if found.test is None else _split(parts[1], found.test, found.kept[1])
    return Raw(found.classes, train, test, tuple(dict.fromkeys((*notes, *found.notes))))


def _split(part: Part, numbers: npt.NDArray[np.int64], kept: npt.NDArray[np.bool_]) -> Split:
    labels = np.full(len(kept), NONE, dtype=np.int64)
    labels[(np.arange(len(kept)) if part.order is None else part.order)[kept]] = numbers
    has = labels != NONE
    return Split(np.ascontiguousarray(part.pixels if has.all() else part.pixels[has]), labels[has])


def _columns(data: Any, what: str) -> tuple[npt.NDArray[np.uint8], npt.NDArray[Any], list[str]]:
    """All images of a data set as bytes [N, C, H, W], all labels, and notes."""
    images: list[npt.NDArray[np.uint8]] = []
    labels: list[Any] = []
    notes: list[str] = []
    for i, item in enumerate(_items(data)):
        if isinstance(item, Mapping):
            keys = pick(IMAGE_COLUMNS, item), pick(LABEL_COLUMNS, item)
            if None in keys:
                wanted = f"one of {', '.join(IMAGE_COLUMNS)}, and one of {', '.join(LABEL_COLUMNS)}"
                raise DataError(f"item {i} of this data set has the keys {', '.join(map(str, item))}; it needs {wanted}.")
            item = [item[key] for key in keys]
        if not isinstance(item, (tuple, list)) or len(item) != 2:
            raise DataError(f"a data set must give (image, label); item {i} of this one is {type(item).__name__}.")
        image = _array(_plain(item[0]))
        order, note = _layout_of(item[0], image)
        pixels, lossy = to_bytes(image[None], f"{what} image {i}")
        pixels = pixels[0, None] if order is None else pixels.transpose(order)[0]
        if images and pixels.shape != images[0].shape:
            raise DataError(
                f"{what} image {i} is {list(pixels.shape)} and the first {list(images[0].shape)}: all must have one "
                "shape. Let the data set resize them."
            )
        notes += [note] * (bool(note) and not i) + [LOSSY] * lossy
        images.append(pixels)
        labels.append(_array(item[1]))
    if not images:
        raise DataError(f"there is no {what} image.")
    if len(shapes := {label.shape for label in labels}) > 1:
        came = ", ".join(str(list(shape)) for shape in sorted(shapes))
        raise DataError(f"the labels of a data set must have one shape; those of the {what} part are {came}.")
    return np.stack(images), np.asarray(labels), list(dict.fromkeys(notes))


def _layout_of(given: Any, image: npt.NDArray[Any]) -> tuple[tuple[int, ...] | None, str]:
    """Pictures are [H, W, C] and tensors [C, H, W] by convention; only arrays leave a doubt."""
    if image.ndim == 3 and isinstance(given, Image.Image):
        return LAST, ""
    if image.ndim == 3 and isinstance(given, Tensor):
        refuse_volumes((1, *image.shape))
        return FIRST, ""
    return layout((1, *image.shape))


def _plain(given: Any) -> Any:
    """Pictures whose numbers are no brightness (palettes, printing colours) in plain colour; others as they are."""
    if isinstance(given, Image.Image) and given.mode not in ("L", "LA", "RGB", "RGBA"):
        return given.convert("L" if given.mode == "1" else "RGB") if given.mode in CONVERTED else given
    return given


def _items(data: Any) -> Iterable[Any]:
    """Item by item: torch data sets promise __getitem__ and __len__, or __iter__; iterating the former need not end."""
    if hasattr(data, "__getitem__") and hasattr(data, "__len__"):
        yield from (data[i] for i in range(len(data)))
    elif hasattr(data, "__iter__"):
        yield from data
    else:
        raise DataError(
            f"{type(data).__name__} cannot be loaded. Give a name of the catalog, a path, 'hf:owner/name', a torch "
            "data set of (image, label), or arrays (x_train, y_train[, x_test, y_test])."
        )


def _array(given: Any) -> npt.NDArray[Any]:
    if isinstance(given, Tensor):
        given = given.detach().cpu()
        return np.asarray(given.float() if given.dtype == torch.bfloat16 else given)  # numpy has no bfloat16
    return np.asarray(given)
