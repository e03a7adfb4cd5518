"""`datadam watch`: a running distillation, seen from its files."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from datadam.cli.options import Json

if TYPE_CHECKING:
    from rich.console import RenderableType

    from datadam.distillation.progress import View

WAITING = 15.0  # seconds between two lines where there is no terminal
SCREEN = 1.0  # and between two looks on a terminal


def watch(
    run: Annotated[Path, Parameter(help="run folder of a distillation at work, here or on a shared disk")],
    *,
    once: Annotated[bool, Parameter(help="look once and end", negative="")] = False,
    every: Annotated[float | None, Parameter(help="seconds between two looks (default 1; without a terminal 15)")] = None,
    json: Json = False,
) -> None:
    """Follow a running distillation.

    Loss, time left and the way of the loss, until it has ended. Only files are read, and the run does not notice; Ctrl-C ends
    the watching and not the run.
    """
    import sys

    from datadam.cli.screen import result
    from datadam.distillation.progress import look
    from datadam.errors import InvalidInput, RunFailed

    if every is not None and not every > 0:
        raise InvalidInput(f"every is {every}; it must be a number of seconds > 0")
    terminal = sys.stderr.isatty()
    pause = (SCREEN if terminal else WAITING) if every is None else every
    view = look(run)
    if not once and not view.over:
        try:
            view = _on_screen(run, view, pause) if terminal else _in_lines(run, view, pause)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"The watching has ended; the run in {run} goes on by itself.") from None
    result(line_of(view), view.to_json(), as_json=json)
    if not once and view.state in ("silent", "dead"):
        what = "was killed" if view.state == "dead" else f"gives no sign of life for {_duration(view.quiet)}: it was interrupted"
        raise RunFailed(f"the run in {view.folder} {what}. Go on with: datadam distill --resume {run}")


def _in_lines(run: Path, view: "View", pause: float) -> "View":
    from datadam.cli.screen import say
    from datadam.distillation.progress import look

    told = ""
    while not view.over:
        if (line := line_of(view)) != told:
            say(line)
            told = line
        time.sleep(pause)
        view = look(run)
    return view


def _on_screen(run: Path, view: "View", pause: float) -> "View":
    from rich.console import Console
    from rich.live import Live

    from datadam.distillation.progress import look

    console = Console(stderr=True)
    with Live(panel(view, console.width), console=console, auto_refresh=False) as live:
        while not view.over:
            time.sleep(pause)
            view = look(run)
            live.update(panel(view, console.width), refresh=True)
    return view


def panel(view: "View", width: int) -> "RenderableType":
    """The view for a terminal: a bar, the loss and its terms, the way of the loss."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    from datadam.distillation.progress import sparkline

    losses = "  ".join([_loss(view), *(f"{name} {value:.4g}" for name, value in view.terms.items())])
    rows = (
        Text(f"{view.folder}" + (f"  ({view.part})" if view.part else "")),
        ProgressBar(total=max(1, view.iterations), completed=view.iteration, width=min(width, 60)),
        Text(f"iteration {view.iteration} of {view.iterations}   {_times(view)}"),
        Text(f"{losses}   moved {view.moved:.3f}" if view.moved is not None else losses),
        Text(sparkline(view.losses, min(width, 60))),
    )
    grid = Table.grid()
    for row in rows:
        grid.add_row(row)
    return grid


def line_of(view: "View") -> str:
    """The view as one line."""
    from datadam.distillation.progress import sparkline

    part = f" ({view.part})" if view.part else ""
    words = {
        "running": "",
        "finished": ", finished",
        "stopped": ", ended before its last iteration",
        "dead": f", its process was killed, {_duration(view.quiet)} ago or less",
        "silent": f", silent for {_duration(view.quiet)}",
    }[view.state]
    told = f"{view.folder}{part}: iteration {view.iteration} of {view.iterations}{words}, {_loss(view)}, {_times(view)}"
    return f"{told}  {sparkline(view.losses, 20)}".rstrip()


def _loss(view: "View") -> str:
    return "no loss told yet" if view.loss is None else f"loss {view.loss:.4g}"


def _times(view: "View") -> str:
    left = "" if view.left is None else f", time left {_duration(view.left)}"
    return f"{_duration(view.seconds)} so far{left}"


def _duration(seconds: float) -> str:
    from datadam.cli.screen import duration

    return duration(seconds)
