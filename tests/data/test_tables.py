"""Tables of images: .npz, parquet, and the hub through a stand-in for its package."""

import io
import json
import socket
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from datadam.data import tables
from datadam.errors import DataError, DownloadError, UnknownName


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


# ---- npz


@pytest.mark.parametrize(
    "keys",
    [
        ("x_train", "y_train", "x_test", "y_test"),
        ("train_images", "train_labels", "test_images", "test_labels"),
        ("images", "labels", "x_test", "y_test"),
    ],
)
@pytest.mark.parametrize("layout", ["NHW", "NHWC", "NCHW"])
def test_npz(tmp_path: Path, keys: tuple[str, ...], layout: str) -> None:
    train, test = noise(6, 3, 6, 7), noise(2, 3, 6, 7, seed=1)
    if layout == "NHW":
        train, test = train[:, :1], test[:, :1]
    stored = {"NHW": lambda x: x[:, 0], "NHWC": lambda x: x.transpose(0, 2, 3, 1), "NCHW": lambda x: x}[layout]
    arrays = (stored(train), np.array([0, 1, 2, 0, 1, 2]), stored(test), np.array([[2], [0]], dtype=np.uint8))
    np.savez(tmp_path / "set.npz", **dict(zip(keys, arrays, strict=True)))
    raw = tables.read_npz(tmp_path / "set.npz")
    np.testing.assert_array_equal(raw.train.pixels, train)
    np.testing.assert_array_equal(raw.test.pixels, test)
    assert raw.train.labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert raw.test.labels.tolist() == [2, 0]
    assert raw.classes == ("0", "1", "2")


def test_npz_without_test_with_names_and_as_medmnist(tmp_path: Path) -> None:
    part = {"train_images": noise(4, 3, 3), "train_labels": np.array([0, 1, 1, 0])}
    np.savez_compressed(
        tmp_path / "a.npz",
        **part,
        val_images=noise(1, 3, 3),
        val_labels=np.zeros(1, int),
        classes=np.array(["no", "yes"]),
    )
    raw = tables.read_npz(tmp_path / "a.npz")
    assert raw.test is not None
    assert len(raw.test) == 1
    assert raw.classes == ("no", "yes")
    assert raw.notes[0] == "val_images and val_labels are the test part: there is no other."
    np.savez(tmp_path / "b.npz", x=noise(2, 3, 3, seed=5), y=np.array([1, 0]), classes=np.array(["no", "yes"]))
    raw = tables.read_npz(tmp_path / "a.npz", test=tmp_path / "b.npz")
    assert "val_images, val_labels were left alone." in raw.notes
    np.testing.assert_array_equal(raw.test.pixels[:, 0], noise(2, 3, 3, seed=5))


def test_npz_that_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"

    def message(**arrays: Any) -> str:
        np.savez(path, **arrays)
        with pytest.raises(DataError) as caught:
            tables.read_npz(path)
        return str(caught.value)

    found = message(data=noise(4, 3, 3), y_train=np.zeros(4, int))
    assert "x_train and y_train" in found
    assert "it has: data [4, 3, 3], y_train [4]" in found
    assert "it has: nothing" in message()
    assert "x_test and y_test" in message(x_train=noise(2, 3, 3), y_train=np.array([0, 1]), x_test=noise(2, 3, 3))
    assert "1 classes are named (a), and 1 labels are none of them" in message(
        x=noise(2, 3, 3), y=np.array([0, 1]), classes=np.array(["a"])
    )
    assert "plain arrays" in message(x_train=np.array([{}, {}], dtype=object), y_train=np.array([0, 1]))
    assert "2 images and 3 labels" in message(x=noise(2, 3, 3), y=np.array([0, 1, 1]))
    whole = path.read_bytes()
    for data in (b"", b"rubbish", whole[:200], whole[:40] + b"\xff" * 40 + whole[80:]):
        path.write_bytes(data)
        with pytest.raises(DataError, match=r"a\.npz"):
            tables.read_npz(path)
    np.save(tmp_path / "b.npy", noise(3))
    with pytest.raises(DataError, match="npz of plain arrays"):
        tables.read_npz((tmp_path / "b.npy").rename(tmp_path / "b.npz"))


# ---- parquet

IMAGES = noise(10, 4, 5, 3)


def write(
    path: Path,
    images: np.ndarray = IMAGES,
    labels: Any = None,
    *,
    hub: bool = True,
    column: str = "image",
    label: str = "label",
    names: list[str] | None = None,
    group: int = 3,
    broken: tuple[int, ...] = (),
) -> None:
    """As the hub writes it (structs of bytes and path) or plain binary; three rows a group."""
    path.parent.mkdir(parents=True, exist_ok=True)
    encoded = [b"" if i in broken else png(pixels) for i, pixels in enumerate(images)]
    cells = [{"bytes": data, "path": f"{i}.png"} for i, data in enumerate(encoded)] if hub else encoded
    labels = [i % 2 for i in range(len(images))] if labels is None else labels
    table = pa.table({"id": list(range(len(images))), column: cells, label: labels})
    if names is not None:
        features = {column: {"_type": "Image"}, label: {"names": names, "_type": "ClassLabel"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path, row_group_size=group)


def nchw(images: np.ndarray) -> np.ndarray:
    return images.transpose(0, 3, 1, 2)


@pytest.mark.parametrize("hub", [True, False])
@pytest.mark.parametrize("column", ["image", "img", "jpg", "PNG"])
@pytest.mark.parametrize("label", ["label", "Target", "fine_label"])
def test_a_parquet_file(tmp_path: Path, hub: bool, column: str, label: str) -> None:
    write(tmp_path / "a.parquet", hub=hub, column=column, label=label)
    raw = tables.read_parquet(tmp_path / "a.parquet")
    np.testing.assert_array_equal(raw.train.pixels, nchw(IMAGES))
    assert raw.train.labels.tolist() == [0, 1] * 5
    assert raw.classes == ("0", "1")
    assert raw.test is None


@pytest.mark.parametrize("limit", [None, 0])
@pytest.mark.parametrize(
    "layout", ["data/{part}-0000{i}-of-00002.parquet", "default/{part}/000{i}.parquet", "{part}_{i}.parquet"]
)
def test_a_folder_of_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str, limit: int | None) -> None:
    monkeypatch.setenv("DATADAM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("datadam.data.cache.BLOCK_IMAGES", 4)  # blocks, row groups and files end at different places
    root, test = tmp_path / "set", noise(5, 4, 5, 3, seed=9)
    for i, rows in enumerate((slice(0, 7), slice(7, 10))):
        write(root / layout.format(part="train", i=i), IMAGES[rows], list(range(10))[rows])
    write(root / layout.format(part="test", i=0), test, [9, 8, 7, 0, 0])
    write(root / layout.format(part="validation", i=0), IMAGES[:2])
    raw = tables.read_parquet(root, memory_limit=limit)
    np.testing.assert_array_equal(raw.train.pixels, nchw(IMAGES))
    assert raw.train.labels.tolist() == list(range(10))
    np.testing.assert_array_equal(raw.test.pixels, nchw(test))
    assert raw.test.labels.tolist() == [9, 8, 7, 0, 0]
    assert raw.notes == (f"the validation part of {root} was left alone: it has a test part.",)
    assert isinstance(raw.train.pixels, np.memmap) is (limit == 0)


def test_validation_where_the_test_part_has_no_labels(tmp_path: Path) -> None:
    write(tmp_path / "train-0.parquet", names=["cat", "dog"])
    write(tmp_path / "test-0.parquet", IMAGES[:2], [-1, -1], names=["cat", "dog"])
    write(tmp_path / "val-0.parquet", IMAGES[:3], [1, 1, 0], names=["cat", "dog"])
    raw = tables.read_parquet(tmp_path)
    assert raw.classes == ("cat", "dog")
    assert raw.test.labels.tolist() == [1, 1, 0]
    assert raw.notes == (f"the test part of {tmp_path} was left alone: none of its images has a label (all are -1).",)


def test_labels_are_numbered(tmp_path: Path) -> None:
    words = ["b", "a", "c", "a", "b", "c", "b", "a", "c", "a"]
    write(tmp_path / "words.parquet", labels=words)
    raw = tables.read_parquet(tmp_path / "words.parquet")
    assert raw.classes == ("a", "b", "c")
    assert [raw.classes[k] for k in raw.train.labels] == words
    write(tmp_path / "dictionary.parquet", labels=pa.array(words).dictionary_encode())
    assert [raw.classes[k] for k in tables.read_parquet(tmp_path / "dictionary.parquet").train.labels] == words
    write(tmp_path / "gaps.parquet", labels=[10, 7, 300] * 3 + [7])
    raw = tables.read_parquet(tmp_path / "gaps.parquet")
    assert raw.classes == ("7", "10", "300")
    assert raw.train.labels.tolist() == [1, 0, 2] * 3 + [0]


def test_files_without_parts_and_a_test_elsewhere(tmp_path: Path) -> None:
    write(tmp_path / "set" / "0.parquet", IMAGES[:6])
    write(tmp_path / "set" / "1.parquet", IMAGES[6:])
    write(tmp_path / "other.parquet", IMAGES[:3])
    raw = tables.read_parquet(tmp_path / "set", test=tmp_path / "other.parquet")
    np.testing.assert_array_equal(raw.train.pixels, nchw(IMAGES))
    np.testing.assert_array_equal(raw.test.pixels, nchw(IMAGES[:3]))
    write(tmp_path / "set" / "train-0.parquet", IMAGES[:2])
    raw = tables.read_parquet(tmp_path / "set", test=tmp_path / "other.parquet")
    assert len(raw.train) == 2
    assert raw.notes == ("2 parquet files that belong to no part were left alone: 0.parquet, 1.parquet.",)


def test_size_and_broken_rows(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", broken=(2, 7))
    with pytest.raises(DataError, match=r"2 of 10 .*a\.parquet row 2 \(empty\); a\.parquet row 7 \(empty\)\. .*skip_bad"):
        tables.read_parquet(tmp_path / "a.parquet")
    raw = tables.read_parquet(tmp_path / "a.parquet", skip_bad=True, size=4, fit="crop")
    np.testing.assert_array_equal(raw.train.pixels.shape, (8, 3, 4, 4))
    assert raw.train.labels.tolist() == [0, 1, 1, 0, 1, 0, 0, 1]
    assert raw.notes == ("2 broken images skipped: a.parquet row 2, a.parquet row 7.",)


def test_rows_are_named_in_their_own_file(tmp_path: Path) -> None:
    write(tmp_path / "train-0.parquet")
    write(tmp_path / "train-1.parquet", broken=(4,))
    with pytest.raises(DataError, match=r"train-1\.parquet row 4 "):
        tables.read_parquet(tmp_path)


def test_row_groups_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once for the sizes and once for the pixels: nothing is read whole, nothing twice."""
    monkeypatch.setattr("datadam.data.cache.BLOCK_IMAGES", 4)
    monkeypatch.setattr("datadam.data.pictures.BLOCK", 4)
    write(tmp_path / "a.parquet")
    asked = []
    original = pq.ParquetFile.read_row_group

    def watched(self: pq.ParquetFile, group: int, **options: Any) -> pa.Table:
        asked.append((group, options["columns"]))
        return original(self, group, **options)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", watched)
    tables.read_parquet(tmp_path / "a.parquet")
    assert asked == [(group, ["image"]) for group in (0, 1, 2, 3)] * 2


def test_parquet_that_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"

    def message(**options: Any) -> str:
        write(path, **options)
        with pytest.raises(DataError) as caught:
            tables.read_parquet(path)
        return str(caught.value)

    assert "its columns: id, image, kind" in message(label="kind")
    assert "5 of 10 training images have no label" in message(labels=[1, None] * 5)
    assert "found: float" in message(labels=[0.5] * 10)
    assert "2 classes are named (a, b), and 1 labels are none of them, such as 2" in message(
        labels=[0, 1, 2] + [1] * 7, names=["a", "b"]
    )
    pq.write_table(pa.table({"image": [[1, 2]], "label": [0]}), path)
    with pytest.raises(DataError, match="no image column of encoded bytes"):
        tables.read_parquet(path)
    write(path)
    whole = path.read_bytes()
    for data in (b"", whole[:500], b"rubbish" * 100):
        path.write_bytes(data)
        with pytest.raises(DataError, match="cannot be read"):
            tables.read_parquet(path)
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="no parquet files"):
        tables.read_parquet(tmp_path / "none")
    write(tmp_path / "only" / "test-0.parquet")
    with pytest.raises(DataError, match="no training part; its parts: test"):
        tables.read_parquet(tmp_path / "only")
    write(tmp_path / "two" / "train-0.parquet")
    write(tmp_path / "two" / "train-1.parquet", column="img")
    with pytest.raises(DataError, match=r"train-1\.parquet lacks"):
        tables.read_parquet(tmp_path / "two")
    write(tmp_path / "three" / "train-0.parquet")
    write(tmp_path / "three" / "test-0.parquet", IMAGES[:2], [5, 0])
    with pytest.raises(
        DataError, match=r"test-0\.parquet has classes that the training part lacks: 5; the training part has 0, 1\."
    ):
        tables.read_parquet(tmp_path / "three")
    write(tmp_path / "three" / "test-0.parquet", IMAGES[:2], ["a", "b"])
    with pytest.raises(
        DataError, match=r"test-0\.parquet are called a, b, and those of the training part 0, 1\. .*labels_as_num"
    ):
        tables.read_parquet(tmp_path / "three")


# ---- hub


class ImageFeature:
    def __init__(self, decode: bool = True) -> None:
        self.decode = decode


ImageFeature.__name__ = "Image"


class ClassLabel:
    def __init__(self, names: list[str]) -> None:
        self.names = names


class Split:
    """What a split of the package `datasets` offers, as far as it is used."""

    _fingerprint = "abc"

    def __init__(self, cells: list[dict[str, Any]], labels: list[int], column: str = "img", names: Any = ("cat", "dog")) -> None:
        self.columns = {column: cells, "label": labels}
        self.features = {column: ImageFeature(), "label": ClassLabel(list(names))}
        self.decoded = True

    def cast_column(self, column: str, feature: ImageFeature) -> "Split":
        assert not feature.decode
        copy = Split.__new__(Split)
        copy.__dict__ = {**self.__dict__, "decoded": False}
        return copy

    def __getitem__(self, key: str | slice) -> Any:
        if isinstance(key, str):
            assert key == "label", "the images must not be read at once"
            return self.columns[key]
        assert not self.decoded
        return {name: values[key] for name, values in self.columns.items()}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Split]]:
    monkeypatch.setattr("datadam.data.hub._away", lambda: "")
    sets: dict[str, dict[str, Split]] = {}
    package = types.ModuleType("datasets")
    package.Image, package.load_dataset = ImageFeature, sets.__getitem__  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", package)
    return sets


def cells(images: np.ndarray) -> list[dict[str, Any]]:
    return [{"bytes": png(pixels), "path": None} for pixels in images]


def test_hub(hub: dict[str, dict[str, Split]], tmp_path: Path) -> None:
    lying = tmp_path / "lying.png"
    lying.write_bytes(png(IMAGES[9]))
    train = Split([*cells(IMAGES[:9]), {"bytes": None, "path": str(lying)}], [0, 1] * 5)
    hub["owner/name"] = {"train": train, "test": Split(cells(IMAGES[:3]), [1, 1, 0]), "extra": Split([], [])}
    raw = tables.read_hub("owner/name")
    np.testing.assert_array_equal(raw.train.pixels, nchw(IMAGES))
    np.testing.assert_array_equal(raw.test.pixels, nchw(IMAGES[:3]))
    assert raw.train.labels.tolist() == [0, 1] * 5
    assert raw.test.labels.tolist() == [1, 1, 0]
    assert raw.classes == ("cat", "dog")
    assert raw.notes[0] == "splits of hf:owner/name left alone: extra."
    chosen = tables.read_hub("owner/name", test="train", size=2)
    assert chosen.test.pixels.shape == (10, 3, 2, 2)


@pytest.mark.parametrize("split", ["dev", "eval", "my_eval", "Validation"])
def test_hub_splits_by_other_names(hub: dict[str, dict[str, Split]], split: str) -> None:
    hub["o/n"] = {
        "train": Split(cells(IMAGES), [0, 1] * 5),
        "train_extra": Split([], []),
        split: Split(cells(IMAGES[:3]), [1, 1, 0]),
    }
    raw = tables.read_hub("o/n")
    assert raw.test is not None
    assert raw.test.labels.tolist() == [1, 1, 0]
    assert raw.notes[0] == "splits of hf:o/n left alone: train_extra."
    told = "the part dev of hf:o/n is the test part: there is no other." in raw.notes
    assert told is (split != "Validation")


def test_a_hub_out_of_reach_is_asked_from_its_cache_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    constants = pytest.importorskip("huggingface_hub.constants")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{taken.getsockname()[1]}")
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr("urllib.request.getproxies", dict)
        package = types.ModuleType("datasets")

        def load_dataset(name: str) -> None:
            assert constants.HF_HUB_OFFLINE
            raise ConnectionError("not in the\ncache")

        package.load_dataset = load_dataset  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "datasets", package)
        with pytest.raises(DownloadError, match=r"127\.0\.0\.1:\d+ cannot be reached, and its cache here") as caught:
            tables.read_hub("o/n")
    assert "\n" not in str(caught.value)
    assert not constants.HF_HUB_OFFLINE


def test_hub_that_is_refused(hub: dict[str, dict[str, Split]], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DownloadError, match="hf:owner/absent cannot be loaded"):
        tables.read_hub("owner/absent")
    hub["o/n"] = {"train": Split(cells(IMAGES), [0, 1] * 5)}
    assert tables.read_hub("o/n").test is None
    with pytest.raises(UnknownName, match=r"unknown split 'tast'.*train"):
        tables.read_hub("o/n", test="tast")
    hub["o/m"] = {"test": Split(cells(IMAGES), [0, 1] * 5)}
    with pytest.raises(DataError, match="no training part"):
        tables.read_hub("o/m")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match=r"pip install 'datadam\[hf\]'"):
        tables.read_hub("o/n")
