"""The cache of decoded pixels: what it returns is what `fill` writes, however often it is interrupted."""

import errno
import os
import threading
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

from datadam import machine
from datadam.data import cache
from datadam.errors import DataError
from datadam.files import kept

SHAPE = (3, 5, 4)
SIZE = 60
COUNT = 23
ALL = np.random.default_rng(0).integers(0, 256, (COUNT, *SHAPE), dtype=np.uint8)


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "BLOCK_IMAGES", 4)


class Source:
    """Fills from ALL, remembers what was asked, and breaks at one image if told to."""

    def __init__(self, bad: tuple[int, ...] = (), stop_at: int | None = None) -> None:
        self.bad, self.stop_at, self.asked = bad, stop_at, []

    def __call__(self, start: int, stop: int, out: np.ndarray) -> np.ndarray | None:
        if self.stop_at is not None and start <= self.stop_at < stop:
            raise KeyboardInterrupt
        self.asked += range(start, stop)
        out[:] = ALL[start:stop]
        good = np.array([i not in self.bad for i in range(start, stop)])
        out[~good] = 99  # rubbish where an image is bad
        return good if self.bad else None


def build(folder: Path, source: Source, key: str = "k", limit: int = 0) -> tuple[np.ndarray, np.ndarray]:
    return cache.good_pixels(COUNT, SHAPE, source, key=key, memory_limit=limit, folder=folder)


@pytest.mark.parametrize("limit", [COUNT * SIZE, COUNT * SIZE - 1])
@pytest.mark.parametrize("bad", [(), (0,), (22,), (3, 4, 5, 6, 7, 8), tuple(range(23))])
def test_pixels_are_what_fill_wrote(tmp_path: Path, limit: int, bad: tuple[int, ...]) -> None:
    source = Source(bad)
    pixels, good = build(tmp_path, source, limit=limit)
    kept = [i for i in range(COUNT) if i not in bad]
    assert np.flatnonzero(good).tolist() == kept
    assert good.shape == (COUNT,)
    np.testing.assert_array_equal(pixels, ALL[kept])
    assert source.asked == list(range(COUNT))
    in_memory = limit >= COUNT * SIZE
    assert bool(list(tmp_path.iterdir())) is not in_memory
    if kept:
        assert isinstance(pixels, np.memmap) is not in_memory


def test_a_map_is_read_only_and_built_once(tmp_path: Path) -> None:
    first = cache.pixels(COUNT, SHAPE, Source(), key="k", memory_limit=0, folder=tmp_path)
    with pytest.raises(ValueError, match="read-only"):
        first[0] = 0
    again = Source()
    np.testing.assert_array_equal(build(tmp_path, again)[0], ALL)
    assert again.asked == []
    assert [file.suffix for file in tmp_path.iterdir()] == [".pixels"]


def test_another_key_count_or_shape_is_another_file(tmp_path: Path) -> None:
    build(tmp_path, Source())
    other = Source()
    build(tmp_path, other, key="other")
    assert len(other.asked) == COUNT
    cache.pixels(4, SHAPE, Source(), key="k", memory_limit=0, folder=tmp_path)
    cache.pixels(4, (60, 1, 1), lambda a, b, out: None, key="k", memory_limit=0, folder=tmp_path)
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize("bad", [(), (1, 9, 13)])
def test_an_interrupted_build_goes_on_where_it_was(tmp_path: Path, bad: tuple[int, ...]) -> None:
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, Source(bad, stop_at=10))
    assert [file.suffix for file in tmp_path.iterdir()] == [".part"]
    source = Source(bad)
    pixels, good = build(tmp_path, source)
    assert source.asked == list(range(8, COUNT))  # blocks of 4: two were finished
    kept = [i for i in range(COUNT) if i not in bad]
    np.testing.assert_array_equal(pixels, ALL[kept])
    assert np.flatnonzero(good).tolist() == kept


def test_pixels_without_journal_are_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, calls = cache._write, []

    def dies_between(file: object, offset: int, array: np.ndarray) -> None:
        calls.append(offset)
        if len(calls) == 5:  # the fresh journal, then pixels, journal, pixels: the second block's journal is lost
            raise KeyboardInterrupt
        write(file, offset, array)

    monkeypatch.setattr(cache, "_write", dies_between)
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, Source())
    monkeypatch.setattr(cache, "_write", write)
    source = Source()
    np.testing.assert_array_equal(build(tmp_path, source)[0], ALL)
    assert source.asked[0] == 4


@pytest.mark.parametrize("interrupted", [True, False])
@pytest.mark.parametrize("keep", [0, 10, 4096, 4096 + 100])
def test_a_file_that_is_cut_off_is_built_anew(tmp_path: Path, interrupted: bool, keep: int) -> None:
    if interrupted:
        with pytest.raises(KeyboardInterrupt):
            build(tmp_path, Source(stop_at=10))
    else:
        build(tmp_path, Source())
    (file,) = tmp_path.iterdir()
    os.truncate(file, keep)
    source = Source()
    np.testing.assert_array_equal(build(tmp_path, source)[0], ALL)
    assert source.asked == list(range(COUNT))


def test_a_full_disk_is_told_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda folder: usage(1, 1, COUNT * SIZE))
    source = Source()
    with pytest.raises(DataError, match=r"0\.00 GB free.*DATADAM_CACHE"):
        build(tmp_path, source)
    assert source.asked == []


@pytest.mark.parametrize(("code", "words"), [(errno.ENOSPC, "the disk is full"), (errno.EIO, "Input/output error")])
def test_a_disk_that_fills_up_keeps_what_was_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, words: str) -> None:
    fsync, calls = os.fsync, []

    def full(fd: int) -> None:
        calls.append(fd)
        if len(calls) == 6:
            raise OSError(code, os.strerror(code))
        fsync(fd)

    monkeypatch.setattr(cache.os, "fsync", full)
    with pytest.raises(DataError, match=words):
        build(tmp_path, Source())
    source = Source()
    np.testing.assert_array_equal(build(tmp_path, source)[0], ALL)
    assert 4 <= source.asked[0] <= 8


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be written"):
        build(tmp_path / "file" / "inside", Source())


def test_errors_of_fill_pass_unchanged(tmp_path: Path) -> None:
    def fill(start: int, stop: int, out: np.ndarray) -> None:
        raise FileNotFoundError("mine")

    for limit in (0, 10**6):
        with pytest.raises(FileNotFoundError, match="mine"):
            cache.pixels(COUNT, SHAPE, fill, key="k", memory_limit=limit, folder=tmp_path)


def test_two_at_once_build_one_file(tmp_path: Path) -> None:
    sources, results = [Source(), Source()], {}
    both = threading.Barrier(2)

    def work(k: int) -> None:
        both.wait()
        results[k] = build(tmp_path, sources[k])[0]

    threads = [threading.Thread(target=work, args=(k,)) for k in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for k in range(2):
        np.testing.assert_array_equal(results[k], ALL)
    assert sorted(sources[0].asked + sources[1].asked) == list(range(COUNT))
    assert [file.suffix for file in tmp_path.iterdir()] == [".pixels"]


@pytest.mark.parametrize("limit", [0, 10**6])
def test_progress_goes_up_to_the_count(tmp_path: Path, limit: int) -> None:
    told: list[tuple[str, int, int | None]] = []
    cache.pixels(COUNT, SHAPE, Source(), key="k", memory_limit=limit, folder=tmp_path, progress=lambda *what: told.append(what))
    assert [done for _, done, _ in told] == [4, 8, 12, 16, 20, 23]
    assert {(what, total) for what, _, total in told} == {("preparing images", COUNT)}


def test_no_images_at_all() -> None:
    assert cache.pixels(0, SHAPE, Source(), key="k", memory_limit=0).shape == (0, *SHAPE)


def test_what_is_remembered_is_not_searched_again(tmp_path: Path) -> None:
    searches: list[int] = []

    def find() -> list[object]:
        searches.append(0)
        return [[1, 2, "L"], "é"]

    for _ in range(2):
        assert kept.remembered("key", find, folder=tmp_path / "new") == [[1, 2, "L"], "é"]
    assert len(searches) == 1
    (file,) = (tmp_path / "new").iterdir()
    file.write_text('[[1, 2, "L')  # cut off
    assert kept.remembered("key", find, folder=tmp_path / "new") == [[1, 2, "L"], "é"]
    kept.remembered("other", find, folder=tmp_path / "new")
    assert len(searches) == 3
    (tmp_path / "file").touch()
    assert kept.remembered("key", find, folder=tmp_path / "file" / "in") == [[1, 2, "L"], "é"]


def test_release_leaves_the_values(tmp_path: Path) -> None:
    pixels = cache.pixels(COUNT, SHAPE, Source(), key="k", memory_limit=0, folder=tmp_path)
    for array in (pixels, pixels[3:], np.zeros(3)):
        cache.release(array)
    np.testing.assert_array_equal(pixels, ALL)


def test_default_folder_and_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DATADAM_CACHE", str(tmp_path))
    assert kept.default_folder() == tmp_path / "pixels"
    monkeypatch.delenv("DATADAM_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert kept.default_folder() == tmp_path / ".cache" / "datadam" / "pixels"


def test_the_usual_limit_is_half_of_what_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for left, mapped in ((2 * COUNT * SIZE, False), (2 * COUNT * SIZE - 2, True)):
        monkeypatch.setattr(machine, "available_memory", lambda left=left: left)
        pixels = cache.pixels(COUNT, SHAPE, Source(), key="k", folder=tmp_path)
        assert isinstance(pixels, np.memmap) is mapped
