"""Kuzushiji-MNIST and the splits of EMNIST, from the four files that each is published as.

Shapes: N images, H x W pixels.
"""

import string
from functools import partial
from pathlib import Path

import numpy as np

from datadam.data.binary import gray, plain_or_gz, read_idx, read_mnist
from datadam.data.four_files import only_array
from datadam.data.named import Download, Layout, NamedData
from datadam.data.official import Asked
from datadam.data.real import Raw, Split
from datadam.errors import DataError

KUZUSHIJI = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
KMNIST_HOST = "https://codh.rois.ac.jp/kmnist/dataset/kmnist"
EMNIST_ZIP = Download("https://biometrics.nist.gov/cs_links/EMNIST/gzip.zip", "md5:58c8d27c78d21e728a6bc7b3cc06412e")
DIGITS = tuple(string.digits)
# Small letters that look like their capitals are one class with them.
MERGED = (*DIGITS, *string.ascii_uppercase, *"abdefghnqrt")


def _read_kmnist(folder: Path, asked: Asked) -> Raw:
    return read_mnist(folder, KUZUSHIJI)


def _read_kmnist_npz(folder: Path, asked: Asked) -> Raw:
    train, test = (
        gray(*(only_array(folder / f"kmnist-{part}-{what}.npz") for what in ("imgs", "labels")), where=f"{folder}: {part}")
        for part in ("train", "test")
    )
    return Raw(KUZUSHIJI, train, test)


def _read_emnist(folder: Path, asked: Asked, *, split: str, classes: tuple[str, ...], first: int) -> Raw:
    """`first`, the label of the first class. The images lie on their side in the files, and are put upright."""
    parts = []
    for part in ("train", "test"):
        stem = folder / f"emnist-{split}-{part}"
        images, labels = (
            read_idx(plain_or_gz(stem.with_name(f"{stem.name}-{end}"))) for end in ("images-idx3-ubyte", "labels-idx1-ubyte")
        )
        lying = gray(images, labels, where=str(stem))
        low, high, last = lying.labels.min(initial=first), lying.labels.max(initial=first), first + len(classes) - 1
        if low < first or high > last:
            raise DataError(f"{stem}: labels must be {first} .. {last}; {low} .. {high} came. Fetch the set again.")
        parts.append(Split(np.ascontiguousarray(lying.pixels.transpose(0, 1, 3, 2)), lying.labels - first))
    train, test = parts
    return Raw(classes, train, test)


def _emnist(split: str, classes: tuple[str, ...], what: str, first: int = 0) -> NamedData:
    read = partial(_read_emnist, split=split, classes=classes, first=first)
    return NamedData(
        title=f"EMNIST {split}: {len(classes)} {what}",
        shape=(1, 28, 28),
        layouts=tuple(
            Layout(folder, f"emnist-{split}-test-labels-idx1-ubyte{end}", read)
            for folder in ("gzip", "EMNIST/raw", "EMNIST/raw/gzip", "emnist")  # the first is that of the download
            for end in ("", ".gz")
        ),
        flips=False,
        downloads=(EMNIST_ZIP,),
    )


ROWS = {
    "kmnist": NamedData(
        title="KMNIST: 10 cursive Japanese characters, 1 x 28 x 28, 60 000 + 10 000",
        shape=(1, 28, 28),
        layouts=(
            *(
                Layout(folder, f"t10k-labels-idx1-ubyte{end}", _read_kmnist)
                for folder in ("KMNIST/raw", "kmnist")
                for end in ("", ".gz")
            ),
            Layout("kmnist", "kmnist-test-labels.npz", _read_kmnist_npz),
        ),
        flips=False,
        downloads=tuple(
            Download(f"{KMNIST_HOST}/{name}-ubyte.gz", f"md5:{md5}", to="KMNIST/raw")
            for name, md5 in (
                ("train-images-idx3", "bdb82020997e1d708af4cf47b453dcf7"),
                ("train-labels-idx1", "e144d726b3acfaa3e44228e80efcd344"),
                ("t10k-images-idx3", "5c965bf0a639b31b8f53240b1b52f4d7"),
                ("t10k-labels-idx1", "7320c461ea6c1c855c0b718fb2a4b134"),
            )
        ),
    ),
    "emnist-balanced": _emnist("balanced", MERGED, "digits and letters, 1 x 28 x 28, 112 800 + 18 800"),
    "emnist-letters": _emnist(
        "letters", tuple(string.ascii_uppercase), "letters, small and capital alike, 1 x 28 x 28, 124 800 + 20 800", first=1
    ),
    "emnist-digits": _emnist("digits", DIGITS, "digits, 1 x 28 x 28, 240 000 + 40 000"),
    "emnist-mnist": _emnist("mnist", DIGITS, "digits, 1 x 28 x 28, 60 000 + 10 000"),
    "emnist-byclass": _emnist(
        "byclass", (*DIGITS, *string.ascii_letters.swapcase()), "digits and letters, 1 x 28 x 28, 697 932 + 116 323"
    ),
    "emnist-bymerge": _emnist("bymerge", MERGED, "digits and letters, 1 x 28 x 28, 697 932 + 116 323"),
}
