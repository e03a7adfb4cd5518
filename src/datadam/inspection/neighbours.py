"""The nearest real image of each synthetic one, by the Euclidean distance of true colours.

Letters: M synthetic images, Q of them asked about, N training images.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from datadam.data import RealData
from datadam.data.nearest import nearest
from datadam.data.real import gather
from datadam.rng import stream

SEARCHED = 1_000_000_000  # bytes of training images; of more, a random part is searched
ASKED = 1000  # synthetic images, the first of each class


@dataclass(frozen=True)
class Neighbours:
    """For synthetic images `image` [Q] the nearest training image `real` [Q], its `distance` [Q] in colours of [0, 1], among
    `searched` training images; `pixels` [Q, C, H, W] uint8."""

    image: Tensor
    real: Tensor
    distance: Tensor
    searched: int
    pixels: Tensor


def neighbours(pixels: Tensor, labels: Tensor, real: RealData, seed: int) -> Neighbours:
    """The nearest training images of synthetic images [M, C, H, W] in [0, 1] with labels [M], whatever their class."""
    asked = first_of_each(labels, ASKED)
    count, width = len(real.train), real.train.pixels[0].size
    most = max(1, SEARCHED // width)
    keys = real.train.pixels.reshape(count, width)
    chosen = None
    if count > most:
        chosen = torch.randperm(count, generator=stream(seed, "inspect", "searched"))[:most].sort().values
        keys = gather(keys, chosen.numpy())
    distances, indices = nearest(pixels[asked].flatten(1) * 255, keys)
    found = indices[:, 0] if chosen is None else chosen[indices[:, 0]]
    shown = torch.from_numpy(gather(real.train.pixels, found.numpy()))
    return Neighbours(asked, found, distances[:, 0] / 255, min(count, most), shown)


def first_of_each(labels: Tensor, most: int) -> Tensor:
    """The numbers of the first images of each class, ascending: as many of each that all are at most `most` (one at least)."""
    order = labels.argsort(stable=True)
    sizes = labels.bincount()
    rank = torch.arange(len(labels)) - (sizes.cumsum(0) - sizes)[labels[order]]
    each = max(1, most // int((sizes > 0).sum()))
    return order[rank < each].sort().values
