"""What the files of a run tell of it while another process is at work: read only, never locked, never trusted.

Needs no torch, so that looking costs a running distillation nothing.
"""

import json
import math
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from datadam.errors import ArtifactError
from datadam.files.partial import alive

BARS = "▁▂▃▄▅▆▇█"
RECENT = 10  # lines of metrics that the speed is taken from
PATIENCE = 300.0  # seconds without a sign of life that any run may take, its compiling and a slow first iteration too
PAUSES = 4  # of its own usual ones that are too many
TAIL = 1 << 20  # bytes of metrics that are read: thousands of lines


@dataclass(frozen=True)
class View:
    """A run at one moment.

    `state`: "running", "finished", "stopped" (ended early on purpose: the set is there), "dead" (its process has ended without
    giving the folder back: it was killed) or "silent" (no sign of life: it was interrupted, or is very slow); `iteration` of
    `iterations` done; `loss`, `terms` by name and `moved` of the last line of metrics (None before the first); `losses`, all of
    them; `seconds` of work so far; `left`, seconds to the end (None: not known); `quiet`, seconds since its last sign of life;
    `folder`; `part`, "2 of 5" of repeats, or "".
    """

    state: str
    folder: Path
    iteration: int
    iterations: int
    loss: float | None
    terms: dict[str, float]
    moved: float | None
    losses: tuple[float, ...]
    seconds: float
    left: float | None
    quiet: float
    part: str = ""

    @property
    def over(self) -> bool:
        """Whether nothing more is to come."""
        return self.state != "running"

    def to_json(self) -> dict[str, Any]:
        """The view as JSON knows it."""
        return vars(self) | {"folder": str(self.folder), "losses": list(self.losses)}


def look(run: Path, now: float | None = None) -> View:
    """The run as its files tell it; of repeats, the one that is being made, else the last one.

    Arguments: `run`, its folder; `now`, the time of the clock (None: the present). Raises `ArtifactError` where there is no run.
    """
    now = time.time() if now is None else now
    repeats = _read(run / "repeats.json").get("asked")
    count = repeats.get("repeats") if isinstance(repeats, dict) else None
    if not isinstance(count, int) or count < 1:
        return _look(run, now, "")
    view = None
    for number in range(count):
        folder = run / str(number)
        if view is not None and not (folder / "checkpoint").is_dir():
            return view if view.state == "running" else _between(view, now)
        view = _look(folder, now, f"{number + 1} of {count}")
        if view.state not in ("finished", "stopped"):
            return view
    assert view is not None
    return view


def _between(view: View, now: float) -> View:
    """One repeat is finished, and the next has not begun: at work, unless it has been so for too long."""
    at_work = _at_work(view.folder.parent)
    state = "dead" if at_work is False else "running" if at_work or view.quiet < PATIENCE else "silent"
    return View(**vars(view) | {"state": state, "left": None})


def _look(run: Path, now: float, part: str) -> View:
    card = _read(run / "card.json")
    fixed = _read(run / "checkpoint" / "run.json")
    recipe = (fixed or card).get("recipe")
    if not isinstance(recipe, dict) or not isinstance(recipe.get("iterations"), int):
        raise ArtifactError(
            f"{run} is no run: it holds neither checkpoint/run.json nor card.json; give the folder after --out of a distillation"
        )
    lines = list(_metrics(run / "metrics.jsonl"))
    last = lines[-1] if lines else {}
    total, done = recipe["iterations"], int(last.get("iteration", 0))
    signs = [_written(run / name) for name in ("metrics.jsonl", "checkpoint/state.safetensors", "checkpoint/run.json")]
    ended, seen = _written(run / "card.json"), max(signs)
    pace, work = _pace(lines), float(last.get("seconds", 0.0))
    pause = _pause(lines)
    if card and ended >= seen:
        told = card.get("iterations_done")
        done, work = told if isinstance(told, int) else total, _number(card.get("seconds")) or work
        state = "finished" if done >= total else "stopped"
        seen = ended
    else:
        at_work = _at_work(run if not part else run.parent)
        waits = now - seen < max(PATIENCE, PAUSES * pause) if at_work is None else at_work
        state = "running" if waits else "silent" if at_work is None else "dead"
    if state == "running" and lines:
        work += max(0.0, now - signs[0])
    left = max(0.0, pace * (total - done) - (now - signs[0])) if state == "running" and pace else None
    return View(
        state=state, folder=run, iteration=done, iterations=total, loss=last.get("loss"), terms=_terms(last),
        moved=_number(last.get("moved")), losses=tuple(line["loss"] for line in lines), seconds=work, left=left,
        quiet=max(0.0, now - seen), part=part,
    )  # fmt: skip


def _at_work(folder: Path) -> bool | None:
    """Whether the process that holds the folder lives; None where nobody is named, or one of another machine."""
    owner = _read(folder / ".lock")
    if owner.get("host") != socket.gethostname() or not isinstance(owner.get("pid"), int):
        return None
    return alive(owner["pid"])


def _pace(lines: Sequence[dict[str, Any]]) -> float:
    """Seconds an iteration over the last lines; 0.0 where it is not known yet."""
    recent = lines[-RECENT:]
    if len(recent) < 2:
        return 0.0
    steps, seconds = (recent[-1][key] - recent[0][key] for key in ("iteration", "seconds"))
    return seconds / steps if steps > 0 and seconds > 0 else 0.0


def _pause(lines: Sequence[dict[str, Any]]) -> float:
    """Seconds between two lines of late, the longest of them."""
    recent = [line["seconds"] for line in lines[-RECENT:]]
    return max((b - a for a, b in pairwise(recent)), default=0.0)


def _metrics(file: Path) -> Iterator[dict[str, Any]]:
    """The sound lines, in ascending iterations: a half-written one, or one of before a resumption, is passed over."""
    try:
        with file.open("rb") as opened:
            size = opened.seek(0, 2)
            opened.seek(max(0, size - TAIL))
            text = opened.read().decode("utf-8", "replace")
    except OSError:
        return
    found: dict[int, dict[str, Any]] = {}
    for line in text.split("\n")[:-1]:  # the last piece has no end yet
        try:
            told = json.loads(line)
            numbers = [told["iteration"], told["loss"], told["seconds"]]
            if all(isinstance(n, int | float) and math.isfinite(n) for n in numbers):
                found[int(told["iteration"])] = told
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
    yield from (found[iteration] for iteration in sorted(found))


def _terms(line: dict[str, Any]) -> dict[str, float]:
    """The loss of each term of a line of metrics."""
    terms = line.get("terms")
    told = terms.items() if isinstance(terms, dict) else ()
    return {
        name: float(term["loss"]) for name, term in told if isinstance(term, dict) and isinstance(term.get("loss"), int | float)
    }


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _read(file: Path) -> dict[str, Any]:
    """A JSON object, or an empty one where there is none, or only half of it yet."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _written(file: Path) -> float:
    """When a file was last written; 0.0 for one that is not there."""
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0


def sparkline(values: Sequence[float], width: int) -> str:
    """Values as a row of at most `width` bars, means of neighbours, on a logarithmic scale where all are above zero."""
    if not values or width < 1:
        return ""
    count = min(width, len(values))
    edges = [round(i * len(values) / count) for i in range(count + 1)]
    means = [math.fsum(values[a:b]) / (b - a) for a, b in pairwise(edges)]
    heights = [math.log(v) for v in means] if min(means) > 0 else means
    low, high = min(heights), max(heights)
    if high <= low:
        return BARS[0] * count
    return "".join(BARS[round((h - low) / (high - low) * (len(BARS) - 1))] for h in heights)
