"""The one trainer of networks: students, feature networks, the whole set.

Letters: N images, B images of a batch.
"""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from datadam import machine
from datadam.augment.policies import student_augmentation
from datadam.data import Transform
from datadam.errors import InvalidInput, RunFailed
from datadam.nets import Network
from datadam.rng import carry, stream

COMPILING_PAYS = 300  # steps of one training above which compiling is worth its half minute
LOOK_EVERY = 10  # epochs after which the loss is looked at on a GPU, which must finish all its work for that


@dataclass(frozen=True, kw_only=True)
class Training:
    """How a network is trained: SGD with cross-entropy.

    Arguments: `epochs`; `batch`, images a step (all if fewer); `lr`, `momentum`, `weight_decay` of SGD; `schedule`, either
    "step": times 0.1 from epoch `drop_after` on (None: after half), or "every15": times 0.5 every 15 epochs; `fresh_optimizer`,
    whether the momentum is lost at the drop, as in released code that makes a new optimiser; `augment`, words of the
    augmentation, each image with its own parameters, a batch with one operation ("dsa" is resolved by who knows the data), or
    a name of `policies.POLICIES`.
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

    def lr_at(self, epoch: int) -> float:
        """The rate of an epoch, numbered from 0."""
        if self.schedule == "every15":
            return float(self.lr * 0.5 ** (epoch // 15))
        return self.lr * (0.1 if epoch >= self.drop else 1.0)


def train(
    network: Network,
    images: Callable[[Tensor], Tensor],
    labels: Tensor,
    training: Training,
    seed: int,
    *what: str | int,
    forward: Callable[[Tensor], Tensor] | None = None,
    transform: Transform | None = None,
) -> Iterator[int]:
    """Train in place; yields the number of epochs done after each. Arguments as `train_steps`."""
    steps_an_epoch = -(-len(labels) // training.batch)
    for step, _ in enumerate(
        train_steps(network, images, labels, training, seed, *what, forward=forward, transform=transform), 1
    ):
        if step % steps_an_epoch == 0:
            yield step // steps_an_epoch


def train_steps(
    network: Network,
    images: Callable[[Tensor], Tensor],
    labels: Tensor,
    training: Training,
    seed: int,
    *what: str | int,
    forward: Callable[[Tensor], Tensor] | None = None,
    transform: Transform | None = None,
) -> Iterator[None]:
    """Train in place; yields after each step.

    Arguments: `network`; `images`, gives the images [B, C, H, W] of some indices [B]; `labels`, class numbers [N] or
    probabilities [N, K]; `training`;
    `seed` and `what` name the random stream; `forward`, a compiled stand-in for calling the network;
    `transform`, between the images' space and pixels, which an augmentation of pixels needs.
    Raises `RunFailed` when the loss is no longer finite.
    """
    forward = network if forward is None else forward  # a compiled module has no truth value
    device = next(network.parameters()).device
    labels = labels.to(device)
    optimizer = _sgd(network, training)
    network.train()
    for epoch in range(training.epochs):
        if training.fresh_optimizer and epoch == training.drop:
            optimizer = _sgd(network, training)
        for group in optimizer.param_groups:
            group["lr"] = training.lr_at(epoch)
        order = torch.randperm(len(labels), generator=stream(seed, *what, "order", epoch))
        for step, chosen in enumerate(order.split(training.batch)):
            x = carry(images(chosen), device)
            augmentation = student_augmentation(
                training.augment, seed, *what, "augment", epoch, step, images=len(x), transform=transform
            )
            x = augmentation(x) if augmentation else x
            optimizer.zero_grad(set_to_none=True)  # before the forward pass: a replayed graph computes it where gradients lay
            loss = F.cross_entropy(forward(x), labels[carry(chosen, device)])
            loss.backward()
            optimizer.step()
            yield
        looks = device.type == "cpu" or epoch + 1 == training.epochs or epoch % LOOK_EVERY == 0
        if looks and not torch.isfinite(loss):
            raise RunFailed(f"the training loss is {loss.item()} after epoch {epoch + 1}; lower the rate (now {training.lr})")


def pays(steps: int) -> bool:
    """Whether compiling pays for a training of so many steps, where it can be done."""
    return steps > COMPILING_PAYS


def forward_of(
    network: Network, steps: int, precision: str = "float32", compiled: bool | None = None
) -> Callable[[Tensor], Tensor]:
    """How a network is called in so many steps of training: as compiled code where that pays, in the arithmetic asked for.

    Arguments: `network`, whose weights may be filled anew afterwards; `precision`: "float32", "float64" (which the network must
    be in), or "bfloat16" for convolutions and products in that format with weights in float32; `compiled`, None: where it pays.
    """
    device = next(network.parameters()).device
    if compiled is None:
        compiled = pays(steps) and machine.can_compile(str(device))
    module: Callable[[Tensor], Tensor] = network
    if compiled:
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        module = machine.compiled(network, str(device))
    wide = torch.float64 if precision == "float64" else torch.float32
    layout = torch.channels_last if compiled else torch.contiguous_format

    def forward(x: Tensor) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16) if precision == "bfloat16" else nullcontext():
            return module(x.to(wide).contiguous(memory_format=layout)).to(wide)

    return forward


def _sgd(network: Network, training: Training) -> torch.optim.SGD:
    options: dict[str, Any] = {"momentum": training.momentum, "weight_decay": training.weight_decay}
    return torch.optim.SGD(network.parameters(), lr=training.lr, **options)


@torch.no_grad()
def confusion(network: Network, batches: Iterator[tuple[Tensor, Tensor]], classes: int) -> Tensor:
    """Counts [K, K] of (true class, predicted class) over batches of images and labels, in evaluation mode."""
    network.eval()
    device = next(network.parameters()).device
    counts = torch.zeros(classes, classes, dtype=torch.long)
    for x, y in batches:
        predicted = network(x.to(device)).argmax(1).cpu()
        counts.index_put_((y, predicted), torch.ones_like(y), accumulate=True)
    network.train()
    return counts
