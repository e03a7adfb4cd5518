"""Coresets chosen by what trainings on the real set show of each image: forgetting, EL2N and GraNd (equations in coresets/).

Letters: K classes, n images of a class.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from datadam.coresets import Insight, difficulty, forgetting
from datadam.coresets.insight import TRAINING, Behind, early, trained
from datadam.methods.base import refuse, require
from datadam.methods.coreset import EPOCHS, Coreset, require_count


@dataclass(frozen=True, kw_only=True)
class Forgetting(Coreset):
    """The most often forgotten images. `epochs` of the training that is watched. Raises `InvalidInput`."""

    epochs: int = EPOCHS

    name: ClassVar[str] = "forgetting"
    description: ClassVar[str] = forgetting.DESCRIPTION
    citation: ClassVar[str] = forgetting.CITATION

    def __post_init__(self) -> None:
        faults: list[str] = []
        require_count("epochs", self.epochs, faults)
        refuse(faults)

    @property
    def behind(self) -> tuple[Behind, ...]:
        return (Behind(TRAINING, 0, trained(self.epochs)),)

    def rows(self, insight: Insight, k: int, count: int) -> Tensor:
        return forgetting.most_forgotten(*insight.forgetting(k, self.epochs), count)


@dataclass(frozen=True, kw_only=True)
class DifficultyCoreset(Coreset):
    """A choice by difficulty, as EL2N or GraNd measure it.

    Arguments: `pick`, the "hardest" images as in the paper, which keeps most of a set, or the "easiest"; `averaged`, networks
    over which the score is the mean, each trained for `epochs`. Raises `InvalidInput` with every wrong setting.
    """

    pick: str = "hardest"
    averaged: int = 3
    epochs: int = 5

    def __post_init__(self) -> None:
        faults: list[str] = []
        require(self.pick in difficulty.PICKS, f"pick is {self.pick!r}; allowed: {', '.join(difficulty.PICKS)}", faults)
        require_count("averaged", self.averaged, faults)
        require_count("epochs", self.epochs, faults)
        refuse(faults)

    @property
    def behind(self) -> tuple[Behind, ...]:
        return tuple(
            Behind(what, number, early(self.epochs)) for number in range(self.averaged) for what in (TRAINING, self.name)
        )

    def rows(self, insight: Insight, k: int, count: int) -> Tensor:
        return difficulty.ranked(insight.difficulty(k, self.name, self.averaged, self.epochs), self.pick, count)


@dataclass(frozen=True, kw_only=True)
class EL2N(DifficultyCoreset):
    """By the distance of predicted probabilities to the label; settings as `DifficultyCoreset`."""

    name: ClassVar[str] = "el2n"
    description: ClassVar[str] = difficulty.EL2N_DESCRIPTION
    citation: ClassVar[str] = difficulty.CITATION


@dataclass(frozen=True, kw_only=True)
class GraNd(DifficultyCoreset):
    """By the norm of the loss gradient; settings as `DifficultyCoreset`."""

    name: ClassVar[str] = "grand"
    description: ClassVar[str] = difficulty.GRAND_DESCRIPTION
    citation: ClassVar[str] = difficulty.CITATION
