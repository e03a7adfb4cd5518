"""The official binary formats, from files written here byte by byte, and files that are damaged or hostile."""

import gzip
import io
import os
import pickle
import struct

import numpy as np
import pytest

from datadam.data import binary
from datadam.errors import DataError

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (8, 3072), dtype=np.uint8)
IMAGES = PIXELS.reshape(8, 3, 32, 32)


def idx(array) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write_mnist(folder, ending=""):
    images, labels = RNG.integers(0, 256, (6, 5, 4), dtype=np.uint8), np.array([0, 1, 2, 0, 1, 2], dtype=np.uint8)
    for part in ("train", "t10k"):
        for what, array in (("images-idx3", images), ("labels-idx1", labels)):
            data = idx(array)
            (folder / f"{part}-{what}-ubyte{ending}").write_bytes(gzip.compress(data) if ending else data)
    return images


def write_cifar10(folder):
    for i in range(1, 6):
        rows = np.concatenate([np.array([[i - 1], [i]], dtype=np.uint8), PIXELS[i : i + 2]], axis=1)
        rows.tofile(folder / f"data_batch_{i}.bin")
    np.concatenate([[[7]], PIXELS[:1]], axis=1).astype(np.uint8).tofile(folder / "test_batch.bin")


def write_cifar100(folder):
    (folder / "fine_label_names.txt").write_text("apple\nbeaver\n\n")
    for part in ("train", "test"):
        rows = np.concatenate([np.array([[9, 1], [8, 0]], dtype=np.uint8), PIXELS[:2]], axis=1)
        rows.tofile(folder / f"{part}.bin")


def batch(labels, start, key=b"labels"):
    return {b"data": PIXELS[start : start + len(labels)], key: labels}


def write_cifar10_python(folder):
    for i in range(1, 6):
        (folder / f"data_batch_{i}").write_bytes(pickle.dumps(batch([i - 1, i], i)))
    (folder / "test_batch").write_bytes(pickle.dumps(batch([7], 0)))
    (folder / "batches.meta").write_bytes(pickle.dumps({b"label_names": [b"a", b"b"]}))


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_mnist(tmp_path, ending):
    images = write_mnist(tmp_path, ending)
    raw = binary.read_mnist(tmp_path, ("a", "b", "c"))
    assert np.array_equal(raw.train.pixels, images[:, None])
    assert raw.test.labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert raw.classes == ("a", "b", "c")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "begins with"),
        (b"\0\0\x08", "begins with"),
        (b"\0\0\x0d\x01" + bytes(8), "begins with"),
        (b"\0\0\x08\x05" + bytes(40), "begins with"),
        (b"\0\0\x08\x03\0\0\0\x01", "cut off"),
        (b"\0\0\x08\x01\0\0\0\x05abcd", "promises 5 bytes, 4"),
        (b"\0\0\x08\x01\0\0\0\x05abcdef", "too long"),
        (b"\0\0\x08\x04" + b"\xff" * 16, "cut off|cannot be read"),
    ],
)
def test_damaged_idx(tmp_path, data, words):
    for name, content in (("plain", data), ("packed.gz", gzip.compress(data))):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=words):
            binary.read_idx(tmp_path / name)


@pytest.mark.parametrize("data", [b"not gzip", gzip.compress(idx(np.zeros(9999, dtype=np.uint8)), mtime=0)[:-9]])
def test_damaged_gzip(tmp_path, data):
    (tmp_path / "x.gz").write_bytes(data)
    with pytest.raises(DataError, match="cannot be read"):
        binary.read_idx(tmp_path / "x.gz")


def test_mnist_with_a_file_missing(tmp_path):
    write_mnist(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte\.gz"):
        binary.read_mnist(tmp_path, ("a", "b", "c"))


def test_mnist_with_fewer_labels_than_images(tmp_path):
    write_mnist(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(np.zeros(5, dtype=np.uint8)))
    with pytest.raises(DataError, match="as many labels"):
        binary.read_mnist(tmp_path, ("a", "b", "c"))


def test_cifar10(tmp_path):
    write_cifar10(tmp_path)
    raw = binary.read_cifar10(tmp_path)
    assert np.array_equal(raw.train.pixels, IMAGES[[1, 2, 2, 3, 3, 4, 4, 5, 5, 6]])
    assert raw.train.labels.tolist() == [0, 1, 1, 2, 2, 3, 3, 4, 4, 5]
    assert raw.test.labels.tolist() == [7]
    assert raw.classes[:2] == ("airplane", "automobile")
    (tmp_path / "batches.meta.txt").write_text("one\ntwo\n\n")
    assert binary.read_cifar10(tmp_path).classes == ("one", "two")


def test_cifar100_takes_the_fine_labels(tmp_path):
    write_cifar100(tmp_path)
    raw = binary.read_cifar100(tmp_path)
    assert np.array_equal(raw.test.pixels, IMAGES[:2])
    assert raw.train.labels.tolist() == [1, 0]
    assert raw.classes == ("apple", "beaver")


def test_cifar100_without_names(tmp_path):
    write_cifar100(tmp_path)
    (tmp_path / "fine_label_names.txt").unlink()
    with pytest.raises(DataError, match="names the classes"):
        binary.read_cifar100(tmp_path)


@pytest.mark.parametrize("damage", ["cut", "missing", "empty"])
def test_damaged_cifar(tmp_path, damage):
    write_cifar10(tmp_path)
    file = tmp_path / "data_batch_3.bin"
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:-1] if damage == "cut" else b"")
    with pytest.raises(DataError, match=r"3073 bytes.*data_batch_3.bin"):
        binary.read_cifar10(tmp_path)


def test_cifar10_of_python(tmp_path):
    write_cifar10_python(tmp_path)
    raw = binary.read_cifar10_python(tmp_path)
    assert np.array_equal(raw.train.pixels, IMAGES[[1, 2, 2, 3, 3, 4, 4, 5, 5, 6]])
    assert raw.train.labels.tolist() == [0, 1, 1, 2, 2, 3, 3, 4, 4, 5]
    assert raw.classes == ("a", "b")


def test_cifar100_of_python(tmp_path):
    for part in ("train", "test"):
        (tmp_path / part).write_bytes(pickle.dumps(batch([1, 0], 2, b"fine_labels") | {b"coarse_labels": [5, 5]}))
    (tmp_path / "meta").write_bytes(pickle.dumps({b"fine_label_names": [b"a", b"b"]}))
    raw = binary.read_cifar100_python(tmp_path)
    assert np.array_equal(raw.train.pixels, IMAGES[2:4])
    assert raw.train.labels.tolist() == [1, 0]


def test_a_pickle_of_python_2(tmp_path):
    """The bytes that Python 2 and numpy 1 made of {"data": array([[1, 2]], dtype=uint8), "labels": [3]}."""
    data = (
        b"\x80\x02}q\x01(U\x04dataq\x02cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nq\x04K\x00\x85U\x01b"
        b"\x87Rq\x05(K\x01K\x01K\x02\x86cnumpy\ndtype\nq\x06U\x02u1K\x00K\x01\x87Rq\x07(K\x03U\x01|NNNJ\xff\xff\xff\xff"
        b"J\xff\xff\xff\xffK\x00tb\x89U\x02\x01\x02tbU\x06labelsq\x08]q\tK\x03au."
    )
    (tmp_path / "b").write_bytes(data)
    found = binary.read_pickle(tmp_path / "b")
    assert found[b"data"].tolist() == [[1, 2]]
    assert found[b"labels"] == [3]


class Hostile:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    "value",
    [
        Hostile(os.mkdir, "broken-into"),
        Hostile(eval, "1"),
        Hostile(getattr, "", "join"),
        Hostile(np.load, "x"),
        Hostile(np.fromfile, "x"),
        io.BytesIO(b""),
    ],
)
def test_a_pickle_that_wants_more_than_arrays(tmp_path, monkeypatch, value):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "b").write_bytes(pickle.dumps({b"data": value}))
    with pytest.raises(DataError, match="refused: it asks for"):
        binary.read_pickle(tmp_path / "b")
    assert not (tmp_path / "broken-into").exists()


@pytest.mark.parametrize("name", ["ndarray.tofile", "dtype.type", "_reconstruct.__globals__"])
def test_attributes_of_what_is_allowed_are_not(tmp_path, name):
    encoded = name.encode()
    data = b"\x80\x04\x8c\x05numpy\x8c" + bytes([len(encoded)]) + encoded + b"\x93."
    (tmp_path / "b").write_bytes(data)
    with pytest.raises(DataError, match="refused"):
        binary.read_pickle(tmp_path / "b")


@pytest.mark.parametrize("data", [b"", b"\x80\x02}", b"rubbish", pickle.dumps(PIXELS)[:-20]])
def test_damaged_pickles(tmp_path, data):
    (tmp_path / "b").write_bytes(data)
    with pytest.raises(DataError, match="not a pickle of arrays"):
        binary.read_pickle(tmp_path / "b")


@pytest.mark.parametrize(
    "content",
    [
        [1],
        {b"data": PIXELS[:2]},
        {b"data": PIXELS[:2], b"labels": [0]},
        {b"data": PIXELS[:2].astype(float), b"labels": [0, 1]},
        {b"data": PIXELS[:2, :9], b"labels": [0, 1]},
        {b"data": PIXELS[:2], b"labels": [0.5, 1]},
        {b"data": PIXELS[:2], b"labels": 3},
    ],
)
def test_batches_of_other_things(tmp_path, content):
    write_cifar10_python(tmp_path)
    (tmp_path / "data_batch_2").write_bytes(pickle.dumps(content))
    with pytest.raises(DataError, match="data_batch_2"):
        binary.read_cifar10_python(tmp_path)


@pytest.mark.parametrize("content", [{}, {b"label_names": [1]}, {b"label_names": None}, 7, {b"label_names": [b"\xff"]}])
def test_names_of_other_things(tmp_path, content):
    write_cifar10_python(tmp_path)
    (tmp_path / "batches.meta").write_bytes(pickle.dumps(content))
    with pytest.raises(DataError, match="label_names"):
        binary.read_cifar10_python(tmp_path)
