"""What a run costs, told before it starts."""

import dataclasses

import pytest
from small import make_real

import datadam
from datadam import forecast as module
from datadam.errors import NotEnoughMemory
from datadam.forecast import forecast, passes_a_second, passes_of


def test_passes_of_feature_matching(recipe) -> None:
    assert passes_of(recipe("dm", ipc=4), [5, 5, 3]) == 13 + 2 * 12
    assert passes_of(recipe("pixel", ipc=4), [5, 5, 3]) == 0  # it needs no network


def test_passes_of_gradient_matching_with_the_training_between(recipe) -> None:
    matched = 3 * 15 + 8 * 6
    assert passes_of(recipe("dc", network_epochs=0), [5, 5, 5]) == matched
    asked = recipe("dc", ipc=2, iterations_per_network=4, network_epochs=10)
    assert passes_of(asked, [5, 5, 5]) == pytest.approx(matched + 3 * 10 * 6 * 3 / 4)
    drawn = asked.change({"network_when": "drawn"})
    assert passes_of(drawn, [5, 5, 5]) == pytest.approx(matched + 3 * 10 * 6 / 4)


def test_a_step_trains_on_a_batch_and_an_epoch_on_all(recipe) -> None:
    asked = recipe("dm", ipc=200, iterations_per_network=2, network_steps=7)
    bare = passes_of(asked.change({"network_steps": 0}), [5, 5, 5])
    assert passes_of(asked, [5, 5, 5]) - bare == pytest.approx(3 * 7 * 256 / 2)
    epochs = asked.change({"network_steps": 0, "network_epochs": 7})
    assert passes_of(epochs, [5, 5, 5]) - bare == pytest.approx(3 * 7 * 600 / 2)


def test_a_coreset_costs_no_operations(real) -> None:
    assert forecast(real, datadam.preset("random", real, ipc=2).change({"net": "convnet2"})).flops == 0


def test_seconds_are_passes_over_the_measured_rate(real, recipe, monkeypatch) -> None:
    asked = dataclasses.replace(recipe("dc", precision="float32"), iterations=10_000)
    monkeypatch.setattr(module, "SECONDS_MATTER", 0.0)
    monkeypatch.setattr(module, "COMPILING_PAYS", float("inf"))
    monkeypatch.setattr(module, "passes_a_second", lambda *what: 50.0)
    assert forecast(real, asked).seconds == pytest.approx(10_000 * passes_of(asked, [5, 5, 5]) / 50)
    assert forecast(real, dataclasses.replace(asked, iterations=20_000)).seconds == 2 * forecast(real, asked).seconds


def test_moments_are_not_measured(real, recipe, monkeypatch) -> None:
    monkeypatch.setattr(module, "passes_a_second", lambda *what: 1 / 0)
    assert forecast(real, recipe("dc")).seconds == 0.0
    assert datadam.begin(real, recipe("dc")).expected == 0.0


def test_the_rate_is_measured_once_a_net() -> None:
    passes_a_second.cache_clear()
    rates = [passes_a_second("convnet1:width=4", (3, 8, 8), 16, "cpu", 4) for _ in range(2)]
    assert 0 < rates[0] == rates[1] < float("inf")
    assert passes_a_second.cache_info().hits == 1


@pytest.mark.parametrize("name", ["dc", "dsa", "cafe", "dm"])
def test_memory_is_told_and_refused_with_the_cure(real, recipe, name: str) -> None:
    wide = recipe(name, net="convnet2:width=64", ipc=12)
    needed = forecast(real, wide).bytes
    assert forecast(real, wide, memory_limit=needed).bytes == needed
    with pytest.raises(NotEnoughMemory, match="lower ipc, lower --batch-real"):
        forecast(real, wide, memory_limit=needed - 1)
    assert forecast(real, recipe(name, net="convnet2:width=128", ipc=12)).bytes > needed


def test_gradient_matching_holds_one_class_and_not_more(recipe) -> None:
    few, many = (make_real(classes=k, per_class=16, shape=(3, 16, 16)) for k in (2, 20))
    asked = recipe("dc", net="convnet2:width=64", ipc=16, start="noise", network_epochs=0)
    grown = forecast(many, asked).bytes - forecast(few, asked).bytes
    images = 18 * 16 * 3 * 16 * 16 * 8
    assert grown == 4 * images
    assert forecast(few, dataclasses.replace(asked, ipc=32)).bytes - forecast(few, asked).bytes > 4 * 2 * 16 * 3 * 16 * 16 * 8


def test_batch_norm_couples_only_feature_matching(real, recipe) -> None:
    net = "convnet2:norm=batch:width=6"
    assert any("couples" in note for note in forecast(real, recipe("dm", net=net)).notes)
    assert not forecast(real, recipe("dc", net=net)).notes
