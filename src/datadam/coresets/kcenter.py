"""Greedy k-center (Sener and Savarese, ICLR 2018): add the image that lies farthest from all chosen so far.

    chosen_0 = the image nearest to the class mean,   chosen_t = argmax_x min_{c chosen} || phi(x) - phi(c) ||

Greedy choice covers the class within twice the best possible radius. phi is the embedding of a network.
"""

import torch
from torch import Tensor

DESCRIPTION = "greedy k-center: real images that cover the class, in the features of a network trained on the real set"
CITATION = """@inproceedings{sener2018active,
  title={Active Learning for Convolutional Neural Networks: A Core-Set Approach},
  author={Sener, Ozan and Savarese, Silvio}, booktitle={ICLR}, year={2018}}"""


def greedy(features: Tensor, count: int) -> Tensor:
    """Row numbers [count], all different, of a greedy k-center choice among features [n, D]."""
    chosen = [int((features - features.mean(0)).norm(dim=1).argmin())]
    distance = (features - features[chosen[0]]).norm(dim=1)
    while len(chosen) < count:
        distance[chosen] = -1.0  # equal images have distance 0: a chosen one must still not be chosen again
        chosen.append(int(distance.argmax()))
        distance = torch.minimum(distance, (features - features[chosen[-1]]).norm(dim=1))
    return torch.tensor(chosen)
