"""Images that are in memory already: arrays, tensors, and torch data sets of (image, label).

Shapes: N images, C channels, H x W pixels.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from datadam.data.axes import FIRST, LAST, declared, layout
from datadam.data.real import Raw, Split
from datadam.errors import DataError

ROUNDING = 1e-3  # of one of 256 levels: a float pixel further than this from a level is rounded aloud
CONVERTED = ("1", "P", "PA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV")  # Pillow's modes of 8 bits that are not plain
LOSSY = "float pixels were rounded to the nearest of 256 levels."


def from_arrays(arrays: Sequence[Any], axes: str | None = None) -> Raw:
    """Arrays or tensors (x_train, y_train) or (x_train, y_train, x_test, y_test).

    Images are uint8, or floats in [0, 1] that become uint8, of a layout that `layout` knows or that `axes` declares, such as
    "HWCN"; labels are integers 0 .. K - 1. Raises DataError for anything else.
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
    for what, images, labels in zip(("training", "test"), x, arrays[1::2], strict=False):
        pixels, lossy = to_bytes(images, what)
        notes += [LOSSY] if lossy else []
        pixels = pixels[:, None] if order is None else pixels.transpose(order)
        parts.append(_part(pixels, _array(labels), what))
    return _raw(parts, None, notes)


def from_dataset(train: Any, test: Any | None = None) -> Raw:
    """Torch data sets of (image, label); class names come from the attribute `classes`, where there is one.

    An image is a picture of Pillow, a tensor [C, H, W] or [H, W], or an array of a layout that `layout` knows.
    Raises DataError when a data set gives something else, or images of several shapes.
    """
    parts, notes = [], []
    for what, data in (("training", train), ("test", test)):
        if data is not None:
            pixels, labels, remarks = _columns(data, what)
            parts.append(_part(pixels, labels, what))
            notes += remarks
    names = getattr(train, "classes", getattr(getattr(train, "dataset", None), "classes", None))
    return _raw(parts, None if names is None else tuple(str(name) for name in names), notes)


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


def checked_labels(labels: npt.NDArray[Any], what: str = "labels") -> npt.NDArray[np.int64]:
    """Labels as int64 [N]; [N, 1] is accepted. Raises DataError when they are not integers from 0 on."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        cure = "Use .argmax(1) for one-hot labels." if labels.ndim == 2 else "Number the classes 0 .. K - 1."
        raise DataError(f"{what} labels must be integers [N]; {labels.dtype} {list(labels.shape)} came. {cure}")
    if len(labels) and (labels.min() < 0 or labels.max() >= 1_000_000):
        raise DataError(f"{what} labels must be 0 .. K - 1; {labels.min()} .. {labels.max()} came.")
    return labels.astype(np.int64)


def _part(pixels: npt.NDArray[np.uint8], labels: npt.NDArray[Any], what: str) -> Split:
    checked = checked_labels(labels, what)
    if not len(pixels):
        raise DataError(f"there is no {what} image.")
    if len(pixels) != len(checked):
        raise DataError(f"{what}: each image needs a label; {len(pixels)} images and {len(checked)} labels came.")
    return Split(np.ascontiguousarray(pixels), checked)


def _raw(parts: Sequence[Split], names: tuple[str, ...] | None, notes: Iterable[str]) -> Raw:
    k = int(parts[0].labels.max()) + 1
    if names is not None and len(names) < k:
        raise DataError(f"the data set names {len(names)} classes, and its labels go up to {k - 1}.")
    classes = names or tuple(str(i) for i in range(k))
    return Raw(classes, parts[0], parts[1] if parts[1:] else None, tuple(dict.fromkeys(notes)))


def _columns(data: Any, what: str) -> tuple[npt.NDArray[np.uint8], npt.NDArray[Any], list[str]]:
    """All images of a data set as bytes [N, C, H, W], all labels, and notes."""
    images: list[npt.NDArray[np.uint8]] = []
    labels: list[Any] = []
    notes: list[str] = []
    for i, item in enumerate(_items(data)):
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
    if any(label.ndim for label in labels):
        raise DataError(f"the labels of a data set must be single integers; some of this one have axes ({what} part).")
    if not images:
        raise DataError(f"there is no {what} image.")
    return np.stack(images), np.asarray(labels), list(dict.fromkeys(notes))


def _layout_of(given: Any, image: npt.NDArray[Any]) -> tuple[tuple[int, ...] | None, str]:
    """Pictures are [H, W, C] and tensors [C, H, W] by convention; only arrays leave a doubt."""
    if image.ndim == 3 and isinstance(given, Image.Image):
        return LAST, ""
    if image.ndim == 3 and isinstance(given, Tensor):
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
