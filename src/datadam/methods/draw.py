"""Everything that one iteration may draw: a network, real images of a class, an augmentation.

A draw is named by the iteration and the class, never by when it is asked for (see rng.py); asking twice gives the same.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from datadam import nets
from datadam.augment.siamese import Augmentation, draw_augmentation
from datadam.data import RealData
from datadam.data.resident import InFile, take
from datadam.methods.networks import OnTheWay
from datadam.methods.plan import Plan
from datadam.nets import Network
from datadam.rng import carry, stream
from datadam.training.pool import Bucket
from datadam.training.trainer import Loss, Rule, Trainer, Training, sgd


@dataclass
class Draws:
    """What a run draws from.

    Arguments: `real`, the data; `network`, the module whose weights are drawn anew in place (one module for the whole run, so
    that compiled code stays valid); `seed`, the run's; `batch_real` (B), real images of a class and iteration; `augment`,
    the words of the augmentation strategy; `init`, the distribution of the weights; `iterations_per_network`, how many
    iterations share one network; `real_every`, how many share all that is drawn; `batch_synthetic`, training images of each class
    of the synthetic set that an iteration looks at (0: all); `device` and `dtype` of everything handed out;
    `on_the_way`, how matching networks are trained on the synthetic set, where they are; `plan` and `precision`, how features are
    computed; `bucket`, trained networks to draw from (None: random weights), or from `between` their states; `kept`, the training
    images where they are kept ready (see data/resident.py); `given`, what was made because the method needs it.
    """

    real: RealData
    network: Network
    seed: int
    batch_real: int
    augment: str = "none"
    init: str = "default"
    iterations_per_network: int = 1
    real_every: int = 1
    batch_synthetic: int = 0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    dtype: torch.dtype = torch.float32
    on_the_way: OnTheWay = field(default_factory=OnTheWay)
    plan: Plan = field(default_factory=lambda: Plan(compiled=False, chunk=2048, threads=1))
    precision: str = "float32"
    bucket: Bucket | None = None
    between: bool = False
    kept: Tensor | InFile | None = None
    given: object = None
    drawn: int = -1  # the number of the network whose weights `network` holds
    spare: Network | None = None  # where the next weights are drawn
    ready: dict[tuple[int, int], tuple[Tensor, Augmentation | None]] = field(default_factory=dict)  # by iteration and class
    engine: Any = None  # what the method made once for the whole run, such as compiled code

    def once(self, make: Callable[[], Any]) -> Any:
        """What `make` returns, made once for the whole run."""
        if self.engine is None:
            self.engine = make()
        return self.engine

    def at(self, iteration: int) -> "Draw":
        """The draws of one iteration, numbered from 0; iterations that share them have those of their first."""
        return Draw(self, iteration - iteration % self.real_every, iteration)

    @contextmanager
    def ahead(self, iteration: int) -> Iterator[None]:
        """Draw for an iteration what would be drawn during it, the same: so a CPU draws while a GPU computes.

        Weights, which take longest, are drawn in a thread while the block inside runs and gives the GPU its work. They go into
        the network after the block, and on the GPU behind that work.
        """
        draw = self.at(iteration)
        number = draw.iteration // self.iterations_per_network
        spare = self.spare = self.spare or deepcopy(self.network).cpu()
        with ThreadPoolExecutor(1) as pool:
            drawing = pool.submit(self.fill, spare, number) if number != self.drawn else None
            yield
            classes = range(len(self.real.classes))
            self.ready = {(draw.iteration, k): (draw._chosen(k), draw.augmentation(k)) for k in classes}
        if drawing:
            drawing.result()  # raises what the thread raised
            for there, drawn in zip(self.network.state_dict().values(), spare.state_dict().values(), strict=True):
                there.copy_(carry(drawn, there.device))
            self._is(number)

    def fill(self, network: Network, number: int) -> None:
        """Give a network of our kind the weights of this number."""
        generator = stream(self.seed, "network", number)
        if self.bucket is None:
            nets.initialise(network, generator, self.init)
        elif self.between:
            self.bucket.fill_between(network, generator)
        else:
            self.bucket.fill(network, generator)

    def _is(self, number: int) -> None:
        """The network now has the weights of this number."""
        self.network.train().requires_grad_(False)
        self.drawn = number


@dataclass(frozen=True)
class Draw:
    """The draws of an `iteration`; `now`, which of those it is that share them."""

    source: Draws
    iteration: int
    now: int

    @property
    def starts_network(self) -> bool:
        """Whether this iteration is the first one of its network."""
        return self.iteration % self.source.iterations_per_network == 0

    @property
    def is_drawn(self) -> bool:
        """Whether the network at hand is that of this iteration, as it was left."""
        return self.source.drawn == self.iteration // self.source.iterations_per_network

    def network(self, number: int | None = None) -> Network:
        """The network of this iteration, or the one of a number, in train mode, its weights without gradient."""
        source = self.source
        number = self.iteration // source.iterations_per_network if number is None else number
        if source.drawn != number:
            source.fill(source.network, number)
            source._is(number)
        return source.network

    def real(self, k: int) -> Tensor:
        """B real images [B, C, H, W] of class k, drawn without replacement; a smaller class gives all it has."""
        return self._images(self._chosen(k))

    def real_of(self, first: int, last: int) -> list[Tensor]:
        """The images `real(k)` of the classes first..last-1, fetched together where they are kept ready."""
        if self.source.kept is None:
            return [self.real(k) for k in range(first, last)]
        chosen = [self._chosen(k) for k in range(first, last)]
        return list(self._images(torch.cat(chosen)).split([len(c) for c in chosen]))

    @contextmanager
    def training(
        self, images: Tensor, labels: Tensor, epochs: int, training: Training | None = None, rule: Rule = sgd,
        loss: Loss = F.cross_entropy,
    ) -> Iterator[Trainer]:  # fmt: skip
        """A training of the network that was drawn last, at its beginning, on synthetic images [N, C, H, W] and their labels: as
        the run says, or by a `training`, a `rule` and a `loss` of the method.

        The optimiser is a fresh one; after the block the weights are again without gradient.
        """
        source = self.source
        network = source.network.requires_grad_(True)
        training = replace(training or source.on_the_way.training, epochs=epochs, drop_after=epochs)
        what = (source.seed, "network", self.iteration)
        try:
            yield Trainer(network, lambda i: images[carry(i, images.device)], labels, training, *what, rule=rule, loss=loss)
        finally:
            network.requires_grad_(False).zero_grad(set_to_none=True)

    def real_chunks(self, k: int, size: int | None = None) -> Iterator[Tensor]:
        """The images of `real(k)`, at most `size` (the run's chunk) at a time."""
        for chosen in self._chosen(k).split(size or self.source.plan.chunk):
            yield self._images(chosen)

    def sample(self, k: int, count: int, *what: str | int) -> Tensor:
        """`count` real images of class k, drawn apart from `real(k)`, or all of a smaller class; `what` names the stream."""
        return self._images(self._choose(k, count, *what))

    def real_count(self, k: int) -> int:
        """How many images `real(k)` gives."""
        return min(self.source.batch_real, len(self.source.real.by_class[k]))

    def real_numbers(self) -> Tensor:
        """Class numbers [B] of the real images of all classes, class after class."""
        counts = [self.real_count(k) for k in range(len(self.source.real.classes))]
        return carry(torch.arange(len(counts)).repeat_interleave(torch.tensor(counts)), self.source.device)

    def _chosen(self, k: int) -> Tensor:
        ready = self.source.ready.get((self.iteration, k))
        return ready[0] if ready else self._choose(k, self.source.batch_real, "real")

    def _choose(self, k: int, count: int, *what: str | int) -> Tensor:
        source = self.source
        members = source.real.by_class[k]
        generator = stream(source.seed, *what, self.iteration, source.real.classes[k])
        return torch.from_numpy(members)[torch.randperm(len(members), generator=generator)[:count]]

    def _images(self, chosen: Tensor) -> Tensor:
        source = self.source
        if source.kept is not None:
            return take(source.kept, chosen, source.real, source.dtype)
        return source.real.images(chosen, dtype=source.dtype, device=source.device)

    def synthetic_count(self, count: int) -> int:
        """How many of the `count` training images that the synthetic set has of a class this iteration looks at."""
        return min(count, self.source.batch_synthetic or count)

    def synthetic(self, k: int, count: int) -> Tensor | None:
        """Which of the `count` training images that the synthetic set has of class k this iteration looks at, drawn without
        replacement; None for all. Iterations that share the real side have another draw each."""
        looked_at = self.synthetic_count(count)
        if looked_at == count:
            return None
        order = torch.randperm(count, generator=stream(self.source.seed, "synthetic", self.now, self.source.real.classes[k]))
        return carry(order[:looked_at].sort().values, self.source.device)

    def augmentation(self, k: int) -> Augmentation | None:
        """The augmentation of class k: one parameter set for its real and synthetic images."""
        source = self.source
        if ready := source.ready.get((self.iteration, k)):
            return ready[1]
        return draw_augmentation(source.augment, source.seed, "augment", self.iteration, source.real.classes[k])

    def batch_augmentation(self, step: int, images: int) -> Augmentation | None:
        """The augmentation of the batch that a network trains on in some step of this iteration: one operation, each of the
        `images` with parameters of its own."""
        source = self.source
        return draw_augmentation(source.augment, source.seed, "batch", self.iteration, step, images=images)
