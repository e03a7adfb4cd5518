"""Coresets chosen by distances of embeddings: the settings of herding, k-center and k-means (equations in coresets/).

Letters: K classes, n images of a class, D numbers of an embedding.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from datadam.coresets import Insight, herding, kcenter, kmeans
from datadam.coresets.insight import TRAINING, Behind, trained
from datadam.methods.base import refuse, require
from datadam.methods.coreset import EPOCHS, Coreset, require_count

FEATURES = ("trained", "random")


@dataclass(frozen=True, kw_only=True)
class FeatureCoreset(Coreset):
    """A choice by distances of embeddings.

    Arguments: `features`, of a network "trained" on the real set as in the papers, or with "random" weights, which costs nothing;
    `epochs` of that training. Raises `InvalidInput` with every wrong setting.
    """

    features: str = "trained"
    epochs: int = EPOCHS

    looks: ClassVar[float] = 1.0  # the embeddings, which no disk keeps

    def __post_init__(self) -> None:
        refuse(self.faults())

    def faults(self) -> list[str]:
        """What is wrong with the settings."""
        faults: list[str] = []
        require(self.features in FEATURES, f"features is {self.features!r}; allowed: {', '.join(FEATURES)}", faults)
        require_count("epochs", self.epochs, faults)
        idle = self.features == "random" and self.epochs != EPOCHS
        require(
            not idle, "epochs is of a training, and features=random has none; leave epochs out, or say features=trained", faults
        )
        return faults

    @property
    def behind(self) -> tuple[Behind, ...]:
        return (Behind(TRAINING, 0, trained(self.epochs)),) if self.features == "trained" else ()

    def rows(self, insight: Insight, k: int, count: int) -> Tensor:
        return self.choose(insight, k, insight.embeddings(k, self.training_epochs), count)

    def choose(self, insight: Insight, k: int, embeddings: Tensor, count: int) -> Tensor:
        """Row numbers [count] from the embeddings [n, D] of class k."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Herding(FeatureCoreset):
    """Greedily keep the mean of the chosen images nearest to the class mean; settings as `FeatureCoreset`."""

    name: ClassVar[str] = "herding"
    description: ClassVar[str] = herding.DESCRIPTION
    citation: ClassVar[str] = herding.CITATION

    def choose(self, insight: Insight, k: int, embeddings: Tensor, count: int) -> Tensor:
        return herding.greedy(embeddings, count)


@dataclass(frozen=True, kw_only=True)
class KCenter(FeatureCoreset):
    """Greedily cover the class; settings as `FeatureCoreset`, and `first`, the image that the choice begins with: the one nearest
    to the "mean" of the class, or a "random" one."""

    first: str = "mean"

    name: ClassVar[str] = "kcenter"
    description: ClassVar[str] = kcenter.DESCRIPTION
    citation: ClassVar[str] = kcenter.CITATION

    def faults(self) -> list[str]:
        allowed = f"first is {self.first!r}; allowed: {', '.join(kcenter.FIRST)}"
        return [*super().faults(), *([] if self.first in kcenter.FIRST else [allowed])]

    def choose(self, insight: Insight, k: int, embeddings: Tensor, count: int) -> Tensor:
        drawn = self.first == "random"
        first = kcenter.random_first(len(embeddings), insight.seed, insight.real.classes[k]) if drawn else None
        return kcenter.greedy(embeddings, count, first)


@dataclass(frozen=True, kw_only=True)
class KMeans(FeatureCoreset):
    """The real images nearest to k-means centres; settings as `FeatureCoreset`."""

    name: ClassVar[str] = "kmeans"
    description: ClassVar[str] = kmeans.DESCRIPTION
    citation: ClassVar[str] = kmeans.CITATION

    def choose(self, insight: Insight, k: int, embeddings: Tensor, count: int) -> Tensor:
        return kmeans.nearest_to_centres(embeddings, count, insight.seed, insight.real.classes[k])
