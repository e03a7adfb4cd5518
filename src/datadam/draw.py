"""Everything that one iteration may draw: a network, real images of a class, an augmentation.

A draw is named by the iteration and the class, never by when it is asked for (see rng.py); asking twice gives the same.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from datadam import nets
from datadam.augment import Augmentation, draw_augmentation
from datadam.data import RealData
from datadam.nets import Network
from datadam.rng import stream


@dataclass
class Draws:
    """What a run draws from.

    Arguments: `real`, the data; `network`, the module whose weights are drawn anew in place (one module for the whole run, so
    that compiled code stays valid); `seed`, the run's; `batch_real` (B), real images of a class and iteration; `augment`,
    the words of the augmentation strategy; `init`, the distribution of the weights; `iterations_per_network`, how many
    iterations share one network; `device` and `dtype` of everything handed out.
    """

    real: RealData
    network: Network
    seed: int
    batch_real: int
    augment: str = "none"
    init: str = "default"
    iterations_per_network: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    dtype: torch.dtype = torch.float32
    drawn: int = -1  # the number of the network whose weights `network` holds

    def at(self, iteration: int) -> "Draw":
        """The draws of one iteration, numbered from 0."""
        return Draw(self, iteration)


@dataclass(frozen=True)
class Draw:
    """The draws of one iteration."""

    source: Draws
    iteration: int

    @property
    def starts_network(self) -> bool:
        """Whether this iteration is the first one of its network."""
        return self.iteration % self.source.iterations_per_network == 0

    def network(self) -> Network:
        """The network of this iteration, in train mode, its weights without gradient."""
        source = self.source
        number = self.iteration // source.iterations_per_network
        if source.drawn != number:
            nets.initialise(source.network, stream(source.seed, "network", number), source.init)
            source.network.train().requires_grad_(False)
            source.drawn = number
        return source.network

    def real(self, k: int) -> Tensor:
        """B real images [B, C, H, W] of class k, drawn without replacement; a smaller class gives all it has."""
        return self._images(self._chosen(k))

    def real_chunks(self, k: int, size: int) -> Iterator[Tensor]:
        """The images of `real(k)`, at most `size` at a time."""
        for chosen in self._chosen(k).split(size):
            yield self._images(chosen)

    def real_count(self, k: int) -> int:
        """How many images `real(k)` gives."""
        return min(self.source.batch_real, len(self.source.real.by_class[k]))

    def _chosen(self, k: int) -> Tensor:
        source = self.source
        members = source.real.by_class[k]
        generator = stream(source.seed, "real", self.iteration, source.real.classes[k])
        return torch.from_numpy(members)[torch.randperm(len(members), generator=generator)[: source.batch_real]]

    def _images(self, chosen: Tensor) -> Tensor:
        return self.source.real.images(chosen, dtype=self.source.dtype, device=self.source.device)

    def augmentation(self, k: int) -> Augmentation | None:
        """The augmentation of class k: one parameter set for its real and synthetic images."""
        source = self.source
        return draw_augmentation(source.augment, source.seed, "augment", self.iteration, source.real.classes[k])
