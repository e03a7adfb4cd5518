"""--normalisation and --no-flip, from the command line into cards, and beside a run."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from datadam.data.field import CIFAR

TINY = ("--net", "convnet1:width=4", "--iterations", "2", "--batch-real", "4")


@pytest.fixture
def known(pictures: Path, tmp_path: Path) -> Path:
    """A folder that is called like a data set of the field."""
    return Path(shutil.copytree(pictures, tmp_path / "cifar10"))


def card_of(run: Path) -> dict[str, Any]:
    return json.loads((run / "card.json").read_text())  # type: ignore[no-any-return]


def made(cli: Any, known: Path, *more: str) -> dict[str, Any]:
    run = known.parent / f"run{len(list(known.parent.iterdir()))}"
    assert cli("distill", known, "--ipc", "1", *TINY, "--out", run, *more).code == 0
    return card_of(run)


def test_presets_and_options_decide(cli: Any, known: Path) -> None:
    official = made(cli, known, "--method", "dm")
    assert tuple(official["transform"]["std"]) == CIFAR[1]
    own = made(cli, known, "--method", "dm", "--normalisation", "own")
    assert own["recipe"]["normalisation"] == "own"
    assert own["transform"] == made(cli, known, "--no-zca")["transform"] != official["transform"]
    assert made(cli, known, "--no-zca", "--set", "normalisation=field")["transform"] == official["transform"]


def test_images_that_are_not_mirrored(cli: Any, known: Path) -> None:
    card = made(cli, known, "--no-flip", "--method", "dsa")
    assert card["data"]["options"]["flip"] is False
    assert "flip" not in card["recipe"]["augment"] + card["recipe"]["network_augment"]
    assert "flip" in made(cli, known)["recipe"]["augment"]


def test_students_of_a_run_follow_its_card(cli: Any, known: Path) -> None:
    """Also those of random images beside it, which are normalised and augmented as the run's."""
    run = known.parent / "run"
    assert cli("distill", known, "--ipc", "1", *TINY, "--method", "dm", "--no-flip", "--out", run).code == 0
    judged = cli("evaluate", run, "--students", "1", "--epochs", "2", "--json")
    assert json.loads(judged.out)[0]["protocol"]["augment"] == "color_crop_cutout_scale_rotate"
    beside = cli("baseline", known, "--ipc", "1", "--beside", run, "--students", "1", "--epochs", "2", "--json")
    assert json.loads(beside.out)[0]["protocol"]["augment"] == "color_crop_cutout_scale_rotate"
    alone = (
        "baseline",
        known,
        "--ipc",
        "1",
        "--students",
        "1",
        "--epochs",
        "2",
        "--net",
        "convnet1:width=4",
        "--no-flip",
        "--json",
    )
    same, other = (json.loads(cli(*alone, *more).out)[0]["accuracies"] for more in (("--normalisation", "field"), ()))
    assert json.loads(beside.out)[0]["accuracies"] == same
    assert isinstance(other, list)


def test_beside_a_run_nothing_is_asked_otherwise(refused: Any, cli: Any, known: Path) -> None:
    run = known.parent / "run"
    assert cli("distill", known, "--ipc", "1", *TINY, "--out", run).code == 0
    said = refused("baseline", known, "--ipc", "1", "--beside", run, "--normalisation", "field")
    assert "normalised and augmented as its own" in said


def test_a_pool_of_the_fields_numbers_is_for_runs_of_them(cli: Any, refused: Any, known: Path) -> None:
    pool = known.parent / "pool"
    asked = ("pretrain", known, "--out", pool, "--net", "convnet1:width=4", "--count", "1", "--epochs", "2")
    outcome = cli(*asked, "--normalisation", "field")
    assert outcome.code == 0
    assert "--normalisation field" in outcome.out
    run = ("distill", known, "--ipc", "1", *TINY, "--set", f"networks={pool}@0-100", "--no-zca", "--out")
    said = refused(*run, known.parent / "own")
    assert "mean 0.4914, 0.4822, 0.4465; std 0.2023, 0.1994, 0.201" in said
    assert cli(*run, known.parent / "field", "--normalisation", "field").code == 0
    assert "pretrain DATA --net convnet1:width=4 --normalisation" not in said  # the run asks for the data's own
