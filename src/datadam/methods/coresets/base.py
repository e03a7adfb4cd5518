"""Coresets as methods: real images are chosen and nothing is learned, so a run has no iterations.

One rule a file, with its equation and its settings. Letters: K classes, n images of a class, D numbers of an embedding.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from datadam.data.real import require_members
from datadam.methods.base import Method
from datadam.methods.coresets.cost import choosing_memory, passes_to_choose
from datadam.methods.cost import Cost, Size
from datadam.settings import refuse, require
from datadam.training.insight import TRAINING, Insight, Requirement, trained
from datadam.training.needs import Needs

EPOCHS = 20  # of the network on the whole real set that images are chosen by
FEATURES = ("trained", "random")


@dataclass(frozen=True, kw_only=True)
class Coreset(Method):
    """A choice of real images. Each has `rows`, or a `select` of its own; `looks`, forward passes of each real image that every
    choice makes anew."""

    family: ClassVar[str] = "coreset"
    separable: ClassVar[bool] = True

    learns: ClassVar[frozenset[str]] = frozenset()
    real_gradient: ClassVar[bool] = False
    chooses: ClassVar[bool] = True

    @property
    def needs(self) -> Needs:
        """What networks know of the real images."""
        return Needs("insight")

    def cost(self, size: Size) -> Cost:
        """Nothing an iteration, for there is none; trainings and looks before."""
        cure = "choose by random features, or at random" if self.behind else "choose at random" if self.looks else ""
        return Cost(passes=0.0, bytes=choosing_memory(self, size), before=passes_to_choose(self, size), cure=cure)

    def choose(self, insight: Insight, ipc: int) -> list[Tensor]:
        """Training indices [ipc] of each class, all different.

        Arguments: `insight`, the real data with seed, network and device; `ipc`. Raises `InvalidInput` when a class is smaller,
        `RunFailed` when the training of the network fails.
        """
        require_members(insight.real, ipc)
        return [insight.members(k)[self.rows(insight, k, ipc)] for k in range(len(insight.real.classes))]

    def rows(self, insight: Insight, k: int, count: int) -> Tensor:
        """Row numbers [count] among `insight.members(k)`, the best first where the rule has an order."""
        raise NotImplementedError


def require_count(name: str, value: object, faults: list[str]) -> None:
    """Add a fault unless the value is a whole number from 1."""
    require(type(value) is int and value >= 1, f"{name} is {value!r}; it must be a whole number >= 1", faults)


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
    def behind(self) -> tuple[Requirement, ...]:
        return (Requirement(TRAINING, 0, trained(self.epochs)),) if self.features == "trained" else ()

    def rows(self, insight: Insight, k: int, count: int) -> Tensor:
        return self.among(insight, k, insight.embeddings(k, self.training_epochs), count)

    def among(self, insight: Insight, k: int, embeddings: Tensor, count: int) -> Tensor:
        """Row numbers [count] from the embeddings [n, D] of class k."""
        raise NotImplementedError
