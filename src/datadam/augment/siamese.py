"""Differentiable Siamese augmentation (DSA: Zhao and Bilen, ICML 2021, arXiv 2102.08259).

First draw, then apply: `draw_augmentation` picks one operation and its parameters, `augmentation(x)` applies them to any number
of images. Distilling applies one parameter set to all images of a class, real and synthetic alike; training a student gives
each image its own parameters.

Letters: N images, C channels, H rows, W columns. Images live in network space, where zero is the fill value.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from datadam.errors import InvalidInput, UnknownName
from datadam.rng import carry, stream

OPERATIONS = ("color", "crop", "cutout", "flip", "scale", "rotate")
STRATEGY = "color_crop_cutout_flip_scale_rotate"
MIRRORLESS = ("mnist", "svhn", "emnist", "kmnist", "usps", "qmnist")  # digits and letters, which a mirror makes other ones
FOR_STUDENTS = ("autoaugment", "randaugment")  # see policies.py
BRIGHTNESS, CROP, CUTOUT, FLIP, SCALE, ROTATE = 1.0, 0.125, 0.5, 0.5, 1.2, 15.0


@dataclass(frozen=True)
class Augmentation:
    """One operation with its parameters: tensors of length 1 (the same for all images) or N (one an image)."""

    operation: str
    parameters: dict[str, Tensor]

    def __call__(self, x: Tensor) -> Tensor:
        """Augment images [N, C, H, W]; differentiable in x."""
        return _APPLY[self.operation](x, self.parameters)


def strategy_for(data: str, *, flips: bool = True) -> str:
    """All six operations for a data set of this name; all but flip where `flips` says that its images are not mirrored, and for
    digits and letters: MIRRORLESS, and names that go on from there, such as "svhn-cropped"."""
    kind = re.split("[^a-z0-9]", data.lower())[0]
    return STRATEGY if flips and kind not in MIRRORLESS else STRATEGY.replace("_flip", "")


def operations(strategy: str) -> tuple[str, ...]:
    """The words of a strategy such as "color_crop_flip"; "none" has none. Raises `UnknownName`, `InvalidInput`."""
    if strategy in ("none", ""):
        return ()
    if strategy in FOR_STUDENTS:
        raise InvalidInput(
            f"{strategy} has no gradient, so nothing can be distilled through it: distil with words such as {STRATEGY!r}, "
            f"and judge with datadam evaluate RUN --augment {strategy}"
        )
    words = tuple(strategy.split("_"))
    for word in words:
        if word not in OPERATIONS:
            more = f"students may also have {', '.join(FOR_STUDENTS)} or dsa, alone"
            raise UnknownName("augmentation", word, OPERATIONS, f"Join them with '_', or say 'none'; {more}.")
    if len(set(words)) < len(words):
        raise InvalidInput(f"the augmentation {strategy!r} names an operation twice; name each once")
    return words


def draw_augmentation(strategy: str, seed: int, *what: str | int, images: int = 1) -> Augmentation | None:
    """Draw one operation, uniform over the words of the strategy, and its parameters; None for "none".

    Arguments: `seed` and `what` name the random stream; each parameter has a stream of its own, so that adding one leaves the
    others as they were. `images` is 1 for one parameter set (Siamese) or N for one an image.
    """
    words = operations(strategy)
    if not words:
        return None

    def u(name: str) -> Tensor:
        return torch.rand(images, generator=stream(seed, *what, name), dtype=torch.float64)

    operation = words[int(torch.randint(len(words), (), generator=stream(seed, *what, "operation")))]
    return Augmentation(operation, {name: u(f"{operation} {name}") for name in _PARAMETERS[operation]})


_PARAMETERS = {
    "color": ("brightness", "saturation", "contrast"),
    "crop": ("y", "x"),
    "cutout": ("y", "x"),
    "flip": ("flip",),
    "scale": ("y", "x"),
    "rotate": ("angle",),
}


def _each(u: Tensor, x: Tensor) -> Tensor:
    """Parameters [n] as [n, 1, 1, 1] beside the images x; a single one as a number, which need not be carried to a GPU."""
    return u.to(x.dtype)[0] if len(u) == 1 else carry(u.to(x.dtype), x.device)[:, None, None, None]


def _integers(u: Tensor, low: int, high: int) -> Tensor:
    """u in [0, 1) to uniform integers low..high, both included."""
    return low + (u * (high - low + 1)).floor().long()


def _color(x: Tensor, p: dict[str, Tensor]) -> Tensor:
    x = x + (_each(p["brightness"], x) - 0.5) * BRIGHTNESS
    if x.shape[1] > 1:
        grey = x.mean(1, keepdim=True)
        x = grey + (x - grey) * (2 * _each(p["saturation"], x))
    level = x.mean((1, 2, 3), keepdim=True)
    return level + (x - level) * (_each(p["contrast"], x) + 0.5)


def _crop(x: Tensor, p: dict[str, Tensor]) -> Tensor:
    height, width = x.shape[2:]
    pad_y, pad_x = int(height * CROP + 0.5), int(width * CROP + 0.5)
    top, left = _integers(p["y"], 0, 2 * pad_y), _integers(p["x"], 0, 2 * pad_x)
    padded = F.pad(x, (pad_x, pad_x, pad_y, pad_y))
    if len(top) == 1:
        return padded[
            :, :, int(top) : int(top) + height, int(left) : int(left) + width
        ].contiguous()  # compiled code wants one layout
    rows = carry(top[:, None] + torch.arange(height), x.device)
    columns = carry(left[:, None] + torch.arange(width), x.device)
    image = torch.arange(len(x), device=x.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[image, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()


def _cutout(x: Tensor, p: dict[str, Tensor]) -> Tensor:
    def outside(u: Tensor, side: int) -> Tensor:
        size = int(side * CUTOUT + 0.5)
        first = _integers(u, 0, side - size % 2) - size // 2  # an even square has its centre on a corner of pixels
        position = torch.arange(side)
        return carry((position < first[:, None]) | (position >= first[:, None] + size), x.device)

    rows, columns = outside(p["y"], x.shape[2]), outside(p["x"], x.shape[3])
    return x * (rows[:, None, :, None] | columns[:, None, None, :]).to(x.dtype)


def _flip(x: Tensor, p: dict[str, Tensor]) -> Tensor:
    flipped = p["flip"] < FLIP
    if len(flipped) == 1:
        return x.flip(3) if bool(flipped) else x
    return torch.where(carry(flipped, x.device)[:, None, None, None], x.flip(3), x)


def _scale(x: Tensor, p: dict[str, Tensor]) -> Tensor:
    low, high = 1 / SCALE, SCALE
    scale_y, scale_x = (low + p[side] * (high - low) for side in ("y", "x"))
    zero = torch.zeros_like(scale_x)
    return _warp(x, scale_x, zero, zero, scale_y)


def _rotate(x: Tensor, p: dict[str, Tensor]) -> Tensor:
    angle = (2 * p["angle"] - 1) * math.radians(ROTATE)
    aspect = x.shape[2] / x.shape[3]  # rotation is in pixels; the grid's coordinates are stretched to [-1, 1]
    return _warp(x, angle.cos(), -angle.sin() * aspect, angle.sin() / aspect, angle.cos())


def _warp(x: Tensor, xx: Tensor, xy: Tensor, yx: Tensor, yy: Tensor) -> Tensor:
    zero = torch.zeros_like(xx)
    theta = torch.stack([torch.stack([xx, xy, zero], 1), torch.stack([yx, yy, zero], 1)], 1)
    theta = carry(theta.to(x.dtype), x.device)
    grid = F.affine_grid(theta, [len(theta), *x.shape[1:]], align_corners=False)
    return F.grid_sample(x, grid.expand(len(x), -1, -1, -1), mode="bilinear", padding_mode="zeros", align_corners=False)


_APPLY: dict[str, Callable[[Tensor, dict[str, Tensor]], Tensor]] = {
    "color": _color,
    "crop": _crop,
    "cutout": _cutout,
    "flip": _flip,
    "scale": _scale,
    "rotate": _rotate,
}
