"""Independent sets of one recipe in RUN/0, RUN/1, ...: where they may lie, and what is kept so that they can be gone on with."""

from pathlib import Path
from typing import Any


def check_repeats(out: Path, *, overwrite: bool) -> None:
    """Raise `InvalidInput` unless a new run of repeats may go to `out`; nothing is written."""
    from datadam.errors import InvalidInput

    if (out / "repeats.json").exists():
        if not overwrite:
            raise InvalidInput(f"{out} already holds repeats; continue with --resume {out}, or replace them with --overwrite")
    elif out.is_dir() and (names := {path.name for path in out.iterdir() if not path.name.startswith(".")}):
        if names != {"0"} or not (out / "0" / "checkpoint").is_dir():
            raise InvalidInput(f"{out} holds files that are no repeats; choose another folder")
        if not overwrite:
            raise InvalidInput(f"{out} holds the first of some repeats that was stopped as it began; replace it with --overwrite")


def keep_repeats(out: Path, asked: dict[str, Any], command: str) -> None:
    """Write down what was asked, for --resume, and remove what an earlier run of more repeats left."""
    from shutil import rmtree

    from datadam.cli.options import numbered
    from datadam.files.whole import write_json

    for folder in numbered(out):
        if int(folder.name) >= asked["repeats"]:
            rmtree(folder)
    for name in ("evaluations", "report.html"):
        part = out / name
        if part.is_dir():
            rmtree(part)
        else:
            part.unlink(missing_ok=True)
    kept = {k: str(v) if isinstance(v, Path) else v for k, v in asked.items() if k not in ("overwrite", "config")}
    write_json(out / "repeats.json", {"asked": kept | {"out": str(out)}, "command": command})
