"""A method, a network and a data set for datadam, as small as they can be.

Letters: K classes, N images, C H W, D numbers of a descriptor.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from datadam.data import Asked, Layout, NamedData, Raw, from_arrays
from datadam.errors import InvalidInput
from datadam.methods import FeatureMatching
from datadam.nets import Architecture, Features, Network


@dataclass(frozen=True, kw_only=True)
class Tiny(FeatureMatching):
    """Match the class means of coarse images.

    Setting: `side`, to how many pixels a side an image is averaged.
    """

    side: int = 4

    name: ClassVar[str] = "tiny"
    description: ClassVar[str] = "class means of images averaged to a few pixels"
    citation: ClassVar[str] = """@inproceedings{tiny,
  title={Tiny},
  author={Little, Ann and Small, Bob}, booktitle={Nowhere}, year={2024}}"""
    needs_network: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if type(self.side) is not int or self.side < 1:
            raise InvalidInput(f"side is {self.side!r}; it must be a whole number >= 1")

    def descriptors(self, features: Features) -> list[Tensor]:
        """The coarse pixels [N, D]."""
        return [adaptive_avg_pool2d(features.pixels, self.side).flatten(1)]

    def terms(self, real: list[Tensor], synthetic: list[Tensor]) -> dict[str, Tensor]:
        """coarse [K]: the squared distance of the class means."""
        return {"coarse": (real[0] - synthetic[0]).square().sum(1)}


class TinyNet(Network):
    """One convolution and a head on its averages."""

    def __init__(self, shape: tuple[int, int, int], classes: int, width: int = 8) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(shape[0], width, 3, padding=1), nn.ReLU())
        self.pool = nn.AdaptiveAvgPool2d(2)
        self.head = nn.Linear(width * 4, classes)

    def features(self, x: Tensor) -> Features:
        maps = self.body(x)
        return Features((maps,), self.pool(maps).flatten(1), x)


TINYNET = Architecture("one convolution", TinyNet, {"width": 8})


def read(folder: Path, asked: Asked) -> Raw:
    """Bars: lying, standing, and both, in noise. Nothing is read: the images come from a fixed seed."""
    rng = np.random.default_rng(0)
    bars = np.zeros((3, 8, 8))
    bars[0, 3:5] = bars[1, :, 3:5] = 150
    bars[2] = bars[:2].max(axis=0)
    arrays = []
    for each in (20, 10):
        labels = np.repeat(np.arange(3), each)
        arrays += [(bars[labels] + rng.normal(50, 15, (3 * each, 8, 8))).clip(0, 255).astype(np.uint8), labels]
    return from_arrays(arrays)


TINYDATA = NamedData(
    title="bars: 3 classes, 1 x 8 x 8, 60 + 30",
    shape=(1, 8, 8),
    layouts=(Layout("tinydata", Path(__file__).name, read),),
    packaged=Path(__file__).parent,
)
