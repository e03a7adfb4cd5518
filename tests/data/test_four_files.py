"""Sets of four files: idx and .npz, side by side, plain and gzipped."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from datadam.data import load
from datadam.errors import DataError, InvalidInput

IMAGES = np.random.default_rng(0).integers(0, 256, (12, 6, 6), dtype=np.uint8)


def idx(array: np.ndarray) -> bytes:
    return b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def put_idx(folder: Path, name: str, labels: list[int], *, zipped: bool = True) -> None:
    folder.mkdir(exist_ok=True)
    for part, images, numbers in (("train", IMAGES, labels), ("test", IMAGES[:4], labels[:4])):
        for what, array in (("images-idx3", images), ("labels-idx1", np.array(numbers, dtype=np.uint8))):
            data = idx(array)
            (folder / f"{name}-{part}-{what}-ubyte{'.gz' if zipped else ''}").write_bytes(gzip.compress(data) if zipped else data)


def test_npz_of_one_array_each(tmp_path: Path) -> None:
    labels = np.arange(12, dtype=np.uint8) % 3
    for part, images, numbers in (("train", IMAGES, labels), ("test", IMAGES[:4], labels[:4])):
        np.savez_compressed(tmp_path / f"kmnist-{part}-imgs.npz", images)
        np.savez_compressed(tmp_path / f"kmnist-{part}-labels.npz", numbers)
    for source in (tmp_path, tmp_path / "kmnist-train-imgs.npz"):
        real = load(source)
        assert np.array_equal(real.train.pixels[:, 0], IMAGES)
        assert np.array_equal(real.test.pixels[:, 0], IMAGES[:4])
        assert real.train.labels.tolist() == labels.tolist()
        assert real.classes == ("0", "1", "2")
    assert real.name == "kmnist"
    (tmp_path / "kmnist_classmap.csv").write_text(
        "index,codepoint,char\n0,U+304A,お\n1,U+304D,き\n2,U+3059,す\n", encoding="utf-8"
    )
    assert load(tmp_path).classes == ("お", "き", "す")
    with pytest.raises(InvalidInput, match="size= cannot be used with sets of four files"):
        load(tmp_path, size=8)


def test_letters_that_begin_at_1_and_lie_on_their_side(tmp_path: Path) -> None:
    labels = [1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3]
    put_idx(tmp_path / "gzip", "emnist-letters", labels)
    real = load(tmp_path / "gzip")
    assert np.array_equal(real.train.pixels[:, 0], IMAGES.transpose(0, 2, 1))
    assert real.classes == ("1", "2", "3")
    assert real.train.labels.tolist() == [label - 1 for label in labels]
    assert any("rows and columns were swapped" in note for note in real.notes)
    assert any("labels go from 1 to 3" in note for note in real.notes)
    (tmp_path / "gzip" / "emnist-letters-mapping.txt").write_text("1 65 97\n2 66 98\n3 67 99\n")
    assert load(tmp_path / "gzip").classes == ("A", "B", "C")


def test_several_sets_in_a_folder_need_a_name(tmp_path: Path) -> None:
    put_idx(tmp_path, "emnist-digits", [0, 1] * 6, zipped=False)
    put_idx(tmp_path, "emnist-letters", [1, 2] * 6)
    with pytest.raises(DataError, match=r"holds 2 sets: emnist-digits .*emnist-letters .* Give the file of training images"):
        load(tmp_path)
    real = load(tmp_path / "emnist-digits-train-images-idx3-ubyte")
    assert (real.name, real.classes) == ("emnist-digits", ("0", "1"))


def test_plain_goes_before_gzipped_and_mnist_is_one_of_them(tmp_path: Path) -> None:
    for part in ("train", "t10k"):
        (tmp_path / f"{part}-images-idx3-ubyte").write_bytes(idx(IMAGES))
        (tmp_path / f"{part}-images-idx3-ubyte.gz").write_bytes(b"cut off")
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(idx(np.arange(12, dtype=np.uint8) % 2))
    assert np.array_equal(load(tmp_path).test.pixels[:, 0], IMAGES)
    np.savez(tmp_path / "odd-train-imgs.npz", IMAGES, IMAGES)
    np.savez(tmp_path / "odd-train-labels.npz", np.arange(12) % 2)
    with pytest.raises(DataError, match="must hold one array, such as arr_0; it holds arr_0, arr_1"):
        load(tmp_path / "odd-train-imgs.npz")
