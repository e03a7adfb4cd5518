"""Networks of a program's own: taken by distilling and judging, named in the card, drawn anew each time."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn

import datadam
from datadam import nets
from datadam.data import RealData
from datadam.distillation.recipe import Recipe
from datadam.errors import InvalidInput
from datadam.nets.own import KNOWN
from datadam.rng import stream

SHAPE, CLASSES = (3, 8, 8), 3


class Mine(nn.Module):
    def __init__(self, channels: int, classes: int, width: int = 4) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        self.second = nn.Sequential(nn.Conv2d(width, 2 * width, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
        self.out = nn.Linear(2 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.out(self.second(self.first(x)).flatten(1))
        return out


def mine(shape: tuple[int, int, int], classes: int) -> nn.Module:
    return Mine(shape[0], classes)


def test_blocks_are_what_is_pooled_and_the_embedding_what_the_last_layer_gets() -> None:
    word = nets.own(mine, shape=SHAPE, classes=CLASSES)
    network = nets.build(word, shape=SHAPE, classes=CLASSES)
    x = torch.rand(2, *SHAPE, generator=stream(0, "test"))
    features = network.features(x)
    inner = network.module
    first = inner.first[:2](x)
    second = inner.second[:2](inner.first[2](first))
    assert [block.shape for block in features.blocks] == [(2, 4, 8, 8), (2, 8, 4, 4)]
    torch.testing.assert_close(features.blocks[0], first)
    torch.testing.assert_close(features.blocks[1], second)
    torch.testing.assert_close(features.embedding, second.mean((2, 3)))
    torch.testing.assert_close(network(x), inner.out(features.embedding))
    assert not any(module._forward_pre_hooks for module in network.modules())


def test_weights_are_those_that_the_factory_draws_and_named_by_the_generator() -> None:
    word = nets.own(mine, shape=SHAPE, classes=CLASSES)
    network = nets.build(word, shape=SHAPE, classes=CLASSES)
    before = torch.random.get_rng_state()
    drawn = []
    for name in ("a", "b", "a"):
        nets.initialise(network, stream(0, name))
        drawn.append(network.module.out.weight.detach().clone())
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(drawn[0], drawn[2])
    assert not torch.equal(drawn[0], drawn[1])
    with pytest.raises(InvalidInput, match="draws its weights itself"):
        nets.initialise(network, stream(0, "a"), "xavier")


def test_the_word_follows_the_code() -> None:
    word = nets.own(mine, shape=SHAPE, classes=CLASSES)
    assert word == nets.own(mine, shape=SHAPE, classes=CLASSES) == nets.canonical(word, SHAPE)
    wider = nets.own(lambda shape, classes: Mine(shape[0], classes, width=5), shape=SHAPE, classes=CLASSES)
    assert word.startswith("own-mine-")
    assert wider.startswith("own-mine-")
    assert wider != word
    assert KNOWN[word].to_card() == {"name": "mine", "code": KNOWN[word].digest}


@pytest.mark.parametrize(
    "factory",
    [
        mine,
        lambda: Mine(3, 3),
        lambda classes: Mine(3, classes),
        lambda c, k: Mine(c[0], k),
        partial(Mine, 3, 3),
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 3)),
    ],
)
def test_factories_of_many_forms(factory: Callable[..., nn.Module]) -> None:
    nets.build(nets.own(factory, shape=SHAPE, classes=CLASSES), shape=SHAPE, classes=CLASSES)


@pytest.mark.parametrize(
    ("factory", "words"),
    [
        (Mine(3, 3), "each student needs a new network"),
        (3, "net is a int"),
        (lambda a, b, c: Mine(3, 3), "net needs a, b, c"),
        (lambda: 3, "net makes a int"),
        (lambda: Mine(3, 1000), r"net gives \[2, 1000\] .* logits \[2, 3\] are needed"),
    ],
)
def test_what_makes_no_network_is_refused(factory: Callable[..., nn.Module], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        nets.own(factory, shape=SHAPE, classes=CLASSES)


@pytest.mark.parametrize("method", ["datadam", "dm", "dc"])
def test_distilled_and_judged_through_it(method: str, real: RealData, recipe: Callable[..., Recipe]) -> None:
    settings = {"iterations": 2, "network_steps": 1} if method == "dc" else {"iterations": 2}
    asked = recipe(method).change(settings if method != "dc" else {"iterations": 2})
    small = datadam.distill(real, asked, net=mine)
    again = datadam.distill(real, asked, net=mine)
    assert torch.equal(small.images, again.images)
    assert small.card["moved"] > 0
    assert small.card["recipe"]["net"].startswith("own-mine-")
    assert small.card["network"] == {"name": "mine", "code": KNOWN[small.card["recipe"]["net"]].digest}
    judged = datadam.evaluate(small, real, students=2, epochs=2)  # by the network that it was made with
    assert judged.net == small.card["recipe"]["net"]
    assert judged.to_json()["network"]["name"] == "mine"
    other = datadam.evaluate(small, real, students=2, epochs=2, net=lambda classes: Mine(3, classes, 6))
    assert other.net != judged.net
    assert other.all == datadam.evaluate(small, real, students=2, epochs=2, net=other.net).all


def test_it_is_known_in_its_process_alone(real: RealData, recipe: Callable[..., Recipe]) -> None:
    small = datadam.distill(real, recipe(), net=mine)
    with pytest.raises(InvalidInput, match="of this process alone"):
        datadam.evaluate(small, real, students=2, epochs=1, workers=2)
    gone = KNOWN.pop(small.card["recipe"]["net"])
    with pytest.raises(InvalidInput, match="whose code is kept nowhere; name another network"):
        datadam.evaluate(small, real, students=1, epochs=1)
    assert nets.own(gone.factory, shape=real.shape, classes=3) == small.card["recipe"]["net"]
    datadam.evaluate(small, real, students=1, epochs=1)
