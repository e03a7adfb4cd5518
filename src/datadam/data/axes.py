"""The axes of an array of images: which are images, channels, height and width.

Shapes: N images, C channels, H x W pixels.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from datadam.errors import DataError, InvalidInput

LAYOUTS = "[N, H, W], [N, H, W, C] or [N, C, H, W]"
FIRST, LAST = (0, 1, 2, 3), (0, 3, 1, 2)  # where the channels are: the order of axes that gives [N, C, H, W]
CHANNELS = 16  # an image of more has them for its third axis of space
CURE = "Say which it is, such as --layout {}."


def layout(shape: Sequence[int], labels: int | None = None) -> tuple[tuple[int, ...] | None, str]:
    """How to read an array of images as [N, C, H, W]: the order of its axes (None: add a channel axis), and a note.

    Argument: `labels`, how many there are, if that is known: an array whose last axis is as long could be one of [H, W, C, N], as
    Matlab has it. Channels are the axis of 1 to 4; if both could be, the one that leaves square images; if neither, the smallest
    axis. Raises DataError for another number of axes, and where this does not decide.
    """
    refuse_volumes(shape)
    if len(shape) not in (3, 4) or 0 in shape[1:]:
        raise DataError(f"images must come as {LAYOUTS}; an array of shape {list(shape)} came.")
    _require_images_first(shape, labels)
    if len(shape) == 3:
        return None, ""
    _, a, b, c = shape
    candidates = [order for order, channels in ((FIRST, a), (LAST, c)) if 1 <= channels <= 4]
    if len(candidates) == 2:
        candidates = [order for order, square in ((FIRST, b == c), (LAST, a == b)) if square]
    elif not candidates and a != c:
        order = FIRST if a < c else LAST
        words = "[N, C, H, W]" if order == FIRST else "[N, H, W, C]"
        return order, f"images of shape {list(shape)} were read as {words}, {shape[order[1]]} channels."
    if len(candidates) != 1:
        raise DataError(f"images of shape {list(shape)} could be [N, C, H, W] as well as [N, H, W, C]. {CURE.format('NCHW')}")
    return candidates[0], ""


def refuse_volumes(shape: Sequence[int]) -> None:
    """Raises DataError for images, of which N are the first axis, with three axes of space, with or without channels."""
    inner = list(shape[1:])
    if len(inner) == 4 and min(inner[0], inner[-1]) <= CHANNELS:
        inner = inner[1:] if inner[0] <= inner[-1] else inner[:-1]
    if len(inner) == 3 and min(inner) > CHANNELS:
        raise DataError(
            f"images of shape {list(shape)} look like volumes, {' x '.join(map(str, inner))} points each. Only flat images of up "
            f"to {CHANNELS} channels are read; take one slice of each, such as the middle one, [:, {inner[0] // 2}], or their "
            "mean along one axis."
        )


def _require_images_first(shape: Sequence[int], labels: int | None) -> None:
    """Raises DataError where the images could, or must, be the last axis."""
    last = "HWCN" if len(shape) == 4 else "HWN"
    if labels is None or shape[-1] != labels or (last == "HWCN" and not 1 <= shape[2] <= 4):
        return
    spelt = f"[{', '.join(last)}]"
    if shape[0] != labels:
        raise DataError(
            f"{shape[0]} images and {labels} labels came, if images of shape {list(shape)} are {LAYOUTS}; the last axis is as "
            f"long as the labels, and so the images seem to be {spelt}. {CURE.format(last)}"
        )
    raise DataError(
        f"images of shape {list(shape)} with {labels} labels could be {spelt}, as Matlab has it, as well as {LAYOUTS}. "
        f"{CURE.format(last if last == 'HWN' else 'NHWC')}"
    )


def declared(images: npt.NDArray[Any], axes: str) -> npt.NDArray[Any]:
    """The same array as [N, C, H, W] or [N, H, W], its axes being called `axes`, such as "HWCN". Raises InvalidInput."""
    letters = axes.upper()
    target = "NCHW" if "C" in letters else "NHW"
    if sorted(letters) != sorted(target):
        raise InvalidInput(f"layout must name the axes of the images, the letters of NHWC or NHW in their order; {axes!r} came.")
    if images.ndim != len(target):
        raise InvalidInput(f"layout {axes!r} names {len(target)} axes, and the images have shape {list(images.shape)}.")
    return np.transpose(images, [letters.index(letter) for letter in target])
