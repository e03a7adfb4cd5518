"""The one trainer of networks: students, feature networks, the whole set.

Letters: N images, B images of a batch.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from datadam import machine
from datadam.augment.policies import student_augmentation
from datadam.data import Transform
from datadam.errors import InvalidInput, RunFailed
from datadam.nets import Network, OwnNetwork
from datadam.rng import carry, stream
from datadam.training.flat import Flat

COMPILING_PAYS = 300  # steps of one training above which compiling is worth its half minute,
USUAL = 256  # of batches up to so large; of larger ones fewer do
LEAST = 0.01  # of the rate, with which the schedule "cosine" ends
WARM = 0.15  # the part of a training of the schedule "cycle" in which the rate rises
BUFFERS = {"momentum_buffer": "momentum", "exp_avg": "average", "exp_avg_sq": "square"}  # of a rule, and where a state has them
LOOK_EVERY = 10  # epochs after which the loss is looked at on a GPU, which must finish all its work for that

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class Training:
    """How a network is trained: SGD with cross-entropy.

    Arguments: `epochs`; `batch`, images a step (all if fewer); `lr`, `momentum`, `weight_decay` of SGD; `schedule`, one of
    "step": times 0.1 from epoch `drop_after` on (None: after half), "every15": times 0.5 every 15 epochs, "cycle": up from 0 in
    the first 15 % of all steps and down to 0 in the rest, for a training of few epochs, "cosine": up from 0 until epoch
    `drop_after`, and then along half a cosine to a hundredth; `fresh_optimizer`, whether the momentum
    is lost at the drop, as in released code that makes a new optimiser; `augment`, words of the augmentation, each image with its
    own parameters, a batch with one operation ("dsa" is resolved by who knows the data), or a name of `policies.POLICIES`.
    """

    epochs: int = 1000
    batch: int = 256
    lr: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: str = "step"
    drop_after: int | None = None
    fresh_optimizer: bool = False
    augment: str = "none"

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch < 1:
            raise InvalidInput(f"epochs is {self.epochs} and batch {self.batch}; both must be at least 1")

    @property
    def drop(self) -> int:
        """The epoch (from 0) at which the rate of the schedule "step" falls."""
        return max(1, self.epochs // 2) if self.drop_after is None else self.drop_after

    @property
    def falls(self) -> str:
        """The schedule in words."""
        words = {
            "every15": "rate x0.5 every 15 epochs", "cycle": "rate up for 15 % of the steps, then down to 0",
            "cosine": f"rate up until epoch {self.drop}, then along a cosine to 1 %",
        }  # fmt: skip
        return words.get(self.schedule, f"rate x0.1 after epoch {self.drop}")

    def lr_at(self, epoch: float) -> float:
        """The rate when so many epochs are done."""
        if self.schedule == "every15":
            return float(self.lr * 0.5 ** (epoch // 15))
        if self.schedule == "cycle":
            share = epoch / self.epochs
            return self.lr * min(share / WARM, (1 - share) / (1 - WARM))
        if self.schedule == "cosine":
            share = min(1.0, max(0.0, epoch - self.drop) / max(1, self.epochs - self.drop))
            return self.lr * min(1.0, epoch / self.drop) * (LEAST + (1 - LEAST) * (1 + math.cos(math.pi * share)) / 2)
        return self.lr * (0.1 if epoch >= self.drop else 1.0)


def ends_of(training: Training, images: int | Iterable[int]) -> Sequence[int]:
    """The steps that are done after each epoch, of so many `images` each, or so many in each."""
    if isinstance(images, int):
        steps = -(-images // training.batch)
        return range(steps, steps * training.epochs + 1, steps)  # no list: a training that others end has epochs without number
    return list(accumulate(-(-size // training.batch) for size in images))


def train(
    network: Network,
    images: Callable[[Tensor], Tensor],
    labels: Tensor,
    training: Training,
    seed: int,
    *what: str | int,
    forward: "Forward | None" = None,
    transform: Transform | None = None,
) -> Iterator[int]:
    """Train in place; yields the number of epochs done after each. Arguments as `Trainer`."""
    trainer = Trainer(network, images, labels, training, seed, *what, forward=forward, transform=transform)
    while trainer.done < trainer.steps:
        trainer.step()
        if trainer.ends_epoch:
            yield trainer.epoch


Rule = Callable[[Network, Training], torch.optim.Optimizer]


@dataclass(frozen=True)
class Forward:
    """How a network is called in a training.

    Arguments: `call`, images [B, C, H, W] -> logits [B, K]; `map_bytes`, of its widest map for each pixel of an image, where maps
    had better stay in the cache (0: a batch goes through it whole).
    """

    call: Callable[[Tensor], Tensor]
    map_bytes: int = 0

    def __call__(self, x: Tensor) -> Tensor:
        return self.call(x)

    def together(self, x: Tensor) -> int:
        """How many images of these go through the network together, forth and back; 0 for all."""
        return machine.chunk_for(self.map_bytes * x.shape[2] * x.shape[3], x.device.type) if self.map_bytes else 0


class Watcher:
    """Looks on while a network trains and remembers what it sees; of this kind, nothing.

    What it remembers belongs to the training: it is kept with the weights when that is interrupted.
    """

    def batch(self, chosen: Tensor, logits: Tensor) -> None:
        """In a step, the images of some indices [B] have got these logits [B, K], before the weights changed."""

    def step(self, done: int) -> None:
        """So many steps are done, and the network is as they have left it; it may be asked in evaluation mode too."""

    def state(self) -> dict[str, Tensor]:
        """What it remembers, as tensors of its own that do not change any more."""
        return {}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Remember what another one's `state` was. Raises `KeyError`, `ValueError` for what is none."""


class Trainer:
    """A training under way: a network, its optimiser, and the steps `done`. One that goes on from the state of another ends with
    the same bits, since the order of the images and their augmentation are named by epoch and step.

    Arguments: `network`, trained in place; `images`, gives the images [B, C, H, W] of some indices [B]; `labels`, class numbers
    [N] or probabilities [N, K]; `training`; `seed` and `what` name the random stream; `forward`, a compiled stand-in for calling
    the network; `transform`, between the images' space and pixels, which an augmentation of pixels needs; `watchers`, by name;
    `flat`, what turns the gradient towards flat minima (None: nothing); `lesson`, of an epoch (from 0) the indices that it
    trains on (None: all); `rule` and `loss`, where they are other than SGD and cross-entropy.
    """

    def __init__(
        self,
        network: Network,
        images: Callable[[Tensor], Tensor],
        labels: Tensor,
        training: Training,
        seed: int,
        *what: str | int,
        forward: "Forward | None" = None,
        transform: Transform | None = None,
        watchers: Mapping[str, Watcher] | None = None,
        rule: Rule | None = None,
        loss: Loss = F.cross_entropy,
        flat: Flat | None = None,
        lesson: Callable[[int], Tensor] | None = None,
    ) -> None:
        self.network, self.training, self.watchers, self.done = network, training, watchers or {}, 0
        self._flat, self._lesson = flat, lesson
        self.ends = ends_of(training, (len(lesson(e)) for e in range(training.epochs)) if lesson else len(labels))
        self.steps = self.ends[-1]
        self._device = next(network.parameters()).device
        self._images, self._labels, self._transform = images, labels.to(self._device), transform
        self.forward = forward or Forward(network)
        self.seed, self._what = seed, what
        self._rule, self._loss = rule or sgd, loss
        self._optimizer: torch.optim.Optimizer | None = None
        self._batches: tuple[int, tuple[Tensor, ...]] = (-1, ())  # of an epoch, by its number

    @property
    def epoch(self) -> int:
        """Whole epochs done."""
        return bisect_right(self.ends, self.done)

    @property
    def ends_epoch(self) -> bool:
        """Whether the last step was an epoch's last."""
        return self.done == self._begins(self.epoch) and self.done > 0

    def _begins(self, epoch: int) -> int:
        """The steps before an epoch."""
        return self.ends[epoch - 1] if epoch else 0

    def step(self) -> None:
        """One step more. Raises `RunFailed` when the loss is found to be no longer finite, at the end of an epoch."""
        epoch = self.epoch
        place = self.done - self._begins(epoch)
        optimizer, chosen = self._ready(epoch, place), self._batches[1][place]
        x, training = carry(self._images(chosen), self._device), self.training
        augmentation = student_augmentation(
            training.augment, self.seed, *self._what, "augment", epoch, place, images=len(x), transform=self._transform
        )
        x = augmentation(x) if augmentation else x
        optimizer.zero_grad(set_to_none=True)  # before the forward pass: a replayed graph computes it where gradients lay
        labels = self._labels[carry(chosen, self._device)]
        logits, loss = self._back(x, labels)
        for watcher in self.watchers.values():
            watcher.batch(chosen, logits)
        if self._flat:
            self._flat.turn(self.network.parameters(), lambda: self._back(x, labels))
        optimizer.step()
        if self.done + 1 == self.ends[epoch]:
            looks = self._device.type == "cpu" or epoch + 1 == training.epochs or epoch % LOOK_EVERY == 0
            if looks and not torch.isfinite(loss):
                raise RunFailed(f"the training loss is {loss.item()} after epoch {epoch + 1}; lower the rate (now {training.lr})")
        self.done += 1
        for watcher in self.watchers.values():
            watcher.step(self.done)

    def _back(self, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and mean loss of a batch, of which the weights now have the gradient; taken in pieces where that is faster."""
        size = machine.even_chunk(len(x), self.forward.together(x) or len(x))
        logits, losses = [], []
        for images, truth in zip(x.split(size), labels.split(size), strict=True):
            logits.append(self.forward(images))
            loss = self._loss(logits[-1], truth) * (len(images) / len(x))
            loss.backward()
            losses.append(loss.detach())
        return torch.cat([part.detach() for part in logits]), torch.stack(losses).sum()

    def _ready(self, epoch: int, place: int) -> torch.optim.Optimizer:
        """The optimiser, all set for a step of this epoch."""
        if self._optimizer is None:
            self.network.train()
            self._optimizer = self._rule(self.network, self.training)
        if self._batches[0] != epoch:
            if self.training.fresh_optimizer and (epoch, place) == (self.training.drop, 0):
                self._optimizer = self._rule(self.network, self.training)
            lesson = self._lesson(epoch) if self._lesson else None
            size = len(self._labels if lesson is None else lesson)
            order = torch.randperm(size, generator=stream(self.seed, *self._what, "order", epoch))
            self._batches = epoch, (order if lesson is None else lesson[order]).split(self.training.batch)
        for group in self._optimizer.param_groups:
            group["lr"] = self.training.lr_at(epoch + (place + 0.5) / (self.ends[epoch] - self._begins(epoch)))
        return self._optimizer

    def result(self) -> dict[str, Tensor]:
        """What is kept of the training when it is over: "weight/NAME" of the network, and "WATCHER/NAME"."""
        weights = {f"weight/{name}": _copy(value) for name, value in self.network.state_dict().items()}
        watched = {f"{watcher}/{name}": v for watcher, of in self.watchers.items() for name, v in of.state().items()}
        return weights | watched

    def state(self) -> dict[str, Tensor]:
        """All that a training goes on from: the result so far, the steps done, and the optimiser's memory of gradients."""
        memory = self._optimizer.state if self._optimizer else {}
        buffers = {
            f"{BUFFERS[buffer]}/{name}": _copy(value)
            for name, p in self.network.named_parameters()
            for buffer, value in memory.get(p, {}).items()
            if buffer in BUFFERS and value is not None
        }
        return self.result() | buffers | {"done": torch.tensor(self.done)}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Be as the trainer of this `state`, or of this `result` (then at the end).

        Raises `KeyError`, `ValueError` or `RuntimeError` for the state of another training.
        """
        done = int(state["done"]) if "done" in state else self.steps
        if not 0 <= done <= self.steps:
            raise ValueError(f"{done} of {self.steps} steps are done")
        self.network.load_state_dict(inside("weight", state))
        for name, watcher in self.watchers.items():
            watcher.load(inside(name, state))
        self.network.train()
        self._optimizer = self._rule(self.network, self.training)
        for buffer, place in BUFFERS.items():
            buffers = inside(place, state)
            for name, p in self.network.named_parameters():
                if name in buffers:
                    self._optimizer.state[p][buffer] = torch.empty_like(p).copy_(buffers[name])
        if isinstance(self._optimizer, torch.optim.Adam):
            for memory in self._optimizer.state.values():
                memory["step"] = torch.tensor(float(done))
        self._batches, self.done = (-1, ()), done


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)


def inside(name: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What a state has under a name and a stroke."""
    return {key.removeprefix(f"{name}/"): tensor for key, tensor in state.items() if key.startswith(f"{name}/")}


def pays(steps: int, batch: int = USUAL) -> bool:
    """Whether compiling pays for a training of so many steps of so large a batch, where it can be done."""
    return steps * max(batch, USUAL) > COMPILING_PAYS * USUAL


def forward_of(
    network: Network,
    steps: int,
    precision: str = "float32",
    compiled: bool | None = None,
    *,
    batch: int = USUAL,
    channels_last: bool = False,
) -> Forward:
    """How a network is called in so many steps of training: as compiled code where that pays, in the arithmetic asked for.

    Compiled code on a CPU is called with pieces of a batch, unless the network couples images: from piece to piece the maps then
    stay in the cache.

    Arguments: `network`, whose weights may be filled anew afterwards; `precision`: "float32", "float64" (which the network must
    be in), or "bfloat16" for convolutions and products in that format with weights in float32; `compiled`, None: where it pays
    for steps of so large a `batch`;
    `channels_last`, whether maps lie so where it is not compiled (compiled code always has them so).
    """
    device = next(network.parameters()).device
    if isinstance(network, OwnNetwork):  # code of others may do what a compiler does not know
        compiled = False
    if compiled is None:
        compiled = pays(steps, batch) and machine.can_compile(str(device))
    module: Callable[[Tensor], Tensor] = network
    channels_last = channels_last or compiled
    if channels_last:
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if compiled:
        module = machine.compiled(network, str(device))
    wide = torch.float64 if precision == "float64" else torch.float32
    layout = torch.channels_last if channels_last else torch.contiguous_format

    def forward(x: Tensor) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16) if precision == "bfloat16" else nullcontext():
            return module(x.to(wide).contiguous(memory_format=layout)).to(wide)

    if not compiled or device.type != "cpu" or network.couples_images:
        return Forward(forward)
    channels = max((layer.out_channels for layer in network.modules() if isinstance(layer, nn.Conv2d)), default=0)
    return Forward(forward, channels * (2 if precision == "bfloat16" else wide.itemsize))


def sgd(network: Network, training: Training) -> torch.optim.Optimizer:
    """The rule of every training that names no other."""
    options: dict[str, Any] = {"momentum": training.momentum, "weight_decay": training.weight_decay}
    return torch.optim.SGD(network.parameters(), lr=training.lr, **options)


def adam(network: Network, training: Training) -> torch.optim.Optimizer:
    """Adam, whose beta_1 is the training's momentum."""
    options: dict[str, Any] = {"betas": (training.momentum, 0.999), "weight_decay": training.weight_decay}
    return torch.optim.Adam(network.parameters(), lr=training.lr, **options)


def squared_error(logits: Tensor, labels: Tensor) -> Tensor:
    """Half the squared distance of logits [B, K] from labels [B, K], or from class numbers [B] as 1 - 1 / K for the class and
    -1 / K for the others; the mean over images."""
    k = logits.shape[1]
    wanted = labels if labels.is_floating_point() else F.one_hot(labels, k).to(logits) - 1 / k
    return (logits - wanted).square().sum(1).mean() / 2


@torch.no_grad()
def confusion(network: Network, batches: Iterator[tuple[Tensor, Tensor]], classes: int, forward: Forward | None = None) -> Tensor:
    """Counts [K, K] of (true class, predicted class) over batches of images and labels, in evaluation mode; `forward`, how the
    network is called (None: plainly)."""
    network.eval()
    device = next(network.parameters()).device
    counts = torch.zeros(classes, classes, dtype=torch.long)
    for x, y in batches:
        predicted = (forward or network)(x.to(device)).argmax(1).cpu()
        counts.index_put_((y, predicted), torch.ones_like(y), accumulate=True)
    network.train()
    return counts
