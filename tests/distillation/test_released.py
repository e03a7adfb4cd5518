"""What presets take over from released code, from the recipe to the card, the files of others and cards of earlier versions."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small import make_real

import datadam
from datadam import nets
from datadam.data import RealData
from datadam.data.field import CIFAR
from datadam.distillation.presets import Sketch
from datadam.distillation.recipe import Recipe
from datadam.evaluation.evaluate import evaluate
from datadam.evaluation.panel import protocol_named
from datadam.exchange.inward import import_
from datadam.exchange.outward import export
from datadam.sets.card import read_card
from datadam.sets.distilled import DistilledSet

NET = "convnet1:width=4"


@pytest.fixture(scope="module")
def real() -> RealData:
    return replace(make_real(2, 6, (3, 8, 8)), name="cifar10")


def tiny(real: RealData, preset: str = "dm", **more: object) -> Recipe:
    recipe = datadam.preset(preset, real, ipc=2)
    return recipe.change({"net": NET, "iterations": 3, "batch_real": 4, "protocol": "honest", **more})


@pytest.fixture(scope="module")
def run(real: RealData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("released") / "run"
    datadam.distill(real, tiny(real), out=out)
    return out


def test_the_card_says_it(run: Path) -> None:
    card = read_card(run)
    assert card["recipe"]["normalisation"] == card["data"]["options"]["normalisation"] == "field"
    assert (tuple(card["transform"]["mean"]), tuple(card["transform"]["std"])) == CIFAR


def test_a_set_is_judged_in_its_own_space(run: Path, real: RealData) -> None:
    protocol = protocol_named("honest", epochs=2)
    judged = evaluate(DistilledSet.load(run), real, net=NET, protocol=protocol, students=1)
    again = evaluate(DistilledSet.load(run), real.with_normalisation("field"), net=NET, protocol=protocol, students=1)
    assert judged.accuracies == again.accuracies


@pytest.mark.parametrize("to", ["dm", "mtt", "datadam", "npz"])
def test_files_hold_every_bit_and_come_back(run: Path, real: RealData, tmp_path: Path, to: str) -> None:
    one = DistilledSet.load(run)
    assert export(one, to, tmp_path / to).error.exact
    note = json.loads((tmp_path / to / "datadam.json").read_text())["numbers"]
    assert (tuple(note["mean"]), tuple(note["std"])) == CIFAR
    (tmp_path / to / "datadam.json").unlink()
    (back,) = import_(tmp_path / to, to, real)
    assert torch.equal(back.images, one.images)
    assert back.transform == one.transform


def test_pictures_show_true_colours(run: Path, real: RealData, tmp_path: Path) -> None:
    """Images of a start are bytes, which come back through the numbers of the run."""
    chosen = datadam.distill(real, tiny(real, "random", iterations=0, normalisation="field"))
    export(chosen, "folder", tmp_path / "pictures")
    (back,) = import_(tmp_path / "pictures", "folder", real)
    assert back.transform == real.transform
    torch.testing.assert_close(back.pixels(), chosen.pixels(), rtol=0, atol=1e-6)
    assert not torch.equal(back.images, chosen.images)


def test_the_start_of_another_normalisation_is_no_start(real: RealData, run: Path, tmp_path: Path) -> None:
    own = datadam.distill(real, tiny(real, normalisation="own"))
    assert own.transform == real.transform
    assert not torch.equal(own.images, DistilledSet.load(run).images)


def test_a_rate_of_ten_is_for_cifar10_from_a_hundred_images_on() -> None:
    def rate(name: str, ipc: int) -> float:
        return datadam.preset("dm", Sketch(name, (3, 32, 32)), ipc=ipc).lr_images

    assert [rate("cifar10", ipc) for ipc in (1, 50, 51, 99, 100, 500)] == [1, 1, 1, 1, 10, 10]
    assert [rate(name, 100) for name in ("cifar100", "holidays")] == [1, 1]


@pytest.mark.parametrize("preset", ["official", "dm", "dc", "dsa", "cafe"])
def test_one_channel_of_any_size_is_widened_as_there(preset: str) -> None:
    grey, digits, colour = (
        datadam.preset(preset, Sketch("holidays", shape), ipc=1).net for shape in ((1, 32, 32), (1, 28, 28), (3, 32, 32))
    )
    assert grey == f"{colour}:widen=grey"
    assert digits == colour
    network = nets.build(grey, shape=(1, 32, 32), classes=2)
    first = next(module for module in network.modules() if isinstance(module, torch.nn.Conv2d))
    assert first.padding == (3, 3)
    assert datadam.preset("datadam", Sketch("holidays", (1, 32, 32)), ipc=1).net == "auto"


def test_cards_of_before_mean_what_they_meant(run: Path, real: RealData, tmp_path: Path) -> None:
    """No word of a normalisation: the data's own. DataDAM had a setting of that name, and layer norm a weight a channel."""
    card = datadam.preset("datadam", real, ipc=2).change({"net": f"{NET}:norm=group1", "map_norm": "l1"}).to_card()
    old = {name: value for name, value in card.items() if name != "normalisation"} | {"net": f"{NET}:norm=layer"}
    old["method"] = {("normalisation" if name == "map_norm" else name): value for name, value in card["method"].items()}
    assert Recipe.from_card(json.loads(json.dumps(old))) == Recipe.from_card(card)

    whole = json.loads((run / "card.json").read_text())
    del whole["recipe"]["normalisation"]
    whole["recipe"]["net"] += ":norm=layer"
    folder = tmp_path / "old"
    folder.mkdir()
    for file in run.glob("*.safetensors"):
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "card.json").write_text(json.dumps(whole))
    loaded = DistilledSet.load(folder)
    assert loaded.card["recipe"]["net"] == f"{NET}:norm=group1"
    assert Recipe.from_card(loaded.card["recipe"]).normalisation == "own"


def test_a_run_of_before_goes_on_as_it_began(real: RealData, tmp_path: Path) -> None:
    """Its checkpoint says how the data were normalised, and no preset changes that."""
    from datadam.distillation.begin import begin, resume

    whole = datadam.distill(real, tiny(real, normalisation="own"), out=tmp_path / "whole")
    run = begin(real, tiny(real, normalisation="own"), out=tmp_path / "run")
    steps = run.steps()
    next(steps)
    steps.close()
    path = tmp_path / "run" / "checkpoint" / "run.json"
    kept = json.loads(path.read_text())
    recipe = kept["recipe"] if "recipe" in kept else kept["card"]["recipe"]
    del recipe["normalisation"]
    path.write_text(json.dumps(kept))
    later = resume(tmp_path / "run", real)
    for _ in later.steps():
        pass
    assert later.recipe.normalisation == "own"
    assert torch.equal(later.result().images, whole.images)
