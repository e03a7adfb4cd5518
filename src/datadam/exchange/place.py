"""A folder that is there as a whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from datadam.errors import InvalidInput, RunFailed

FILES = {".npz", ".npy", ".pt", ".pth", ".parquet", ".safetensors", ".zip", ".png"}  # endings of names that no folder has


def require_free(out: Path, *, overwrite: bool, marks: tuple[str, ...], what: str) -> None:
    """Raise `InvalidInput` unless `out` can be made: it is absent, an empty folder, or, to be replaced, one that holds one of "
    "`marks`."""
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise InvalidInput(f"{out} is no folder; {what} is a folder: choose another name with --out")
    if out.suffix.lower() in FILES and not out.exists():
        raise InvalidInput(
            f"{out} is the name of a file, and {what} is a folder that holds files; give a folder, such as {out.with_suffix('')}"
        )
    if not out.exists() or not any(out.iterdir()):
        return
    if not overwrite:
        raise InvalidInput(f"{out} is not empty; choose another folder with --out, or replace it with --overwrite")
    if not any((out / mark).is_file() for mark in marks):
        raise InvalidInput(f"{out} is not replaced: it is not {what} (it has no {marks[0]}); choose another folder with --out")


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """A new folder that takes the place of `out` when the block ends well, and vanishes when it does not.

    Raises `RunFailed` when it cannot be written.
    """
    partial, old = (out.with_name(f".{out.name}.{os.getpid()}.{end}") for end in ("partial", "old"))
    made = [parent for parent in (out.parent, *out.parent.parents) if not parent.exists()]
    done = False
    try:
        partial.mkdir(parents=True)
        yield partial
        if out.exists():
            out.rename(old)
        partial.rename(out)
        done = True
    except OSError as error:
        if old.exists() and not out.exists():
            old.rename(out)
        raise RunFailed(f"cannot write {out}: {error}. Free space or choose another folder with --out") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
        if not done:
            for parent in made:  # innermost first
                if parent.is_dir() and not any(parent.iterdir()):
                    parent.rmdir()
