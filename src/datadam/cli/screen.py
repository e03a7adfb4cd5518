"""What the command line shows: progress bars, tables, complaints. Everything but results goes to standard error."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

OBEYED = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}  # what terminals obey


def say(text: str) -> None:
    """A remark, on standard error."""
    sys.stderr.write(f"{text.translate(OBEYED)}\n")


def complain(error: object) -> None:
    """An error, on standard error."""
    text = str(error)
    say(f"datadam: error:\n{text}" if "\n" in text else f"datadam: error: {text}")


def result(text: str, value: Any, *, as_json: bool) -> None:
    """A result, on standard output: the text, or with --json the value."""
    sys.stdout.write(json.dumps(value, indent=1) + "\n" if as_json else text.translate(OBEYED).rstrip("\n") + "\n")
    sys.stdout.flush()


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows in aligned columns."""
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in (head, *rows)]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def duration(seconds: float) -> str:
    """Seconds in words: "40 s", "12 min", "3.5 h"."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


@contextmanager
def bar(what: str) -> Iterator[Callable[[str, float, float | None], None]]:
    """A progress bar with time left; gives `advance(words, done, total)`. Without a terminal it writes a line now and then."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    console = Console(file=sys.stderr)
    if not console.is_terminal:
        yield _lines(what)
        return
    columns = (
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("time left"), TimeRemainingColumn(), TextColumn("so far"), TimeElapsedColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(what, total=None)

        def advance(words: str, done: float, total: float | None) -> None:
            progress.update(task, description=words, completed=done, total=total)

        yield advance


def _lines(what: str) -> Callable[[str, float, float | None], None]:
    import time

    began = last = time.monotonic()

    def advance(words: str, done: float, total: float | None) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= 15 or (total and done >= total):
            last = now
            left = f", time left {duration((now - began) * (total - done) / done)}" if total and done else ""
            say(f"{words}: {done:.0f}{f' of {total:.0f}' if total else ''}, {duration(now - began)} so far{left}")

    return advance
