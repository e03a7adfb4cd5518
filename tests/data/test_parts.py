"""What names say of the part of a set, and which part the files of a folder belong to."""

from pathlib import Path

import pytest

from datadam.data.parts import files_by_part, holds_parquet, parts_of
from datadam.errors import DataError


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("train", "train"), ("mnist-train", "train"), ("NAME_test", "test"), ("train1", "train"), ("cifar10test", "test"),
        ("TRAINING", "train"), ("test-00000-of-00001-a09b74b3ef9c3b56", "test"), ("testSet", "test"), ("2test2", "test"),
        ("Testing", "test"), ("my.val", "validation"), ("valid_2", "validation"), ("a validation b", "validation"),
        ("dev", "dev"), ("x-eval", "dev"), ("training_set", "train"), ("seg_train", "train"), ("trainval", "train"),
    ],
)  # fmt: skip
def test_words_that_stand_alone(name: str, part: str) -> None:
    assert parts_of([name]) == {name: {part}}


@pytest.mark.parametrize(
    "name", ["contest", "latest", "retrain", "interval", "invalid", "medieval", "devices", "trains", "größtest", "testament", "0"]
)
def test_words_that_are_parts_of_others(name: str) -> None:
    assert parts_of([name, "strain", "cat"])[name] == set()


def test_grown_words_count_beside_their_like() -> None:
    assert parts_of(["trainset-0", "testset-0", "valset-0"]) == {
        "trainset-0": {"train"},
        "testset-0": {"test"},
        "valset-0": {"validation"},
    }
    assert parts_of(["mnisttrain", "mnisttest"]) == {"mnisttrain": {"train"}, "mnisttest": {"test"}}
    assert parts_of(["testset", "evalset"]) == {"testset": set(), "evalset": set()}


def test_names_that_are_ambiguous() -> None:
    assert parts_of(["mnist", "mnisttest"]) == {"mnist": set(), "mnisttest": {"train", "test"}}
    assert parts_of(["train-test"]) == {"train-test": {"train", "test"}}


def sorted_out(*names: str) -> dict[str, list[str]]:
    root = Path("set")
    parts, _ = files_by_part(root, [root / name for name in names])
    return {part: [file.relative_to(root).as_posix() for file in files] for part, files in parts.items()}


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("mnist-train.parquet", "mnist-test.parquet"), ("mnist.train.parquet", "mnist.test.parquet"),
        ("default/train/0000.parquet", "default/test/0000.parquet"), ("data/train-0.parquet", "data/test-0.parquet"),
        ("train/a/0.parquet", "test/a/0.parquet"), ("X_TRAIN.parquet", "X_TEST.parquet"),
        ("cifar10train.parquet", "cifar10test.parquet"), ("digitstrain.parquet", "digitstest.parquet"),
    ],
)  # fmt: skip
def test_files_of_two_parts(train: str, test: str) -> None:
    assert sorted_out(train, test) == {"train": [train], "test": [test]}


def test_files_without_parts_are_for_training() -> None:
    assert sorted_out("contest.parquet", "latest.parquet") == {"train": ["contest.parquet", "latest.parquet"]}


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["train-test.parquet", "train.parquet"], "not clear .*: train-test.parquet. .*test"),
        (["mnist.parquet", "mnisttest.parquet"], "not clear .*: mnisttest.parquet."),
        (["train/test-0.parquet"], "not clear"),
        (
            ["data.parquet", "data-test.parquet"],
            "no training part; its parts: test .*data-test.parquet.*; data.parquet belong to none",
        ),
        (["en/train/0.parquet", "en/test/0.parquet", "fr/train/0.parquet"], "2 configurations.*Give one of them: set/en, set/fr"),
        (["en/train-0.parquet", "fr/train-0.parquet"], "2 configurations.*set/en, set/fr"),
    ],
)
def test_files_that_are_refused(names: list[str], words: str) -> None:
    with pytest.raises(DataError, match=words):
        sorted_out(*names)


def test_where_parquet_files_are_found(tmp_path: Path) -> None:
    def made(name: str, *files: str) -> bool:
        for file in files:
            (tmp_path / name / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / file).touch()
        return holds_parquet(tmp_path / name)

    assert made("flat", "a.parquet")
    assert made("hub", "plain_text/train-0.parquet", "README.md", "assets/logo.png")
    assert made("conversion", "v1.0/train/0000.parquet")
    assert not made("pictures", "cat/0.png", "cat/features.parquet", "dog/0.png")
    assert not made("hidden", ".cache/a.parquet", "cat/0.png")
