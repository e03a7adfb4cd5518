"""The folder of an application: its result as JSON and as a page, and what lies beside."""

from pathlib import Path
from typing import Any

from datadam.errors import InvalidInput
from datadam.files.lock import LOCK
from datadam.files.partial import END
from datadam.files.whole import write_json, write_text
from datadam.report.sheet import Sheet

KEPT = {LOCK, "runs", "whole", "orders", "memory", "union", "random", "fedavg"}  # what an interrupted call leaves behind


def check_place(out: Path, name: str) -> None:
    """Raise `InvalidInput` unless the result called `name` may go to `out`: a new or empty folder, or one that holds such."""
    if out.exists() and not out.is_dir():
        raise InvalidInput(f"{out} is a file; choose a folder with --out")
    names = {path.name for path in out.iterdir() if not path.name.endswith(END)} if out.is_dir() else set()
    if names - KEPT and f"{name}.json" not in names:
        raise InvalidInput(f"{out} holds files that are no {name}; choose another folder with --out")


def save(out: Path, name: str, found: dict[str, Any], sheet: Sheet) -> list[Path]:
    """Write OUT/NAME.json and OUT/NAME.html, each whole or not at all; returns both."""
    files = [out / f"{name}.json", out / f"{name}.html"]
    write_json(files[0], found)
    write_text(files[1], sheet.html())
    return files
