"""Archives of arrays: what they say of themselves is not believed."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from datadam import machine
from datadam.data import load
from datadam.data.archive import load_npz
from datadam.errors import DataError, NotEnoughMemory


def lying(path: Path, shape: tuple[int, ...]) -> Path:
    """An archive whose array x says this shape, over twelve numbers."""
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "|u1", "fortran_order": False, "shape": shape})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", head.getvalue() + bytes(12))
    return path


@pytest.mark.parametrize("shape", [(1 << 59,), (1 << 40, 1 << 19), (1 << 70,), (4, 5)])
def test_a_head_that_lies_about_the_size_is_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = lying(tmp_path / "x.npz", shape)
    assert list(load_npz(lying(tmp_path / "true.npz", (3, 4)))["x"].shape) == [3, 4]
    with pytest.raises(DataError, match=r"x\.npz"):
        load_npz(path)
    with pytest.raises(DataError, match=r"x\.npz"):
        load(path)


def test_a_head_that_no_memory_holds_is_told_with_the_cure(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"says that it holds more than the \d+ bytes that are in it.*Fetch or write it again"):
        load_npz(lying(tmp_path / "x.npz", (1 << 59,)))


def test_what_does_not_fit_into_memory_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez_compressed(tmp_path / "x.npz", images=np.zeros((100, 100), np.uint8))
    monkeypatch.setattr(machine, "available_memory", lambda *where: 20_000)
    with pytest.raises(NotEnoughMemory, match="unpacks to 10128 bytes, and 10000 are free for it; give the images as a folder"):
        load_npz(tmp_path / "x.npz")
