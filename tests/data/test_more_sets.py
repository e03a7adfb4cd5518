"""Named sets in their official layouts, written here: each image shows its class, and lies as its files say it does."""

import bz2
import gzip
import json
import pickle
import zipfile

import numpy as np
import pytest
import scipy.io
from PIL import Image

from datadam.augment.siamese import strategy_for
from datadam.data import CATALOG, catalog, load
from datadam.errors import DataError, InvalidInput, NotEnoughMemory


@pytest.fixture(autouse=True)
def _caches(monkeypatch, tmp_path):
    monkeypatch.setenv("DATADAM_CACHE", str(tmp_path / "cache"))


def shown(k: int, i: int, h: int, w: int | None = None) -> np.ndarray:
    """An image [h, w] of class `k`: its level, and a bright spot in row 1, column 2, so that a turned one shows."""
    image = np.full((h, w or h), 10 + 5 * k + i, dtype=np.uint8)
    image[1, 2] = 255
    return image


def right(real, spot=(1, 2)) -> bool:
    """Whether each image has the level of its class and the spot where it belongs."""
    for part in (real.train, real.test):
        level = part.pixels[:, :, 0, 0].astype(int) - 10 - 5 * part.labels[:, None]
        if not ((level >= 0) & (level < 5)).all() or not (part.pixels[:, :, *spot] == 255).all():
            return False
        if (part.pixels[:, :, spot[1], spot[0]] == 255).any():
            return False
    return True


def idx(path, array):
    data = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, dtype=">u4").tobytes() + array.astype(np.uint8).tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data, 1))


def svhn(root):
    (root / "svhn").mkdir()
    for part in ("train", "test"):
        digits = np.array([*range(1, 10), 0])
        images = np.stack([np.repeat(shown(k, 0, 32)[..., None], 3, axis=2) for k in digits], axis=3)
        labels = np.where(digits == 0, 10, digits).astype(np.uint8)[:, None]
        scipy.io.savemat(root / f"svhn/{part}_32x32.mat", {"X": images, "y": labels}, do_compression=True)


def stl10(root):
    (root / "stl10_binary").mkdir()
    for part in ("train", "test"):
        columns = np.stack([[shown(k, c, 96).T for c in range(3)] for k in range(10)])
        columns.tofile(root / f"stl10_binary/{part}_X.bin")
        np.arange(1, 11, dtype=np.uint8).tofile(root / f"stl10_binary/{part}_y.bin")


def usps(root):
    (root / "usps").mkdir()
    for name in ("usps.bz2", "usps.t.bz2"):
        lines = []
        for k in range(10):
            values = shown(k, 0, 16).reshape(-1) / 255 * 2 - 1
            lines.append(f"{k + 1} " + " ".join(f"{i + 1}:{value:.4f}" for i, value in enumerate(values)))
        (root / "usps" / name).write_bytes(bz2.compress("\n".join(lines).encode()))


def kmnist(root):
    for part in ("train", "t10k"):
        idx(root / f"KMNIST/raw/{part}-images-idx3-ubyte.gz", np.stack([shown(k, 0, 28) for k in range(10)]))
        idx(root / f"KMNIST/raw/{part}-labels-idx1-ubyte.gz", np.arange(10))


def kmnist_npz(root):
    (root / "kmnist").mkdir()
    for part in ("train", "test"):
        np.savez(root / f"kmnist/kmnist-{part}-imgs.npz", np.stack([shown(k, 0, 28) for k in range(10)]))
        np.savez(root / f"kmnist/kmnist-{part}-labels.npz", np.arange(10, dtype=np.uint8))


def emnist(root, split, k, first=0):
    for part in ("train", "test"):
        lying = np.stack([shown(label, 0, 28).T for label in range(k)])
        idx(root / f"gzip/emnist-{split}-{part}-images-idx3-ubyte.gz", lying)
        idx(root / f"gzip/emnist-{split}-{part}-labels-idx1-ubyte.gz", np.arange(k) + first)


def medmnist(root, name, c, k, side=28, **more):
    (root / "medmnist").mkdir(exist_ok=True)
    images = np.stack([shown(label, 0, side) for label in range(k)])
    images = images if c == 1 else np.repeat(images[..., None], 3, axis=3)
    labels = np.arange(k, dtype=np.uint8)[:, None]
    arrays = {f"{part}_{what}": x for part in ("train", "val", "test") for what, x in (("images", images), ("labels", labels))}
    np.savez_compressed(root / f"medmnist/{name}.npz", **arrays | more)


def cinic10(root, parts=("train", "valid", "test")):
    for part in parts:
        for k, name in enumerate(("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")):
            folder = root / "CINIC-10" / part / name
            folder.mkdir(parents=True)
            Image.fromarray(np.repeat(shown(k, 0, 32)[..., None], 3, axis=2)).save(folder / "n0-1.png")


MADE = {
    "svhn": svhn,
    "stl10": stl10,
    "usps": usps,
    "kmnist": kmnist,
    "emnist-letters": lambda root: emnist(root, "letters", 26, first=1),
    "emnist-balanced": lambda root: emnist(root, "balanced", 47),
    "emnist-digits": lambda root: emnist(root, "digits", 10),
    "pathmnist": lambda root: medmnist(root, "pathmnist", 3, 9),
    "organamnist": lambda root: medmnist(root, "organamnist", 1, 11),
    "cinic10": cinic10,
}


@pytest.mark.parametrize("name", MADE)
def test_the_official_layout(tmp_path, name):
    MADE[name](tmp_path)
    real = load(name, root=tmp_path, download=False)
    assert right(real)
    assert real.shape == CATALOG[name].shape
    assert real.name == name
    again = load(real.source, **json.loads(json.dumps(real.options)))
    assert again.checksum == real.checksum
    assert again.options == real.options


@pytest.mark.parametrize(
    ("name", "place", "called"),
    [
        ("svhn", 0, "0"),
        ("emnist-letters", 0, "A"),
        ("emnist-balanced", 36, "a"),
        ("emnist-balanced", 46, "t"),
        ("kmnist", 9, "wo"),
    ],
)
def test_classes_have_their_names(tmp_path, name, place, called):
    MADE[name](tmp_path)
    real = load(name, root=tmp_path)
    assert real.classes[place] == called
    members = real.train.pixels[real.by_class[place]]
    assert (members[:, 0, 0, 0] == 10 + 5 * place).all()


def test_emnist_counts_its_classes():
    counts = {name.partition("-")[2]: int(row.title.split()[2]) for name, row in CATALOG.items() if name.startswith("emnist")}
    assert counts == {"balanced": 47, "letters": 26, "digits": 10, "mnist": 10, "byclass": 62, "bymerge": 47}


def test_kmnist_of_npz_files(tmp_path):
    kmnist_npz(tmp_path)
    assert right(load("kmnist", root=tmp_path))


@pytest.mark.parametrize(
    ("name", "flips"),
    [("svhn", False), ("usps", False), ("kmnist", False), ("emnist-letters", False), ("organamnist", False), ("stl10", True)],
)
def test_a_mirror_leaves_the_class_or_not(tmp_path, name, flips):
    MADE[name](tmp_path)
    real = load(name, root=tmp_path)
    assert real.flips == flips
    assert ("flip" in strategy_for(real.name, flips=real.flips)) == flips


def test_medmnist_in_another_size(tmp_path):
    medmnist(tmp_path, "organamnist_64", 1, 11, side=64)
    real = load("organamnist", root=tmp_path, size=64)
    assert real.shape == (1, 64, 64)
    assert right(real)
    assert load(real.source, **real.options).checksum == real.checksum
    with pytest.raises(InvalidInput, match="28, 64, 128, 224, and size=32"):
        load("organamnist", root=tmp_path, size=32)


@pytest.mark.parametrize(("name", "why"), [("chestmnist", "several of its 14 labels"), ("organmnist3d", "volumes")])
def test_medmnist_that_cannot_be_distilled_says_why(name, why):
    with pytest.raises(DataError, match=f"{why}.*pathmnist"):
        load(name)


def cut(path, n=-40):
    path.write_bytes(path.read_bytes()[:n])


def save_svhn(path, x, y):
    scipy.io.savemat(path, {"X": x, "y": y})


IMAGES = np.zeros((32, 32, 3, 2), dtype=np.uint8)
WRONG = [
    ("svhn", lambda r: cut(r / "svhn/train_32x32.mat", 300), "Fetch the set again"),
    ("svhn", lambda r: (r / "svhn/train_32x32.mat").write_bytes(pickle.dumps(print)), "Fetch the set again"),
    ("svhn", lambda r: (r / "svhn/train_32x32.mat").unlink(), "missing"),
    ("svhn", lambda r: save_svhn(r / "svhn/train_32x32.mat", IMAGES, np.array([[1], [11]])), "1 .. 10"),
    ("svhn", lambda r: save_svhn(r / "svhn/train_32x32.mat", IMAGES[:31], np.array([[1], [2]])), "31"),
    ("svhn", lambda r: save_svhn(r / "svhn/train_32x32.mat", {"a": 1}, np.array([[1], [2]])), "no array X"),
    ("stl10", lambda r: cut(r / "stl10_binary/train_X.bin"), "cut off"),
    ("stl10", lambda r: (r / "stl10_binary/test_y.bin").write_bytes(bytes(10)), "1 .. 10; 0"),
    ("usps", lambda r: cut(r / "usps/usps.bz2"), "Fetch the set again"),
    ("usps", lambda r: (r / "usps/usps.bz2").write_bytes(bz2.compress(b"1 257:0.5\n")), "no pixel 257"),
    ("usps", lambda r: (r / "usps/usps.bz2").write_bytes(bz2.compress(b"1 1:2.0\n")), "line 1.*lie in"),
    ("usps", lambda r: (r / "usps/usps.bz2").write_bytes(bz2.compress(b"1 1:nan\n")), "lie in"),
    ("usps", lambda r: (r / "usps/usps.bz2").write_bytes(bz2.compress(bytes(1 << 20))), "more than"),
    ("usps", lambda r: (r / "usps/usps.bz2").write_bytes(bz2.compress(b"")), "no image"),
    ("kmnist", lambda r: cut(r / "KMNIST/raw/train-images-idx3-ubyte.gz"), "cannot be read|cut off"),
    ("emnist-letters", lambda r: emnist(r, "letters", 26), "1 .. 26; 0 .. 25 came. Fetch"),
    ("pathmnist", lambda r: cut(r / "medmnist/pathmnist.npz"), "Fetch the set again"),
    ("pathmnist", lambda r: medmnist(r, "pathmnist", 1, 9), r"28, 28, 3\]"),
    ("pathmnist", lambda r: medmnist(r, "pathmnist", 3, 9, train_labels=np.ones((9, 3), dtype=np.uint8)), "one label each"),
    ("pathmnist", lambda r: medmnist(r, "pathmnist", 3, 9, train_labels=np.array([print] * 9)), "allow_pickle|Object arrays"),
    ("pathmnist", lambda r: np.savez(r / "medmnist/pathmnist.npz", train_images=IMAGES), "lacks train_labels"),
]


@pytest.mark.parametrize(("name", "spoil", "words"), WRONG)
def test_wrong_files_are_refused(tmp_path, name, spoil, words):
    MADE[name](tmp_path)
    spoil(tmp_path)
    with pytest.raises(DataError, match=words):
        load(name, root=tmp_path, download=False)


def test_heads_that_promise_more_than_memory_holds(tmp_path, monkeypatch):
    svhn(tmp_path)
    medmnist(tmp_path, "pathmnist", 3, 9)
    monkeypatch.setattr("datadam.machine.available_memory", lambda device="cpu": 1000)
    for name in ("svhn", "pathmnist"):
        with pytest.raises(NotEnoughMemory, match="fit into memory"):
            load(name, root=tmp_path)


def test_an_array_that_promises_more_than_there_is(tmp_path):
    medmnist(tmp_path, "pathmnist", 3, 9)
    path = tmp_path / "medmnist/pathmnist.npz"
    head = (
        b"\x93NUMPY\x01\x00\x76\x00"
        + b"{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000000000, 28, 28, 3), }".ljust(117)
        + b"\n"
    )
    with zipfile.ZipFile(path) as old:
        held = {item: old.read(item) for item in old.namelist()}
    with zipfile.ZipFile(path, "w") as new:
        for item, data in (held | {"train_images.npy": head}).items():
            new.writestr(item, data)
    with pytest.raises(DataError, match="Fetch the set again"):
        load("pathmnist", root=tmp_path)


@pytest.mark.parametrize("name", ["svhn", "cinic10"])
def test_sets_without_a_download_say_where_they_are(tmp_path, name):
    with pytest.raises(DataError, match=r"md5 [0-9a-f]{32}"):
        load(name, root=tmp_path)


def cifar10(root, k=10):
    (root / "cifar-10-batches-bin").mkdir()
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        rows = np.stack([np.concatenate([[label], np.tile(shown(label, 0, 32).reshape(-1), 3)]) for label in range(k)])
        rows.astype(np.uint8).tofile(root / f"cifar-10-batches-bin/{name}.bin")


def cifar101(folder, version="v6", k=10):
    folder.mkdir(exist_ok=True)
    images = np.stack([np.repeat(shown(label, 1, 32)[..., None], 3, axis=2) for label in range(k)])
    np.save(folder / f"cifar10.1_{version}_data.npy", images)
    np.save(folder / f"cifar10.1_{version}_labels.npy", np.arange(k, dtype=np.int32))
    return folder


@pytest.mark.parametrize("inside", ["", "cifar10.1_v6_data.npy"])
def test_cifar_10_1_is_a_second_test_part(tmp_path, inside):
    cifar10(tmp_path)
    place = cifar101(tmp_path / "second") / inside
    real = load("cifar10", root=tmp_path, test=place)
    assert right(real)
    assert (real.test.pixels[:, 0, 0, 0] == 11 + 5 * real.test.labels).all()  # those of the second part, not of the first
    usual = load("cifar10", root=tmp_path)
    assert real.checksum != usual.checksum
    assert (real.train.pixels == usual.train.pixels).all()
    assert load(real.source, **json.loads(json.dumps(real.options))).checksum == real.checksum


def test_what_is_no_second_test_part(tmp_path):
    cifar10(tmp_path)
    folder = cifar101(tmp_path / "second")
    for spoil, words in (
        (lambda: cifar101(folder, "v4"), "v4_data.npy, cifar10.1_v6_data.npy"),
        (lambda: (folder / "cifar10.1_v4_data.npy").unlink(), ""),
        (lambda: cut(folder / "cifar10.1_v6_data.npy"), "cannot be read"),
        (lambda: np.save(folder / "cifar10.1_v6_data.npy", np.zeros((10, 3, 32, 32), np.uint8)), r"\[N, 32, 32, 3\]"),
        (lambda: np.save(folder / "cifar10.1_v6_data.npy", np.array([print])), "Array can't be memory-mapped|Python objects"),
        (lambda: (folder / "cifar10.1_v6_data.npy").unlink(), "no such file"),
    ):
        spoil()
        if words:
            with pytest.raises(DataError, match=words):
                load("cifar10", root=tmp_path, test=folder)
    with pytest.raises(InvalidInput, match="test= cannot be used with mnist"):
        load("mnist", test=folder)


def test_downloads_of_one_set_have_a_file_each():
    for name, row in CATALOG.items():
        for form in (row, *row.sizes.values()):
            files = [file.url.rpartition("/")[2] for file in form.downloads]
            assert len(set(files)) == len(files), name
            assert all(file.url.startswith("https://") for file in form.downloads), name
    assert catalog.row_named("svhn") is CATALOG["svhn"]
