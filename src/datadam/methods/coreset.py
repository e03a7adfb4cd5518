"""Coresets as methods: real images are chosen and nothing is learned, so a run has no iterations.

The equations stand in coresets/, one rule a file; here are the settings. K classes, n images of a class.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from datadam.coresets import Insight, difficulty, forgetting, herding, kcenter, kmeans, random
from datadam.methods.base import Method, refuse, require
from datadam.start import require_members

FEATURES = ("trained", "random")
EPOCHS = 20  # of the network on the whole real set that images are chosen by


@dataclass(frozen=True, kw_only=True)
class Coreset(Method):
    """A choice of real images. Each has `rows`, or a `select` of its own."""

    family: ClassVar[str] = "coreset"
    separable: ClassVar[bool] = True

    @property
    def training_epochs(self) -> int:
        """Epochs over the whole real set that the choice costs, unless an earlier run has left them in the cache."""
        return 0

    def select(self, insight: Insight, ipc: int) -> list[Tensor]:
        """Training indices [ipc] of each class, all different.

        Arguments: `insight`, the real data with seed, network and device; `ipc`. Raises `InvalidInput` when a class is smaller,
        `RunFailed` when the training of the network fails.
        """
        require_members(insight.real, ipc)
        return [insight.members(k)[self.rows(insight, k, ipc)] for k in range(len(insight.real.classes))]

    def rows(self, insight: Insight, k: int, count: int) -> Tensor:
        """Row numbers [count] among `insight.members(k)`, the best first where the rule has an order."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Random(Coreset):
    """Random real images of each class: the baseline that everything must beat. It has no settings."""

    name: ClassVar[str] = "random"
    description: ClassVar[str] = random.DESCRIPTION
    citation: ClassVar[str] = ""

    def select(self, insight: Insight, ipc: int) -> list[Tensor]:
        """Training indices [ipc] of each class; the first m of a larger choice are the choice of m."""
        require_members(insight.real, ipc)
        return random.select(insight.real, ipc, insight.seed)


@dataclass(frozen=True, kw_only=True)
class FeatureCoreset(Coreset):
    """A choice by distances of embeddings.

    Arguments: `features`, of a network "trained" on the real set as in the papers, or with "random" weights, which costs nothing;
    `epochs` of that training. Raises `InvalidInput` with every wrong setting.
    """

    features: str = "trained"
    epochs: int = EPOCHS

    def __post_init__(self) -> None:
        faults: list[str] = []
        require(self.features in FEATURES, f"features is {self.features!r}; allowed: {', '.join(FEATURES)}", faults)
        _require_count("epochs", self.epochs, faults)
        idle = self.features == "random" and self.epochs != EPOCHS
        require(
            not idle, "epochs is of a training, and features=random has none; leave epochs out, or say features=trained", faults
        )
        refuse(faults)

    @property
    def training_epochs(self) -> int:
        return self.epochs if self.features == "trained" else 0

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
    """Greedily cover the class; settings as `FeatureCoreset`."""

    name: ClassVar[str] = "kcenter"
    description: ClassVar[str] = kcenter.DESCRIPTION
    citation: ClassVar[str] = kcenter.CITATION

    def choose(self, insight: Insight, k: int, embeddings: Tensor, count: int) -> Tensor:
        return kcenter.greedy(embeddings, count)


@dataclass(frozen=True, kw_only=True)
class KMeans(FeatureCoreset):
    """The real images nearest to k-means centres; settings as `FeatureCoreset`."""

    name: ClassVar[str] = "kmeans"
    description: ClassVar[str] = kmeans.DESCRIPTION
    citation: ClassVar[str] = kmeans.CITATION

    def choose(self, insight: Insight, k: int, embeddings: Tensor, count: int) -> Tensor:
        return kmeans.nearest_to_centres(embeddings, count, insight.seed, insight.real.classes[k])


@dataclass(frozen=True, kw_only=True)
class Forgetting(Coreset):
    """The most often forgotten images. `epochs` of the training that is watched. Raises `InvalidInput`."""

    epochs: int = EPOCHS

    name: ClassVar[str] = "forgetting"
    description: ClassVar[str] = forgetting.DESCRIPTION
    citation: ClassVar[str] = forgetting.CITATION

    def __post_init__(self) -> None:
        faults: list[str] = []
        _require_count("epochs", self.epochs, faults)
        refuse(faults)

    @property
    def training_epochs(self) -> int:
        return self.epochs

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
        _require_count("averaged", self.averaged, faults)
        _require_count("epochs", self.epochs, faults)
        refuse(faults)

    @property
    def training_epochs(self) -> int:
        return self.averaged * self.epochs

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


def _require_count(name: str, value: object, faults: list[str]) -> None:
    require(type(value) is int and value >= 1, f"{name} is {value!r}; it must be a whole number >= 1", faults)
