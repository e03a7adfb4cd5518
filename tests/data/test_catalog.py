"""`load` by name and by path: where it looks, what it downloads, what it refuses, and what it keeps to load again."""

import gzip
import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datadam.data import CATALOG, catalog, default_root, download, load
from datadam.errors import DataError, DownloadError, InvalidInput, UnknownName

IMAGENET_STD = (0.229, 0.224, 0.225)
FETCH = download.fetch


@pytest.fixture(autouse=True)
def _no_internet_and_no_home(monkeypatch, tmp_path):
    def refuse(url, *_, **__):
        raise DownloadError(f"the test wanted {url}")

    monkeypatch.setattr(download, "fetch", refuse)
    monkeypatch.setenv("DATADAM_ROOT", str(tmp_path / "default root"))
    monkeypatch.setenv("DATADAM_CACHE", str(tmp_path / "cache"))


def cifar10(folder: Path, k=10):
    """A CIFAR-10 of one image a class and batch; `k` of its labels are used."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        rows = rng.integers(0, 256, (10, 3073), dtype=np.uint8)
        rows[:, 0] = np.arange(10) % k
        rows.tofile(folder / f"{name}.bin")
    return folder


def idx(folder: Path, *, packed=False):
    folder.mkdir(parents=True)
    images, labels = np.zeros((20, 4, 4), dtype=np.uint8), np.arange(20, dtype=np.uint8) % 10
    images[:] = np.arange(20)[:, None, None]
    for part in ("train", "t10k"):
        for what, array in (("images-idx3", images), ("labels-idx1", labels)):
            head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, dtype=">u4").tobytes()
            file = folder / f"{part}-{what}-ubyte"
            file.write_bytes(head + array.tobytes())
            if packed:
                file.with_name(file.name + ".gz").write_bytes(gzip.compress(file.read_bytes()))
                file.unlink()
    return folder


def picture(file: Path, seed: int, size=(8, 8)):
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file)


def folder_of_images(path: Path, parts=("",), n=5):
    for p, part in enumerate(parts):
        for k, name in enumerate(("cat", "dog")):
            for i in range(n):
                picture(path / part / name / f"{i}.png", 100 * p + 10 * k + i)
    return path


def test_mnist_comes_with_the_package():
    real = load("mnist")
    assert (real.name, real.source, real.options, real.notes) == ("mnist", "mnist", {}, ())
    assert (real.shape, len(real.train), len(real.test)) == ((1, 28, 28), 60_000, 10_000)
    published = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert [len(indices) for indices in real.by_class] == published
    assert np.bincount(real.test.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert real.classes == tuple("0123456789")
    assert (real.transform.mean, real.transform.std) == ((0.1307,), (0.3081,))
    assert abs(real.train.pixels.mean() / 255 - 0.1307) < 1e-4
    assert real.checksum == "sha256:34828d246986f81f7acd170ba72215a6b8286c1e09344731483bc9cac7e016f5"


def test_mnist_says_whose_it_is():
    licence = (Path(catalog.__file__).parent / "mnist" / "LICENCE").read_text()
    assert "LeCun" in licence
    assert "ShareAlike" in licence


def test_mnist_of_a_root_goes_before_ours(tmp_path):
    idx(tmp_path / "MNIST" / "raw")
    assert load("mnist", root=tmp_path).shape == (1, 4, 4)
    assert load("mnist", root=tmp_path / "elsewhere").shape == (1, 28, 28)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("inside", ["", "FashionMNIST", "FashionMNIST/raw"])
def test_root_may_be_the_folder_itself(tmp_path, packed, inside):
    idx(tmp_path / "FashionMNIST" / "raw", packed=packed)
    real = load("fashion-mnist", root=tmp_path / inside)
    assert real.classes[9] == "Ankle boot"
    np.testing.assert_allclose(real.transform.mean, 9.5 / 255)


def test_cifar10_of_a_root(tmp_path):
    cifar10(tmp_path / "cifar-10-batches-bin")
    real = load("cifar10", root=tmp_path)
    assert (real.shape, len(real.train), len(real.test)) == ((3, 32, 32), 50, 10)
    assert real.transform.std == (0.2470, 0.2435, 0.2616)
    assert load("cifar10", root=tmp_path / "cifar-10-batches-bin").checksum == real.checksum


def test_the_root_of_the_environment(tmp_path):
    assert default_root() == tmp_path / "default root"
    cifar10(default_root() / "cifar-10-batches-bin")
    assert load("cifar10").options == {}


def test_damage_is_found_by_the_labels(tmp_path):
    cifar10(tmp_path / "cifar-10-batches-bin", k=9)
    with pytest.raises(DataError, match="truck"):
        load("cifar10", root=tmp_path)


def test_archives_are_fetched_and_unpacked(tmp_path, monkeypatch):
    cifar10(tmp_path / "made" / "cifar-10-batches-bin")
    asked = []

    def fetch(url, to, *, checksum, progress):
        asked.append((url, checksum))
        to.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(to, "w:gz") as tar:
            tar.add(tmp_path / "made" / "cifar-10-batches-bin", "cifar-10-batches-bin")
        return to

    monkeypatch.setattr(download, "fetch", fetch)
    root = tmp_path / "new" / "root"
    real = load("cifar10", root=root)
    assert real.checksum == load("cifar10", root=tmp_path / "made").checksum
    load("cifar10", root=root)
    assert asked == [(CATALOG["cifar10"].downloads[0].url, "md5:c32a1d4ab5d03f1284b67883e8d87530")]
    assert sorted(item.name for item in root.rglob("*") if item.is_file()) == sorted(
        ["test_batch.bin", *(f"data_batch_{i}.bin" for i in range(1, 6))]
    )


def test_an_interrupted_download_goes_on(tmp_path, monkeypatch):
    made = idx(tmp_path / "made", packed=True)
    asked = []

    def fetch(url, to, *, checksum, progress):
        asked.append(to.name)
        if len(asked) == 3:
            raise DownloadError("cut off")
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(made / to.name, to)
        return to

    monkeypatch.setattr(download, "fetch", fetch)
    with pytest.raises(DownloadError):
        load("fashion-mnist", root=tmp_path / "root")
    assert load("fashion-mnist", root=tmp_path / "root").shape == (1, 4, 4)
    assert len(set(asked)) == 4


@pytest.mark.parametrize("name", ["fashion-mnist", "cifar10"])
def test_a_download_that_brings_nothing_makes_no_folder(tmp_path, monkeypatch, name):
    def receive(url, file, *rest):
        raise DownloadError("cannot be fetched")

    monkeypatch.setattr(download, "fetch", FETCH)
    monkeypatch.setattr(download, "_receive", receive)
    with pytest.raises(DownloadError, match="cannot be fetched"):
        load(name, root=tmp_path / "new" / "root")
    assert list(tmp_path.iterdir()) == []


def test_downloading_can_be_forbidden(tmp_path):
    with pytest.raises(DataError, match=r"cifar-10-batches-bin.*https://www.cs.toronto.edu"):
        load("cifar10", root=tmp_path, download=False)
    with pytest.raises(DownloadError, match="the test wanted"):
        load("cifar10", root=tmp_path)


def test_a_root_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DownloadError, match="root="):
        load("cifar10", root=tmp_path / "file")


@pytest.mark.parametrize("name", ["imagenet-1k", "imagesquawk", "mhist"])
def test_sets_on_request_say_where_to_ask(name, tmp_path):
    with pytest.raises(DataError, match=r"on request at https://.*Put ") as caught:
        load(name, root=tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_every_set_can_be_had_somehow():
    for row in CATALOG.values():
        assert row.packaged or row.downloads or row.ask
        assert (row.mean is None) == (row.std is None)
        assert all(file.url.startswith("http") for file in row.downloads)
        checksums = [file.checksum for file in row.downloads if file.checksum]
        assert all(len(checksum) == len("md5:") + 32 for checksum in checksums)


@pytest.mark.parametrize("root", [None, "."])
def test_a_misspelt_name(root):
    with pytest.raises(UnknownName, match=r"Did you mean 'cifar10'\?.*No folder or file"):
        load("cifra10", root=root)


@pytest.mark.parametrize("option", [{"size": 32}, {"fit": "crop"}, {"skip_bad": True}, {"test": "x"}])
def test_options_that_a_binary_set_cannot_honour(option):
    with pytest.raises(InvalidInput, match=next(iter(option))):
        load("mnist", **option)


@pytest.mark.parametrize(("option", "words"), [({"fit": "zoom"}, "crop, squash, pad"), ({"size": 0}, "0 came")])
def test_impossible_options(tmp_path, option, words):
    with pytest.raises(InvalidInput, match=words):
        load(folder_of_images(tmp_path / "pets"), **option)


def test_root_is_for_named_sets(tmp_path):
    with pytest.raises(InvalidInput, match="root="):
        load(folder_of_images(tmp_path / "pets"), root=tmp_path)


@pytest.mark.parametrize("parts", [("train", "test"), ("train", "val")])
def test_folders_with_a_test_part(tmp_path, parts):
    real = load(folder_of_images(tmp_path / "pets", parts))
    assert (real.name, real.source, real.options) == ("pets", str(tmp_path / "pets"), {})
    assert (real.classes, len(real.train), len(real.test)) == (("cat", "dog"), 10, 10)
    np.testing.assert_allclose(real.transform.mean, real.train.pixels.mean((0, 2, 3)) / 255)
    np.testing.assert_allclose(real.transform.std, real.train.pixels.std((0, 2, 3)) / 255)


def test_folders_without_a_test_part(tmp_path):
    real = load(folder_of_images(tmp_path / "pets"))
    assert (len(real.train), len(real.test)) == (8, 2)
    assert any("20 %" in note for note in real.notes)
    assert load(str(tmp_path / "pets")).checksum == real.checksum


def test_memory_limit_leaves_everything_on_the_disk(tmp_path):
    path = folder_of_images(tmp_path / "pets")
    mapped, plain = load(path, memory_limit=100), load(path)
    assert isinstance(mapped.train.pixels, np.memmap)
    assert isinstance(mapped.test.pixels, np.memmap)
    assert mapped.checksum == plain.checksum
    assert mapped.transform == plain.transform


def test_npz_with_another_as_test_part(tmp_path, monkeypatch):
    x = np.random.default_rng(0).integers(0, 256, (10, 6, 5), dtype=np.uint8)
    for name in ("a", "b"):
        np.savez(tmp_path / f"{name}.npz", x_train=x, y_train=np.arange(10) % 2)
    monkeypatch.chdir(tmp_path)
    real = load("a.npz", test="b.npz")
    assert (real.name, real.source) == ("a", str(tmp_path / "a.npz"))
    assert real.options == {"test": str(tmp_path / "b.npz")}
    assert len(real.test) == 10
    with pytest.raises(InvalidInput, match="size="):
        load("a.npz", size=8)
    with pytest.raises(DataError, match="does not exist"):
        load("a.npz", test="c.npz")


def test_files_of_other_kinds(tmp_path):
    (tmp_path / "x.csv").write_text("1,2")
    with pytest.raises(DataError, match="parquet"):
        load(tmp_path / "x.csv")


def reload_cases(tmp_path):
    cifar10(tmp_path / "cifar-10-batches-bin")
    pets = folder_of_images(tmp_path / "pets")
    picture(pets / "dog" / "large.png", 99, (20, 12))
    (pets / "dog" / "broken.png").write_bytes(b"no picture")
    return [
        ("cifar10", {"root": tmp_path, "zca": False}),
        (pets, {"size": 6, "fit": "pad", "skip_bad": True}),
        (pets, {"size": 6, "skip_bad": True, "test": pets, "zca": "official"}),
    ]


@pytest.mark.parametrize("case", range(3))
def test_options_load_the_same_again(tmp_path, monkeypatch, case):
    source, options = reload_cases(tmp_path)[case]
    first = load(source, **options)
    kept = json.loads(json.dumps(first.options))
    monkeypatch.chdir("/")
    again = load(first.source, **kept)
    assert again.checksum == first.checksum
    assert again.transform.to_card() == first.transform.to_card()
    assert again.options == first.options
