"""Which images an epoch trains on: from easy to hard, and then without the easiest (FIEX of PAD, Li et al., arXiv 2408.03360).

    epoch e of the first T1: of each class the easiest first + (1 - first) * e / T1;   after that all;
    after each epoch of `drops`: without its share, the easiest.

Difficulty is EL2N in the paper and GraNd in the code (difficulty.py), in networks early in their training. Departure: shares are
of each class's own images. In the released code they are of 5 000 whatever the data, so that nothing of CIFAR-100 would be left
after epoch 40.

Letters: n training images of a class, K classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from datadam.settings import finite, refuse, require
from datadam.training.insight import Insight

SCORES = ("el2n", "grand")
DROPS = ((40, 0.1), (60, 0.2))


@dataclass(frozen=True, kw_only=True)
class Curriculum:
    """Arguments: `by`, the score of difficulty; `first`, the share of each class in epoch 0; `whole` (T1), the epoch from which
    it is whole; `drops`, pairs of an epoch and of the share of the easiest left out after it; `averaged`, networks over which the
    score is the mean, each `looked` epochs old. Raises `InvalidInput` with every wrong setting.
    """

    by: str = "el2n"
    first: float = 0.75
    whole: int = 20
    drops: tuple[tuple[int, float], ...] = DROPS
    averaged: int = 3
    looked: int = 5

    def __post_init__(self) -> None:
        faults: list[str] = []
        require(self.by in SCORES, f"curriculum is {self.by!r}; allowed: {', '.join(SCORES)}", faults)
        require(finite(self.first) and 0 < self.first <= 1, f"first is {self.first!r}; it must lie in (0, 1]", faults)
        for name, least in (("whole", 0), ("averaged", 1), ("looked", 1)):
            value = getattr(self, name)
            require(type(value) is int and value >= least, f"{name} is {value!r}; it must be a whole number >= {least}", faults)
        sound = all(type(epoch) is int and finite(share) and 0 < share < 1 for epoch, share in self.drops)
        rising = all(e < f and a < b for (e, a), (f, b) in pairwise(self.drops))
        require(
            sound and rising and all(epoch >= self.whole for epoch, _ in self.drops),
            f"drop is {self}; it must be epochs from whole={self.whole} on with shares between 0 and 1, both rising, such as "
            "40:0.1,60:0.2",
            faults,
        )
        refuse(faults)

    def __str__(self) -> str:
        return ",".join(f"{epoch}:{share:g}" for epoch, share in self.drops)

    def rows(self, epoch: int, n: int) -> range:
        """Which of the n images of a class, from easy to hard, the epoch (from 0) trains on: always some."""
        share = min(1.0, self.first + (1 - self.first) * epoch / self.whole) if self.whole else 1.0
        dropped = max((easiest for after, easiest in self.drops if epoch > after), default=0.0)
        return range(min(int(dropped * n), n - 1), max(1, int(share * n)))

    def count(self, epoch: int, sizes: Sequence[int]) -> int:
        """Images of an epoch, of classes of these sizes."""
        return sum(len(self.rows(epoch, n)) for n in sizes)

    def ranked(self, insight: Insight) -> list[Tensor]:
        """Training indices [n] of each class from easy to hard."""
        score = (insight.difficulty(k, self.by, self.averaged, self.looked) for k in range(len(insight.real.classes)))
        return [insight.members(k)[scores.argsort(stable=True)] for k, scores in enumerate(score)]

    def lessons(self, insight: Insight) -> "Lessons":
        """Which images each epoch trains on."""
        return Lessons(self, tuple(members.numpy() for members in self.ranked(insight)))

    def lesson(self, epoch: int, ranked: Sequence[Tensor]) -> Tensor:
        """The indices of an epoch, of the classes' `ranked` ones."""
        taken = [(members, self.rows(epoch, len(members))) for members in ranked]
        return torch.cat([members[rows.start : rows.stop] for members, rows in taken])


@dataclass(frozen=True)
class Lessons:
    """The indices of each epoch by a `curriculum`, of the classes' `ranked` ones [n]: it can be sent to another process."""

    curriculum: Curriculum
    ranked: tuple[npt.NDArray[np.int64], ...]

    def __call__(self, epoch: int) -> Tensor:
        """The indices of an epoch."""
        return self.curriculum.lesson(epoch, [torch.from_numpy(members) for members in self.ranked])
