"""What a method is: a frozen object of settings with a few pure functions. The loop knows these verbs and nothing else.

Letters: K classes, N images, D numbers of a descriptor.
"""

import math
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from torch import Tensor

from datadam.draw import Draw
from datadam.errors import InvalidInput
from datadam.nets import Features
from datadam.start import SyntheticSet

State = dict[str, Tensor | int | float]


@dataclass(frozen=True, kw_only=True)
class Method:
    """A way to learn synthetic images.

    The general verbs serve gradient, trajectory and kernel methods; feature matching needs none of them (see below).
    Class variables: `name`, as written on the command line; `family`; `citation`, BibTeX; `separable`, whether a class's loss
    reads only that class's images (with a network that couples no images).
    """

    name: ClassVar[str]
    family: ClassVar[str]
    description: ClassVar[str]
    citation: ClassVar[str]
    separable: ClassVar[bool]

    def init(self, synthetic: SyntheticSet, draw: Draw) -> State:
        """State beside the images, kept in checkpoints as it is: tensors and numbers by name."""
        return {}

    def loss(self, state: State, synthetic: SyntheticSet, draw: Draw) -> dict[str, Tensor]:
        """The named terms of the loss; their sum is minimised."""
        raise TypeError(f"{self.name} has no general loss")

    def after_step(self, state: State, synthetic: SyntheticSet, draw: Draw) -> State:
        """The state for the next iteration."""
        return state

    def remark(self, features: Features) -> str:
        """What a user must be told about this method on a network that gives such features; "" for nothing."""
        return ""

    def settings(self) -> dict[str, Any]:
        """The settings by name, as JSON knows them."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


@dataclass(frozen=True, kw_only=True)
class FeatureMatching(Method):
    """Methods that compare class means of descriptors of real and synthetic images.

    The real side needs no gradient and only running means, so the engine (matching.py) streams it at constant memory.
    """

    family: ClassVar[str] = "feature matching"
    separable: ClassVar[bool] = True

    def descriptors(self, features: Features) -> list[Tensor]:
        """Descriptors [N, D_i] of N images, one row an image; the same function on both sides."""
        raise NotImplementedError

    def terms(self, real: list[Tensor], synthetic: list[Tensor]) -> dict[str, Tensor]:
        """The named terms of the loss, each one number a class [K], from class means [K, D_i] of either side."""
        raise NotImplementedError


def require(ok: bool, what: str, faults: list[str]) -> None:
    """Add a fault unless ok; settings are checked together, so that all faults show at once."""
    if not ok:
        faults.append(what)


def finite(value: object) -> bool:
    """Whether value is a real, finite number (and no truth value)."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def refuse(faults: list[str]) -> None:
    """Raise `InvalidInput` with all faults, if any."""
    if faults:
        raise InvalidInput(*faults)
