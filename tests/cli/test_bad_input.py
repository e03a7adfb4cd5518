"""What cannot be done is refused with code 2 and one message: what came, what is allowed, the cure. Nothing is left behind."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from cli.conftest import TINY, write_pictures
from PIL import Image

from datadam.sets.distilled import DistilledSet


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder of images to be spoilt."""
    return write_pictures(tmp_path / "pictures")


def nothing_left(tmp_path: Path) -> bool:
    return not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--method", "datdam"), "unknown method 'datdam'. Did you mean 'datadam'?"),
        (("--preset", "papr"), "unknown preset 'papr'. Did you mean 'paper'?"),
        (("--net", "convnet1:wdth=4"), "unknown option of convnet1 'wdth'. Did you mean 'width'?"),
        (("--net", "resnet8"), "unknown network 'resnet8'. Did you mean 'resnet18'?"),
        (("--start", "noize"), "unknown start 'noize'. Did you mean 'noise'?"),
        (("--set", "powr=2"), "unknown setting 'powr'. Did you mean 'power'?"),
        (("--set", "protocol=onest"), "honest"),
        (("--precision", "float16"), "float32, float64, bfloat16"),
        (("--iterations", -1), "iterations is -1; it must be a whole number >= 0"),
        (("--batch-real", 0), "batch_real is 0; it must be a whole number >= 1"),
        (("--device", "gpu"), "device 'gpu' cannot be used"),
        (("--device", "cuda:77"), "here: cpu"),
        (("--memory-limit", "1MB"), "memory"),
        (("--memory-limit", "much"), "write a size such as 500MB"),
        (("--net", "convnet6"), "8x8"),
        (("--net", "convnet1", "--set", "layers=2"), "name blocks from 1 to 1"),
        (("--size", 0), "size must be a positive"),
        (("--fit", "crop"), "--size"),
        (("--test", "nowhere"), "nowhere does not exist"),
        (("--root", "somewhere"), "root= says where named sets lie"),
    ],
)
def test_a_wrong_request_leaves_nothing(refused, pictures: Path, tmp_path: Path, options: tuple[object, ...], told: str) -> None:
    tiny = [] if "--net" in options else ["--net", "convnet1:width=4"]
    message = refused("distill", pictures, "--ipc", 1, *tiny, *options, "--out", tmp_path / "run")
    assert told in message
    assert nothing_left(tmp_path)


def test_unknown_data(refused, tmp_path: Path) -> None:
    message = refused("distill", "minst", "--ipc", 1, *TINY, "--out", tmp_path / "run")
    assert "unknown data set 'minst'. Did you mean 'mnist'?" in message
    assert nothing_left(tmp_path)


@pytest.mark.parametrize("name", ["no/such/folder", "digits.npz", "~/nobody has this"])
def test_a_path_that_leads_nowhere_is_told_first(refused, tmp_path: Path, name: str) -> None:
    message = refused("distill", name, "--ipc", 1, *TINY, "--out", tmp_path / "run")
    assert message.startswith(f"no such file or folder: {Path(name).expanduser().absolute()}; ")
    assert "cifar10, " in message
    assert nothing_left(tmp_path)


def test_the_ipc_must_be_there_to_be_had(cli, refused, pictures: Path, tmp_path: Path) -> None:
    for ipc in (0, -3):
        assert f"ipc is {ipc}; it must be at least 1" in refused("distill", pictures, "--ipc", ipc, "--out", tmp_path / "run")
    too_many = ("distill", pictures, "--ipc", 11, *TINY, "--out", tmp_path / "run")
    for start in ("real", "kcenter", "kmeans"):
        message = refused(*too_many, "--start", start)
        assert "ipc is 11 but class 'cat' has only 10 training images; ask for at most 10, or start from noise" in message
    assert "has only 10" in refused("distill", pictures, "--ipc", 11, "--method", "random", "--out", tmp_path / "run")
    assert "has only 10" in refused(*too_many, "--repeats", 2)
    assert nothing_left(tmp_path)
    assert cli(*too_many, "--start", "noise").code == 0
    assert len(DistilledSet.load(tmp_path / "run").images) == 33


def bomb(path: Path) -> None:
    """A PNG of a few bytes that says it has 60000 x 60000 pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:90]),
    "corrupt": flip,
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("not a picture"),
    "bomb": bomb,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_broken_image_is_named_and_skipped_only_when_told(cli, refused, data: Path, tmp_path: Path, damage: str) -> None:
    DAMAGES[damage](data / "train/dog/03.png")
    command = ("distill", data, "--ipc", 1, *TINY, "--out", tmp_path / "run")
    message = refused(*command)
    assert "dog/03.png" in message
    assert "--skip-bad" in message
    assert nothing_left(tmp_path)
    outcome = cli(*command, "--skip-bad", "--json")
    assert outcome.code == 0
    assert "1 broken images skipped" in outcome.err
    assert "dog/03.png" in outcome.err
    assert outcome.json["data"]["train"] == 29
    assert cli("evaluate", tmp_path / "run", "--students", 1, "--epochs", 1).code == 0  # the card knows to skip them again


def test_an_empty_class_is_named(refused, data: Path, tmp_path: Path) -> None:
    (data / "train/yak").mkdir()
    assert "yak" in refused("distill", data, "--ipc", 1, *TINY, "--out", tmp_path / "run")
    assert nothing_left(tmp_path)


def test_images_of_several_sizes_need_a_size_and_modes_may_mix(cli, refused, data: Path, tmp_path: Path) -> None:
    for i, mode in enumerate(("L", "RGBA", "P", "1", "CMYK")):
        Image.new(mode, (9 + i, 12)).save(data / f"train/cat/{mode}.{'tif' if mode == 'CMYK' else 'png'}")
    command = ("distill", data, "--ipc", 1, *TINY, "--out", tmp_path / "run")
    message = refused(*command)
    assert "--size" in message
    assert "9x12" in message or "9 x 12" in message
    assert nothing_left(tmp_path)
    assert cli(*command, "--size", 8, "--fit", "pad", "--json").json["data"]["shape"] == [3, 8, 8]


ARRAYS: dict[str, tuple[dict[str, object], str]] = {
    "label too large": ({"y_test": np.array([0, 1, 2, 9])}, "lacks: 9; the training part has 0, 1, 2"),
    "negative label": ({"y_train": np.array([-1, *np.arange(11) % 3])}, "-1"),
    "NaN": ({"x_train": np.full((12, 8, 8, 3), np.nan, np.float32)}, "NaN"),
    "missing labels": ({"y_train": None}, "y_train"),
    "too few labels": ({"y_train": np.arange(5) % 3}, "5"),
    "objects": ({"x_train": np.array([{}] * 12, dtype=object)}, "plain arrays"),
}


@pytest.mark.parametrize("case", ARRAYS)
def test_unusable_arrays_are_refused(refused, tmp_path: Path, case: str) -> None:
    changed, told = ARRAYS[case]
    arrays = {
        "x_train": np.zeros((12, 8, 8, 3), np.uint8), "y_train": np.arange(12) % 3,
        "x_test": np.zeros((4, 8, 8, 3), np.uint8), "y_test": np.arange(4) % 3,
    } | changed  # fmt: skip
    np.savez(tmp_path / "arrays.npz", **{name: value for name, value in arrays.items() if value is not None})  # type: ignore[arg-type]
    assert told in refused("distill", tmp_path / "arrays.npz", "--ipc", 1, *TINY, "--out", tmp_path / "run")
    assert nothing_left(tmp_path)


def test_an_unwritable_place_is_refused_before_any_work(refused, pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for out, told in ((tmp_path / "file" / "run", "cannot write into"), (tmp_path / "file", "is a file; a run needs a folder")):
        for more in ((), ("--repeats", 2), ("--overwrite",)):
            message = refused("distill", pictures, "--ipc", 1, *TINY, "--out", out, *more)
            assert told in message or "cannot write into" in message
            assert "folder" in message
    assert (tmp_path / "file").read_text() == "mine"
