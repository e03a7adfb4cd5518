"""EL2N and GraNd, the difficulty of an image to a network early in its training (Paul et al., NeurIPS 2021).

    EL2N(x)  = mean over networks of || softmax(f(x)) - onehot(y) ||_2
    GraNd(x) = mean over networks of || d cross-entropy(f(x), y) / d theta ||_2,   theta: all parameters

GraNd is the norm of the whole gradient, computed image by image, and not that of the last layer. Departures: the paper averages
over ten networks, we over fewer unless asked (`averaged`); they look at images as in testing (no augmentation, the statistics of
batch norm kept).
Letters: N images, B images of a batch, K classes.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from datadam.methods.coresets.base import Coreset, require_count
from datadam.settings import refuse, require
from datadam.training.insight import TRAINING, Insight, Requirement, early

EL2N_DESCRIPTION = "real images that lie farthest from (or nearest to) their label for networks early in training"
GRAND_DESCRIPTION = "real images with the largest (or smallest) loss gradient in networks early in training"
CITATION = """@inproceedings{paul2021deep,
  title={Deep Learning on a Data Diet: Finding Important Examples Early in Training},
  author={Paul, Mansheej and Ganguli, Surya and Dziugaite, Gintare Karolina}, booktitle={NeurIPS}, year={2021}}"""
PICKS = ("hardest", "easiest")


def ranked(scores: Tensor, pick: str, count: int) -> Tensor:
    """Row numbers [count] by falling score ("hardest") or rising ("easiest"); equal scores keep the order."""
    return scores.argsort(descending=pick == "hardest", stable=True)[:count]


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
        require(self.pick in PICKS, f"pick is {self.pick!r}; allowed: {', '.join(PICKS)}", faults)
        require_count("averaged", self.averaged, faults)
        require_count("epochs", self.epochs, faults)
        refuse(faults)

    @property
    def behind(self) -> tuple[Requirement, ...]:
        return tuple(
            Requirement(what, number, early(self.epochs)) for number in range(self.averaged) for what in (TRAINING, self.name)
        )

    def rows(self, insight: Insight, k: int, count: int) -> Tensor:
        return ranked(insight.difficulty(k, self.name, self.averaged, self.epochs), self.pick, count)


@dataclass(frozen=True, kw_only=True)
class EL2N(DifficultyCoreset):
    """By the distance of predicted probabilities to the label; settings as `DifficultyCoreset`."""

    name: ClassVar[str] = "el2n"
    description: ClassVar[str] = EL2N_DESCRIPTION
    citation: ClassVar[str] = CITATION


@dataclass(frozen=True, kw_only=True)
class GraNd(DifficultyCoreset):
    """By the norm of the loss gradient; settings as `DifficultyCoreset`."""

    name: ClassVar[str] = "grand"
    description: ClassVar[str] = GRAND_DESCRIPTION
    citation: ClassVar[str] = CITATION
