"""What was trained or measured once, kept on the disk: a file holds tensors and, as text, everything that decides them.

Files that are torn, foreign or of other settings are made anew; all may be deleted at any time.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from datadam.errors import ArtifactError, RunFailed
from datadam.files.lock import hold
from datadam.files.partial import beside, sweep
from datadam.files.whole import read_tensors, write_tensors

T = TypeVar("T")

FORMAT = "datadam-insight/1"
REMEMBERED = "datadam-pixels/1"


def kept(key: Mapping[str, Any], like: Mapping[str, Tensor], make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """What `make` returns, made once for this key.

    Arguments: `key`, everything that decides the tensors, as JSON knows it; `like`, tensors of the names, shapes and types that
    are expected (their values do not matter). Two processes that want the same make it once. A folder that cannot be written
    costs the next run its time, and this one nothing.
    """
    words = _words(key)
    file = folder() / f"{name_of(key)}.safetensors"
    if (found := _read(file, words, like)) is not None:
        return found
    with ExitStack() as stack:
        with suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(hold(file))
        if (found := _read(file, words, like)) is not None:  # another process was at it, and has just finished
            return found
        made = make()
        with suppress(RunFailed, OSError):
            write_tensors(file, made, {"key": words})
        return made


def name_of(key: Mapping[str, Any]) -> str:
    """The name of the file for this key: other keys have other names."""
    return hashlib.sha256(_words(key).encode()).hexdigest()[:40]


def default_folder() -> Path:
    """$DATADAM_CACHE, or ~/.cache/datadam, and "pixels" in it."""
    root = os.environ.get("DATADAM_CACHE")
    return (Path(root) if root else Path.home() / ".cache" / "datadam") / "pixels"


def folder() -> Path:
    """$DATADAM_CACHE, or ~/.cache/datadam, and "insight" in it."""
    return default_folder().parent / "insight"


def _words(key: Mapping[str, Any]) -> str:
    return json.dumps({"format": FORMAT, **key}, sort_keys=True)


def _read(file: Path, words: str, like: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """The tensors of a whole file of this key, else None."""
    try:
        found, metadata = read_tensors(file)
    except ArtifactError:
        return None
    alike = found.keys() == like.keys() and all(
        tensor.shape == like[name].shape and tensor.dtype == like[name].dtype and bool(torch.isfinite(tensor).all())
        for name, tensor in found.items()
    )
    return found if alike and metadata.get("key") == words else None


def remembered(key: str, find: Callable[[], T], *, folder: Path | None = None) -> T:
    """What `find` returns, of lists, numbers and words; kept on the disk under this key, so that it is found once."""
    home = default_folder() if folder is None else folder
    file = home / f"{hashlib.sha256(f'{REMEMBERED} {key}'.encode()).hexdigest()[:40]}.json"
    with suppress(OSError, ValueError):
        return cast(T, json.loads(file.read_text()))
    found = find()
    with suppress(OSError):  # a convenience: nobody fails for want of it
        home.mkdir(parents=True, exist_ok=True)
        sweep(home, file.name)
        partial = beside(file)
        with partial.open("w", encoding="utf-8") as made:
            json.dump(found, made)
            made.flush()
            os.fsync(made.fileno())
        partial.replace(file)
    return found
