"""The cells of a comparison on many machines: a worker makes the set of a row and repeat, and judges it by every column.

All machines must see the comparison's folder: a worker writes its run there, as one process alone would, and tells when a part is
done; the table is written by the process that asked.
"""

import time
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch

from datadam import machine, parallel
from datadam.comparison.grid import Grid
from datadam.comparison.store import Store
from datadam.data.sending import SentData
from datadam.files.seen import Sign
from datadam.parallel import Ray, Tell, in_worker
from datadam.where import Where

if TYPE_CHECKING:
    from datadam.comparison.making import Making
    from datadam.comparison.parts import Piece


class PieceEnded(NamedTuple):
    """What became of a part: whether it came to its end, what to tell of it, its seconds, and what was refused or failed."""

    part: "Piece"
    ended: bool
    remark: str
    seconds: float
    refused: dict[int, str]
    failed: dict[tuple[int, int, int], str]


class PieceProgress(NamedTuple):
    """A part is done to this share."""

    part: "Piece"
    share: float


@dataclass(frozen=True)
class CellTask:
    """The task: everything that the cells have in common; an item is the parts of a cell that are to do. Fields as `compare`."""

    grid: Grid
    real: SentData
    sign: Sign
    device: str
    threads: int
    memory_limit: int | None
    note: str
    command: str

    def __call__(self, parts: "list[Piece]", tell: Tell) -> None:
        """Do the parts of a cell one after another."""
        from datadam.comparison.making import Making

        if in_worker():
            torch.set_num_threads(self.threads)
            machine.tune_allocator()
        out = self.sign.require()
        where = Where(device=self.device, memory_limit=self.memory_limit)
        work = Making(self.grid, Store(out, self.real.open()), where, self.note, self.command)
        work.progress = lambda p: tell(PieceProgress(work.todo[0], p.share))
        work.changed = False  # the table is not ours to write
        work.todo = [part for part in parts if part in work.todo]  # without what was done before a worker was lost
        while work.todo:
            part, began = work.todo[0], time.monotonic()
            ended, remark = work.attempt(part)
            tell(PieceEnded(part, ended, remark, time.monotonic() - began, work.results.refused, work.results.failed))
            work.todo = [other for other in work.todo[1:] if not work.is_lost(other)]


def on_workers(work: "Making", engine: Ray, workers: int | None) -> None:
    """Do all that is to do of a comparison on a cluster. Raises `InvalidInput`, `RunFailed`."""
    cells: dict[tuple[int, ...], list[Piece]] = {}
    for part in work.todo:
        place = (part.row, part.repeat) if part.kind != "whole" else (-1, 0, part.column)
        cells.setdefault(place, []).append(part)
    items = list(cells.values())
    if not items:
        return
    workers, threads = engine.settle(workers, len(items))
    sign = Sign.left(work.store.out, machine.now())
    task = CellTask(
        work.grid,
        SentData.of(work.real),
        sign,
        work.where.device,
        threads,
        work.where.memory_limit,
        work.note,
        work.command,
    )
    try:
        events = parallel.stream(task, len(items), items.__getitem__, workers=workers, engine=engine, threads=threads)
        with closing(events):
            for number, kind, value in events:
                if kind == "tell":
                    work.hear(value)
                elif kind == "note" and value["event"] == "lost":
                    doing = items[number][0].doing
                    work.say(items[number][0], f"{doing}: its worker is gone and another takes it ({value['why']})")
    finally:
        sign.remove()
