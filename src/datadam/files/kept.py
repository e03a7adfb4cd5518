"""What was trained or measured once, kept on the disk under everything that decides it: a `Store` of tensors.

    FOLDER/NAME.safetensors     tensors; as text the key, what they cost in seconds, and a checksum over all of it

A file that is torn, foreign, changed or of another key is made anew; all may be deleted at any time. Nothing in it is executed.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

import torch
from torch import Tensor

from datadam.errors import ArtifactError, InvalidInput, RunFailed
from datadam.files.lock import hold
from datadam.files.partial import sweep
from datadam.files.whole import read_tensors, write_tensors, write_text

T = TypeVar("T")

REMEMBERED = "datadam-pixels/1"
UNFINISHED = "unfinished"


class Record(NamedTuple):
    """What a file holds: `tensors` by name, and the `seconds` that making them took."""

    tensors: dict[str, Tensor]
    seconds: float


@dataclass(frozen=True)
class Entry:
    """The place of one record: its `file`, and the `words` of everything that decides its tensors."""

    file: Path
    words: str

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return self.file.stem

    @property
    def unfinished(self) -> "Entry":
        """Where the state of a training lies beside that has not come to its end."""
        return Entry(self.file.with_name(f"{self.name}.{UNFINISHED}.safetensors"), f"{UNFINISHED} {self.words}")

    def read(self, like: Mapping[str, Tensor] | None = None) -> Record | None:
        """The record, where a whole file of this very key is there that has, of these shapes and types, all tensors of `like`."""
        try:
            tensors, about = read_tensors(self.file)
            record = Record(tensors, float(about["seconds"]))
            whole = about["key"] == self.words and about["checksum"] == _checksum(record, self.words)
        except (ArtifactError, KeyError, ValueError):
            return None
        return record if whole and all(_alike(tensors.get(name), tensor) for name, tensor in (like or {}).items()) else None

    def write(self, record: Record) -> bool:
        """Keep a record, whole or not at all; returns whether that could be done: a full disk costs nothing but time."""
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in record.tensors.items()}
        record = Record(tensors, record.seconds)
        about = {"key": self.words, "seconds": repr(record.seconds), "checksum": _checksum(record, self.words)}
        try:
            write_tensors(self.file, tensors, about)
        except (RunFailed, OSError):
            return False
        return True

    def remove(self) -> None:
        """Keep it no longer."""
        with suppress(OSError):
            self.file.unlink(missing_ok=True)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """One process, or thread, at a time makes this record; others wait. In a folder that cannot be written none waits."""
        with ExitStack() as stack:
            with suppress(OSError):
                self.file.parent.mkdir(parents=True, exist_ok=True)
                sweep(self.file.parent)
                stack.enter_context(hold(self.file))
            yield

    def once(self, make: Callable[[], Record], like: Mapping[str, Tensor] | None = None) -> tuple[Record, bool]:
        """The record, made where it is not kept; and whether it was found. Two that want the same make it once."""
        if (record := self.read(like)) is not None:
            return record, True
        with self.alone():
            if (record := self.read(like)) is not None:  # another process was at it, and has just finished
                return record, True
            record = make()
            self.write(record)
            return record, False


@dataclass(frozen=True)
class Store:
    """A folder of records. Arguments: `folder`, made when the first one is written; `format`, which is part of every key, so that
    what another version has laid out otherwise is not found."""

    folder: Path
    format: str

    def entry(self, key: Mapping[str, Any], name: str = "") -> Entry:
        """Where the record of a key lies: `key` is everything that decides its tensors, as JSON knows it, and `name` that of the
        file, for who looks into the folder ("": a checksum of the key)."""
        words = json.dumps({"format": self.format, **key}, sort_keys=True)
        return Entry(self.folder / f"{name or hashlib.sha256(words.encode()).hexdigest()[:40]}.safetensors", words)

    def sweep(self) -> None:
        """Remove what killed processes have left half written."""
        sweep(self.folder)

    def clear(self) -> None:
        """Remove the folder and all in it."""
        shutil.rmtree(self.folder, ignore_errors=True)


def folder_of(name: str, key: Mapping[str, Any]) -> Path:
    """The place in `cache_folder(name)` of what a `key` of JSON values decides. Raises `InvalidInput` where nothing can be
    written."""
    folder = cache_folder(name) / hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:40]
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput(f"cannot write into {folder.parent}: {error.strerror}; set DATADAM_CACHE to another folder") from error
    return folder


def made_once(folder: Path, make: Callable[[], T]) -> T:
    """What `make` finds, or makes, in a folder of the cache, while others wait; what is damaged is made anew."""
    with hold(folder):
        try:
            return make()
        except ArtifactError:
            shutil.rmtree(folder, ignore_errors=True)
            return make()


def cache_folder(name: str) -> Path:
    """$DATADAM_CACHE, or ~/.cache/datadam, and `name` in it."""
    root = os.environ.get("DATADAM_CACHE")
    return (Path(root) if root else Path.home() / ".cache" / "datadam") / name


def default_folder() -> Path:
    """Where decoded pixels are kept."""
    return cache_folder("pixels")


def remembered(key: str, find: Callable[[], T], *, folder: Path | None = None) -> T:
    """What `find` returns, of lists, numbers and words; kept on the disk under this key, so that it is found once."""
    home = default_folder() if folder is None else folder
    file = home / f"{hashlib.sha256(f'{REMEMBERED} {key}'.encode()).hexdigest()[:40]}.json"
    with suppress(OSError, ValueError):
        return cast(T, json.loads(file.read_text(encoding="utf-8")))
    value = find()
    with suppress(RunFailed):  # a convenience: nobody fails for want of it
        write_text(file, json.dumps(value))
    return value


def _alike(tensor: Tensor | None, like: Tensor) -> bool:
    """Whether a tensor has shape and type of another, and no number of it is NaN or infinite."""
    same = tensor is not None and tensor.shape == like.shape and tensor.dtype == like.dtype
    return same and bool(torch.isfinite(cast(Tensor, tensor)).all())


def _checksum(record: Record, words: str) -> str:
    """SHA-256 of all tensors with their names, shapes and types, of the seconds and of the words."""
    parts = [(name, str(tensor.dtype), list(tensor.shape)) for name, tensor in sorted(record.tensors.items())]
    checksum = hashlib.sha256(json.dumps([words, repr(record.seconds), parts]).encode())
    for _, tensor in sorted(record.tensors.items()):
        checksum.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return checksum.hexdigest()
