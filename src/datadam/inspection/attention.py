"""Spatial attention maps of real and synthetic images under random networks, and how alike and how stable they are.

Letters: G groups of images, K classes, R networks, N images, h x w positions of a map, P = h * w.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from datadam.methods.datadam import attention_map, normalise

SIDE = 56  # larger maps are averaged down to it


def maps_of(block: Tensor, power: float) -> Tensor:
    """Attention maps [N, h, w] of a block's output [N, C, H, W]: sum over channels of |f|^p, of Euclidean norm 1."""
    n, _, height, width = block.shape
    maps = attention_map(block, power).view(n, 1, height, width)
    if max(height, width) > SIDE:
        maps = F.adaptive_avg_pool2d(maps, (min(height, SIDE), min(width, SIDE)))
    return normalise(maps.flatten(1), "l2").view(n, *maps.shape[2:])


class Means:
    """Sums of the maps of each group and class, image by image."""

    def __init__(self, groups: int, classes: int) -> None:
        self.groups, self.classes = groups, classes
        self.sums: list[Tensor] = []
        self.counts = torch.zeros(groups * classes)

    def add(self, maps: list[Tensor], group: Tensor, place: Tensor) -> None:
        """Maps [N, h, w] of every block of N images, with the group and the class (its place in the sample) of each [N]."""
        if not self.sums:
            self.sums = [torch.zeros(self.groups * self.classes, *one.shape[1:]) for one in maps]
        where = group * self.classes + place
        for total, one in zip(self.sums, maps, strict=True):
            total.index_add_(0, where, one.cpu())
        self.counts.index_add_(0, where, torch.ones(len(where)))

    def means(self) -> list[Tensor]:
        """Mean maps [G, K, h, w] of every block."""
        counts = self.counts.clamp(min=1)[:, None, None]
        return [(total / counts).view(self.groups, self.classes, *total.shape[1:]) for total in self.sums]


def correlation(a: Tensor, b: Tensor) -> Tensor:
    """Pearson's correlation over positions of maps [..., h, w]; 0 where a map is the same everywhere."""
    x, y = (one.flatten(-2).double() for one in (a, b))
    x, y = x - x.mean(-1, keepdim=True), y - y.mean(-1, keepdim=True)
    both = x.norm(dim=-1) * y.norm(dim=-1)
    return torch.where(both > 1e-15, (x * y).sum(-1) / both.clamp(min=1e-15), torch.zeros_like(both))


def stability(maps: Tensor) -> Tensor:
    """For each network the correlation [R] of its mean maps [R, K, h, w] with those of the others, averaged over classes."""
    count = len(maps)
    if count < 2:
        return torch.full((count,), torch.nan, dtype=torch.float64)
    others = (maps.sum(0, keepdim=True) - maps) / (count - 1)
    return correlation(maps, others).mean(1)
