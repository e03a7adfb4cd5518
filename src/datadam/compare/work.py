"""Making a comparison: what is missing is made, part by part, and the table is written again after each."""

import math
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from datadam import machine
from datadam.checkpoint import clear_folder
from datadam.compare.cells import Ended, Far, on_workers
from datadam.compare.clock import Clock, Key
from datadam.compare.grid import Column, Grid, plan
from datadam.compare.store import Store, check_place, of_recipe, require_same, settled
from datadam.compare.table import WHOLE, Comparison, Results, assemble, over_sets
from datadam.data import RealData
from datadam.distill import begin, resume, whitened
from datadam.distilled import DistilledSet
from datadam.errors import ArtifactError, DatadamError, InvalidInput, noting
from datadam.evaluate import DEFAULT_STUDENTS, Evaluation, evaluate, evaluate_whole
from datadam.evaluate import Progress as Judging
from datadam.forecast import BACKWARD, PROBED, SECONDS_MATTER, passes_a_second
from datadam.lock import alone_in
from datadam.methods import Coreset
from datadam.methods.base import refuse
from datadam.parallel import Ray
from datadam.protocols import Protocol
from datadam.report.words import duration

TABLE_SECONDS = 1.0  # between two tables while the work goes on, at least
PICTURE_SECONDS = 60.0  # between two pictures
TELL = 60.0  # seconds above which a set's time is told before the work


@dataclass(frozen=True)
class GridProgress:
    """`done` of `parts` parts of the grid; `doing`, in words, of which `share` (0 to 1) is done; seconds `left` for all of it
    (None: not known yet). `remark`: something to be told once, or ""."""

    done: int
    parts: int
    doing: str
    share: float
    left: float | None
    remark: str = ""


@dataclass(frozen=True)
class Part:
    """A piece of work: to "make" the run of a row and repeat, to "judge" it by students of a column, to judge the "whole" set."""

    kind: str
    row: int
    repeat: int
    column: int
    doing: str
    key: Key
    units: float
    prior: float | None = None


def compare(
    real: RealData,
    methods: list[str] | str,
    *,
    ipc: list[int] | int,
    nets: list[str] | str | None = None,
    repeats: int = 1,
    iterations: int | None = None,
    batch_real: int | None = None,
    precision: str | None = None,
    net: str = "auto",
    zca: bool | None = None,
    protocol: Protocol | str = "honest",
    students: int = DEFAULT_STUDENTS,
    whole: bool = False,
    whole_epochs: int | None = None,
    seed: int = 0,
    device: str = "cpu",
    workers: int | None = 1,
    engine: Ray | None = None,
    memory_limit: int | None = None,
    out: Path | str,
    note: str = "",
    command: str = "",
    progress: Callable[[GridProgress], None] | None = None,
) -> Comparison:
    """Compare methods on the real data. What the folder holds already is not made again; an interrupted call, repeated, goes on.

    Arguments: `methods`, words such as "dm" or "datadam:power=1:layers=()", the first being the one that others are tested
    against; `ipc` (IPC), images per class; `nets`, the students' networks (None: `net`); `repeats`, independent sets of each,
    with seeds from `seed` on; `iterations`, `batch_real` and `precision`, instead of those of the presets, for methods that
    learn; `net`, the network that "auto" in a preset stands for; `zca`, whitening for all or none (None: as the presets say);
    `protocol` and `students` a set, as `evaluate`; `whole`, a last row of the whole training set, of `whole_epochs`;
    `workers`, as `evaluate`, or of `engine`, a Ray cluster on which whole cells go side by side (all its machines must see
    `out`); `memory_limit` in bytes;
    `out`, the folder; `note` and `command`, words for the table; `progress`, called often.
    A cell that cannot be made is refused, and one that breaks off failed, with the reason in the table; the rest is made.
    Raises `InvalidInput`, before any work, for what no cell can have or what `out` holds otherwise; `RunFailed` when the table
    cannot be written.
    """
    out = Path(out)
    faults: list[str] = []
    grid = None
    with noting(faults):
        check_place(out)
    with noting(faults):
        grid = plan(
            real, methods, ipc, nets, repeats=repeats, iterations=iterations, batch_real=batch_real, precision=precision,
            net=net, zca=zca, protocol=protocol, students=students, whole=whole, whole_epochs=whole_epochs, seed=seed,
            device=device, memory_limit=memory_limit,
        )  # fmt: skip
    refuse(faults)
    assert grid is not None
    store = Store(out, real)
    with noting(faults):
        require_same(grid, store)
    refuse(faults)
    grid = settled(grid, store)
    with alone_in(out):
        work = Work(grid, store, device, workers, memory_limit, note, command, progress)
        return work.run(engine)


class Work:
    """One call of `compare`: what is done, what is to do, and how long that takes."""

    def __init__(
        self, grid: Grid, store: Store, device: str, workers: int | None, memory_limit: int | None, note: str, command: str,
        progress: Callable[[GridProgress], None] | None = None,
    ) -> None:  # fmt: skip
        self.grid, self.store, self.real, self.device = grid, store, store.real, device
        self.workers, self.memory_limit, self.note, self.command = workers, memory_limit, note, command
        self.progress = progress or (lambda _: None)
        self.results, self.clock = Results(), Clock()
        self.parts = self._parts()
        self.todo = [part for part in self.parts if not self._is_done(part)]
        self.white: dict[str, RealData] = {}
        self.made = {
            "hardware": machine.hardware(torch.device(device)), "versions": machine.versions(), "commit": machine.commit(),
        }  # fmt: skip
        self.changed, self.saved, self.pictured = True, -math.inf, time.monotonic()

    def run(self, engine: Ray | None = None) -> Comparison:
        """Do all that is to do; returns the table. Whatever stops it, the table on disk is that of the finished parts."""
        self._save()
        self._announce()
        try:
            if engine is not None:
                on_workers(self, engine, self.workers)
            while self.todo:
                part = self.todo[0]
                began = time.monotonic()
                self._tell(part, 0.0, 0.0)
                ended, remark = self.attempt(part)
                if ended:
                    self.clock.learn(part.key, part.units, time.monotonic() - began)
                self.todo = [other for other in self.todo[1:] if not self.is_lost(other)]
                self.changed = True
                self._tell(part, 1.0, 0.0, remark)
        finally:
            comparison = self._save(picture=True)
        return comparison

    def hear(self, told: Ended | Far) -> None:
        """A worker tells of a part: how far it is, or what became of it; then its files are there."""
        part = told.part
        if isinstance(told, Far):
            self._tell(part, told.share, None)
            return
        if told.ended:
            self._is_done(part)
        self.results.refused |= told.refused
        self.results.failed |= told.failed
        self.todo = [other for other in self.todo if other != part and not self.is_lost(other)]
        self.changed = True
        self._tell(part, 1.0, 0.0, told.remark)

    def say(self, part: Part, remark: str) -> None:
        """Tell something once."""
        self._tell(part, 0.0, None, remark)

    def _announce(self) -> None:
        """Tell how much there is to do, and what is long in it."""
        done = len(self.parts) - len(self.todo)
        grid, left = self.grid, self._left()
        long = {
            (part.row, part.column): f"{grid.rows[part.row].variant.word}, ipc {grid.rows[part.row].ipc}: about "
            f"{duration(part.prior or 0.0)} a set; --iterations shortens it"
            for part in self.todo
            if part.kind == "make" and (part.prior or 0.0) > TELL
        }
        words = f"{len(self.parts)} parts, sets to make and to judge; {done} are done"
        words += "" if left is None or not self.todo else f"; the rest takes about {duration(left)}"
        for remark in (words, *long.values()):
            self.progress(GridProgress(done, len(self.parts), "", 0.0, left, remark))

    def _parts(self) -> list[Part]:
        """Everything, in the order in which it is done: a whole table of one repeat first, then the next repeat."""
        grid, found = self.grid, []
        test, train = len(self.real.test), len(self.real.train)
        for r in range(grid.repeats):
            for i, row in enumerate(grid.rows):
                if row.refused or row.recipe is None:
                    continue
                foreseen = row.forecast.seconds if row.forecast else 0.0
                word = f"{row.variant.word}, ipc {row.ipc}" + (f", repeat {r}" if grid.repeats > 1 else "")
                chooses = isinstance(row.recipe.method, Coreset)
                units = 1.0 if chooses or row.forecast is None else row.forecast.flops * max(1, row.recipe.iterations)
                key = ("choose" if chooses else "make", row.variant.word)
                found.append(Part("make", i, r, -1, word, key, units, foreseen or (0.0 if chooses else None)))
                for c, column in enumerate(grid.columns):
                    images = grid.students * (
                        BACKWARD * row.ipc * len(self.real.classes) * column.protocol.training.epochs + test
                    )
                    if not column.refused:
                        doing, key = f"{word}, judged by {column.label}", ("judge", column.label)
                        found.append(Part("judge", i, r, c, doing, key, column.flops * images, self._guess(column, images)))
        for c, column in enumerate(grid.columns):
            if column.whole and not column.refused:
                images, doing = BACKWARD * train * column.whole.training.epochs + test, f"{WHOLE}, judged by {column.label}"
                key = ("whole", column.label)
                found.append(Part("whole", -1, 0, c, doing, key, column.flops * images, self._guess(column, images)))
        return found

    def _guess(self, column: Column, images: int) -> float | None:
        """Seconds for so many forward passes, by a moment's measurement; None where they are moments themselves."""
        if column.flops * images < SECONDS_MATTER:
            return None
        count = min(machine.images_at_once(self.real.shape), PROBED)
        return images / passes_a_second(column.spec, self.real.shape, count, self.device, 4)

    def _is_done(self, part: Part) -> bool:
        """Whether the folder holds this part; if so it joins the results, and teaches the clock."""
        results, grid = self.results, self.grid
        if part.kind == "make":
            row = grid.rows[part.row]
            card = self.store.state(self.store.run(row.folder, part.repeat), row.of_repeat(part.repeat))
            if isinstance(card, bool):
                return False
            results.cards[part.row, part.repeat] = card
            seconds = card["seconds"]
        else:
            path, net, protocol, students, seed = self._evaluation(part)
            found = self.store.evaluation(path, net, protocol, students, seed)
            if found is None or (part.kind == "judge" and (part.row, part.repeat) not in results.cards):
                return False
            self._keep(part, found, path)
            seconds = found["seconds"]
        self.clock.learn(part.key, part.units, seconds)
        return True

    def _evaluation(self, part: Part) -> tuple[Path, str, Protocol, int, int]:
        """Where an evaluation is kept, and its network, protocol, students and seed."""
        column, seed = self.grid.columns[part.column], self.grid.seed + part.repeat
        if part.kind == "whole":
            assert column.whole is not None
            run, of, protocol, students = self.store.out / "whole", "whole-zca" if self.grid.zca else "whole", column.whole, 1
        else:
            row = self.grid.rows[part.row]
            run, of = self.store.run(row.folder, part.repeat), of_recipe(row.of_repeat(0))
            protocol, students = column.protocol, self.grid.students
        path = self.store.evaluation_file(run, of, column.spec, protocol, students, seed)
        return path, column.spec, protocol, students, seed

    def _keep(self, part: Part, evaluation: dict[str, Any], path: Path) -> None:
        """Let an evaluation join the results; when it completes a row of repeats, write the one over sets."""
        place = (part.row, part.repeat, part.column)
        self.results.files[place] = str(path.relative_to(self.store.out))
        if part.kind == "whole":
            self.results.whole[part.column] = evaluation
            return
        self.results.evaluations[place] = evaluation
        together = over_sets(self.grid, self.results, self.real, part.row, part.column)
        if together is not None:
            name = f"{path.stem.removesuffix(f'-seed{self.grid.seed + part.repeat}')}-sets{self.grid.repeats}.json"
            together.save(path.parents[2] / "evaluations" / name)

    def attempt(self, part: Part) -> tuple[bool, str]:
        """Do a part. Returns whether it came to its end, and what to tell of it."""
        try:
            return True, {"make": self._make, "judge": self._judge, "whole": self._judge_whole}[part.kind](part)
        except (DatadamError, MemoryError, RuntimeError) as error:  # torch says with RuntimeError what the machine cannot do
            ours = isinstance(error, DatadamError)
            why = str(error) if ours else f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"
            first = part.kind == "make" and not any(i == part.row for i, _ in self.results.cards)
            if first and isinstance(error, InvalidInput) and not isinstance(error, ArtifactError):
                self.results.refused[part.row] = why
                return False, f"{part.doing}: refused: {why}"
            self.results.failed[part.row, part.repeat, part.column] = why
            return False, f"{part.doing}: failed: {why}"

    def is_lost(self, part: Part) -> bool:
        """Whether a part cannot be done since what it needs was refused or failed."""
        if part.kind == "whole":
            return False
        return part.row in self.results.refused or (part.row, part.repeat, -1) in self.results.failed

    def _make(self, part: Part) -> str:
        row = self.grid.rows[part.row]
        recipe, folder = row.of_repeat(part.repeat), self.store.run(row.folder, part.repeat)
        began = time.monotonic()
        if not machine.forget_peak() and len(self.results.cards):
            self.results.remarks.append("peak memory may hold that of runs made before in the same process")
        if self.store.state(folder, recipe):
            run = resume(folder, self.real, device=self.device)
        else:
            if folder.exists():  # stopped before its first checkpoint: nothing in it is worth keeping
                clear_folder(folder)
            if recipe.zca not in self.white:
                self.white[recipe.zca] = whitened(self.real, recipe.zca)  # once for all
            run = begin(
                self.white[recipe.zca], recipe, out=folder, device=self.device, memory_limit=self.memory_limit, note=self.note,
                command=self.command,
                progress=lambda what, done, total: self._tell(part, 0.0, 0.0, doing=f"{part.doing}: {what}"),
            )  # fmt: skip
            for remark in run.remarks:
                self._tell(part, 0.0, 0.0, f"{part.doing}: {remark}")
        before = run.state.iteration
        with closing(run.steps()) as steps:
            for step in steps:
                fresh = (step.iteration - before) / (step.iterations - before)
                self._tell(part, step.iteration / step.iterations, _rest(began, fresh))
        card = self.results.cards[part.row, part.repeat] = run.result().card
        return "; ".join(f"{part.doing}: {warning}" for warning in card["warnings"])

    def _judge(self, part: Part) -> str:
        path, net, protocol, students, seed = self._evaluation(part)
        row = self.grid.rows[part.row]
        distilled = DistilledSet.load(self.store.run(row.folder, part.repeat))
        return self._judged(
            part, path,
            evaluate(
                distilled, self.real, net=net, protocol=protocol, students=students, seed=seed, device=self.device,
                workers=self.workers, note=self.note, progress=self._watch(part), keep=path.parent,
            ),
        )  # fmt: skip

    def _judge_whole(self, part: Part) -> str:
        path, net, protocol, students, seed = self._evaluation(part)
        real = whitened(self.real, "kornia") if self.grid.zca else self.real
        return self._judged(
            part, path,
            evaluate_whole(
                real, net=net, protocol=protocol, students=students, seed=seed, device=self.device, note=self.note,
                progress=self._watch(part), keep=path.parent,
            ),
        )  # fmt: skip

    def _judged(self, part: Part, path: Path, evaluation: Evaluation) -> str:
        evaluation.save(path)
        self._keep(part, evaluation.to_json(), path)
        return f"{part.doing}: {100 * evaluation.mean:.2f} %"

    def _watch(self, part: Part) -> Callable[[Judging], None]:
        began = time.monotonic()

        def show(p: Judging) -> None:
            share = ((p.student - 1) * p.epochs + p.epoch) / (p.students * p.epochs)
            self._tell(part, share, _rest(began, share))

        return show

    def _tell(self, part: Part, share: float, rest: float | None, remark: str = "", doing: str = "") -> None:
        """Tell how far it is, and keep the table up to date; `rest`, the seconds that the running part still takes."""
        if self.changed and time.monotonic() - self.saved > TABLE_SECONDS:
            self._save(picture=time.monotonic() - self.pictured > PICTURE_SECONDS)
        done = len(self.parts) - len(self.todo)
        expected = None if share or not self.todo else self.clock.expect(part.key, part.units, part.prior)
        self.progress(
            GridProgress(done, len(self.parts), doing or part.doing, share, self._left(part, rest if share else expected), remark)
        )

    def _left(self, running: Part | None = None, rest: float | None = None) -> float | None:
        """Seconds until all is done, or None while too little is known."""
        expected = [rest if part is running else self.clock.expect(part.key, part.units, part.prior) for part in self.todo]
        known = [seconds for seconds in expected if seconds is not None]
        return sum(known) if len(known) == len(expected) else None

    def _save(self, *, picture: bool = False) -> Comparison:
        table = assemble(
            self.grid, self.results, self.real, parts=len(self.parts), done=len(self.parts) - len(self.todo), left=self._left(),
            note=self.note, command=self.command, device=self.device,
        )  # fmt: skip
        comparison = Comparison(table | self.made | {"created": machine.now()}, self.store.out)
        comparison.save(picture=picture)
        self.changed, self.saved = False, time.monotonic()
        if picture:
            self.pictured = time.monotonic()
        return comparison


def _rest(began: float, share: float) -> float | None:
    """Seconds that a part still takes which began then and is done to this share."""
    return (time.monotonic() - began) * (1 - share) / share if share > 0 else None
