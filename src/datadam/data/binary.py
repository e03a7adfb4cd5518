"""Readers of the official binary files: idx (MNIST and its kin), and CIFAR in its binary and Python versions.

Shapes: N images, C channels, H x W pixels.
"""

import gzip
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from datadam.data.real import Raw, Split
from datadam.errors import DataError

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CIFAR_SHAPE = (3, 32, 32)
CIFAR_BYTES = 3 * 32 * 32
CHUNK = 1 << 24


def read_idx(path: Path) -> npt.NDArray[np.uint8]:
    """The array of unsigned bytes in an idx file, plain or gzipped. Raises DataError for a damaged or other file."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            head = file.read(4)
            if len(head) < 4 or head[:3] != b"\0\0\x08" or not 1 <= head[3] <= 4:
                raise DataError(f"{path} is not an idx file of unsigned bytes: it begins with {head!r}.")
            shape = tuple(np.frombuffer(file.read(4 * head[3]), dtype=">u4").tolist())
            count = int(np.prod(shape, dtype=object))
            data = bytearray()
            while len(data) <= count and (more := file.read(min(CHUNK, count + 1 - len(data)))):  # the head may lie
                data += more
    except (OSError, EOFError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} cannot be read: {error}.") from error
    if len(shape) != head[3] or len(data) != count:
        raise DataError(f"{path} is cut off or too long: its head promises {count} bytes, {len(data)} or more came.")
    return np.frombuffer(data, dtype=np.uint8).reshape(shape)


def read_mnist(folder: Path, classes: Sequence[str]) -> Raw:
    """The four idx files of MNIST, or of a set in its format; `classes` names the labels 0 .. K - 1."""
    parts = {}
    for part in ("train", "t10k"):
        images, labels = (read_idx(plain_or_gz(folder / f"{part}-{end}")) for end in ("images-idx3-ubyte", "labels-idx1-ubyte"))
        parts[part] = gray(images, labels, where=f"{folder}: {part}")
    return Raw(tuple(classes), parts["train"], parts["t10k"])


def gray(images: npt.NDArray[Any], labels: npt.NDArray[Any], *, where: str) -> Split:
    """The part of gray images [N, H, W] of bytes and their labels [N]. Raises DataError, which begins with `where`."""
    if images.dtype != np.uint8 or images.ndim != 3 or labels.dtype.kind not in "iu" or labels.shape != images.shape[:1]:
        raise DataError(f"{where} needs images [N, H, W] of bytes and as many labels; {images.shape} and {labels.shape} came.")
    return Split(images[:, None], labels.astype(np.int64))


def read_cifar10(folder: Path) -> Raw:
    """The binary version of CIFAR-10 (cifar-10-batches-bin)."""
    names = folder / "batches.meta.txt"
    classes = _lines(names) if names.exists() else CIFAR10_CLASSES
    batches = [folder / f"data_batch_{i}.bin" for i in range(1, 6)]
    return Raw(classes, _cifar_rows(batches, label_bytes=1), _cifar_rows([folder / "test_batch.bin"], label_bytes=1), ())


def read_cifar100(folder: Path) -> Raw:
    """The binary version of CIFAR-100 (cifar-100-binary), with its 100 fine labels."""
    train, test = (_cifar_rows([folder / f"{part}.bin"], label_bytes=2) for part in ("train", "test"))
    return Raw(_lines(folder / "fine_label_names.txt"), train, test)


def read_cifar10_python(folder: Path) -> Raw:
    """The Python version of CIFAR-10 (cifar-10-batches-py), its pickles read without running any code of theirs."""
    train = _cifar_pickles([folder / f"data_batch_{i}" for i in range(1, 6)], b"labels")
    classes = _pickled_names(folder / "batches.meta", b"label_names")
    return Raw(classes, train, _cifar_pickles([folder / "test_batch"], b"labels"))


def read_cifar100_python(folder: Path) -> Raw:
    """The Python version of CIFAR-100 (cifar-100-python), with its 100 fine labels."""
    train, test = (_cifar_pickles([folder / part], b"fine_labels") for part in ("train", "test"))
    return Raw(_pickled_names(folder / "meta", b"fine_label_names"), train, test)


def read_pickle(path: Path) -> Any:
    """A pickle of numbers, bytes, lists, dicts and arrays. Raises DataError for anything else, before it is built."""
    try:
        with path.open("rb") as file:
            return _ArraysOnly(file).load()
    except DataError:
        raise
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise DataError(f"{path} is not a pickle of arrays: {type(error).__name__}: {error}.") from error


class _ArraysOnly(pickle.Unpickler):
    """Pickles may name any function to call; these three build an array and can do nothing else."""

    allowed = ("_reconstruct", "ndarray", "dtype")

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file, encoding="bytes")  # the official files were written by Python 2
        self.path = file.name

    def find_class(self, module: str, name: str) -> Any:
        if module in ("numpy", "numpy.core.multiarray", "numpy._core.multiarray") and name in self.allowed:
            return {"_reconstruct": np._core.multiarray._reconstruct, "ndarray": np.ndarray, "dtype": np.dtype}[name]  # type: ignore[attr-defined]
        raise DataError(f"{self.path} is refused: it asks for {module}.{name}, and a file of images needs nothing but arrays.")


def _cifar_rows(files: Sequence[Path], label_bytes: int) -> Split:
    """Rows of label bytes (the last one counts) and 3 072 pixels."""
    width = label_bytes + CIFAR_BYTES
    sizes = [file.stat().st_size if file.exists() else 0 for file in files]
    wrong = [f"{file} ({size} bytes)" for file, size in zip(files, sizes, strict=True) if size == 0 or size % width]
    if wrong:
        raise DataError(f"missing or cut off (a file holds rows of {width} bytes): {', '.join(wrong)}. Fetch the set again.")
    n = sum(sizes) // width
    pixels, labels = np.empty((n, CIFAR_BYTES), dtype=np.uint8), np.empty(n, dtype=np.int64)
    start = 0
    for file in files:
        rows = np.fromfile(file, dtype=np.uint8).reshape(-1, width)
        stop = start + len(rows)
        labels[start:stop], pixels[start:stop] = rows[:, label_bytes - 1], rows[:, label_bytes:]
        start = stop
    return Split(pixels.reshape(n, *CIFAR_SHAPE), labels)


def _cifar_pickles(files: Sequence[Path], key: bytes) -> Split:
    pixels, labels = [], []
    for file in files:
        batch = read_pickle(file)
        try:
            data, given = np.asarray(batch[b"data"]), np.asarray(batch[key])
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{file} lacks data or {key.decode()}: it is not a CIFAR batch.") from error
        if data.dtype != np.uint8 or data.shape != (*given.shape, CIFAR_BYTES) or given.dtype.kind not in "iu":
            raise DataError(f"{file}: data must be uint8 [N, {CIFAR_BYTES}] with N labels; {data.dtype} {data.shape} came.")
        pixels.append(data)
        labels.append(given.astype(np.int64))
    return Split(np.concatenate(pixels).reshape(-1, *CIFAR_SHAPE), np.concatenate(labels))


def _pickled_names(path: Path, key: bytes) -> tuple[str, ...]:
    try:
        return tuple(name.decode() for name in read_pickle(path)[key])
    except (KeyError, TypeError, AttributeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} lacks {key.decode()}.") from error


def _lines(path: Path) -> tuple[str, ...]:
    if not path.exists():
        raise DataError(f"{path} is missing: it names the classes. Fetch the set again.")
    return tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())


def plain_or_gz(path: Path) -> Path:
    """The file as it is or, where that is missing, its gzipped form. Raises DataError where both are."""
    for candidate in (path, path.with_name(path.name + ".gz")):
        if candidate.exists():
            return candidate
    raise DataError(f"{path} is missing, and so is {path.name}.gz. Put the four files of the set there.")
