"""Generators as methods: a network learns to make images of each class, and a run takes samples of it; it has no iterations.

Letters: K classes, B images of a batch, C channels, H x W pixels, Z numbers of noise.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from datadam.machine import images_at_once
from datadam.methods.base import Method, State
from datadam.methods.cost import Cost, Size
from datadam.methods.generators.cost import counted
from datadam.methods.generators.networks import NORMAL, Shape, seeded
from datadam.rng import stream
from datadam.settings import finite, refuse, require
from datadam.training.generators import Adam, Turn, Workshop
from datadam.training.needs import Needs

GENERATOR, AVERAGE = "generator", "average"  # the network that makes images, and its running mean where a method keeps one
COPIES = 3  # of all maps of a turn that are alive at once, and of weights: gradients and Adam's two moments


@dataclass(frozen=True, kw_only=True)
class Generator(Method):
    """A generator, trained on the whole real set.

    Arguments: `epochs` over the real set; `batch` (B); `lr` of Adam; `noise` (Z); `width`, of the networks. Raises
    `InvalidInput` with every wrong setting.
    """

    epochs: int
    batch: int
    lr: float
    noise: int
    width: int

    family: ClassVar[str] = "generator"
    learns: ClassVar[frozenset[str]] = frozenset()
    separable: ClassVar[bool] = False
    needs_network: ClassVar[bool] = False
    real_gradient: ClassVar[bool] = False
    samples: ClassVar[bool] = True
    first_weights: ClassVar[float | None] = NORMAL

    def __post_init__(self) -> None:
        refuse(self.faults())

    def faults(self) -> list[str]:
        """What is wrong with the settings."""
        faults: list[str] = []
        for name, least in (("epochs", 1), ("batch", 2), ("noise", 1), ("width", 1)):
            value = getattr(self, name)
            require(type(value) is int and value >= least, f"{name} is {value!r}; it must be a whole number >= {least}", faults)
        require(finite(self.lr) and self.lr > 0, f"lr is {self.lr!r}; it must be a number > 0", faults)
        return faults

    @property
    def turns(self) -> int:
        """Turns until each network has been stepped."""
        return 1

    @property
    def training_epochs(self) -> int:
        """Of the generator."""
        return self.epochs

    @property
    def needs(self) -> Needs:
        """A place where it is trained."""
        return Needs("generator")

    def maker(self, shape: Shape, classes: int) -> nn.Module:
        """G alone: images [B, C, H, W] in [-1, 1] of noise [B, Z] and class numbers [B]. Raises `InvalidInput`."""
        raise NotImplementedError

    def networks(self, shape: Shape, classes: int) -> nn.ModuleDict:
        """All by name, one of them the "generator". Raises `InvalidInput` for images of no fitting size."""
        raise NotImplementedError

    def rules(self) -> Mapping[str, Adam]:
        """An Adam for each network that is stepped."""
        raise NotImplementedError

    def turn(self, turn: Turn, classes: int) -> None:
        """What is done with one batch of real images."""
        raise NotImplementedError

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Noise [count, Z] that images are made of, here standard normal."""
        return torch.randn(count, self.noise, generator=generator)

    def train(self, workshop: Workshop) -> State:
        """The trained generator, as `sample` takes it."""
        shape, classes = workshop.real.shape, len(workshop.real.classes)
        first = stream(workshop.seed, "generator", self.name, "init")
        networks = workshop.trained(
            self.name, self.settings(), seeded(lambda: self.networks(shape, classes), first, self.first_weights), self.rules(),
            lambda turn: self.turn(turn, classes), epochs=self.epochs, batch=self.batch,
        )  # fmt: skip
        best = networks[AVERAGE if AVERAGE in networks else GENERATOR]
        numbers = dict(zip(("channels", "height", "width"), shape, strict=True)) | {"classes": classes}
        return numbers | {f"{GENERATOR}/{name}": value.detach().cpu() for name, value in best.state_dict().items()}

    @torch.no_grad()
    def sample(self, state: State, k: int, count: int, generator: torch.Generator) -> Tensor:
        """Images of class k in true colours: [count, C, H, W] in [0, 1], float32."""
        shape = int(state["channels"]), int(state["height"]), int(state["width"])
        network = seeded(lambda: self.maker(shape, int(state["classes"])), torch.Generator(), None)
        weights = {name.removeprefix(f"{GENERATOR}/"): value for name, value in state.items() if isinstance(value, Tensor)}
        network.to(next(iter(weights.values())).dtype).load_state_dict(weights)
        network.eval()
        z = self.draw(count, generator).to(next(network.parameters()).dtype)
        parts = [network(some, torch.full((len(some),), k)) for some in z.split(images_at_once(shape))]
        return ((torch.cat(parts).float() + 1) / 2).clamp(0, 1)

    def cost(self, size: Size) -> Cost:
        """The training, in operations of its own networks."""
        if not size.shape or not size.members:  # asked for an iteration alone, before the data are known
            return Cost(passes=0.0, bytes=0.0)
        operations, maps, weights = counted(self, size.shape, len(size.members))
        together = min(self.batch, sum(size.members))
        needed = COPIES * together * maps + (1 + COPIES) * weights
        return Cost(
            passes=0.0, bytes=needed, operations_before=self.epochs * sum(size.members) * operations, cure="lower batch or width"
        )
