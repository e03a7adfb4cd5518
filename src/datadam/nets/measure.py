"""How large networks are: operations, maps and weights, measured once for each network and size of images.

Letters: C channels, H x W pixels, K classes.
"""

from functools import lru_cache
from typing import NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from datadam.nets.base import Features
from datadam.nets.catalog import build

KEPT = 256  # networks whose sizes are remembered; each is a few maps of one image


class Sizes(NamedTuple):
    """A network's `flops` for one image, and of these `flops_of_features`; the `features` that it makes of a black image;
    `weights`, their bytes in float32; and whether it `couples_images` of a batch."""

    flops: float
    flops_of_features: float
    features: Features
    weights: int
    couples_images: bool


@lru_cache(maxsize=KEPT)
@torch.no_grad()
def sizes(spec: str, *, shape: tuple[int, int, int], classes: int) -> Sizes:
    """The sizes of the network that `spec` says; arguments and errors as `build`. The features are not to be written on."""
    network, image = build(spec, shape=shape, classes=classes).eval(), torch.zeros(1, *shape)
    with FlopCounterMode(display=False) as of_features:
        features = network.features(image)
    with FlopCounterMode(display=False) as of_all:
        network(image)
    weights = sum(weight.nbytes for weight in network.parameters())
    flops = float(of_all.get_total_flops()), float(of_features.get_total_flops())
    return Sizes(*flops, features, weights, network.couples_images)
