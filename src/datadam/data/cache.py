"""Decoded pixels: in memory when they fit, else in a memory-mapped file that is built once and can be resumed.

A file of the cache holds one byte an image (0 not done, 1 good, 2 bad), padding up to a page, and the pixels of the
good images, one after another. The bytes are the journal of the build: a block's are written only once its pixels are
on the disk, so an interrupted build goes on where it was. A finished file loses the ending ".part" and is never
written again. Files that are no longer wanted may be deleted at any time.

Shapes: N images, C channels, H x W pixels.
"""

import errno
import hashlib
import mmap
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from datadam import machine
from datadam.errors import DataError
from datadam.files.kept import default_folder
from datadam.files.lock import hold
from datadam.files.partial import sync_folder

Shape = tuple[int, int, int]
Pixels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Fill = Callable[[int, int, Pixels], Mask | None]
Progress = Callable[[str, int, int | None], None]

FORMAT = "datadam-pixels/1"
WHAT = "preparing images"
BLOCK_BYTES = 1 << 24
BLOCK_IMAGES = 1024  # small blocks keep the progress alive and an interruption cheap
PAGE = 4096
UNDONE, GOOD, BAD = 0, 1, 2


def pixels(
    count: int,
    shape: Shape,
    fill: Fill,
    *,
    key: str,
    memory_limit: int | None = None,
    progress: Progress | None = None,
    folder: Path | None = None,
) -> Pixels:
    """The pixels of N images, uint8 [N, C, H, W]: an array in memory, or a read-only memory map.

    Arguments: `count`, N; `shape`, (C, H, W); `fill(start, stop, out)`, writes the images start .. stop - 1 into `out`,
    the same ones whenever it is asked; `key`, names the source and every option that changes the pixels;
    `memory_limit`, the bytes that may lie in memory (None: half of what the machine has left); `progress(what, done,
    total)`; `folder`, where maps are kept (None: `default_folder()`).
    Raises DataError when the disk cannot hold the map.
    """
    found, good = good_pixels(count, shape, fill, key=key, memory_limit=memory_limit, progress=progress, folder=folder)
    assert good.all(), "use good_pixels where images may be bad"
    return found


def good_pixels(
    count: int,
    shape: Shape,
    fill: Fill,
    *,
    key: str,
    memory_limit: int | None = None,
    progress: Progress | None = None,
    folder: Path | None = None,
) -> tuple[Pixels, Mask]:
    """As `pixels`, where some images may be bad: `fill` returns which are good, bool [stop - start], or None for all.

    Returns the pixels of the good ones alone, uint8 [n, C, H, W], and which ones they are, bool [N].
    """
    limit = machine.available_memory() // 2 if memory_limit is None else memory_limit
    if count * _size(shape) <= limit:
        return _in_memory(count, shape, fill, progress)
    home = default_folder() if folder is None else folder
    named = hashlib.sha256(f"{FORMAT} {count} {shape} {key}".encode()).hexdigest()[:40]
    final, part = home / f"{named}.pixels", home / f"{named}.pixels.part"
    found = _open(final, count, shape)
    if found is None:
        try:
            home.mkdir(parents=True, exist_ok=True)
            part.touch()
        except OSError as error:
            raise DataError(f"the cache folder {home} cannot be written: {error}. {_CURE}") from error
        with hold(final):
            if not final.exists():  # else another process was at it, and has just finished
                part.touch()
                _build(part, count, shape, fill, progress)
                part.replace(final)
                sync_folder(home)
            part.unlink(missing_ok=True)
        found = _open(final, count, shape)
    assert found is not None
    return found


def release(array: npt.NDArray[np.generic]) -> None:
    """Take the pages of a memory map out of this process; they are read again when touched. Nothing for other arrays.

    Pages that were read count as the process's memory until the system wants them back: this makes the peak honest.
    """
    mapped = getattr(array, "_mmap", None)
    if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


_CURE = "Set DATADAM_CACHE to a folder on a disk with room, choose a smaller --size, or allow more memory (--memory-limit)."


def _in_memory(count: int, shape: Shape, fill: Fill, progress: Progress | None) -> tuple[Pixels, Mask]:
    """Bad images are closed up block by block, so that nothing is ever there twice."""
    found, good = np.empty((count, *shape), dtype=np.uint8), np.ones(count, dtype=np.bool_)
    written = 0
    for start, stop in _blocks(0, count, shape):
        out = found[written : written + stop - start]
        mask = fill(start, stop, out)
        if mask is not None and not mask.all():
            good[start:stop] = mask
            out[: mask.sum()] = out[mask]
        written += int(good[start:stop].sum())
        if progress:
            progress(WHAT, stop, count)
    return found[:written], good


def _build(part: Path, count: int, shape: Shape, fill: Fill, progress: Progress | None) -> None:
    with part.open("r+b", buffering=0) as file:
        status = _journal(file, count, shape)
        done = int(np.argmin(status)) if (status == UNDONE).any() else count
        _need(part.parent, (count - done) * _size(shape) + _head(count))
        end = _end(status, shape)
        for start, stop in _blocks(done, count, shape):
            out = np.empty((stop - start, *shape), dtype=np.uint8)
            mask = fill(start, stop, out)
            good = out if mask is None else out[mask]
            _write(file, end, good)
            status[start:stop] = GOOD if mask is None else np.where(mask, GOOD, BAD)
            _write(file, start, status[start:stop])
            end += good.nbytes
            if progress:
                progress(WHAT, stop, count)
        file.truncate(end)  # to the byte, also when an earlier attempt had come further than its journal says


def _journal(file: BinaryIO, count: int, shape: Shape) -> npt.NDArray[np.uint8]:
    """What an earlier build has done; written anew when there was none or its pixels are not all there."""
    found = np.frombuffer(file.read(count), dtype=np.uint8).copy()
    if len(found) == count and found.max() <= BAD and file.seek(0, os.SEEK_END) >= _end(found, shape):
        return found
    fresh = np.zeros(count, dtype=np.uint8)
    _write(file, 0, fresh)
    return fresh


def _open(final: Path, count: int, shape: Shape) -> tuple[Pixels, Mask] | None:
    """A finished file; None when there is none, or one that is not whole (it is removed)."""
    if not final.exists():
        return None
    with final.open("rb") as file:
        status = np.frombuffer(file.read(count), dtype=np.uint8)
    if len(status) < count or (status == UNDONE).any() or final.stat().st_size != _end(status, shape):
        final.unlink()
        return None
    good = status == GOOD
    n = int(good.sum())
    if not n:  # nothing cannot be mapped
        return np.empty((0, *shape), dtype=np.uint8), good
    return np.memmap(final, dtype=np.uint8, mode="r", offset=_head(count), shape=(n, *shape)), good


def _need(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if size > free:
        raise DataError(
            f"the decoded images do not fit the memory allowed and need {size / 1e9:.2f} GB of disk; "
            f"{folder} has {free / 1e9:.2f} GB free. {_CURE}"
        )


def _write(file: BinaryIO, offset: int, array: npt.NDArray[np.uint8]) -> None:
    """All of the array at this place, on the disk when this returns."""
    data = memoryview(np.ascontiguousarray(array).reshape(-1).data)
    try:
        file.seek(offset)
        while data:
            data = data[file.write(data) :]
        os.fsync(file.fileno())
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        what = "the disk is full" if full else f"{error}"
        raise DataError(
            f"{file.name} cannot be written: {what}. What was done is kept; make room and start again. {_CURE}"
        ) from error


def _blocks(start: int, count: int, shape: Shape) -> list[tuple[int, int]]:
    step = max(1, min(BLOCK_IMAGES, BLOCK_BYTES // _size(shape)))
    return [(at, min(at + step, count)) for at in range(start, count, step)]


def _size(shape: Shape) -> int:
    c, h, w = shape
    return c * h * w


def _head(count: int) -> int:
    return -(-count // PAGE) * PAGE


def _end(status: npt.NDArray[np.uint8], shape: Shape) -> int:
    return _head(len(status)) + int((status == GOOD).sum()) * _size(shape)
