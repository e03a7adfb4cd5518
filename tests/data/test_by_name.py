"""Every reader takes classes by their names: each image has the colour of its class, so that a wrong label shows."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from torch.utils.data import ConcatDataset, Subset

from datadam.data import RealData, load
from datadam.errors import DataError, InvalidInput

COLOURS = {"ant": 10, "cat": 60, "dog": 120, "fox": 200}


def picture(name: str, i: int = 0) -> np.ndarray:
    return np.full((4, 4, 3), COLOURS[name], dtype=np.uint8) + np.uint8(i)


def png(name: str, i: int = 0) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture(name, i)).save(file, "PNG")
    return file.getvalue()


def right(real: RealData) -> bool:
    """Whether every image of both parts has the colour of its class."""
    meant = np.array([COLOURS[name.lower()] for name in real.classes])
    return all((np.abs(part.pixels[:, 0, 0, 0] - meant[part.labels]) < 10).all() for part in (real.train, real.test))


def rows(names: list[str], count: int = 2) -> tuple[list[str], list[int]]:
    return [name for name in names for _ in range(count)], [k for k in range(len(names)) for _ in range(count)]


def parquet(path: Path, names: list[str], *, count: int = 2, named: bool = True, extra: list[str] | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    of, labels = rows(names, count)
    for name in extra or []:
        of.append(name)
        labels.append(-1)
    table = pa.table({"image": [{"bytes": png(name, i % 3), "path": None} for i, name in enumerate(of)], "label": labels})
    if named:
        features = {"image": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path)


def npz(path: Path, names: list[str], *, key: str | None = "class_names", count: int = 2, **more: Any) -> None:
    of, labels = rows(names, count)
    given = {"x_train": np.stack([picture(name, i % 3) for i, name in enumerate(of)]), "y_train": np.array(labels)} | more
    np.savez(path, **given, **({key: np.array(names)} if key else {}))


def folder(path: Path, names: list[str], called: list[str] | None = None, count: int = 2) -> None:
    for name, shown in zip(names, called or names, strict=True):
        (path / shown).mkdir(parents=True)
        for i in range(count):
            (path / shown / f"{i}.png").write_bytes(png(name, i))


class Items:
    """As torch data sets: items by number, and names."""

    def __init__(self, names: list[str], count: int = 2, *, named: bool = True) -> None:
        of, labels = rows(names, count)
        self.items = [
            (Image.fromarray(picture(name, i % 3)), label) for i, (name, label) in enumerate(zip(of, labels, strict=True))
        ]
        if named:
            self.classes = names

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, i: int) -> Any:
        return self.items[i]


TRAIN, TEST = ["ant", "cat", "dog", "fox"], ["dog", "cat"]
LACKS = "the test part has no image of 2 of the 4 classes: ant, fox."


@pytest.mark.parametrize("kind", ["parquet", "npz", "folder", "torch"])
def test_a_test_part_in_another_order_that_lacks_classes(tmp_path: Path, kind: str) -> None:
    train, test = tmp_path / f"train.{kind}", tmp_path / f"test.{kind}"
    make = {"parquet": parquet, "npz": npz, "folder": folder}
    if kind == "torch":
        real, back = load(Items(TRAIN), test=Items(TEST)), lambda: load(Items(TEST), test=Items(TRAIN))
    else:
        make[kind](train, TRAIN)
        make[kind](test, TEST)
        real, back = load(train, test=test), lambda: load(test, test=train)
    assert right(real)
    assert LACKS in real.notes
    with pytest.raises(DataError, match="lacks: ant, fox"):
        back()


def test_files_of_a_folder_in_another_order(tmp_path: Path) -> None:
    parquet(tmp_path / "train-0.parquet", ["cat", "dog"])
    parquet(tmp_path / "train-1.parquet", ["dog", "cat"])
    parquet(tmp_path / "test-0.parquet", ["dog", "cat"])
    assert right(load(tmp_path))
    parquet(tmp_path / "test-1.parquet", ["ant", "cat"])
    with pytest.raises(DataError, match=r"test-1\.parquet has classes that the training part lacks: ant; .* has cat, dog"):
        load(tmp_path)


@pytest.mark.parametrize("key", ["class_names", "classes", "label_names", "meta/label_names"])
def test_names_beside_arrays(tmp_path: Path, key: str) -> None:
    npz(tmp_path / "a.npz", ["dog", "cat"], key=key)
    real = load(tmp_path / "a.npz")
    assert real.classes == ("dog", "cat")
    assert right(real)


def test_arrays_whose_labels_are_words_rows_or_from_1(tmp_path: Path) -> None:
    of, labels = rows(TRAIN, 4)
    for given, classes in ((np.array(of)[:, None], tuple(TRAIN)), (np.eye(4)[labels], ("0", "1", "2", "3"))):
        npz(tmp_path / "a.npz", TRAIN, key=None, count=4, y_train=given)
        real = load(tmp_path / "a.npz")
        assert real.classes == classes
    npz(tmp_path / "a.npz", TRAIN, count=4, y_train=np.array(labels) + 1)
    real = load(tmp_path / "a.npz")
    assert real.classes == tuple(TRAIN)
    assert right(real)
    assert "1 is ant, 4 is fox" in " ".join(real.notes)


@pytest.mark.parametrize("kind", ["parquet", "npz", "torch"])
def test_names_on_one_side_alone(tmp_path: Path, kind: str) -> None:
    def both(**options: Any) -> RealData:
        if kind == "torch":
            return load(Items(TRAIN), test=Items(TRAIN, named=False), **options)
        a, b = tmp_path / f"a.{kind}", tmp_path / f"b.{kind}"
        if kind == "parquet":
            parquet(a, TRAIN)
            parquet(b, TRAIN, named=False)
        else:
            npz(a, TRAIN)
            npz(b, TRAIN, key=None)
        return load(a, test=b, **options)

    with pytest.raises(DataError, match=r"class numbers without names .*labels_as_numbers"):
        both()
    real = both(labels_as_numbers=True)
    assert right(real)
    assert real.options.get("labels_as_numbers", kind == "torch") is True


def test_folders_that_are_called_by_numbers_or_otherwise(tmp_path: Path) -> None:
    folder(tmp_path / "a" / "train", ["cat", "dog"])
    folder(tmp_path / "a" / "test", ["cat", "dog"], ["Cat", "DOG"])
    real = load(tmp_path / "a")
    assert right(real)
    assert any("Cat is cat" in note for note in real.notes)
    folder(tmp_path / "b" / "train", ["cat", "dog"])
    folder(tmp_path / "b" / "test", ["cat", "dog"], ["0", "1"])
    with pytest.raises(DataError, match="labels_as_numbers"):
        load(tmp_path / "b")
    assert right(load(tmp_path / "b", labels_as_numbers=True))
    folder(tmp_path / "c" / "train", ["cat", "dog"], ["01", "02"])
    folder(tmp_path / "c" / "test", ["dog", "cat"], ["2", "1"])
    real = load(tmp_path / "c")
    assert real.test.pixels[:, 0, 0, 0].tolist() == [60, 61, 120, 121]
    assert real.test.labels.tolist() == [0, 0, 1, 1]


def test_images_without_a_label(tmp_path: Path) -> None:
    parquet(tmp_path / "a.parquet", ["cat", "dog"], extra=["fox", "fox"])
    npz(tmp_path / "a.npz", ["cat", "dog"], y_train=np.array([0, -1, 1, 1]))
    folder(tmp_path / "a", ["cat", "dog", "fox"], ["cat", "dog", "-1"])
    items = Items(["cat", "dog"], 3)
    items.items.insert(1, (Image.fromarray(picture("fox")), -1))
    counts = {"a.parquet": "2 of 6", "a.npz": "1 of 4", "a": "2 images", "items": "1 of 7"}
    for name, count in counts.items():
        source = items if name == "items" else tmp_path / name
        with pytest.raises(DataError, match=rf"{count}.*skip_unlabelled"):
            load(source)
        real = load(source, skip_unlabelled=True)
        assert real.classes == ("cat", "dog")
        assert right(real)
        assert any(note.startswith(count) for note in real.notes)
        assert real.options.get("skip_unlabelled", name == "items") is True


def test_what_is_skipped_is_not_found_in_the_cache_of_what_was_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATADAM_CACHE", str(tmp_path / "cache"))
    parquet(tmp_path / "a.parquet", ["cat", "dog", "fox"])
    parquet(tmp_path / "b.parquet", ["cat", "dog"], extra=["fox", "fox"])
    a = load(tmp_path / "a.parquet", memory_limit=0)
    b = load(tmp_path / "b.parquet", memory_limit=0, skip_unlabelled=True)
    assert right(a)
    assert right(b)
    assert len(b.train) + len(b.test) == 4


def test_a_part_without_any_label_is_no_test_part(tmp_path: Path) -> None:
    npz(tmp_path / "a.npz", ["cat", "dog"], x_test=np.zeros((2, 4, 4, 3), np.uint8), y_test=np.array([-1, -1]))
    real = load(tmp_path / "a.npz")
    assert "the test part was left alone: none of its 2 images has a label (all are -1)." in real.notes
    assert any("held out" in note for note in real.notes)
    with pytest.raises(DataError, match="none of the 2 test images has a label"):
        load(tmp_path / "a.npz", test=tmp_path / "a.npz")
    blank = np.zeros((2, 4, 4, 3), np.uint8)
    more = {"x_test": blank, "y_test": np.array([-1, -1]), "x_val": blank, "y_val": np.array([1, 0])}
    npz(tmp_path / "b.npz", ["cat", "dog"], **more)
    assert load(tmp_path / "b.npz").test.labels.tolist() == [1, 0]


# ---- torch


def test_parts_and_chains_of_data_sets_keep_their_names() -> None:
    whole = Items(TRAIN)
    part = Subset(Subset(whole, [7, 6, 5, 4, 3, 2]), [5, 4, 3, 2])  # cat, cat, dog, dog
    assert load(whole, test=part).test.labels.tolist() == [1, 1, 2, 2]
    chain = ConcatDataset([Items(["cat", "dog"]), Items(["dog", "cat"])])
    real = load(chain, test=chain)
    assert real.classes == ("cat", "dog")
    assert right(real)
    mixed = Subset(chain, [0, 4, 1, 6, 2, 7])  # of both sets by turns
    real = load(mixed, test=mixed)
    assert right(real)
    assert real.train.labels.tolist() == [0, 1, 0, 0, 1, 0]
    wrapped = type("Wrapped", (), {"dataset": chain, "__len__": lambda self: 8, "__getitem__": lambda self, i: chain[i]})()
    assert right(load(wrapped, test=chain))


def test_names_that_are_mappings_or_several_words() -> None:
    items = Items(["cat", "dog"])
    for classes, wanted in (({"dog": 1, "cat": 0}, ("cat", "dog")), ([("cat", "felis"), "dog"], ("cat, felis", "dog"))):
        items.classes = classes
        assert load(items, test=items).classes == wanted
    del items.classes
    items.class_to_idx = {"dog": 1, "cat": 0}
    assert load(items, test=items).classes == ("cat", "dog")
    items.class_to_idx = {}
    items.classes = 2  # a count, and no names
    assert load(items, test=items).classes == ("0", "1")


def test_items_that_are_dictionaries_and_labels_with_an_axis() -> None:
    items = Items(["cat", "dog"])
    items.items = [{"image": image, "label": np.array([label])} for image, label in items.items]
    assert right(load(items, test=items))
    items.items = [{"image": 1, "kind": 2}]
    with pytest.raises(DataError, match=r"has the keys image, kind; it needs one of image, .* and one of label,"):
        load(items)


# ---- the package datasets


@pytest.fixture(scope="module")
def datasets() -> Any:
    return pytest.importorskip("datasets")


def hub_set(datasets: Any, names: list[str], labels: list[int] | None = None) -> Any:
    of, own = rows(names)
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=names)})
    cells = [{"bytes": png(name, i % 3), "path": None} for i, name in enumerate(of)]
    return datasets.Dataset.from_dict({"image": cells, "label": labels or own}, features=features)


def test_objects_of_the_package_datasets(datasets: Any) -> None:
    train, test = hub_set(datasets, TRAIN), hub_set(datasets, TEST)
    both = datasets.DatasetDict({"train": train, "test": test})
    for real in (load(train, test=test), load(both), RealData.from_dataset(train, test), RealData.from_dataset(both, "test")):
        assert real.classes == tuple(TRAIN)
        assert right(real)
        assert LACKS in real.notes
        assert (real.source, real.options) == ("", {})
    split = datasets.DatasetDict({"training": train, "test": hub_set(datasets, ["ant"])})
    assert right(load(split, test=test))
    assert load(train, size=2).shape == (3, 2, 2)
    assert right(load(train.with_format("torch"), test=test))
    with pytest.raises(InvalidInput, match="none of the splits train, test"):
        load(both, test="dev")
    with pytest.raises(InvalidInput, match="test= is int"):
        load(train, test=3)
    unlabelled = datasets.DatasetDict({"train": train, "test": hub_set(datasets, TEST, [-1] * 4)})
    assert any("none of its images has a label" in note for note in load(unlabelled).notes)


def test_streams_and_transforms_are_taken_as_they_come(datasets: Any) -> None:
    train, test = hub_set(datasets, TRAIN), hub_set(datasets, TEST)
    real = load(train.to_iterable_dataset(), test=test.to_iterable_dataset())
    assert real.classes == tuple(TRAIN)
    assert right(real)
    turned = train.with_transform(lambda rows: {**rows, "image": [image.resize((2, 2)) for image in rows["image"]]})
    real = load(turned, test=turned)
    assert real.shape == (3, 2, 2)
    assert right(real)
    with pytest.raises(InvalidInput, match="size= cannot be used with streams and transforms"):
        load(turned, size=8)
