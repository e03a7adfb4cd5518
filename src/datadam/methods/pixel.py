"""Pixel-space linear MMD, a baseline of the DataDAM paper (Sajedi et al., ICCV 2023, Table 11).

    L = sum_k || mean over real of x - mean over synthetic of x ||^2

x is the image itself: no network is looked through. Without augmentation the gradient for each synthetic image of a class is
(2 / N) (mean synthetic - mean real), so the images of a class all move by the same amount, towards the class's mean: a
closed form. Departures: the paper gives no settings; the preset takes DM's without augmentation.

Letters: K classes, N images of a class, D pixels and channels of an image.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from datadam.methods.base import FeatureMatching
from datadam.methods.datadam import DataDAM
from datadam.nets import Features


@dataclass(frozen=True, kw_only=True)
class Pixel(FeatureMatching):
    """Match the class means of the pixels. It has no settings."""

    name: ClassVar[str] = "pixel"
    description: ClassVar[str] = "class means of the pixels themselves"
    citation: ClassVar[str] = DataDAM.citation  # whose Table 11 has it
    needs_network: ClassVar[bool] = False

    def descriptors(self, features: Features) -> list[Tensor]:
        """The pixels [N, D]."""
        return [features.pixels.flatten(1)]

    def terms(self, real: list[Tensor], synthetic: list[Tensor]) -> dict[str, Tensor]:
        """mmd [K]: the squared distance of the class means."""
        return {"mmd": (real[0] - synthetic[0]).square().sum(1)}
