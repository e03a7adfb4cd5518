"""Accuracy against minutes, from the comparisons results/small/tables/minutes-*: docs/minutes.md has them as tables, which
table.py writes, and as a picture, which pictures.py draws.

Minutes are those of distilling one set, with all that is trained first for it: experts, pools, generators, and the networks that
real images are chosen by. Sets of different kinds (decoder, labels) are not ranked with each other: each kind has its own front.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from words import NONE, NOT_YET, TITLES, command, count, machine, markdown

Json = dict[str, Any]
NAMES = ("minutes-cifar10", "minutes-cifar10-ipc10", "minutes-mnist", "minutes-mnist-ipc10")


@dataclass(frozen=True)
class Point:
    """A set of a `method` at `ipc` images per class: its `seconds`, of them `first` before its first iteration; `mean` accuracy
    and the ends `low` and `high` of its 95 % interval, fractions of 1 (None: of one student); `labels`, `decoder`."""

    method: str
    ipc: int
    seconds: float
    first: float
    mean: float
    low: float | None
    high: float | None
    labels: str
    decoder: str

    @property
    def kind(self) -> tuple[str, str]:
        """What it is ranked among."""
        return self.decoder, self.labels


def kept(results: Path, name: str) -> Json | None:
    """The table of that name, if it has been made."""
    path = results / "small" / "tables" / name / "table.json"
    return json.loads(path.read_text("utf-8")) if path.exists() else None


def points(table: Json) -> list[Point]:
    """The judged sets of a table."""
    net, found = table["nets"][0], []
    for row in table["rows"]:
        cell = row["cells"][net]
        if row["ipc"] is None or cell["mean"] is None or row["seconds"] is None:
            continue
        first, kind, told = row["trained_first_seconds"] or 0.0, (row["labels"], row["decoder"]), cell["interval"]
        ends = (max(0.0, told["low"]), min(1.0, told["high"])) if told else (None, None)
        found.append(Point(row["method"], row["ipc"], row["seconds"], first, cell["mean"], *ends, *kind))
    return found


def front(sets: Sequence[Point]) -> list[Point]:
    """Those of one kind that no other beats: none is more accurate and took no longer. Rising in both."""
    found: list[Point] = []
    for one in sorted(sets, key=lambda point: (point.seconds, -point.mean)):
        if not found or one.mean > found[-1].mean:
            found.append(one)
    return found


def fronts(sets: Sequence[Point]) -> dict[tuple[str, str], list[Point]]:
    """The front of each kind, plain images with hard labels first."""
    kinds = sorted({point.kind for point in sets}, key=lambda kind: (kind != ("plain", "hard"), kind))
    return {kind: front([point for point in sets if point.kind == kind]) for kind in kinds}


def numbered(sets: Sequence[Point]) -> list[tuple[int, Point]]:
    """The sets of one ipc by their minutes, with the numbers that table and picture know them by."""
    return list(enumerate(sorted(sets, key=lambda point: (point.seconds, -point.mean)), 1))


def shown(results: Path, name: str, up: str) -> str:
    """The tables and the picture of a comparison, or that it is not there; `up` leads from the document to the root."""
    table = kept(results, name)
    if table is None:
        return NOT_YET.format(name=name)
    data, every = TITLES.get(table["data"]["name"], table["data"]["name"]), points(table)
    folder, protocol = f"{up}results/small/tables/{name}", table["asked"]["protocol"]["name"]
    unfinished = "" if table["progress"]["done"] >= table["progress"]["parts"] else " The comparison is not finished."
    parts = [
        f"**{data}, small scale:** students `{table['nets'][0]}`, protocol `{protocol}` for every set "
        f"([all of it]({folder}/table.md)).{unfinished}",
        f"![Accuracy over the minutes that making a set took, on {data}](images/{name}.svg)",
    ]
    for ipc in dict.fromkeys(point.ipc for point in every):
        sets = [point for point in every if point.ipc == ipc]
        best = {point for line in fronts(sets).values() for point in line}
        lines = [
            [
                str(number), f"`{point.method}`", _accuracy(point), _minutes(point.seconds),
                _minutes(point.first) if point.first else NONE, point.labels, point.decoder, "yes" if point in best else "",
            ]
            for number, point in numbered(sets)
        ]  # fmt: skip
        head = ["", "method", "accuracy, %", "minutes", "of them made first", "labels", "decoder", "on its front"]
        parts += [f"### {data}, {ipc} image{'s' * (ipc > 1)} per class", markdown(head, lines)]
    return "\n\n".join([*parts, *_made(table, name, every)])


def _made(table: Json, name: str, every: Sequence[Point]) -> list[str]:
    """What must be known to read the numbers and to make them again."""
    seconds = table["seconds"]
    lines = [
        f"Judged: {table['words']}. One set of each method with seed {table['seeds'][0]}: the interval is over its students, and "
        "says nothing of another seed.",
        f"Made by `python results/evidence.py --data FOLDER --scale small {name}`, which runs\n\n```sh\n{command(table)} --out "
        f"runs/{name}\n```\n\nin {count(seconds['distilling'])} s of distilling, on {_threads(table)}, and "
        f"{count(seconds['judging'])} s of judging: {machine(table)}. The machine may have had other work to do.",
    ]
    judged = {(point.method, point.ipc) for point in every}
    missing = [
        f"`{row['method']}`, ipc {row['ipc']}: {' '.join((cell['reason'] or cell['status']).split())}"
        for row in table["rows"] if row["ipc"] is not None and (row["method"], row["ipc"]) not in judged
        for cell in row["cells"].values()
    ]  # fmt: skip
    notes = "\n".join(f"- {' '.join(note.split())}" for note in (*table["notes"], *missing))
    return [*lines, notes] if notes else lines


def _threads(table: Json) -> str:
    most = max(run["threads"] for row in table["rows"] for run in row["runs"])
    return "one core" if most == 1 else f"{most} cores"


def _accuracy(point: Point) -> str:
    mean = f"{100 * point.mean:.1f}"
    return mean if point.low is None else f"{mean} ({100 * point.low:.1f} to {100 * point.high:.1f})"


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f}" if seconds >= 3 else "< 0.05"
