"""Learning class after class: orders, what is made once, forgetting, the memory as plain data, what is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch

import datadam
from datadam.applications import sets
from datadam.applications.continual import Asked, continual, forgetting, plan
from datadam.applications.continual_page import published, sentence, sheet, text
from datadam.data import RealData
from datadam.distillation.presets import preset
from datadam.errors import InvalidInput
from datadam.evaluation.statistics import holm, paired
from datadam.where import Where

TINY = {
    "net": "convnet1:width=4",
    "epochs": 2,
    "iterations": 2,
    "batch_real": 4,
    "ipc": 2,
    "steps": 3,
    "orders": 2,
    "augment": "none",
}


def asked(methods: str = "random,dm", **changes: object) -> Asked:
    return Asked(**{"methods": methods} | TINY | changes)  # type: ignore[arg-type]


def test_orders_are_named_and_hold_each_class_once(real: RealData) -> None:
    first, again = plan(real, asked(orders=4)), plan(real, asked(orders=2))
    assert first.orders[:2] == again.orders
    assert len(set(first.orders)) > 1
    for order in first.orders:
        assert sorted(k for step in order for k in step) == [0, 1, 2]


def test_separable_methods_are_made_once_with_the_images_of_a_class_alone(real: RealData, tmp_path: Path) -> None:
    made = plan(real, asked("random,dm,dc,herding,herding:features=random,dm:start=kmeans"))
    once = {method.word.word: method.once for method in made.methods}
    assert once == {
        "random": True,
        "dm": True,
        "dc": False,
        "herding": False,
        "herding:features=random": True,
        "dm:start=kmeans": False,
    }
    found = continual(plan(real, asked("dm")), tmp_path, Where(device="cpu"))
    assert [row["made_once"] for row in found["methods"]] == [True]
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["dm-ipc2"]
    with np.load(tmp_path / "memory" / "dm.npz") as memory:
        x, y, t = memory["x"], memory["y"], memory["t"]
        assert memory["class_names"].tolist() == list(real.classes)
    assert x.shape == (6, 8, 8, 3)
    steps = [[real.classes.index(name) for name in step] for step in found["orders"][0]]
    assert y.tolist() == [k for step in steps for k in step for _ in range(2)]
    assert t.tolist() == [0, 0, 1, 1, 2, 2]
    recipe = plan(real, asked("dm")).methods[0].recipe
    alone = datadam.distill(real.subset([steps[1][0]]), recipe)  # as if the other classes did not exist
    pixels = (alone.pixels() * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    assert np.abs(pixels.astype(int) - x[t == 1]).max() <= 1


def test_others_are_made_for_each_step_and_all_is_found_again(
    real: RealData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = continual(plan(real, asked("random,dc", orders=1)), tmp_path, Where(device="cpu"))
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["dc-ipc2-steps3-order0", "random-ipc2"]
    judged = []
    really = sets.evaluate
    monkeypatch.setattr(sets, "evaluate", lambda *given, **options: judged.append(options["seed"]) or really(*given, **options))
    more = continual(plan(real, asked("random,dc", orders=2)), tmp_path, Where(device="cpu"))
    assert judged == [1] * 6  # the second order's alone
    for before, after in zip(first["methods"], more["methods"], strict=True):
        assert before["accuracies"] == after["accuracies"][:1]
    judged.clear()
    continual(plan(real, asked("random", orders=1, ipc=3)), tmp_path, Where(device="cpu"))
    assert judged == [0] * 3  # another memory


def test_numbers_are_those_of_their_definitions(real: RealData, tmp_path: Path) -> None:
    found = continual(plan(real, asked("random,dm", orders=3)), tmp_path, Where(device="cpu"))
    random, dm = found["methods"]
    finals = [{o: order[-1][0] for o, order in enumerate(row["accuracies"])} for row in (random, dm)]
    assert dm["final"]["value"] == pytest.approx(sum(finals[1].values()) / 3)
    for order in dm["accuracies"]:
        for tables in order:
            assert tables[0] == pytest.approx(sum(tables[1:]) / len(tables[1:]))  # one class a step, as many test images of each
    test = paired(finals[1], finals[0])
    assert test is not None
    assert random["against"] is None
    assert dm["against"]["mean"] == test.mean
    if test.p is not None:
        assert dm["against"]["p_holm"] == holm([test.p])[0]
    page = sheet(found, command="datadam continual").html()
    assert "made once" in " ".join(text(found)[1][0])
    assert page.count("<svg") == 1
    assert sentence(found).endswith(".")


def test_forgetting_is_the_fall_from_the_best() -> None:
    tables = [[0.9, 0.9], [0.7, 0.6, 0.8], [0.5, 0.3, 0.7, 0.5]]
    assert forgetting(tables) == pytest.approx(((0.9 - 0.3) + (0.8 - 0.7)) / 2)
    assert sets.over([0.5]) == {"value": 0.5, "low": None, "high": None}
    assert sets.over([0.4, 0.6])["high"] > 1


def test_published_numbers_stand_beside_their_own_setting_alone() -> None:
    about = {"data": {"name": "cifar100"}, "ipc": 20, "steps": 5}
    assert published(about, "datadam") == 0.397
    assert published(about, "herding:features=random") == 0.281
    assert published(about | {"steps": 4}, "dm") is None
    assert published(about | {"data": {"name": "mnist"}}, "dm") is None


def test_everything_wrong_is_told_at_once(real: RealData, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as met:
        plan(real, asked("random,dmm", steps=2, ipc=0, orders=0, students=0, epochs=0))
    told = "\n".join(met.value.faults)
    cut = "steps is 2, which does not cut 3 classes into two or more equal parts; take 3"
    for words in (cut, "ipc is 0", "orders is 0", "students is 0", "epochs is 0", "'dmm'"):
        assert words in told
    for methods, words in (
        ("dm:zca=kornia", "a whitening is fitted on all classes"),
        ("mtt", "learns labels or a rate"),
        ("dm,dm", "is named twice"),
    ):
        with pytest.raises(InvalidInput, match=words):
            plan(real, asked(methods))
    assert preset("mtt", real, ipc=1).method.learns >= {"rate"}
    assert not list(tmp_path.iterdir())
