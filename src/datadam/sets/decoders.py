"""Decoders: what is stored becomes the images that a network is trained on. A word in the card says which.

    plain     each stored image is one training image
    grid:n    each stored image is cut into n x n parts, and each part is enlarged bilinearly to the full size (as IDC stores,
              Kim et al., ICML 2022): n^2 training images in the bytes of one
    dct:e     the numbers of a stored image are the lowest frequencies of e training images (a discrete cosine transform, as in
              JPEG): of colour images two thirds for brightness and a sixth for each of two differences of colours

Letters: M stored images, E training images of each, C channels, H rows, W columns, F frequencies of a plane.
"""

import math
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import ClassVar, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from datadam import machine
from datadam.errors import InvalidInput, NotEnoughMemory, UnknownName


class Decoder(Protocol):
    """Stored images to training images, differentiable, and first stored images from real ones.

    `pictures`: whether stored images can be looked at as they are.
    """

    pictures: ClassVar[bool]

    @property
    def each(self) -> int:
        """E, the training images of one stored image."""

    @property
    def word(self) -> str:
        """As written in settings and cards; `decoder_named` reads it."""

    def __call__(self, stored: Tensor) -> Tensor:
        """Training images [M*E, C, H, W] of stored images [M, C, H, W], those of one stored image side by side."""

    def encode(self, images: Tensor) -> Tensor:
        """Stored images [M, C, H, W] that decode to about these images [M*E, C, H, W]."""

    def require_fit(self, shape: tuple[int, int, int]) -> None:
        """Raise `InvalidInput` unless images [C, H, W] can be stored so."""


@dataclass(frozen=True)
class Plain:
    """A stored image is a training image."""

    each: ClassVar[int] = 1
    word: ClassVar[str] = "plain"
    pictures: ClassVar[bool] = True

    def __call__(self, stored: Tensor) -> Tensor:
        """The images as they are."""
        return stored

    def encode(self, images: Tensor) -> Tensor:
        """The images as they are."""
        return images

    def require_fit(self, shape: tuple[int, int, int]) -> None:
        """Any image can."""


@dataclass(frozen=True)
class Grid:
    """A stored image is a grid of `parts` x `parts` smaller ones, row by row. Raises `InvalidInput` for fewer than 2."""

    parts: int

    pictures: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.parts < 2:
            raise InvalidInput(f"a grid of {self.parts} x {self.parts} parts; it takes at least 2 (grid:2), or the decoder plain")

    @property
    def each(self) -> int:
        """The parts of a stored image."""
        return self.parts**2

    @property
    def word(self) -> str:
        """grid:n."""
        return f"grid:{self.parts}"

    def __call__(self, stored: Tensor) -> Tensor:
        """Each part, enlarged bilinearly (corners not aligned)."""
        n, (m, c, h, w) = self.parts, stored.shape
        parts = stored.reshape(m, c, n, h // n, n, w // n).permute(0, 2, 4, 1, 3, 5).reshape(m * n * n, c, h // n, w // n)
        return F.interpolate(parts, size=(h, w), mode="bilinear", align_corners=False)

    def encode(self, images: Tensor) -> Tensor:
        """Each image shrunk to a part by the mean of its n x n blocks, which keeps all that a part can hold of it."""
        n, (count, c, h, w) = self.parts, images.shape
        small = F.avg_pool2d(images, n)
        return small.reshape(count // n**2, n, n, c, h // n, w // n).permute(0, 3, 1, 4, 2, 5).reshape(count // n**2, c, h, w)

    def require_fit(self, shape: tuple[int, int, int]) -> None:
        """Raise `InvalidInput` unless both sides divide into the parts."""
        if shape[1] % self.parts or shape[2] % self.parts:
            fitting = [f"grid:{n}" for n in range(2, 9) if shape[1] % n == 0 == shape[2] % n]
            raise InvalidInput(
                f"decoder {self.word} cuts both sides of an image into {self.parts}, and these are {shape[1]} x {shape[2]}; "
                f"use {', '.join([*fitting, 'plain'])}"
            )


@dataclass(frozen=True)
class DCT:
    """A stored image holds the lowest frequencies of `images` training images. Raises `InvalidInput` for fewer than 2.

    An image is C planes: its channels, or of three channels their mean and two differences (COLOURS). Plane p has the frequencies
    (u, v) with the smallest (u/H)^2 + (v/W)^2, each a cosine of length 1. Coefficients are stored divided by sqrt(E), so that a
    step of the same rate moves training images as far as through a grid of as many parts.
    """

    images: int

    pictures: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.images < 2:
            raise InvalidInput(f"{self.images} image in a stored one; it takes at least 2 (dct:2), or the decoder plain")

    @property
    def each(self) -> int:
        """The training images of a stored one."""
        return self.images

    @property
    def word(self) -> str:
        """dct:e."""
        return f"dct:{self.images}"

    def __call__(self, stored: Tensor) -> Tensor:
        """The sum of the cosines."""
        shape = stored.shape[1:]
        counts, waves, colours = self._bases(shape, stored)
        numbers = stored.flatten(1)[:, : self.each * sum(counts)].reshape(-1, sum(counts))
        planes = torch.stack([part @ waves[: part.shape[1]] for part in numbers.split(counts, 1)], 1)
        images: Tensor = colours.T @ planes * math.sqrt(self.each)
        return images.reshape(-1, *shape)

    def encode(self, images: Tensor) -> Tensor:
        """The coefficients of images, those that have a place; numbers without use are 0."""
        shape = images.shape[1:]
        counts, waves, colours = self._bases(shape, images)
        planes = (colours @ images.flatten(2)).unbind(1)
        numbers = torch.cat([p @ waves[:count].T for p, count in zip(planes, counts, strict=True)], 1) / math.sqrt(self.each)
        used = numbers.reshape(len(images) // self.each, -1)
        return F.pad(used, (0, math.prod(shape) - used.shape[1])).reshape(-1, *shape)

    def require_fit(self, shape: tuple[int, int, int]) -> None:
        """Raise `InvalidInput` unless each plane of each image has a frequency."""
        if not all(self._counts(shape)):
            most = math.prod(shape) // (6 if shape[0] == len(COLOURS) else shape[0])
            raise InvalidInput(
                f"decoder {self.word} keeps {self.images} images in the {math.prod(shape)} numbers of one, too few for a "
                f"frequency of each; use dct:{most} at most"
            )

    def _counts(self, shape: tuple[int, int, int] | torch.Size) -> list[int]:
        """Frequencies of each plane."""
        channels, height, width = shape
        numbers = channels * height * width // self.images
        if channels != len(COLOURS):
            return [numbers // channels] * channels
        return [min(numbers - 2 * (numbers // 6), height * width), numbers // 6, numbers // 6]

    def _bases(self, shape: torch.Size, like: Tensor) -> tuple[list[int], Tensor, Tensor]:
        """Frequencies of each plane; cosines [F, H*W] of the plane that has most; planes of channels [C, C]."""
        counts = self._counts(shape)
        waves = _waves(shape[1], shape[2], max(counts)).to(like)
        return counts, waves, COLOURS.to(like) if shape[0] == len(COLOURS) else torch.eye(shape[0]).to(like)


COLOURS = F.normalize(torch.tensor([[1.0, 1, 1], [1, 0, -1], [-1, 2, -1]], dtype=torch.float64))


@cache
def _waves(height: int, width: int, count: int) -> Tensor:
    """The cosines [F, H*W] of the lowest frequencies of a plane, lowest first, each of length 1."""
    order = sorted(product(range(height), range(width)), key=lambda uv: ((uv[0] / height) ** 2 + (uv[1] / width) ** 2, uv))[
        :count
    ]
    rows, columns = (_cosines(side) for side in (height, width))
    return torch.stack([torch.outer(rows[u], columns[v]).flatten() for u, v in order])


def _cosines(side: int) -> Tensor:
    """[U, X]: cos(pi u (x + 1/2) / side), each u of length 1."""
    place = torch.arange(side, dtype=torch.float64)
    return F.normalize(torch.cos(math.pi / side * place[:, None] * (place + 0.5)))


PLAIN = Plain()
DECODERS = {
    "plain": "each stored image is one training image",
    "grid:2": "each stored image holds 2 x 2 smaller ones, enlarged for training (grid:3, grid:4, ... likewise)",
    "dct:32": "each stored image holds the lowest frequencies of 32 training images (dct:8, dct:100, ... likewise)",
}


def decoder_named(word: str) -> Decoder:
    """The decoder of a word. Raises `UnknownName`, `InvalidInput`."""
    if word == PLAIN.word:
        return PLAIN
    kind, _, number = word.partition(":")
    if kind == "grid" and number.isdecimal() and len(number) < 4:
        return Grid(int(number))
    if kind == "dct" and number.isdecimal() and len(number) < 5:
        return DCT(int(number))
    raise UnknownName("decoder", word, DECODERS)


def decoded(decoder: Decoder, stored: Tensor, at_once: int = 1024) -> Tensor:
    """Training images [M*E, C, H, W] without a gradient, made in pieces of about `at_once` of them.

    Raises `NotEnoughMemory` before the first where they do not fit.
    """
    with torch.no_grad():
        if decoder.each == 1:
            return decoder(stored)
        if (needed := stored.nbytes * decoder.each) > (free := machine.available_memory()):
            raise NotEnoughMemory(
                f"{len(stored)} stored images, decoded by {decoder.word}, take {needed} bytes, and {free} are free; take a "
                "decoder of fewer parts, or free some memory"
            )
        return torch.cat([decoder(piece) for piece in stored.split(max(1, at_once // decoder.each))])
