"""Recipes and presets: what the published tables say, round trips through cards, and every fault at once."""

import dataclasses
import json

import pytest
from small import make_real

import datadam
from datadam.distillation.presets import CATALOG
from datadam.distillation.recipe import Recipe
from datadam.errors import CannotDo, InvalidInput, UnknownName
from datadam.methods import DM, DataDAM, Random


def named(name: str, shape: tuple[int, int, int]):
    return dataclasses.replace(make_real(2, 3, shape), name=name)


CIFAR, TINY, DIGITS = named("cifar10", (3, 32, 32)), named("tiny-imagenet", (3, 64, 64)), named("mnist", (1, 28, 28))


def test_paper() -> None:
    recipe = datadam.preset("paper", CIFAR, ipc=10)
    assert recipe.method == DataDAM(power=4.0, task_balance=0.01, scale=1.0)
    assert (recipe.iterations, recipe.batch_real, recipe.lr_images, recipe.momentum) == (8000, 256, 1.0, 0.5)
    assert (recipe.zca, recipe.start, recipe.init) == ("kornia", "real", "default")
    assert datadam.preset("paper", CIFAR, ipc=51).lr_images == 10
    tiny = datadam.preset("paper", TINY, ipc=10)
    assert (tiny.method, tiny.zca) == (DataDAM(power=4.0, task_balance=0.02, scale=1.0), "none")


def test_official() -> None:
    recipe = datadam.preset("official", CIFAR, ipc=10)
    assert recipe.method == DataDAM(power=1.0, task_balance=0.01, scale=100.0)
    assert (recipe.iterations, recipe.batch_real, recipe.lr_images, recipe.zca) == (20_000, 64, 1.0, "none")
    assert "norm=batch" in recipe.net
    assert recipe.protocol == "official"
    assert datadam.preset("official", named("imagenette", (3, 128, 128)), ipc=1).net.startswith("convnet6")


def test_datadam_is_paper_with_the_official_scale() -> None:
    ours, paper = (datadam.preset(name, CIFAR, ipc=10) for name in ("datadam", "paper"))
    assert isinstance(ours.method, DataDAM)
    assert (
        dataclasses.replace(ours, method=dataclasses.replace(ours.method, scale=1.0), protocol="paper", preset="paper") == paper
    )
    assert ours.method.scale == 100
    assert (ours.protocol, paper.protocol) == ("honest", "paper")


def test_course() -> None:
    digits = datadam.preset("course-mnist", DIGITS, ipc=10)
    assert digits.iterations == 100 * digits.iterations_per_network == 1000
    assert (digits.lr_images, digits.batch_real, digits.network_steps, digits.net) == (0.1, 256, 50, "convnet3")
    mhist = datadam.preset("course-mhist", named("mhist", (3, 32, 32)), ipc=50)
    assert mhist.iterations == 200 * mhist.iterations_per_network
    assert (mhist.batch_real, mhist.net) == (128, "convnet7:width=32")


def test_dm_and_coresets() -> None:
    assert datadam.preset("dm", CIFAR, ipc=10).method == DM()
    chosen = datadam.preset("random", CIFAR, ipc=2)
    assert (chosen.method, chosen.iterations, chosen.start) == (Random(), 0, "real")


def test_digits_are_not_mirrored() -> None:
    assert all("flip" not in CATALOG[name](DIGITS, 1).augment for name in CATALOG)
    assert "flip" in CATALOG["datadam"](CIFAR, 1).augment


@pytest.mark.parametrize("name", [*CATALOG, "random", "kcenter", "kmeans"])
def test_cards_rebuild_recipes(name: str) -> None:
    recipe = datadam.preset(name, CIFAR, ipc=10).change({"seed": 7})
    assert Recipe.from_card(json.loads(json.dumps(recipe.to_card()))) == recipe


def test_settings_from_text() -> None:
    recipe = datadam.preset("datadam", CIFAR, ipc=10)
    changed = recipe.change({"power": "2", "layers": "1,2", "iterations": "1e3", "lr_images": "0.5", "error": "mae"})
    assert changed.method == dataclasses.replace(recipe.method, power=2.0, layers=(1, 2), error="mae")  # type: ignore[type-var]
    assert (changed.iterations, changed.lr_images) == (1000, 0.5)
    assert recipe.change({"layers": "()"}).method.layers == ()  # type: ignore[attr-defined]
    assert recipe.change({"layers": "none"}).method.layers == ()  # type: ignore[attr-defined]
    assert recipe.change({"layers": "1"}).change({"layers": "auto"}).method.layers is None  # type: ignore[attr-defined]


def test_every_fault_is_told_at_once() -> None:
    recipe = datadam.preset("datadam", CIFAR, ipc=10)
    with pytest.raises(InvalidInput) as caught:
        recipe.change(
            {"powr": "2", "iterations": "many", "batch_real": 0, "task_balance": "-1", "layers": "x", "augment": "colour"}
        )
    text = str(caught.value)
    for word in ("Did you mean 'power'", "iterations is 'many'", "batch_real is 0", "task_balance", "layers is 'x'", "'colour'"):
        assert word in text


@pytest.mark.parametrize("card", [{}, [], {"method": {}}, {"method": {"name": "datadam"}}, {"method": {"name": "dam"}, "ipc": 1}])
def test_damaged_cards_are_refused(card: object) -> None:
    with pytest.raises(InvalidInput):
        Recipe.from_card(card)  # type: ignore[arg-type]


def test_unknown_preset() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'paper'"):
        datadam.preset("papr", CIFAR, ipc=1)


def test_a_method_that_reads_no_network_takes_no_setting_of_one(recipe) -> None:
    for setting in ({"networks": "pool@20-40"}, {"init": "xavier"}, {"iterations_per_network": 2}, {"network_epochs": 1}):
        with pytest.raises(InvalidInput, match=f"reads pixels and no network.*{next(iter(setting))}"):
            recipe("pixel").change(setting)


def test_only_class_means_of_real_images_are_shared_by_iterations(recipe) -> None:
    with pytest.raises(CannotDo, match="dc has no class means of real images"):
        recipe("dc").change({"real_every": 2})
    with pytest.raises(InvalidInput, match="trains on the way is another one in each iteration"):
        recipe("dm", network_steps=2, real_every=2)
    with pytest.raises(InvalidInput, match="real_every is 0; it must be a whole number >= 1"):
        recipe("dm", real_every=0)
    for shared, every in ((2, 4), (3, 2)):
        with pytest.raises(InvalidInput, match="make iterations_per_network a multiple of real_every"):
            recipe("dm", iterations_per_network=shared, real_every=every)
    assert recipe("dm", iterations_per_network=6, real_every=3).real_every == 3
    assert recipe("calm").change({"real_every": "4"}).real_every == 4


def test_only_class_means_look_at_a_part_of_the_synthetic_images(recipe) -> None:
    with pytest.raises(CannotDo, match="dc looks at all synthetic images in each iteration; leave batch_synthetic=0"):
        recipe("dc").change({"batch_synthetic": 2})
    with pytest.raises(InvalidInput, match="batch_synthetic is -1; it must be a whole number >= 0"):
        recipe("dm", batch_synthetic=-1)
    assert recipe("calm").change({"batch_synthetic": "64"}).batch_synthetic == 64
    older = recipe("dm").to_card()
    del older["batch_synthetic"]
    assert Recipe.from_card(older) == recipe("dm")


def test_what_one_method_cannot_do_is_told_apart_from_what_is_wrong(recipe) -> None:
    for name, setting in (("dc", {"precision": "bfloat16"}), ("cafe", {"network_steps": 3}), ("pixel", {"init": "xavier"})):
        with pytest.raises(CannotDo):
            recipe(name).change(setting)
        with pytest.raises(InvalidInput) as caught:
            recipe(name).change(setting | {"momentum": 2})
        assert not isinstance(caught.value, CannotDo)
        assert len(caught.value.faults) == 2
        with pytest.raises(InvalidInput) as caught:
            recipe(name).change(setting | {"momentun": 0.1})
        assert not isinstance(caught.value, CannotDo)


@pytest.mark.parametrize("name", [*CATALOG, "random"])
def test_a_preset_keeps_its_name_until_its_method_is_another(name: str) -> None:
    recipe = datadam.preset(name, CIFAR, ipc=1)
    assert recipe.preset == name
    assert dataclasses.replace(recipe, seed=3).preset == name
    other = DM() if recipe.method.name != "dm" else DataDAM()
    plain = {"iterations_per_network": 1, "network_steps": 0, "network_epochs": 0, "iterations": 3}
    assert dataclasses.replace(recipe, method=other, **plain).preset == ""
