"""Decoders: what is stored becomes the images that a network is trained on. A word in the card says which.

    plain     each stored image is one training image
    grid:n    each stored image is cut into n x n parts, and each part is enlarged bilinearly to the full size (as IDC stores,
              Kim et al., ICML 2022): n^2 training images in the bytes of one

Letters: M stored images, E training images of each, C channels, H rows, W columns.
"""

from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from datadam import machine
from datadam.errors import InvalidInput, NotEnoughMemory, UnknownName


class Decoder(Protocol):
    """Stored images to training images, differentiable, and first stored images from real ones."""

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


PLAIN = Plain()
DECODERS = {
    "plain": "each stored image is one training image",
    "grid:2": "each stored image holds 2 x 2 smaller ones, enlarged for training (grid:3, grid:4, ... likewise)",
}


def decoder_named(word: str) -> Decoder:
    """The decoder of a word. Raises `UnknownName`, `InvalidInput`."""
    if word == PLAIN.word:
        return PLAIN
    kind, _, number = word.partition(":")
    if kind == "grid" and number.isdecimal() and len(number) < 4:
        return Grid(int(number))
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
