"""Which device is meant where nobody names one, and that the card says which it was."""

from collections.abc import Callable

import pytest
import torch

import datadam
from datadam import machine
from datadam.data import RealData
from datadam.distillation.recipe import Recipe
from datadam.evaluation.panel import protocol_named
from datadam.where import Where

pytestmark = pytest.mark.usefixtures("here")


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.parametrize(
    ("device", "gpus", "card", "meant"),
    [
        ("auto", None, False, "cpu"),
        ("auto", None, True, "cuda"),
        ("cpu", None, True, "cpu"),
        ("cuda:1", None, False, "cuda:1"),
        ("auto", 0.0, True, "cpu"),  # the workers of a cluster have no card, whatever this machine has
        ("auto", 0.5, False, "cuda"),
    ],
)
def test_auto_is_the_card_where_there_is_one(
    device: str, gpus: float | None, card: bool, meant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # the suite's own rule that all is computed on the CPU
    monkeypatch.setattr(torch.cuda, "is_available", lambda: card)
    assert machine.settle_device(device, gpus) == meant


def test_where_is_settled_when_it_is_made() -> None:
    assert Where().device == "cpu"
    assert Where(device="meta").device == "meta"


def test_card_and_evaluation_say_the_device(real: RealData, recipe: Callable[..., Recipe]) -> None:
    small = datadam.distill(real, recipe())
    assert small.card["hardware"]["device"] == "cpu"
    told = datadam.evaluate(small, real, students=1, protocol=protocol_named("honest", epochs=1)).to_json()
    assert told["hardware"]["device"] == "cpu"
