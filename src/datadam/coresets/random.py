"""Random real images of each class, without replacement: the baseline that everything must beat."""

import torch
from torch import Tensor

from datadam.data import RealData
from datadam.rng import stream

DESCRIPTION = "random real images of each class, without replacement"


def select(real: RealData, ipc: int, seed: int) -> list[Tensor]:
    """Training indices [ipc] of each class; the first n of a larger choice are the choice of n."""
    chosen = []
    for name, members in zip(real.classes, real.by_class, strict=True):
        order = torch.randperm(len(members), generator=stream(seed, "coreset", "random", name))[:ipc]
        chosen.append(torch.from_numpy(members)[order])
    return chosen
