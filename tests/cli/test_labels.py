"""What labels mean is said on the command line, kept in the card, and known again by later commands."""

import json
from pathlib import Path

import numpy as np
import pytest

from datadam.cli.config import merge

TINY = ("--ipc", "1", "--net", "convnet1:width=4", "--iterations", "1", "--batch-real", "4")


def npz(path: Path, labels: list[int], names: list[str] | None) -> Path:
    images = np.random.default_rng(0).integers(0, 256, (len(labels), 8, 8), dtype=np.uint8)
    np.savez(path, x=images, y=np.array(labels), **({} if names is None else {"class_names": np.array(names)}))
    return path


def test_numbers_and_images_without_labels_are_declared_once(cli, refused, tmp_path: Path) -> None:
    train = npz(tmp_path / "train.npz", [0, 1, -1] * 6, ["cat", "dog"])
    test = npz(tmp_path / "test.npz", [0, 1] * 3, None)
    command = ("distill", train, "--test", test, *TINY, "--out", tmp_path / "run")
    assert "--labels-as-numbers" in refused(*command, "--skip-unlabelled")
    assert "--skip-unlabelled" in refused(*command, "--labels-as-numbers")
    outcome = cli(*command, "--labels-as-numbers", "--skip-unlabelled", "--json")
    assert outcome.code == 0
    assert "6 of 18 training images have no label and were left out" in outcome.err
    data = json.loads((tmp_path / "run" / "card.json").read_text())["data"]
    assert {"labels_as_numbers": True, "skip_unlabelled": True, "test": str(test)} == data["options"]
    assert (data["classes"], data["train"], data["test"]) == (["cat", "dog"], 12, 6)
    assert any("have no label and were left out" in note for note in data["notes"])
    assert cli("evaluate", tmp_path / "run", "--students", 1, "--epochs", 1).code == 0


def test_named_sets_have_labels(refused) -> None:
    assert "labels_as_numbers=, skip_unlabelled= cannot be used with mnist" in refused(
        "distill", "mnist", *TINY, "--labels-as-numbers", "--skip-unlabelled"
    )


@pytest.mark.parametrize("command", ["distill", "baseline", "compare", "pretrain", "import"])
def test_every_command_that_reads_data_has_the_flags(cli, command: str) -> None:
    shown = cli(command, "--help").out
    assert "--labels-as-numbers" in shown
    assert "--skip-unlabelled" in shown


def test_the_flags_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("data: mnist\nipc: 1\nskip-unlabelled: true\nlabels_as_numbers: true\n")
    asked = merge({"set": []}, tmp_path / "a.yaml")
    assert asked["skip_unlabelled"] is asked["labels_as_numbers"] is True
