"""datadam's own methods, networks and trainer on the case: only what a run would draw is given."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import numpy as np
import torch
from fidelity import case
from torch import Tensor

from datadam import nets
from datadam.augment.siamese import Augmentation
from datadam.data import RealData, Transform
from datadam.data.real import Split
from datadam.distillation.optimisers import Optimisers
from datadam.methods import CAFE, DC, DM, DSA, DataDAM, Method
from datadam.methods.base import Group
from datadam.methods.draw import Draw, Draws
from datadam.methods.networks import OnTheWay
from datadam.nets import Network
from datadam.rng import stream
from datadam.sets.synthetic import SyntheticSet
from datadam.training.trainer import Trainer, Training

METHODS: dict[str, Method] = {
    "dm": DM(), "dc": DC(), "dsa": DSA(), "cafe": CAFE(outer_change=0.0, most_epochs=case.EPOCHS["cafe"]),
    "official": DataDAM(power=1.0, task_balance=0.01, scale=100.0), "paper": DataDAM(power=4.0, task_balance=0.01, scale=1.0),
}  # fmt: skip


def augmentation(move: dict[str, Any] | None, order: Tensor | None = None) -> Augmentation | None:
    """An operation with its numbers, those of single images in another order."""
    if move is None:
        return None
    numbers = {name: torch.tensor(value, dtype=torch.float64) for name, value in move.items() if name != "operation"}
    return Augmentation(move["operation"], {name: u if order is None else u[order] for name, u in numbers.items()})


def network(norm: str, number: int = 0, shape: tuple[int, int, int] = case.SHAPE, more: str = "") -> Network:
    """Our ConvNet with the weights of the case."""
    spec = f"convnet{case.DEPTH}:width={case.WIDTH}:norm={norm}{more}"
    return built(spec, number, shape)


def built(spec: str, number: int = 0, shape: tuple[int, int, int] = case.SHAPE) -> Network:
    """A network with the weights of the case."""
    net = nets.build(spec, shape=shape, classes=case.K).double()
    fill(net, number)
    return net


@torch.no_grad()
def fill(net: Network, number: int) -> None:
    for there, drawn in zip(net.parameters(), case.weights(number, [p.shape for p in net.parameters()]), strict=True):
        there.copy_(drawn)


@dataclass
class Given(Draws):
    """The draws of the case."""

    method: str = ""
    golden: dict[str, Any] = field(default_factory=dict)

    def fill(self, network: Network, number: int) -> None:
        fill(network, number)

    def at(self, iteration: int) -> Draw:
        return GivenNow(self, iteration, iteration)


@dataclass(frozen=True)
class GivenNow(Draw):
    """Those of one iteration."""

    def _choose(self, k: int, count: int, *what: str | int) -> Tensor:
        assert isinstance(self.source, Given)
        return torch.from_numpy(case.chosen(k, case.calls(self.source.method, self.iteration), count).copy())

    def augmentation(self, k: int) -> Augmentation | None:
        assert isinstance(self.source, Given)
        moves = self.source.golden["augmentations"]
        return augmentation(moves[self.iteration][k]) if moves else None


def real() -> RealData:
    """The real images as bytes."""
    labels = np.arange(case.K).repeat(case.M)
    part = Split(case.pixels(), labels)
    return RealData("case", "", {}, tuple(map(str, range(case.K))), part, part, Transform(case.MEAN, case.STD))


def steps(name: str, golden: dict[str, Any]) -> list[Tensor]:
    """The images after each of three image steps; of CAFE with the embedding's alignment counted twice, as released."""
    kind, _, spec = name.partition(" on ")
    method, tensors, data = METHODS[kind], {"images": case.start()}, real()
    synthetic = SyntheticSet(tensors, data.classes, (case.N,) * case.K)
    training = Training(lr=0.01, momentum=0.0, weight_decay=0.0)
    way = OnTheWay(epochs=case.EPOCHS[name] if name in ("dc", "dsa") else 0, when="between", training=training)
    net = built(spec) if spec else network(case.NORMS.get(name, "instance"))
    served = case.STEPS if name in case.EPOCHS else 1
    draws = Given(
        data, net, 0, case.B, iterations_per_network=served, dtype=torch.float64, on_the_way=way, method=name, golden=golden
    )
    inner, found = iter(golden["inner"]), []
    optimisers = Optimisers([Group(tensors=("images",), rule="sgd", lr=case.RATES[kind], momentum=0.5)], tensors, {})
    state = method.init(synthetic, draws.at(0))

    def drawn(words: str, seed: int, *what: str | int, images: int, transform: object) -> Augmentation | None:
        *named, _, epoch, _ = what
        return augmentation(next(inner), torch.randperm(images, generator=stream(seed, *named, "order", epoch)))

    with mock.patch("datadam.training.trainer.student_augmentation", drawn if golden["inner"] else lambda *a, **o: None):
        for step in range(case.STEPS):
            draw = draws.at(step)
            for later in method.between(state, synthetic, draw):
                state = later
            gradient = method.gradient(state, synthetic, draw, norms=False).of
            if name == "cafe":
                gradient = {"images": gradient["images"] + DM().gradient({}, synthetic, draw, norms=False).of["images"]}
            optimisers.step(gradient)
            found.append(tensors["images"].clone())
    assert next(inner, None) is None, "not every augmentation of the networks' training was asked for"
    return found


def trained(training: Training) -> Iterator[Tensor]:
    """The weights after a training on the start images."""
    net, labels = network("instance"), torch.arange(case.K).repeat_interleave(case.N)
    trainer = Trainer(net, lambda i: case.start()[i], labels, training, 0)
    while trainer.done < trainer.steps:
        trainer.step()
    yield from (p.detach() for p in net.parameters())
