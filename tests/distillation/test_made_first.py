"""A start that is made first is a run of its own: the same images as by hand, made once, gone on with, and counted."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import datadam
from datadam.distillation.forecast import forecast
from datadam.distillation.made_first import folder_of_start, recipe_of_start
from datadam.distillation.presets import CATALOG
from datadam.distillation.recipe import Recipe
from datadam.distillation.start import MADE_FIRST, STARTS
from datadam.errors import InvalidInput
from datadam.methods import DM
from datadam.testing import small_data

NET = "convnet2:width=4"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DATADAM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def real() -> datadam.RealData:
    return small_data(shape=(3, 8, 8), per_class=12)


@pytest.fixture
def asked(real: datadam.RealData) -> Recipe:
    return Recipe(method=DM(), ipc=2, net=NET, iterations=3, batch_real=4, start="calm-quick", seed=5, precision="float64")


def test_it_is_a_preset_of_ours_on_the_network_and_in_the_space_of_the_run(real: datadam.RealData, asked: Recipe) -> None:
    assert set(MADE_FIRST) == {name for name in CATALOG if name.startswith("calm")} <= set(STARTS)
    first = recipe_of_start(real, replace(asked, decoder="grid:2", zca="kornia", augment="flip", normalisation="field"))
    assert first is not None
    assert (first.preset, first.method.name, first.ipc, first.net, first.seed) == ("calm-quick", "calm", 2, NET, 5)
    assert (first.decoder, first.zca, first.augment, first.normalisation, first.precision) == (
        "grid:2", "kornia", "flip", "field", "float64",
    )  # fmt: skip
    assert all(recipe_of_start(real, replace(asked, start=start)) is None for start in set(STARTS) - set(MADE_FIRST))


@pytest.mark.parametrize("zca", ["none", "kornia"])
def test_the_images_are_those_of_two_runs_by_hand(real: datadam.RealData, asked: Recipe, zca: str) -> None:
    asked = replace(asked, zca=zca)
    first = recipe_of_start(real, asked)
    assert first is not None
    by_hand = datadam.distill(real, first)
    followed = datadam.distill(real, replace(asked, start="real"), earlier=by_hand.images)
    assert not torch.equal(followed.images, by_hand.images)
    small = datadam.distill(real, asked)
    assert torch.equal(small.images, followed.images)
    assert small.card["recipe"]["start"] == "calm-quick"
    assert small.card["seconds"] >= small.card["earlier_seconds"] > 0


def test_it_is_made_once(real: datadam.RealData, asked: Recipe, tmp_path: Path) -> None:
    told: list[str] = []

    def progress(what: str, done: int, total: int | None) -> None:
        told.append(what.split()[0])

    run = datadam.begin(real, asked, out=tmp_path / "run", progress=progress)
    assert set(told) == {"training", "calm-quick"}
    seconds = run.frame.earlier_seconds
    told.clear()
    again = datadam.begin(real, replace(asked, iterations=1), progress=progress)
    assert not told
    assert again.frame.earlier_seconds == seconds  # also of a start that is there already
    list(datadam.resume(tmp_path / "run", real).steps())
    assert datadam.resume(tmp_path / "run", real).result().card["earlier_seconds"] == seconds


def test_one_that_was_interrupted_goes_on_to_the_same(real: datadam.RealData, asked: Recipe, monkeypatch, tmp_path) -> None:
    whole = datadam.distill(real, asked)
    monkeypatch.setenv("DATADAM_CACHE", str(tmp_path / "another"))

    def stop(what: str, done: int, total: int | None) -> None:
        if what.startswith("calm-quick") and done > 40:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        datadam.begin(real, asked, out=tmp_path / "run", progress=stop)
    assert not (tmp_path / "run" / "checkpoint").exists()
    first = recipe_of_start(real, asked)
    assert first is not None
    folder = folder_of_start(real, first, "cpu")
    assert datadam.resume(folder, real).state.iteration > 0
    assert torch.equal(datadam.distill(real, asked).images, whole.images)
    (folder / "checkpoint" / "run.json").write_text("[]")
    assert torch.equal(datadam.distill(real, asked).images, whole.images)


def test_its_time_is_foretold(real: datadam.RealData, asked: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datadam.distillation.forecast.SECONDS_MATTER", 0)
    monkeypatch.setattr("datadam.distillation.forecast.passes_a_second", lambda *_: 1000.0)
    first = recipe_of_start(real, asked)
    assert first is not None
    alone, start = forecast(real, replace(asked, start="real")), forecast(real, first)
    told = forecast(real, asked)
    assert told.seconds == pytest.approx(alone.seconds + start.seconds)
    assert (told.before, alone.before) == (pytest.approx(start.seconds), 0)
    assert told.bytes == max(alone.bytes, start.bytes)


def test_what_cannot_be_made_is_refused_before_any_work(real: datadam.RealData, asked: Recipe, cache: Path) -> None:
    with pytest.raises(InvalidInput, match="has only 12 training images"):
        datadam.begin(real, replace(asked, ipc=13))
    with pytest.raises(InvalidInput, match="learns nothing on the way"):
        replace(asked, method=datadam.preset("herding", real, ipc=2).method, iterations=0)
    assert not cache.exists()
