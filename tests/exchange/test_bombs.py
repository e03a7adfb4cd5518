"""Short files that would fill the memory: what they show many times, or pack tightly, is refused before it is laid out."""

import io
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from datadam import machine
from datadam.data import RealData
from datadam.errors import ArtifactError, NotEnoughMemory
from datadam.exchange import import_
from datadam.exchange.pages import unpacked

LABELS = torch.tensor([0, 0, 1, 1, 2, 2])
ONE = torch.rand(1, 3, 8, 8)


def save(path: Path, pairs: Any, old: bool = False) -> None:
    torch.save({"data": pairs}, path, _use_new_zipfile_serialization=not old)


@pytest.mark.parametrize("old", [False, True])
def test_an_image_that_is_shown_again_and_again(animals: RealData, tmp_path: Path, old: bool) -> None:
    path = tmp_path / "res_DM_X_ConvNet_2ipc.pt"
    save(path, [[ONE.expand(6, 3, 8, 8), LABELS]] * 100, old)
    with pytest.raises(ArtifactError, match=r"a tensor of 1152 numbers that shows 192 again and again.*clone"):
        import_(path, "dm", animals, tmp_path / "run")
    torch.save(ONE.expand(6, 3, 8, 8), tmp_path / "images.pt")
    with pytest.raises(ArtifactError, match="again and again"):
        import_(tmp_path / "images.pt", "eccv24", animals, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("images", [ONE.repeat(6, 1, 1, 1), [ONE[0]] * 6, ONE.repeat(6, 1, 1, 1).numpy()])
def test_images_that_many_sets_share(animals: RealData, tmp_path: Path, images: Any) -> None:
    path = tmp_path / "res_DM_X_ConvNet_2ipc.pt"
    save(path, [[images, LABELS]] * 100)
    with pytest.raises(ArtifactError, match="the same images in more than one place: 100 sets"):
        import_(path, "dm", animals, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_sets_that_are_parts_of_one_tensor_are_read(animals: RealData, tmp_path: Path) -> None:
    path, whole = tmp_path / "res_DM_X_ConvNet_2ipc.pt", torch.rand(12, 3, 8, 8)
    save(path, [[whole[:6], LABELS], [list(whole[6:]), LABELS]])  # labels may be shared: they are small
    first, second = import_(path, "dm", animals)
    assert torch.equal(torch.cat([first.images, second.images]), whole)
    save(path, [[part.numpy(), LABELS.numpy()] for part in whole.split(6)])
    assert torch.equal(torch.cat([one.images for one in import_(path, "dm", animals)]), whole)


def test_a_text_that_becomes_bytes_again_and_again(animals: RealData, tmp_path: Path) -> None:
    path, text = tmp_path / "images.pt", b"\x00" * 1000
    once = b"c_codecs\nencode\nq\x00X" + struct.pack("<I", len(text)) + text + b"q\x01X\x06\x00\x00\x00latin1q\x02\x86q\x03"
    for program in (once + b"h\x00h\x03R" * 3, array_of(once, 3)):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", b"\x80\x02" + program + b".")
            archive.writestr("archive/version", "3")
        with pytest.raises(ArtifactError, match="the same bytes again and again"):
            import_(path, "eccv24", animals)


def array_of(once: bytes, times: int) -> bytes:
    """Arrays of numpy that all copy the same bytes."""
    empty = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    kind = b"cnumpy\ndtype\nX\x02\x00\x00\x00i1K\x00K\x01\x87R"
    state = b"(K\x01M\xe8\x03\x85" + kind + b"\x89h\x05t"
    return once + b"h\x00h\x03Rq\x05" + (empty + state + b"b") * times


def test_sets_that_do_not_fit_into_the_memory(animals: RealData, tmp_path: Path, monkeypatch: Any) -> None:
    path = tmp_path / "res_DM_X_ConvNet_2ipc.pt"
    save(path, [[torch.zeros(6, 3, 8, 8, dtype=torch.uint8), LABELS] for _ in range(40)])
    monkeypatch.setattr(machine, "available_memory", lambda device="cpu": 300_000)
    with pytest.raises(NotEnoughMemory, match="240 images in 40 sets take 184320 bytes twice, and 300000 are free"):
        import_(path, "dm", animals)


def picture(more: int = 0) -> bytes:
    """A PNG with so many bytes behind its end."""
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), (9, 9, 9)).save(stream, "PNG")
    return stream.getvalue() + bytes(more)


def pointing(cells: list[bytes], pointers: list[int | None], path: Path, *, nested: bool = False, labels: Any = None) -> None:
    """A table whose column of images points to these cells."""
    column: Any = pa.DictionaryArray.from_arrays(pa.array(pointers, pa.int32()), pa.array(cells, pa.binary()))
    if nested:
        column = pa.StructArray.from_arrays([column], ["bytes"])
    labels = LABELS.tolist() if labels is None else labels
    pq.write_table(pa.table({"image": column, "label": labels}), path, compression="zstd", store_schema=False)


@pytest.mark.parametrize("nested", [False, True])
def test_rows_that_point_to_one_large_cell(animals: RealData, tmp_path: Path, nested: bool) -> None:
    path = tmp_path / "a.parquet"
    pointing([picture(250_000)], [0] * 6, path, nested=nested)
    assert path.stat().st_size < 2000
    with pytest.raises(ArtifactError, match=r"images of 15\d+ bytes and more"):
        import_(path, "parquet", animals, tmp_path / "run")
    pointing([picture(1_060_000)], [0] * 6, path, nested=nested)
    with pytest.raises(ArtifactError, match="encoded image of 1060077 bytes; one of these data has 1050112 at most"):
        import_(path, "parquet", animals, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    pointing([picture()], [0] * 6, path, nested=nested)  # equal images are no crime
    assert len(import_(path, "parquet", animals)[0].images) == 6
    pointing([picture()], [0, 0, 0, None, 0, 0], path, nested=nested)
    with pytest.raises(ArtifactError, match="lacks the bytes"):
        import_(path, "parquet", animals)


def test_labels_that_are_long_or_lists(animals: RealData, tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    for labels, words in (
        (["x" * 20_000] * 6, "labels of more than 10000 letters"),
        ([[0] * 1000] * 6, "labels of list<.*neither numbers nor words"),
        ([b"cat"] * 6, "neither numbers nor words"),
    ):
        pointing([picture()], [0] * 6, path, labels=labels)
        with pytest.raises(ArtifactError, match=words):
            import_(path, "parquet", animals)
    named = pa.array([animals.classes[k] for k in LABELS]).dictionary_encode()
    pointing([picture()], [0] * 6, path, labels=named)
    assert import_(path, "parquet", animals)[0].labels.tolist() == LABELS.tolist()


def varint(value: int) -> bytes:
    """A signed number as Thrift packs it."""
    value, out = value * 2, bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def test_pages_larger_than_the_foot_says(animals: RealData, tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pointing([picture(4_000_000)], [0] * 6, path)
    whole = path.read_bytes()
    size = pq.ParquetFile(path).metadata.row_group(0).total_byte_size
    column = size - pq.ParquetFile(path).metadata.row_group(0).column(1).total_uncompressed_size
    for number in (size, column):  # the foot of a liar: as many bytes, and a small number
        small = varint(100)
        told = bytes([small[0] | 0x80, small[1] | 0x80, *[0x80] * (len(varint(number)) - 3), 0])
        assert whole.count(varint(number)) == 1
        whole = whole.replace(varint(number), told)
    path.write_bytes(whole)
    assert pq.ParquetFile(path).metadata.row_group(0).total_byte_size == 100
    with pytest.raises(ArtifactError, match="unpacks to more than"):
        import_(path, "parquet", animals)


@pytest.mark.parametrize("compression", ["none", "snappy", "zstd"])
@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_pages_are_counted_as_arrow_counts_them(tmp_path: Path, compression: str, version: str) -> None:
    path, rng = tmp_path / "a.parquet", np.random.default_rng(0)
    cells = [rng.bytes(int(n)) for n in rng.integers(1, 3000, 500)]
    table = pa.table({"image": pa.array(cells, pa.binary()), "label": [n % 7 for n in range(500)]})
    pq.write_table(table, path, compression=compression, data_page_version=version, row_group_size=120, data_page_size=4000)
    about = pq.ParquetFile(path).metadata
    columns = [about.row_group(g).column(c) for g in range(about.num_row_groups) for c in range(2)]
    most = sum(column.total_uncompressed_size for column in columns)  # with the heads of the pages
    sizes = unpacked(path.read_bytes(), most, "a")
    assert 0.97 * most < sizes < most
    with pytest.raises(ArtifactError, match=f"unpacks to more than {sizes - 1} bytes"):
        unpacked(path.read_bytes(), sizes - 1, "a")
    for length in range(0, path.stat().st_size, 999):
        with pytest.raises(ArtifactError, match="no sound parquet file"):
            unpacked(path.read_bytes()[:length], most, "a")
