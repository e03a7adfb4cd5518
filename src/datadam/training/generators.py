"""Training of generators on the real set: networks that are stepped in turns, each by an Adam of its own; kept, and gone on with.

What a turn does is the method's (methods/generators/); here are batches, optimisers, state and the disk. Images are pixels
stretched to [-1, 1], whatever the run normalises or whitens, so that one trained generator serves all such runs and any number
of images a class.

Letters: N training images, B images of a batch, C channels, H x W pixels.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from datadam.data import RealData
from datadam.errors import RunFailed
from datadam.files.kept import Record, Store, cache_folder
from datadam.machine import versions
from datadam.rng import carry, stream
from datadam.training.insight import Progress, Provenance
from datadam.training.resumable import train_on
from datadam.training.trainer import inside

FORMAT = "datadam-generator/1"
DOING = "training the generator"
LOOK_EVERY = 50  # steps after which the loss is looked at on a GPU, which must finish all its work for that


class Adam(NamedTuple):
    """The rule of one network: rate and the two betas."""

    lr: float
    beta1: float
    beta2: float


@dataclass(frozen=True)
class Turn:
    """One batch, and what is stepped on it.

    Arguments: `networks`, by name; `x` [B, C, H, W] in [-1, 1] and `y` [B], real images and their class numbers; `draw`, the
    generator of everything that is random in this turn, on the CPU; `number`, turns done before.
    """

    networks: nn.ModuleDict
    optimizers: Mapping[str, torch.optim.Adam]
    x: Tensor
    y: Tensor
    draw: torch.Generator
    number: int
    looks: bool = True

    def noise(self, count: int, size: int) -> Tensor:
        """Standard normal numbers [count, size]."""
        return carry(torch.randn(count, size, generator=self.draw), self.x.device).to(self.x.dtype)

    def uniform(self, count: int, size: int) -> Tensor:
        """Numbers [count, size], uniform in [-1, 1]."""
        return carry(torch.rand(count, size, generator=self.draw) * 2 - 1, self.x.device).to(self.x.dtype)

    def descend(self, loss: Tensor, *names: str) -> None:
        """One step of the networks of these names down the loss; no other takes a gradient. Raises `RunFailed`."""
        if self.looks and not torch.isfinite(loss):
            raise RunFailed(f"the loss of the {names[0]} is {loss.item()} at step {self.number}; lower the rate (lr)")
        weights = [p for name in names for p in self.networks[name].parameters()]
        for name in names:
            self.optimizers[name].zero_grad(set_to_none=True)
        loss.backward(inputs=weights)
        for name in names:
            self.optimizers[name].step()


class GeneratorTrainer:
    """A training of networks under way, with the verbs by which trainings are kept (training/resumable.py).

    Arguments: `networks`, trained in place; `rules`, an Adam for each that is stepped; `update`, one turn; `real`; `epochs` and
    `batch`; `seed` and `what` name the random streams; `precision`, "float32", "float64" (which the networks must be in) or
    "bfloat16" for convolutions and products, with weights in float32.
    """

    def __init__(
        self, networks: nn.ModuleDict, rules: Mapping[str, Adam], update: Callable[[Turn], None], real: RealData, epochs: int,
        batch: int, seed: int, *what: str | int, precision: str = "float32",
    ) -> None:  # fmt: skip
        self.network, self.rules, self.done = networks, rules, 0
        self._update, self._pixels, self._precision = update, real.train.pixels, precision
        self._order, labels = torch.from_numpy(real.order), torch.from_numpy(real.train.labels)
        self._labels, self._batch, self.seed, self._what = labels[self._order], min(batch, len(labels)), seed, what
        self.steps_an_epoch = len(labels) // self._batch  # a last batch of fewer images would be one of other statistics
        self.steps = epochs * self.steps_an_epoch
        first = next(networks.parameters())
        self._device, self._dtype = first.device, first.dtype
        self._batches: tuple[int, tuple[Tensor, ...]] = (-1, ())  # of an epoch, by its number
        self._optimizers = self._fresh()

    def _fresh(self) -> dict[str, torch.optim.Adam]:
        rules = self.rules.items()
        return {n: torch.optim.Adam(self.network[n].parameters(), lr=r.lr, betas=(r.beta1, r.beta2)) for n, r in rules}

    def step(self) -> None:
        """One turn more. Raises `RunFailed` when a loss is no longer finite."""
        epoch, place = divmod(self.done, self.steps_an_epoch)
        if self._batches[0] != epoch:
            order = torch.randperm(len(self._labels), generator=stream(self.seed, *self._what, "order", epoch))
            self._batches = epoch, order.split(self._batch)
        chosen = self._batches[1][place]
        x = torch.from_numpy(self._pixels[self._order[chosen].numpy()])
        self.network.train()
        turn = Turn(
            self.network, self._optimizers, carry(x, self._device).to(self._dtype) / 127.5 - 1,
            carry(self._labels[chosen], self._device), stream(self.seed, *self._what, "turn", self.done), self.done,
            looks=self._device.type == "cpu" or self.done % LOOK_EVERY == 0 or self.done + 1 == self.steps,
        )  # fmt: skip
        with torch.autocast(self._device.type, torch.bfloat16) if self._precision == "bfloat16" else nullcontext():
            self._update(turn)
        self.done += 1

    def result(self) -> dict[str, Tensor]:
        """The weights, "weight/NETWORK.NAME"."""
        return {f"weight/{name}": _copy(value) for name, value in self.network.state_dict().items()}

    def state(self) -> dict[str, Tensor]:
        """All that a training goes on from: weights, the optimisers' memory, the steps done."""
        memory = {
            f"adam/{name}/{number}/{word}": _copy(value)
            for name, optimizer in self._optimizers.items()
            for number, of in optimizer.state_dict()["state"].items()
            for word, value in of.items()
        }
        return self.result() | memory | {"done": torch.tensor(self.done)}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Be as the trainer of this `state`, or of this `result` (then at the end).

        Raises `KeyError`, `ValueError` or `RuntimeError` for the state of another training.
        """
        done = int(state["done"]) if "done" in state else self.steps
        if not 0 <= done <= self.steps:
            raise ValueError(f"{done} of {self.steps} steps are done")
        self.network.load_state_dict(inside("weight", state))
        self._optimizers, self._batches, self.done = self._fresh(), (-1, ()), done
        for name, optimizer in self._optimizers.items():
            memory: dict[int, dict[str, Tensor]] = {}
            for key, value in inside(f"adam/{name}", state).items():
                number, word = key.split("/")
                memory.setdefault(int(number), {})[word] = value.clone()
            optimizer.load_state_dict(optimizer.state_dict() | {"state": memory})


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)


@dataclass
class Workshop:
    """Where a generator is trained, or found.

    Arguments: `real`; `seed`, the run's; `device`; `precision` of the training; `progress(what, done, total)`. `met` tells what
    was trained or found, `past` the seconds that a found one took when it was made, `sizes` the weights of each network.
    """

    real: RealData
    seed: int
    device: str = "cpu"
    precision: str = "float32"
    progress: Progress | None = None
    past: float = field(default=0.0, init=False)
    met: list[Provenance] = field(default_factory=list, init=False)
    sizes: dict[str, int] = field(default_factory=dict, init=False)

    def trained(
        self, name: str, settings: Mapping[str, Any], networks: nn.ModuleDict, rules: Mapping[str, Adam],
        update: Callable[[Turn], None], *, epochs: int, batch: int,
    ) -> nn.ModuleDict:  # fmt: skip
        """The networks, trained to the end.

        Arguments: `name` of the method and its `settings`, under which (with data, seed, arithmetic and versions) they are kept;
        the rest as `GeneratorTrainer`. Two processes that want the same train it once; an interrupted training is gone on with,
        bit for bit. Raises `RunFailed`.
        """
        dtype = torch.float64 if self.precision == "float64" else torch.float32
        trainer = GeneratorTrainer(
            networks.to(self.device, dtype), rules, update, self.real, epochs, batch, self.seed, "generator", name,
            precision=self.precision,
        )  # fmt: skip
        key = {
            "method": name, "settings": dict(settings), "data": self.real.checksum, "seed": self.seed,
            "device": torch.device(self.device).type, "precision": self.precision,
            "versions": {word: version for word, version in versions().items() if word in ("datadam", "torch")},
        }  # fmt: skip
        entry = Store(cache_folder("generators"), FORMAT).entry(key)

        def tell(done: int) -> None:
            if self.progress:
                self.progress(DOING, done, trainer.steps)

        def train() -> Record:
            spent = train_on(trainer, entry.unfinished, tell)
            self.past += spent.earlier
            return Record(trainer.result(), spent.seconds)

        began = time.monotonic()
        record, found = entry.once(train, like=trainer.result())
        if found:
            trainer.load(record.tensors)
            self.past += record.seconds - (time.monotonic() - began)  # the run counts the moment of finding it itself
        entry.unfinished.remove()
        self.met.append(Provenance(entry.name, "training", record.seconds, found))
        self.sizes = {word: sum(p.numel() for p in network.parameters()) for word, network in networks.items()}
        return networks.eval()
