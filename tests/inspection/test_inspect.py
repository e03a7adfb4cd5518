"""The inspection as a whole: kept, found again, the same for the same seed, and of any kind of network."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small import make_real

import datadam
from datadam.data import RealData
from datadam.distillation.recipe import Recipe
from datadam.errors import InvalidInput
from datadam.files.whole import read_tensors
from datadam.inspection import Settings, inspect, is_fresh
from datadam.inspection.look import Look
from datadam.inspection.networks import random_networks
from datadam.inspection.sample import Sample
from datadam.sets.distilled import DistilledSet

QUICK = Settings(samples=24, networks=2)


@pytest.fixture
def small(real: RealData, recipe: Callable[..., Recipe]) -> DistilledSet:
    return datadam.distill(real, recipe())


def with_net(small: DistilledSet, net: str) -> DistilledSet:
    return replace(small, card=small.card | {"recipe": small.card["recipe"] | {"net": net}})


def test_the_same_seed_gives_the_same_and_another_another(real: RealData, small: DistilledSet) -> None:
    one, two, other = (inspect(small, real, replace(QUICK, seed=seed)) for seed in (0, 0, 1))
    assert {**one.found, "seconds": 0} == {**two.found, "seconds": 0}
    assert all((one.tensors[name] == two.tensors[name]).all() for name in one.tensors)
    assert one.found["attention"] != other.found["attention"]
    assert one.found["neighbours"] == other.found["neighbours"], "all training images are searched"


def test_what_is_kept_is_found_again_and_is_stale_when_anything_changed(
    real: RealData, small: DistilledSet, tmp_path: Path
) -> None:
    assert not is_fresh(tmp_path, small, None)
    made = inspect(small, real, QUICK)
    made.save(tmp_path)
    assert json.loads((tmp_path / "inspection.json").read_text()) == made.found
    kept, _ = read_tensors(tmp_path / "inspection.safetensors")
    assert kept.keys() == made.tensors.keys()
    assert is_fresh(tmp_path, small, None)
    assert is_fresh(tmp_path, small, QUICK)
    assert not is_fresh(tmp_path, small, replace(QUICK, features="trained"))
    assert not is_fresh(tmp_path, replace(small, images=small.images + 1), None)
    assert not is_fresh(tmp_path, with_net(small, "convnet1"), None)
    (tmp_path / "inspection.json").write_text('{"format": 3}')
    assert not is_fresh(tmp_path, small, None)


def test_a_random_real_set_is_like_random_real_images(real: RealData) -> None:
    real = make_real(3, 60)
    chosen = datadam.distill(real, datadam.preset("random", real, ipc=5).change({"net": "convnet2:width=6"}))
    found = inspect(chosen, real, Settings(samples=60, networks=3)).found
    scatter = found["scatter"]["measures"]
    assert scatter["bias"]["synthetic"]["value"] == pytest.approx(scatter["bias"]["random"]["value"], rel=0.5)
    assert scatter["spread"]["synthetic"]["value"] == pytest.approx(scatter["spread"]["random"]["value"], rel=0.3)
    assert max(found["neighbours"]["distance"]) < 1e-4, "each of them is a training image"


@pytest.mark.parametrize("net", ["convnet2:norm=batch:width=4", "mlp:width=8", "vit:depth=1:heads=1:width=8:patch=4"])
def test_any_kind_of_network_serves(real: RealData, small: DistilledSet, net: str) -> None:
    made = inspect(with_net(small, net), real, QUICK)
    assert (made.found["attention"] is None) == net.startswith("mlp")
    assert ("mean_real" in made.tensors) == (not net.startswith("mlp"))
    assert made.found["scatter"]["measures"]["bias"]["synthetic"]["value"] >= 0


def test_no_image_depends_on_those_beside_it_even_with_batch_norm(real: RealData, small: DistilledSet) -> None:
    sample = Sample.of(real, (2,) * 3, 24, seed=0)
    look = Look(small, real, sample, 2.0)
    recipe = small.card["recipe"] | {"net": "convnet2:norm=batch:width=4"}
    network = next(random_networks(real, recipe, 1, 0, torch.cat(sample.reference)))
    seen = look.through(network)
    alone = network.features(real.images(sample.reference[0][:1])).embedding
    assert torch.allclose(seen.embedding[0], alone[0], atol=1e-4)


def test_groups_are_what_they_say(real: RealData, small: DistilledSet) -> None:
    sample = Sample.of(real, (2,) * 3, 24, seed=0)
    look = Look(small, real, sample, 2.0)
    network = next(random_networks(real, small.card["recipe"], 1, 0, torch.cat(sample.reference)))
    seen = look.through(network)
    own = network.features(small.images[small.labels == 1]).embedding
    assert torch.allclose(look.of(seen, 1)[1], own, atol=1e-4)
    assert torch.allclose(look.of(seen, 2)[2], network.features(real.images(sample.draws[0][2])).embedding, atol=1e-4)
    maps = network.features(small.images[small.labels == 0][:1]).blocks[0].square().sum(1)
    expected = maps / maps.norm()
    assert torch.allclose(seen.singles[0][1, 0], expected[0], atol=1e-4)


def test_trained_features_say_so(real: RealData, small: DistilledSet) -> None:
    found = inspect(small, real, replace(QUICK, features="trained")).found
    assert found["scatter"]["network"] == "a network convnet2:width=6 trained on the whole training set for 10 epochs"
    assert found["scatter"]["measures"]["bias"]["synthetic"]["low"] is None, "one network has no interval"
    assert found["settings"]["epochs"] == 10


def test_one_image_a_class_has_a_bias_and_no_spread(real: RealData, recipe: Callable[..., Recipe]) -> None:
    found = inspect(datadam.distill(real, recipe(ipc=1)), real, QUICK).found
    assert found["scatter"]["measures"]["spread"] == {"synthetic": None, "random": None}
    assert found["scatter"]["measures"]["bias"]["synthetic"]["value"] > 0


def test_what_cannot_be_is_refused(real: RealData, small: DistilledSet) -> None:
    with pytest.raises(InvalidInput, match="random, trained"):
        Settings(features="best")
    with pytest.raises(InvalidInput) as told:
        Settings(samples=1, networks=1)
    assert len(told.value.faults) == 2
    with pytest.raises(InvalidInput, match="give the data the set was made from"):
        inspect(small, make_real(4), QUICK)
