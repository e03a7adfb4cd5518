"""`datadam distill` with a method that chooses."""

import re
from pathlib import Path

import pytest

from datadam.sets.distilled import DistilledSet


@pytest.mark.parametrize("method", ["herding", "forgetting", "el2n", "grand"])
def test_a_choice_by_training_says_so_and_is_the_same_again(cli, pictures: Path, tmp_path: Path, method: str) -> None:
    options = ("distill", pictures, "--ipc", 2, "--method", method, "--net", "convnet1:width=4", "--set", "epochs=2")
    outcome = cli(*options, "--out", tmp_path / "run", "--json")
    assert outcome.code == 0
    epochs = 2 if method in ("herding", "forgetting") else 6
    assert f"{method} chooses by what networks learn in {epochs} epochs on the whole training set" in outcome.err
    assert outcome.json["recipe"]["method"]["epochs"] == 2
    assert cli(*options, "--out", tmp_path / "again").code == 0
    assert (DistilledSet.load(tmp_path / "run").images == DistilledSet.load(tmp_path / "again").images).all()
    assert cli("evaluate", tmp_path / "run", "--students", 1, "--epochs", 1).code == 0
    assert f"{method} " in cli("show", tmp_path / "run").out


def test_random_features_train_nothing(cli, pictures: Path, tmp_path: Path) -> None:
    options = ("--method", "herding", "--net", "convnet1:width=4", "--set", "features=random")
    outcome = cli("distill", pictures, "--ipc", 2, *options, "--out", tmp_path / "run")
    assert outcome.code == 0
    assert "epochs" not in outcome.err


def test_settings_of_a_choice_that_mean_nothing_are_refused(refused, pictures: Path, tmp_path: Path) -> None:
    options = ("distill", pictures, "--ipc", 2, "--out", tmp_path / "run", "--method", "herding")
    assert "leave out batch_real, start" in refused(*options, "--start", "kmeans", "--batch-real", 3)
    assert "features is 'best'; allowed: trained, random" in refused(*options, "--set", "features=best")
    assert not (tmp_path / "run").exists()


@pytest.fixture
def long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every run is long, at a hundred forward passes a second."""
    from datadam.cli import distill
    from datadam.distillation import forecast

    monkeypatch.setattr(distill, "TELL", 0.0)
    monkeypatch.setattr(forecast, "SECONDS_MATTER", 0.0)
    monkeypatch.setattr(forecast, "passes_a_second", lambda *what: 100.0)


@pytest.mark.usefixtures("long")
def test_seconds_and_memory_of_a_choice_are_told_before_it(cli, pictures: Path, tmp_path: Path) -> None:
    options = ("--ipc", 2, "--method", "herding", "--net", "convnet1:width=4", "--set", "epochs=10")
    outcome = cli("distill", pictures, *options, "--out", tmp_path / "run")
    assert outcome.code == 0
    told = r"this takes about 9 s here and about 50\d\u202fMB of memory, if it is not there yet; --set epochs=N shortens it"
    assert re.search(told, outcome.err)  # (3 * 10 + 1) passes of 30 images, 100 a second


@pytest.mark.usefixtures("long")
def test_memory_is_told_beside_the_seconds_of_a_long_run(cli, pictures: Path, tmp_path: Path) -> None:
    options = ("--ipc", 2, "--method", "dm", "--net", "convnet1:width=4", "--iterations", 2, "--batch-real", 4)
    outcome = cli("distill", pictures, *options, "--out", tmp_path / "run")
    assert outcome.code == 0
    line = next(line for line in outcome.err.splitlines() if "this takes about" in line)
    assert re.search(r"s here; --iterations shortens it\. It needs about 50\d\u202fMB of memory$", line)


def test_a_set_that_the_challenge_did_not_judge_is_told(cli, pictures: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert cli("distill", pictures, "--ipc", 2, "--method", "random", "--net", "convnet1:width=4", "--out", run).code == 0
    outcome = cli("evaluate", run, "--protocol", "eccv24", "--epochs", 1)
    assert "note: eccv24 judged 10 images per class" in outcome.err
    assert "here: ipc 2" in outcome.err
    assert "eccv24: 3 of 3 students" in outcome.out
    assert "judged 10 images" not in cli("evaluate", run, "--epochs", 1, "--students", 1).err
