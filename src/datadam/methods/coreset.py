"""Coresets as methods: real images are chosen and nothing is learned, so a run has no iterations.

The equations stand in coresets/, one rule a file; here and in by_features.py and by_training.py are the settings. K classes, n
images of a class.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from datadam.coresets import Insight, random
from datadam.coresets.insight import TRAINING, Behind
from datadam.methods.base import Method, require
from datadam.start import require_members

EPOCHS = 20  # of the network on the whole real set that images are chosen by


@dataclass(frozen=True, kw_only=True)
class Coreset(Method):
    """A choice of real images. Each has `rows`, or a `select` of its own; `looks`, forward passes of each real image that every
    choice makes anew."""

    family: ClassVar[str] = "coreset"
    separable: ClassVar[bool] = True

    looks: ClassVar[float] = 0.0

    @property
    def behind(self) -> tuple[Behind, ...]:
        """What the choice rests on and the cache keeps, so that choices of one seed, network and whitening share it."""
        return ()

    @property
    def training_epochs(self) -> int:
        """Epochs over the whole real set that the choice costs, unless an earlier run has left them in the cache."""
        return sum(one.training.epochs for one in self.behind if one.what == TRAINING)

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


def require_count(name: str, value: object, faults: list[str]) -> None:
    """Add a fault unless the value is a whole number from 1."""
    require(type(value) is int and value >= 1, f"{name} is {value!r}; it must be a whole number >= 1", faults)
