"""How far work is: a bar in a terminal or a notebook, what is left of the time, and who is told.

Beside the command line this is the one part that writes to the screen, and only where a person sits before it.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from typing import Any

from datadam.wording import duration

Advance = Callable[..., Any]  # words, what is done, of how much (None: not known), and maybe `left`, seconds, where known better
Asked = bool | Callable[..., Any] | None
"""What a caller says of progress: None, a bar where a person looks on; False, nothing; or whom to tell."""

BETWEEN = 0.5  # seconds between two looks of a notebook's bar


class Pace:
    """How long the rest of some work takes, by what was done since the first word of it.

    What came before that word is left out: compiling and the start of processes come once. Argument: `expected`, seconds that all
    of it is foreseen to take, which is the answer until there is a better one (None: not known).
    """

    def __init__(self, expected: float | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.expected, self._clock = expected or None, clock
        self._began, self._first, self._last = clock(), (0.0, 0.0), (0.0, 0.0)
        self._total: float | None = None

    def left(self, done: float, total: float | None) -> float | None:
        """Seconds until `done` is `total`; None while nothing is known."""
        now = self._clock()
        if total is None:
            return None
        if total != self._total or done < self._last[1]:  # other work
            self._first, self._total = (now, done), total
        self._last = (now, done)
        (then, before), spent = self._first, now - self._began
        if done > before:
            return (total - done) * (now - then) / (done - before)
        return max(0.0, self.expected - spent) if self.expected is not None else None


@contextmanager
def shown(asked: Asked, what: str, expected: float | None = None) -> Iterator[Advance]:
    """What tells of progress as it was asked for (see `Asked`): `advance(words, done, total)`."""
    if callable(asked):
        yield asked
    elif asked is not False and in_notebook():
        yield _notebook(Pace(expected))
    elif asked is not False and sys.stderr.isatty():
        with bar(what, expected) as advance:
            yield advance
    else:
        yield lambda words, done, total, left=None: None


@contextmanager
def bar(what: str, expected: float | None = None) -> Iterator[Advance]:
    """A bar in a terminal, with the time left."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("{task.fields[left]}"), TextColumn("so far"), TimeElapsedColumn(),
    )  # fmt: skip
    pace = Pace(expected)
    with Progress(*columns, console=Console(file=sys.stderr)) as drawn:
        task = drawn.add_task(what, total=None, left=f"time left {duration(expected)}" if expected else "")

        def advance(words: str, done: float, total: float | None, left: float | None = None) -> None:
            left = pace.left(done, total) if left is None else left
            told = "" if left is None else f"time left {duration(left)}"
            drawn.update(task, description=words, completed=done, total=total, left=told)

        yield advance


def in_notebook() -> bool:
    """Whether a notebook's kernel runs this program."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return shell is not None and getattr(shell, "kernel", None) is not None


def _notebook(pace: Pace) -> Advance:
    """A bar of HTML below the cell that is drawn anew; it needs no widgets."""
    from IPython.display import display

    handle, last = None, 0.0

    def advance(words: str, done: float, total: float | None, left: float | None = None) -> None:
        nonlocal handle, last
        left, now = pace.left(done, total) if left is None else left, time.monotonic()
        if now - last < BETWEEN and done != total:
            return
        last = now
        told = "" if left is None or done == total else f", time left {duration(left)}"
        share = "" if total is None else f' value="{done:g}" max="{total:g}"'
        page = {"text/html": f"<progress{share}></progress> {escape(words + told)}", "text/plain": words + told}
        if handle is None:
            handle = display(page, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        else:
            handle.update(page, raw=True)

    return advance
