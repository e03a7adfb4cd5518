"""Decoders: what is stored becomes the images that a network is trained on. A word in the card says which.

    plain     each stored image is one training image
    grid:n    each stored image is cut into n x n parts, and each part is enlarged bilinearly to the full size (as IDC stores,
              Kim et al., ICML 2022): n^2 training images in the bytes of one
    dct:e     the numbers of a stored image are the lowest frequencies of e training images (a discrete cosine transform, as in
              JPEG): of colour images two thirds for brightness and a sixth for each of two differences of colours

Letters: M stored images, E training images of each, C channels, H rows, W columns, F frequencies of a plane, U of a side.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import ClassVar, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from datadam import machine
from datadam.errors import InvalidInput, NotEnoughMemory, UnknownName
from datadam.rng import carry


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
        """The sum of the cosines, along columns and then along rows."""
        _, height, width = shape = stored.shape[1:]
        counts = self._counts(shape)
        numbers = stored.flatten(1)[:, : self.each * sum(counts)].reshape(-1, sum(counts))
        tables = numbers.new_zeros(len(counts), len(numbers), height * width)
        for plane, part in enumerate(numbers.split(counts, 1)):
            tables[plane][:, carry(_lowest(height, width, counts[plane]), stored.device)] = part
        planes = _cosines(height, stored).T @ tables.unflatten(2, (height, width)) @ _cosines(width, stored)
        mixed: Tensor = torch.einsum("pnyx,pc->ncyx", planes, _planes(shape[0], stored))
        return mixed * math.sqrt(self.each)

    def encode(self, images: Tensor) -> Tensor:
        """The coefficients of images, those that have a place; numbers without use are 0."""
        channels, height, width = shape = images.shape[1:]
        planes = torch.einsum("ncyx,pc->npyx", images, _planes(channels, images))
        tables = (_cosines(height, images) @ planes @ _cosines(width, images).T).flatten(2).unbind(1)
        counts = self._counts(shape)
        kept = [t[:, carry(_lowest(height, width, count), t.device)] for t, count in zip(tables, counts, strict=True)]
        used = (torch.cat(kept, 1) / math.sqrt(self.each)).reshape(len(images) // self.each, -1)
        return F.pad(used, (0, math.prod(shape) - used.shape[1])).reshape(-1, *shape)

    def require_fit(self, shape: tuple[int, int, int]) -> None:
        """Raise `InvalidInput` unless each plane of each image has a frequency."""
        if not all(self._counts(shape)):
            most = math.prod(shape) // (6 if shape[0] == len(COLOURS) else shape[0])
            raise InvalidInput(
                f"decoder {self.word} keeps {self.images} images in the {math.prod(shape)} numbers of one, too few for a "
                f"frequency of each; use {f'dct:{most} at most' if most > 1 else 'the decoder plain'}"
            )

    def _counts(self, shape: tuple[int, int, int] | torch.Size) -> list[int]:
        """Frequencies of each plane."""
        channels, height, width = shape
        numbers = channels * height * width // self.images
        if channels != len(COLOURS):
            return [numbers // channels] * channels
        return [min(numbers - 2 * (numbers // 6), height * width), numbers // 6, numbers // 6]


COLOURS = F.normalize(torch.tensor([[1.0, 1, 1], [1, 0, -1], [-1, 2, -1]], dtype=torch.float64))


def _planes(channels: int, like: Tensor) -> Tensor:
    """Planes of channels [C, C], whose rows are at right angles and of length 1."""
    return carry(COLOURS.to(like.dtype), like.device) if channels == len(COLOURS) else torch.eye(channels).to(like)


@cache
def _lowest(height: int, width: int, count: int) -> Tensor:
    """Places [F] of the lowest frequencies in a table of all of them [H * W], lowest first."""
    order = sorted(product(range(height), range(width)), key=lambda uv: ((uv[0] / height) ** 2 + (uv[1] / width) ** 2, uv))
    return torch.tensor([u * width + v for u, v in order[:count]])


def _cosines(side: int, like: Tensor) -> Tensor:
    """[U, X]: cos(pi u (x + 1/2) / side), each u of length 1; computed in float64."""
    place = torch.arange(side, dtype=torch.float64)
    return carry(F.normalize(torch.cos(math.pi / side * place[:, None] * (place + 0.5))).to(like.dtype), like.device)


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


@dataclass(frozen=True)
class Shown:
    """Training images of stored ones as a sequence of pictures, each decoded when it is asked for.

    Arguments: `decoder`; `stored`, what gives rows of the stored images by their numbers; `count`, how many there are;
    `to_pixels`, from network space to true colours.
    """

    decoder: Decoder
    stored: Callable[[list[int]], Tensor]
    count: int
    to_pixels: Callable[[Tensor], Tensor]

    def __len__(self) -> int:
        """N, training images."""
        return self.count * self.decoder.each

    def __getitem__(self, wanted: list[int]) -> Tensor:
        """The pictures [n, C, H, W] of these numbers; no other stored image is decoded."""
        each = self.decoder.each
        rows = sorted({index // each for index in wanted})
        place = {row: number * each for number, row in enumerate(rows)}
        images = decoded(self.decoder, self.stored(rows))
        return self.to_pixels(images[[place[index // each] + index % each for index in wanted]])
