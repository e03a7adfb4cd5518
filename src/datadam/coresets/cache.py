"""What was trained or measured once, kept on the disk: a file holds tensors and, as text, everything that decides them.

Files that are torn, foreign or of other settings are made anew; all may be deleted at any time.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from datadam.data.cache import default_folder, hold
from datadam.errors import ArtifactError, RunFailed
from datadam.storage import read_tensors, write_tensors

FORMAT = "datadam-insight/1"


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
