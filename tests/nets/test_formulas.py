"""The fixed architectures against their equations, written out with bare functions and the network's own weights."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from datadam import nets
from datadam.rng import stream

CIFAR = (3, 32, 32)


def mlp(x: Tensor, weights: Iterator[Tensor]) -> Tensor:
    first = (x.flatten(1) @ next(weights).T + next(weights)).relu()
    second = (first @ next(weights).T + next(weights)).relu()
    return second @ next(weights).T + next(weights)


def lenet(x: Tensor, weights: Iterator[Tensor]) -> Tensor:
    """The classic: every pooling 2x2, and no padding but for 28x28 images."""
    x = F.max_pool2d(F.conv2d(x, next(weights), next(weights), padding=2 if x.shape[2] == 28 else 0).relu(), 2)
    x = F.max_pool2d(F.conv2d(x, next(weights), next(weights)).relu(), 2)
    x = F.linear(x.flatten(1), next(weights), next(weights)).relu()
    x = F.linear(x, next(weights), next(weights)).relu()
    return F.linear(x, next(weights), next(weights))


def alexnet(x: Tensor, weights: Iterator[Tensor]) -> Tensor:
    for padding, pool in ((2, True), (2, True), (1, False), (1, False), (1, True)):
        x = F.conv2d(x, next(weights), next(weights), padding=padding).relu()
        x = F.max_pool2d(x, 2) if pool else x
    return F.linear(x.flatten(1), next(weights), next(weights))


def vgg11(x: Tensor, weights: Iterator[Tensor]) -> Tensor:
    for pools in ((1,), (1,), (0, 1), (0, 1), (0, 1)):
        for pool in pools:
            x = F.conv2d(x, next(weights), next(weights), padding=1).relu()
            x = F.max_pool2d(x, 2) if pool else x
    return F.linear(x.flatten(1), next(weights), next(weights))


def resnet18(x: Tensor, weights: Iterator[Tensor]) -> Tensor:
    x = F.conv2d(x, next(weights), next(weights), padding=1).relu()
    for stage in range(4):
        for block in range(2):
            stride = 2 if stage and not block else 1
            inner = F.conv2d(x, next(weights), next(weights), padding=1, stride=stride).relu()
            inner = F.conv2d(inner, next(weights), next(weights), padding=1)
            shortcut = F.conv2d(x, next(weights), next(weights), stride=2) if stride == 2 else x
            x = (inner + shortcut).relu()
    return F.linear(F.avg_pool2d(x, 4).flatten(1), next(weights), next(weights))


@pytest.mark.parametrize(
    ("formula", "spec", "shape"),
    [
        (mlp, "mlp", (2, 7, 5)),
        (lenet, "lenet", (1, 28, 28)),
        (lenet, "lenet", CIFAR),
        (alexnet, "alexnet", CIFAR),
        (vgg11, "vgg11:norm=none", CIFAR),
        (resnet18, "resnet18:norm=none", CIFAR),
    ],
)
def test_logits_are_the_formula(
    formula: Callable[[Tensor, Iterator[Tensor]], Tensor], spec: str, shape: tuple[int, int, int]
) -> None:
    net = nets.build(spec, shape=shape, classes=4)
    nets.initialise(net, stream(0, "formula"), "he-normal")  # keeps the signal's size through the depth
    net.double().requires_grad_(False)
    x = torch.randn(2, *shape, generator=stream(0, "images"), dtype=torch.float64)
    weights = iter(net.parameters())
    torch.testing.assert_close(net(x), formula(x, weights), rtol=1e-10, atol=1e-12)
    assert next(weights, None) is None


@pytest.mark.parametrize("spec", ["alexnet", "vgg11", "resnet18"])
def test_normalisation_stands_before_the_activation(spec: str) -> None:
    """Then a block that does not end in a sum has maps of mean square at most 1, and means that are not 0."""
    net: Any = nets.build(f"{spec}:norm=instance", shape=CIFAR, classes=4)
    x = torch.randn(2, *CIFAR, generator=stream(0, "images"))
    with torch.no_grad():
        first = net.stem(x) if spec == "resnet18" else net.features(x).blocks[0]
    assert first.square().mean((2, 3)).max() < 1
    assert 0.3 < first.square().mean() < 0.7
    assert first.mean((2, 3)).min() > 0
