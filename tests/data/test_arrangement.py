"""Folders of images: which are parts and which are classes, and what is refused because it could be both."""

from pathlib import Path

import pytest

from datadam.data.arrangement import arranged
from datadam.errors import DataError


def made(root: Path, *folders: str) -> Path:
    for folder in folders:
        (root / folder).mkdir(parents=True, exist_ok=True)
        (root / folder / "0.png").touch()
    return root


def refused(root: Path, *folders: str) -> str:
    with pytest.raises(DataError) as caught:
        arranged(made(root, *folders))
    return str(caught.value)


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("training_set", "test_set"), ("seg_train/seg_train", "seg_test/seg_test"), ("Training", "Testing"),
        ("cifar10train", "cifar10test"), ("trainset", "testset"), ("pets-train", "pets-val"), ("train1", "test1"),
        ("training_set/training_set", "test_set/test_set"),
    ],
)  # fmt: skip
def test_parts_by_other_names_are_taken_aloud(tmp_path: Path, train: str, test: str) -> None:
    made(tmp_path, *(f"{part}/{name}" for part in (train, test) for name in ("cat", "dog")))
    found = arranged(tmp_path)
    assert (found.training, found.testing, found.classes) == (tmp_path / train, tmp_path / test, ("cat", "dog"))
    if train[-3:] != "ing":
        assert found.notes == (f"{tmp_path / train} is the training part.", f"{tmp_path / test} is the test part.")


def test_what_belongs_to_no_part_is_left_alone_aloud(tmp_path: Path) -> None:
    made(tmp_path, "train/cat", "train/dog", "test/cat", "seg_pred/seg_pred")
    (tmp_path / "docs").mkdir()
    assert arranged(tmp_path).notes == (f"{tmp_path / 'seg_pred'} was left alone: its name is that of no part.",)


@pytest.mark.parametrize("name", ["dev", "eval"])
def test_dev_and_eval_where_there_is_no_other(tmp_path: Path, name: str) -> None:
    made(tmp_path, "train/cat", "train/dog", f"{name}/cat", f"{name}/dog")
    found = arranged(tmp_path)
    assert found.testing == tmp_path / name
    assert found.notes == (f"{tmp_path / name} is the test part: there is no other.",)
    made(tmp_path, "val/cat")
    found = arranged(tmp_path)
    assert found.testing == tmp_path / "val"
    assert found.notes == (f"{tmp_path / name} was left alone: the test part is {tmp_path / 'val'}.",)


def test_the_plain_word_goes_first_and_several_others_are_refused(tmp_path: Path) -> None:
    made(tmp_path, "train/cat", "train_more/cat", "test/cat", "test_b/cat")
    found = arranged(tmp_path)
    assert (found.training.name, found.testing and found.testing.name) == ("train", "test")
    assert {"train_more", "test_b"} == {note.split(" was")[0].rsplit("/", 1)[-1] for note in found.notes}
    assert "several folders that could be the training part: train_a, train_b" in refused(
        tmp_path / "two", "train_a/x", "train_b/x"
    )
    assert "could be the test part: test_a, test_b" in refused(tmp_path / "tests", "train/x", "test_a/x", "test_b/x")


@pytest.mark.parametrize("folders", [("train", "test"), ("train", "test", "val"), ("train",), ("my_train", "my_test", "pred")])
def test_parts_without_class_folders_are_no_classes(tmp_path: Path, folders: tuple[str, ...]) -> None:
    message = refused(tmp_path, *folders)
    assert "hold images and no class folders" in message
    assert f"{tmp_path / folders[0]}/CLASS/*.png" in message
    declared = arranged(tmp_path, declared=True)
    assert declared.classes == tuple(sorted(folders))


def test_classes_called_like_parts(tmp_path: Path) -> None:
    names = ("bus", "car", "plane", "test", "train", "tram")
    found = arranged(made(tmp_path, *names))
    assert (found.training, found.testing, found.classes) == (tmp_path, None, names)
    assert found.notes == ("test, train are taken for classes, as the folders beside.",)
    deep = arranged(made(tmp_path / "deep", *(f"{name}/images" for name in names)))
    assert deep.classes == names
    assert "could be the training part, or be a class beside bus" in refused(tmp_path / "odd", "bus", "train/red", "train/blue")


def test_a_test_folder_beside_the_classes(tmp_path: Path) -> None:
    found = arranged(made(tmp_path, "cat", "dog", "test/cat", "test/dog"))
    assert (found.training, found.testing, found.classes) == (tmp_path, tmp_path / "test", ("cat", "dog"))
    assert found.notes == (f"{tmp_path / 'test'} is the test part: it holds folders of the classes.",)


@pytest.mark.parametrize("above", ["", "train"])
def test_variants_are_no_classes(tmp_path: Path, above: str) -> None:
    root = tmp_path / above
    folders = [f"{above}/{kind}/{name}" for kind in ("color", "grayscale", "segmented") for name in ("cat", "dog", "fox")]
    message = refused(tmp_path, *(folder.lstrip("/") for folder in folders[:-1]))
    assert "color, grayscale, segmented hold the same folders cat, dog, fox, so they are parts or variants" in message
    assert f"Give one of them: {root / 'color'}" in message
    assert "layout classes" in message
    assert arranged(root, declared=True).classes == ("color", "grayscale", "segmented")


def test_parts_with_one_folder_of_images_have_no_classes(tmp_path: Path) -> None:
    assert "in one folder, images, and no class folders" in refused(tmp_path, "train/images", "test/images")


def test_folders_inside_classes(tmp_path: Path) -> None:
    assert arranged(made(tmp_path / "one", "n01/images", "n02/images")).classes == ("n01", "n02")
    assert arranged(made(tmp_path / "few", "a/x", "a/y", "b", "c/z", "d", "e")).classes == ("a", "b", "c", "d", "e")
    assert "before the class" in refused(tmp_path / "parts", "cat/train", "cat/test", "dog/train", "dog/test")


def test_loose_images_beside_folders(tmp_path: Path) -> None:
    root = tmp_path / "animals" / "bark"
    made(root, ".", "session0", "session1")
    with pytest.raises(DataError) as caught:
        arranged(root)
    message = str(caught.value)
    assert f"{root} holds 1 images beside folders of images (session0, session1)" in message
    assert f"give {tmp_path / 'animals'}" in message
    assert "layout classes" in message
    assert arranged(root, declared=True).notes == ("1 images that lie beside class folders were left out.",)
    assert "holds 1 images beside" in refused(tmp_path / "parts", "train/cat", "train/dog", "train")
