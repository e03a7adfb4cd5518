"""What a method is: a frozen object of settings with a few verbs. The loop knows these verbs and nothing else.

Letters: K classes, M stored images, N training images that they decode to, D numbers of a descriptor.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from datadam.methods import networks
from datadam.methods.cost import Cost, Size, general, matching
from datadam.methods.draw import Draw
from datadam.methods.gradient import Gradient, differentiate
from datadam.methods.matching import Engine
from datadam.nets import Features
from datadam.sets.synthetic import SyntheticSet
from datadam.training.generators import Workshop
from datadam.training.insight import TRAINING, Insight, Requirement
from datadam.training.needs import Needs

State = dict[str, Tensor | int | float]
Parts = Generator[dict[str, Tensor], None, None]


@dataclass(frozen=True, kw_only=True)
class Group:
    """What one optimiser steps.

    Arguments: `tensors`, names of learned tensors; `rule`; `lr`; `momentum` of SGD, beta_1 of Adam, AdamW and LAMB (beta_2 is
    0.999); `decay`, weight decay of these; `clip`, the largest norm of the group's gradient (None: any); `bounds`, between which
    the tensors are held after a step.
    """

    tensors: tuple[str, ...]
    rule: Literal["sgd", "adam", "adamw", "lamb"] = "sgd"
    lr: float
    momentum: float = 0.0
    decay: float = 0.0
    clip: float | None = None
    bounds: tuple[float, float] | None = None


@dataclass(frozen=True, kw_only=True)
class Method:
    """A way to make synthetic images.

    Class variables: `name`, as written on the command line; `family`; `description`; `citation`, BibTeX; `learns`, the tensors
    of the synthetic set that it learns (none: it chooses or samples); `separable`, whether a class's loss reads only that
    class's images, and not its number (with a network that couples no images); `needs_network`, whether it reads more of an
    image than its pixels; `trains_networks`, whether it decides itself when its networks train, so that a recipe must not;
    `real_gradient`, whether gradients are taken on the real side, for which bfloat16 is too coarse; `streams`, whether real
    images need no gradient, so that they go through compiled code in pieces of any size; `draws_real`, whether its iterations
    look at real images; `chooses`, whether it chooses real images; `samples`, whether it trains a generator and samples it;
    `looks`, forward passes of each real image that every choice makes anew; `compiles`, whether its own code can run compiled;
    `augments_each`, whether each synthetic image has an augmentation of its own, by its place in a batch.
    """

    name: ClassVar[str]
    family: ClassVar[str]
    description: ClassVar[str]
    citation: ClassVar[str]
    learns: ClassVar[frozenset[str]] = frozenset({"images"})
    separable: ClassVar[bool]
    needs_network: ClassVar[bool] = True
    trains_networks: ClassVar[bool] = False
    real_gradient: ClassVar[bool] = True
    streams: ClassVar[bool] = False
    draws_real: ClassVar[bool] = True
    chooses: ClassVar[bool] = False
    samples: ClassVar[bool] = False
    looks: ClassVar[float] = 0.0
    compiles: ClassVar[bool] = False
    augments_each: ClassVar[bool] = False

    @property
    def at_once(self) -> bool:
        """Whether its images are there before the first iteration, so that a run has none."""
        return self.chooses or self.samples

    @property
    def behind(self) -> tuple[Requirement, ...]:
        """The trainings and looks at the real set that a choice of images rests on, and that the cache keeps."""
        return ()

    @property
    def between_states(self) -> bool:
        """Whether its networks, where they are trained, lie on lines between two states of one training."""
        return False

    @property
    def training_epochs(self) -> int:
        """Epochs over the whole real set that these trainings count, unless an earlier run has left them in the cache."""
        return sum(work.training.epochs for work in self.behind if work.what == TRAINING)

    @property
    def needs(self) -> Needs:
        """The networks that must exist before iteration 0."""
        return Needs("random" if self.needs_network else "none")

    @property
    def only_features(self) -> bool:
        """Whether it reads features alone, so that networks need no classifier."""
        return False

    @property
    def label_temperature(self) -> float:
        """At which students learn the labels, of a method that learns them: softmax(labels / temperature)."""
        return 1.0

    def rates_of(self, images: int) -> int:
        """T, the rates that it learns where each of its steps has one, with so many training images of the largest class."""
        return 0

    def groups(self, images: Group) -> Sequence[Group]:
        """What the optimisers step, from the recipe's group of the `images`; a method that learns more adds groups of its own."""
        return (images,)

    def start_values(self, synthetic: SyntheticSet, given: object) -> dict[str, Tensor]:
        """First values of what it learns beside the images, by name: "labels" [M, K], "rate" [] or "rates" [T].

        Arguments: `synthetic`, its first images; `given`, what was made because the method `needs` it (None: nothing).
        """
        return {}

    def init(self, synthetic: SyntheticSet, draw: Draw) -> State:
        """State beside the learned tensors, kept in checkpoints as it is: tensors and numbers by name."""
        return {}

    def between(self, state: State, synthetic: SyntheticSet, draw: Draw) -> Generator[State, None, None]:
        """What happens between the image step before and the one of `draw` (before the first one too), such as training networks.

        Every state that is yielded is kept, and an interrupted run goes on from the last one: a long stretch yields more than
        once, and a state says how far it is, so that nothing is done twice when the verb is asked again with it. Here: networks
        train on the synthetic set as the recipe says.
        """
        yield from networks.train_drawn(state, synthetic, draw)

    def gradient(self, state: State, synthetic: SyntheticSet, draw: Draw, *, norms: bool) -> Gradient:
        """The gradient of the loss with respect to what is learned; with `norms`, that of each term alone is measured too."""
        return differentiate(self, state, synthetic, draw, norms=norms)

    def loss(self, state: State, synthetic: SyntheticSet, draw: Draw) -> Parts:
        """The named terms of the loss, each a vector, in one part or several: the sum over all of them is minimised.

        Each part is differentiated and its graph let go before the next is asked for, so a method that yields class after class
        holds one class's graph. The parts have the same names, and their numbers, joined, are the term's.
        """
        raise TypeError(f"{self.name} has no general loss")

    def cost(self, size: Size) -> Cost:
        """Arithmetic and memory of a run of this size."""
        return general(size)

    def choose(self, insight: Insight, ipc: int) -> list[Tensor] | None:
        """Training indices [ipc] of each class, of a method that chooses real images; None of all others."""
        return None

    def train(self, workshop: Workshop) -> State | None:
        """The state from which `sample` draws, of a method that trains a generator; None of all others."""
        return None

    def sample(self, state: State, k: int, count: int, generator: torch.Generator) -> Tensor | None:
        """`count` images of class k in true colours [count, C, H, W], of a method that trains a generator; None of all others."""
        return None

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
    Class variable: `reads_labels`, whether the log-probability that the network gives to an image's own class is one more
    descriptor [N, 1], the last; such a method reads its class numbers, so it is not separable; `coarse`, whether bfloat16, where
    a run takes it, is fine enough for the gradient of its images too.
    """

    family: ClassVar[str] = "feature matching"
    separable: ClassVar[bool] = True
    real_gradient: ClassVar[bool] = False
    streams: ClassVar[bool] = True
    reads_labels: ClassVar[bool] = False
    coarse: ClassVar[bool] = False

    @property
    def only_features(self) -> bool:
        """Unless it reads labels, for which the classifier is asked."""
        return not self.reads_labels

    def descriptors(self, features: Features) -> list[Tensor]:
        """Descriptors [N, D_i] of N images, one row an image; the same function on both sides."""
        raise NotImplementedError

    def terms(self, real: list[Tensor], synthetic: list[Tensor]) -> dict[str, Tensor]:
        """The named terms of the loss, each one number a class [K], from class means [K, D_i] of either side."""
        raise NotImplementedError

    def gradient(self, state: State, synthetic: SyntheticSet, draw: Draw, *, norms: bool) -> Gradient:
        """By the engine, class means on both sides."""
        source = draw.source
        engine: Engine = source.once(lambda: Engine(self, source.plan, source.precision, str(source.device)))
        return engine.gradient(synthetic, draw, norms=norms)

    def cost(self, size: Size) -> Cost:
        """Real images pass once, synthetic ones forward and back."""
        return matching(size, needs_network=self.needs_network)

    def remark(self, features: Features) -> str:
        """Checks that the network has what the descriptors look at. Raises `InvalidInput`."""
        self.descriptors(features)
        return ""
