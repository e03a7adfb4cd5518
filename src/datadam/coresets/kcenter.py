"""Greedy k-center (Sener and Savarese, ICLR 2018): add the image that lies farthest from all chosen so far.

    chosen_0 = the image nearest to the class mean, or a random one,   chosen_t = argmax_x min_{c chosen} || phi(x) - phi(c) ||

Greedy choice covers the class within twice the best possible radius, whatever comes first. phi is the embedding of a network.
"""

import torch
from torch import Tensor

from datadam.rng import stream

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
