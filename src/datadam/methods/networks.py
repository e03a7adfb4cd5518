"""Networks that train on the synthetic set while it is learned: their weights live in the method's state, and so in checkpoints.

Letters: N training images of the synthetic set, K classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from datadam.nets import Features, Network
from datadam.sets.synthetic import SyntheticSet
from datadam.training.trainer import Training

if TYPE_CHECKING:
    from datadam.methods.base import State
    from datadam.methods.draw import Draw

WEIGHTS = "weights/"
QUERY = 128  # real images a class that an accuracy is measured on
STATISTICS = 16  # real images a class that batch norm is frozen on
NETWORK_BATCH = 256  # images a training step of a matching network


@dataclass(frozen=True, kw_only=True)
class OnTheWay:
    """How drawn networks train on the synthetic set.

    Arguments: for so many `steps`, or `epochs` (passes), none of both: not at all; `when`, as a network is "drawn", or "between"
    the image steps that share it; `training`, by which rule.
    """

    steps: int = 0
    epochs: int = 0
    when: str = "drawn"
    training: Training = field(default_factory=Training)

    def __bool__(self) -> bool:
        """Whether they train at all."""
        return bool(self.steps or self.epochs)

    def images(self, synthetic: int, served: int) -> float:
        """Images that training passes an iteration, on average, on a set of so many; `served`, iterations that share a
        network."""
        share = (1 if self.when == "drawn" else served - 1) / served  # of the iterations that train their network
        return (self.epochs * synthetic + self.steps * min(self.training.batch, synthetic)) * share


def train_drawn(state: State, synthetic: SyntheticSet, draw: Draw) -> Iterator[State]:
    """The network of `draw`, trained on the synthetic set where the run says so (`OnTheWay`), and kept in the state.

    A state that was trained for this iteration already gives its network back as it is.
    """
    way = draw.source.on_the_way
    if not way:
        return
    done = state.get("trained") == draw.iteration
    network = draw.network() if draw.starts_network and not done else restored(state, draw)
    if done:
        return
    if draw.starts_network == (way.when == "drawn"):
        targets = synthetic.targets().detach()
        with draw.training(synthetic.images().detach(), targets, way.epochs or way.steps) as trainer:
            for _ in range(way.steps or trainer.steps):  # a pass has at least one step
                trainer.step()
    yield {"trained": draw.iteration, **weights_of(network)}


def restored(state: State, draw: Draw) -> Network:
    """The network of `draw`; where it has just been drawn anew, with the weights of the state."""
    if draw.is_drawn:
        return draw.network()
    network = draw.network()
    load(network, state)
    return network


def weights_of(network: Network) -> State:
    """A network's weights as they are, for a state."""
    return {WEIGHTS + name: value.clone() for name, value in network.state_dict().items()}


def load(network: Network, state: State) -> None:
    """Give a network the weights of a state. Raises `RuntimeError` when they are another network's."""
    network.load_state_dict({name.removeprefix(WEIGHTS): value for name, value in state.items() if name.startswith(WEIGHTS)})


def keep(network: Network, number: int, **rest: Tensor | int | float) -> State:
    """The state: the `number` that the network was drawn by, its weights as they are, and what else the method remembers."""
    return {"network": number} | rest | weights_of(network)


def restore(state: State, draw: Draw) -> tuple[Network, int]:
    """The network of a state, with its weights, and its number."""
    number = int(state["network"])
    network = draw.network(number)
    load(network, state)
    return network, number


@torch.no_grad()
def accuracy(network: Network, draw: Draw, classes: int, *what: str | int) -> float:
    """The mean over classes of the fraction of up to 128 fresh real images that the network classifies rightly."""
    network.eval()
    right = [(network(draw.sample(k, QUERY, "query", *what)).argmax(1) == k).double().mean() for k in range(classes)]
    network.train()
    return float(torch.stack(right).mean())


def numbers(state: State, name: str) -> list[float]:
    """The accuracies [W] that a state has by this name."""
    found = state.get(name)
    return found.tolist() if isinstance(found, Tensor) else []


def tensor(accuracies: list[float]) -> Tensor:
    """Accuracies [W] as a state holds them."""
    return torch.tensor(accuracies, dtype=torch.float64)


def augmented(draw: Draw, k: int, images: Tensor) -> Tensor:
    """Images of class k under its augmentation."""
    augmentation = draw.augmentation(k)
    return augmentation(images) if augmentation else images


def features_of(network: Network, draw: Draw, k: int, images: Tensor) -> Features:
    """The features of images of class k under its augmentation."""
    return network.features(augmented(draw, k, images))


@contextmanager
def evaluating(network: Network) -> Iterator[Network]:
    """The network in evaluation mode, inside the block."""
    network.eval()
    try:
        yield network
    finally:
        network.train()


def arithmetic(draw: Draw) -> AbstractContextManager[object]:
    """Inside, networks compute in the number format of the run."""
    source = draw.source
    return torch.autocast(source.device.type, torch.bfloat16) if source.precision == "bfloat16" else nullcontext()


@torch.no_grad()
def real_side(network: Network, draw: Draw, k: int) -> tuple[list[Tensor], Tensor]:
    """The mean of each layer over class k's real images, and their embeddings [B, D]."""
    sums: list[Tensor] = []
    embeddings = []
    for images in draw.real_chunks(k):
        features = features_of(network, draw, k, images)
        part = [layer.sum(0) for layer in (*features.blocks, features.embedding)]
        sums = [s + p for s, p in zip(sums, part, strict=True)] if sums else part
        embeddings.append(features.embedding)
    return [s / draw.real_count(k) for s in sums], torch.cat(embeddings)
