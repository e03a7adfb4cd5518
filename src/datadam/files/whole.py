"""Files that are either whole or absent: written beside their place, flushed, then renamed; and read without trust."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from datadam.errors import ArtifactError, InvalidInput, RunFailed
from datadam.files.partial import beside, sweep, sync_folder

LARGEST_JSON = 256_000_000  # bytes: an evaluation of a thousand classes has some millions


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path that takes the place of `path` when the block ends well, and vanishes when it does not.

    Raises `RunFailed` when the file cannot be written (full disk, read-only folder).
    """
    partial = beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent, path.name)
        yield partial
        partial.chmod(0o666 & ~_umask())  # safetensors makes files that only their owner may read
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
        sync_folder(path.parent)
    except (OSError, SafetensorError) as error:
        raise RunFailed(
            f"cannot write {path}: {error}. Free space or choose another folder; what stood there before is untouched"
        ) from error
    finally:
        with suppress(OSError):  # it may lie where nothing can: in a file that was taken for a folder
            partial.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write JSON, whole or not at all; NaN is refused rather than written."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write tensors as safetensors, whole or not at all."""
    with replacing(path) as partial:
        safetensors.torch.save_file({k: t.detach().cpu().contiguous() for k, t in tensors.items()}, partial, metadata)


def read_json(path: Path) -> Any:
    """Read JSON. Raises `ArtifactError` when it is missing, unreadable, no JSON, or JSON with two values of one name."""
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST_JSON + 1)
        if len(text) > LARGEST_JSON:
            raise ValueError(f"it is larger than {LARGEST_JSON // 1_000_000} MB")
        return json.loads(text.decode("utf-8"), object_pairs_hook=_once, parse_constant=_number)
    except FileNotFoundError:
        raise ArtifactError(f"{path} does not exist; a finished run folder holds it") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ArtifactError(
            f"{path} cannot be read as JSON ({error}); it is truncated or not ours: make the run again"
        ) from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object, each name of which stands there once: who reads the first and who the last would disagree."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"the name {name[:80]!r} stands there twice")
        found[name] = value
    return found


def _number(text: str) -> float:
    raise ValueError(f"{text} is no number of JSON")


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read safetensors: tensors by name, and the metadata. Raises `ArtifactError`; nothing in the file is executed.

    Each tensor is copied to memory of its own: those that the library gives begin where the file's header ends, and a product of
    matrices that do not begin at a multiple of 16 bytes sums in another order on some processors, so that a resumed run would end
    with other bits.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name).clone() for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except FileNotFoundError:
        raise ArtifactError(f"{path} does not exist; a finished run folder holds it") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise ArtifactError(
            f"{path} is no whole safetensors file ({error}); it is truncated or not ours: make the run again"
        ) from error


def all_finite(tensor: Tensor) -> bool:
    """Whether no number of it is NaN or infinite; looked at in pieces, for torch makes copies of what it asks that."""
    return all(bool(piece.isfinite().all()) for piece in tensor.reshape(-1).split(1_000_000))


def read_slices(path: Path, name: str, rows: int) -> Iterator[Tensor]:
    """One tensor of a safetensors file, `rows` at a time along its first axis. Raises `ArtifactError`."""
    first, total = 0, 1
    try:
        while first < total:
            with safe_open(path, framework="pt") as file:  # anew each time: what was read through one mapping stays in memory
                tensor = file.get_slice(name)
                total = tensor.get_shape()[0]
                piece = tensor[first : first + rows].clone()
            yield piece
            first += rows
    except FileNotFoundError:
        raise ArtifactError(f"{path} does not exist; a run folder holds it") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise ArtifactError(f"{path} is no whole safetensors file ({error}); it is truncated or not ours") from error


def require_writable(folder: Path, *, cure: str = "choose another folder with --out") -> None:
    """Create the folder and prove that a file can be written in it. Raises `InvalidInput`, with the `cure`."""
    probe = folder / f".probe.{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InvalidInput(f"cannot write into {folder}: {error.strerror}; {cure}") from error
