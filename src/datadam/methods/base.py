"""What a method is: a frozen object of settings with a few pure functions. The loop knows these verbs and nothing else.

Letters: K classes, N images, D numbers of a descriptor.
"""

from collections.abc import Generator
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from torch import Tensor

from datadam.methods.cost import Cost
from datadam.methods.draw import Draw
from datadam.nets import Features
from datadam.sets.synthetic import SyntheticSet

State = dict[str, Tensor | int | float]
Parts = Generator[dict[str, Tensor], None, None]


@dataclass(frozen=True, kw_only=True)
class Method:
    """A way to learn synthetic images.

    The general verbs serve gradient, trajectory and kernel methods; feature matching needs none of them (see below).
    Class variables: `name`, as written on the command line; `family`; `citation`, BibTeX; `separable`, whether a class's loss
    reads only that class's images (with a network that couples no images); `needs_network`, whether it reads more of an image
    than its pixels; `trains_networks`, whether the method trains its
    networks itself, so that a recipe must not; `cost`, of an iteration.
    """

    name: ClassVar[str]
    family: ClassVar[str]
    description: ClassVar[str]
    citation: ClassVar[str]
    separable: ClassVar[bool]
    needs_network: ClassVar[bool] = True
    trains_networks: ClassVar[bool] = False
    cost: ClassVar[Cost] = Cost()

    def init(self, synthetic: SyntheticSet, draw: Draw) -> State:
        """State beside the images, kept in checkpoints as it is: tensors and numbers by name."""
        return {}

    def loss(self, state: State, synthetic: SyntheticSet, draw: Draw) -> Parts:
        """The named terms of the loss, each a vector, in one part or several: the sum over all of them is minimised.

        Each part is differentiated and its graph let go before the next is asked for, so a method that yields class after class
        holds one class's graph. The parts have the same names, and their numbers, joined, are the term's.
        """
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
