"""What the command line shows: progress bars, tables, complaints. Everything but results goes to standard error."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datadam.progress import Advance, Pace

OBEYED = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}  # what terminals obey


def say(text: str) -> None:
    """A remark, on standard error."""
    sys.stderr.write(f"{text.translate(OBEYED)}\n")


def complain(error: object) -> None:
    """An error, on standard error."""
    text = str(error)
    say(f"datadam: error:\n{text}" if "\n" in text else f"datadam: error: {text}")


def agreed(question: str) -> bool:
    """Whether a person at the terminal says yes."""
    sys.stderr.write(f"{question.translate(OBEYED)} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


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
def bar(what: str, expected: float | None = None) -> "Iterator[Advance]":
    """A progress bar with time left; gives `advance(words, done, total)`. Without a terminal it writes a line now and then.

    Argument: `expected`, seconds that it is foreseen to take (None: not known).
    """
    from rich.console import Console

    from datadam import progress

    if Console(file=sys.stderr).is_terminal:
        with progress.bar(what, expected) as advance:
            yield advance
    else:
        yield _lines(progress.Pace(expected))


def _lines(pace: "Pace") -> "Advance":
    import time

    began = last = time.monotonic()

    def advance(words: str, done: float, total: float | None) -> None:
        nonlocal last
        now, rest = time.monotonic(), pace.left(done, total)
        if now - last >= 15 or (total and done >= total):
            last = now
            left = "" if rest is None else f", time left {duration(rest)}"
            say(f"{words}: {done:.0f}{f' of {total:.0f}' if total else ''}, {duration(now - began)} so far{left}")

    return advance
