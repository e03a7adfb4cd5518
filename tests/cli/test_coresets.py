"""`datadam distill` with a method that chooses."""

from pathlib import Path

import pytest

from datadam.distilled import DistilledSet


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
