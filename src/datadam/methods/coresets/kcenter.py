"""Greedy k-center (Sener and Savarese, ICLR 2018): add the image that lies farthest from all chosen so far.

    chosen_0 = the image nearest to the class mean, or a random one,   chosen_t = argmax_x min_{c chosen} || phi(x) - phi(c) ||

Greedy choice covers the class within twice the best possible radius, whatever comes first. phi is the embedding of a network.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from datadam.methods.coresets.base import FeatureCoreset
from datadam.rng import stream
from datadam.training.insight import Insight

DESCRIPTION = "greedy k-center: real images that cover the class, in the features of a network trained on the real set"
CITATION = """@inproceedings{sener2018active,
  title={Active Learning for Convolutional Neural Networks: A Core-Set Approach},
  author={Sener, Ozan and Savarese, Silvio}, booktitle={ICLR}, year={2018}}"""


FIRST = ("mean", "random")


def greedy(features: Tensor, count: int, first: int | None = None) -> Tensor:
    """Row numbers [count], all different, of a greedy k-center choice among features [n, D].

    `first`, the row that it begins with (None: the one nearest to the mean).
    """
    chosen = [int((features - features.mean(0)).norm(dim=1).argmin()) if first is None else first]
    distance = (features - features[chosen[0]]).norm(dim=1)
    while len(chosen) < count:
        distance[chosen] = -1.0  # equal images have distance 0: a chosen one must still not be chosen again
        chosen.append(int(distance.argmax()))
        distance = torch.minimum(distance, (features - features[chosen[-1]]).norm(dim=1))
    return torch.tensor(chosen)


def random_first(count: int, seed: int, name: str) -> int:
    """A row number below `count`, drawn for the run's `seed` and the `name` of the class."""
    return int(torch.randint(count, (), generator=stream(seed, "coreset", "kcenter", name)))


@dataclass(frozen=True, kw_only=True)
class KCenter(FeatureCoreset):
    """Greedily cover the class; settings as `FeatureCoreset`, and `first`, the image that the choice begins with: the one nearest
    to the "mean" of the class, or a "random" one."""

    first: str = "mean"

    name: ClassVar[str] = "kcenter"
    description: ClassVar[str] = DESCRIPTION
    citation: ClassVar[str] = CITATION

    def faults(self) -> list[str]:
        allowed = f"first is {self.first!r}; allowed: {', '.join(FIRST)}"
        return [*super().faults(), *([] if self.first in FIRST else [allowed])]

    def among(self, insight: Insight, k: int, embeddings: Tensor, count: int) -> Tensor:
        drawn = self.first == "random"
        first = random_first(len(embeddings), insight.seed, insight.real.classes[k]) if drawn else None
        return greedy(embeddings, count, first)
