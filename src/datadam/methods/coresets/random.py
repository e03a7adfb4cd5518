"""Random real images of each class, without replacement: the baseline that everything must beat."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from datadam.data import RealData
from datadam.data.real import require_members
from datadam.methods.coresets.base import Coreset
from datadam.rng import stream
from datadam.training.insight import Insight

DESCRIPTION = "random real images of each class, without replacement"


def select(real: RealData, ipc: int, seed: int) -> list[Tensor]:
    """Training indices [ipc] of each class; the first n of a larger choice are the choice of n."""
    chosen = []
    for name, members in zip(real.classes, real.by_class, strict=True):
        order = torch.randperm(len(members), generator=stream(seed, "coreset", "random", name))[:ipc]
        chosen.append(torch.from_numpy(members)[order])
    return chosen


@dataclass(frozen=True, kw_only=True)
class Random(Coreset):
    """Random real images of each class: the baseline that everything must beat. It has no settings."""

    name: ClassVar[str] = "random"
    description: ClassVar[str] = DESCRIPTION
    citation: ClassVar[str] = ""

    def choose(self, insight: Insight, ipc: int) -> list[Tensor]:
        """Training indices [ipc] of each class; the first m of a larger choice are the choice of m."""
        require_members(insight.real, ipc)
        return select(insight.real, ipc, insight.seed)
