"""A search: what ranks, what is found again, equal steps of early stopping, shares over processes, what is refused."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import datadam
from datadam import nets
from datadam.applications.search import EARLY, HELD_OUT, WHOLE, Asked, plan, search
from datadam.applications.search_page import csv_text, sentence, sheet, text
from datadam.applications.trainings import NetworkTrainer, lies_channels_last
from datadam.data import RealData
from datadam.distillation.recipe import Recipe
from datadam.errors import InvalidInput
from datadam.training.trainer import confusion, forward_of

SPACE = "convnet1:width=4\nconvnet1:width=8:act=sigmoid\nconvnet1:width=4:norm=batch\nconvnet2:width=4\nmlp:width=4\n"


@pytest.fixture
def space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A file of five networks, and an empty cache."""
    monkeypatch.setenv("DATADAM_CACHE", str(tmp_path / "cache"))
    (tmp_path / "nets.txt").write_text(SPACE)
    return str(tmp_path / "nets.txt")


def asked(space: str, *proxies: str, **changes: object) -> Asked:
    tiny = {"proxies": proxies, "space": space, "ipc": 2, "epochs": 3, "whole_epochs": 2, "precision": "float32"}
    return Asked(**tiny | changes)  # type: ignore[arg-type]


def test_the_same_search_finds_all_of_it_again(real: RealData, space: str) -> None:
    made = plan(real, asked(space, "random", EARLY), workers=1)
    assert (made.kept, made.trainings) == (0, 15)
    found = search(made, real)
    again = plan(real, asked(space, "random", EARLY), workers=1)
    assert again.kept == 15
    second = search(again, real)
    moving = ("created",)
    assert {k: v for k, v in found.items() if k not in moving} == {k: v for k, v in second.items() if k not in moving}
    more = plan(real, asked(space, "random", EARLY, students=2), workers=1)
    assert (more.kept, more.trainings) == (15, 30)


def test_accuracies_rank_and_choose_as_they_say(real: RealData, space: str) -> None:
    found = search(plan(real, asked(space, "random"), workers=1), real)
    random, whole = found["proxies"]
    assert [one["name"] for one in found["proxies"]] == ["random", WHOLE]
    for one in (random, whole):
        chosen = int(np.argmax(one["accuracies"]))
        assert (one["chosen"], one["chosen_accuracy"]) == (found["networks"][chosen], found["truth"][chosen])
        assert len(one["accuracies"]) == len(found["networks"]) == 5
    held, test = found["held_out"], found["test"]
    for values, count in ((random["accuracies"], held), (whole["accuracies"], held), (found["truth"], test)):
        assert all(abs(value * count - round(value * count)) < 1e-9 for value in values)
    assert found["truth"][found["networks"].index(found["best"])] == max(found["truth"])


def test_early_stopping_has_the_steps_of_the_first_proxy(real: RealData, space: str) -> None:
    made = plan(real, asked(space, "random", EARLY, epochs=9), workers=1)
    random, early, whole = made.courses
    assert early.steps == random.steps == 9
    assert early.stop == 9
    assert len(early.labels) == len(whole.labels)
    assert early.training.lr_at(early.training.epochs - 0.5) == whole.training.lr  # it stops before the rate would fall


def test_held_out_images_are_neither_learned_nor_the_test_part(real: RealData, space: str) -> None:
    made = plan(real, asked(space, "random", EARLY, whole_images=6), workers=1)
    held = {row.tobytes() for row in made.trainer.parts[HELD_OUT].pixels}
    assert held <= {row.tobytes() for row in real.train.pixels}
    for course in made.courses[1:]:
        assert course.pixels is not None
        assert len(course.pixels) == 6
        assert not held & {row.tobytes() for row in course.pixels}
    assert made.trainer.parts["test"] is real.test


def test_a_run_is_a_proxy_and_random_is_stored_as_it_is(
    real: RealData, recipe: Callable[..., Recipe], space: str, tmp_path: Path
) -> None:
    run = str(tmp_path / "run")
    datadam.distill(real, recipe("dm", ipc=2, decoder="grid:2", precision="float32"), out=run)
    made = plan(real, asked(space, run, "random", ipc=None), workers=1)
    assert [len(course.labels) for course in made.courses[:2]] == [24, 24]
    found = search(made, real)
    assert [one["name"] for one in found["proxies"]] == ["run", "random", "whole"]
    page = sheet(found, command="datadam search").html()
    assert sentence(found).split(" ")[0] == "5"
    assert page.count("<svg") == 3  # the best of so few are not drawn by themselves
    assert len(csv_text(found).splitlines()) == 6
    assert len(text(found)[1]) == 3


def test_two_processes_give_what_one_gives(real: RealData, space: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    one = search(plan(real, asked(space, "random"), workers=1), real)
    monkeypatch.setenv("DATADAM_CACHE", str(tmp_path / "other"))
    two = plan(real, asked(space, "random"), workers=2)
    assert two.workers == 2
    both = search(two, real)
    assert both["truth"] == one["truth"]
    assert both["proxies"][0]["accuracies"] == one["proxies"][0]["accuracies"]


def test_a_training_that_was_interrupted_goes_on_to_the_same(
    real: RealData, space: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    whole = search(plan(real, asked(space, "random"), workers=1), real)
    monkeypatch.setenv("DATADAM_CACHE", str(tmp_path / "other"))
    steps = 0

    def stop(words: str, done: float, total: float) -> None:
        nonlocal steps
        steps += 1
        if steps == 12:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(plan(real, asked(space, "random"), workers=1), real, stop)
    rest = plan(real, asked(space, "random"), workers=1)
    assert 0 < rest.kept < 10
    after = search(rest, real)
    assert after["truth"] == whole["truth"]
    assert [one["accuracies"] for one in after["proxies"]] == [one["accuracies"] for one in whole["proxies"]]


def test_a_network_that_diverges_counts_as_it_is(real: RealData, space: str) -> None:
    made = plan(real, asked(space, "random"), workers=1)
    course = made.courses[0]
    course.images[:] = np.float32(1e30)  # type: ignore[index]
    trainer = NetworkTrainer((course,), made.trainer.parts, 3, 1, 0, "cpu", "float32", 1)
    ((student,),) = trainer("convnet1:norm=none:width=4", lambda told: None)
    assert student.counts[HELD_OUT].sum() == len(made.trainer.parts[HELD_OUT])


def test_everything_wrong_is_told_at_once(real: RealData, space: str, tmp_path: Path) -> None:
    other = datadam.distill(real.subset([0, 1]), "random", ipc=1, out=tmp_path / "other")
    assert len(other.classes) == 2
    with pytest.raises(InvalidInput) as met:
        plan(real, asked(space, str(tmp_path / "other"), "nowhere", epochs=0, students=0, whole_images=0), workers=0)
    told = "\n".join(met.value.faults)
    for words in (
        "epochs is 0",
        "students is 0",
        "whole_images is 0",
        "workers is 0",
        "the set has 2 classes",
        "unknown proxy 'nowhere'",
    ):
        assert words in told
    for proxies, changes, words in (
        ((EARLY,), {}, "early has the steps of the first other proxy"),
        (("random",), {"ipc": None}, "give ipc, or a run"),
        (("random", "random"), {}, "given twice"),
        (("random",), {"truth": "none.csv"}, "none.csv has cells of NAS-Bench-201"),
        (("random",), {"ipc": 99}, "99"),
    ):
        with pytest.raises(InvalidInput, match=words):
            plan(real, asked(space, *proxies, **changes), workers=1)
    assert not (tmp_path / "cache").exists() or not any((tmp_path / "cache").rglob("search/*"))


def test_the_truth_of_a_table_trains_no_network_on_the_whole_set(
    space: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from small import make_real

    real = make_real(shape=(3, 8, 8))
    lines = ["index,arch,top", "0,|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|none~0|none~1|none~2|,90"]
    lines += [
        f"{i},|{a}~0|+|none~0|{a}~1|+|none~0|none~1|{a}~2|,{80 + i}" for i, a in enumerate(("skip_connect", "avg_pool_3x3"), 1)
    ]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    words = [line.split(",")[1] for line in lines[1:]]
    (tmp_path / "cells.txt").write_text("\n".join(f"nasbench201:cell={word}" for word in words))
    made = plan(real, asked(str(tmp_path / "cells.txt"), "random", truth=f"{tmp_path / 't.csv'}@top", epochs=1), workers=1)
    assert [course.name for course in made.courses] == ["random"]
    torch.manual_seed(0)
    found = search(made, real)
    assert found["truth"] == [0.9, 0.81, 0.82]
    assert found["proxies"][0]["correlation_all"] is None  # of three networks there is no interval


@pytest.mark.parametrize(
    ("net", "last"), [("convnet2:width=4", False), ("convnet2:norm=layer:width=4", False), ("convnet2:norm=batch:width=4", True)]
)
def test_how_maps_lie_changes_no_number(net: str, last: bool) -> None:
    """Channels last or first, forth and back, and when it is tested."""
    x, y = torch.rand(6, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0)), torch.arange(6) % 2
    logits, gradients, counts = [], [], []
    for channels_last in (False, True):
        network = nets.build(net, shape=(3, 8, 8), classes=2).double()
        assert lies_channels_last(network) is last
        forward = forward_of(network, 1, "float64", False, channels_last=channels_last)
        logits.append(forward(x))
        torch.nn.functional.cross_entropy(logits[-1], y).backward()
        gradients.append([weight.grad for weight in network.parameters()])
        counts.append(confusion(network, iter([(x, y)]), 2, forward))
    torch.testing.assert_close(logits[0], logits[1])
    for first, second in zip(*gradients, strict=True):
        torch.testing.assert_close(first, second)
    assert torch.equal(counts[0], counts[1])
    assert counts[0].sum() == 6
