"""Pictures in parquet files, in all of Arrow's kinds of columns, and paths in their place."""

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from datadam.data import tables
from datadam.errors import DataError

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 4, 5, 3), dtype=np.uint8)
WORDS = ["cat", "dog"] * 3


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


PNG = [png(pixels) for pixels in IMAGES]


class Own(pa.ExtensionType):
    """A type of some program's own that is stored as something plain."""

    def __init__(self, storage: Any) -> None:
        super().__init__(storage, "test.own")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage: Any, serialized: bytes) -> "Own":
        return cls(storage)


def structs(data: Any, path: Any, paths: list[str | None] | None = None, cells: list[bytes | None] | None = None) -> pa.Array:
    rows = zip(cells or PNG, paths or [f"{i}.png" for i in range(6)], strict=True)
    return pa.array([{"bytes": b, "path": p} for b, p in rows], pa.struct([("bytes", data), ("path", path)]))


COLUMNS = {
    "binary_view": pa.array(PNG, pa.binary_view()),
    "large_binary": pa.array(PNG, pa.large_binary()),
    "fixed_size_binary": pa.array([data.ljust(max(map(len, PNG)), b"\0") for data in PNG], pa.binary(max(map(len, PNG)))),
    "dictionary": pa.array(PNG).dictionary_encode(),
    "large struct": structs(pa.large_binary(), pa.large_string()),
    "struct of views": structs(pa.binary_view(), pa.string_view()),
    "opaque": pa.ExtensionArray.from_storage(pa.opaque(pa.binary(), "picture", "test"), pa.array(PNG)),
    "own": pa.ExtensionArray.from_storage(Own(pa.binary()), pa.array(PNG)),
    "own struct": pa.ExtensionArray.from_storage(Own(structs(pa.binary(), pa.string()).type), structs(pa.binary(), pa.string())),
}
LABELS = {
    "string": pa.array(WORDS),
    "string_view": pa.array(WORDS, pa.string_view()),
    "large_string": pa.array(WORDS, pa.large_string()),
    "dictionary": pa.array(WORDS, pa.large_string()).dictionary_encode(),
    "own": pa.ExtensionArray.from_storage(Own(pa.string()), pa.array(WORDS)),
}


def stored(file: Path, image: Any, label: Any = LABELS["string"], group: int = 4, **options: Any) -> Path:
    pq.write_table(pa.table({"id": list(range(6)), "image": image, "label": label}), file, row_group_size=group, **options)
    return file


def is_right(file: Path) -> None:
    raw = tables.read_parquet(file)
    np.testing.assert_array_equal(raw.train.pixels, IMAGES.transpose(0, 3, 1, 2))
    assert [raw.classes[k] for k in raw.train.labels] == WORDS


@pytest.fixture(params=[False, True], ids=["", "registered"])
def known(request: pytest.FixtureRequest) -> Any:
    """Whether a program's own type is known where the file is read."""
    if not request.param:
        yield
        return
    pa.register_extension_type(Own(pa.binary()))
    yield
    pa.unregister_extension_type("test.own")


@pytest.mark.parametrize("kind", COLUMNS)
def test_pictures_of_any_kind(tmp_path: Path, kind: str, known: None) -> None:
    group = 6 if kind == "struct of views" else 4  # which pyarrow 26 can read in several groups, and not write
    is_right(stored(tmp_path / "a.parquet", COLUMNS[kind], group=group))


@pytest.mark.parametrize("kind", LABELS)
def test_labels_of_any_kind(tmp_path: Path, kind: str, known: None) -> None:
    is_right(stored(tmp_path / "a.parquet", COLUMNS["binary_view"], LABELS[kind]))


def by_path(tmp_path: Path, form: str, paths: list[str | None]) -> Any:
    if form == "text":
        return pa.array(paths)
    if form == "text view":
        return pa.array(paths, pa.string_view())
    return structs(pa.binary(), pa.string(), paths, [None] * 6)


@pytest.mark.parametrize("statistics", [True, False])
@pytest.mark.parametrize("form", ["text", "text view", "struct"])
@pytest.mark.parametrize("absolute", [False, True])
def test_paths_in_place_of_pictures(tmp_path: Path, form: str, absolute: bool, statistics: bool) -> None:
    (tmp_path / "images").mkdir()
    for i, data in enumerate(PNG):
        (tmp_path / "images" / f"{i}.png").write_bytes(data)
    paths: list[str | None] = [f"{tmp_path if absolute else '.'}/images/{i}.png" for i in range(6)]
    file = stored(tmp_path / "a.parquet", by_path(tmp_path, form, paths), write_statistics=statistics)
    is_right(file)
    for i in range(6):
        (tmp_path / "images" / f"{i}.png").unlink()
    with pytest.raises(DataError, match=r"a\.parquet holds paths of images and no images .*0\.png.*no such file"):
        tables.read_parquet(file)


def test_some_rows_with_paths(tmp_path: Path) -> None:
    (tmp_path / "5.png").write_bytes(PNG[5])
    is_right(stored(tmp_path / "a.parquet", structs(pa.binary(), pa.string(), None, [*PNG[:5], None])))
    (tmp_path / "5.png").unlink()
    with pytest.raises(DataError, match=r"1 of 6 images cannot be decoded: a\.parquet row 5 \(empty\)"):
        tables.read_parquet(tmp_path / "a.parquet")


def test_an_image_that_is_named_belongs_to_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATADAM_CACHE", str(tmp_path / "cache"))
    for i, data in enumerate(PNG):
        (tmp_path / f"{i}.png").write_bytes(data)
    file = stored(tmp_path / "a.parquet", structs(pa.binary(), pa.string(), None, [None] * 6))
    before = tables.read_parquet(file, memory_limit=0).train.pixels
    (tmp_path / "3.png").write_bytes(png(255 - IMAGES[3]))
    os.utime(tmp_path / "3.png", ns=(1, 1))
    after = tables.read_parquet(file, memory_limit=0).train.pixels
    np.testing.assert_array_equal(after[3], 255 - before[3])
