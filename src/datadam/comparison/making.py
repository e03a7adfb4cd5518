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
from datadam.comparison.clock import Clock
from datadam.comparison.cluster import PieceEnded, PieceProgress, on_workers
from datadam.comparison.grid import Grid
from datadam.comparison.parts import Piece, expected, left, long_words, parts_of, seconds_of
from datadam.comparison.results import Results
from datadam.comparison.store import Store, of_recipe
from datadam.comparison.table import Comparison, assemble, over_sets
from datadam.data import RealData
from datadam.distillation.begin import begin, prepared, resume, whitened
from datadam.distillation.checkpoint import clear_folder
from datadam.distillation.forecast import COMPILING
from datadam.errors import ArtifactError, DatadamError, InvalidInput
from datadam.evaluation.evaluate import Progress as Judging
from datadam.evaluation.evaluate import evaluate, evaluate_whole
from datadam.evaluation.protocols import Protocol
from datadam.evaluation.result import Evaluation
from datadam.progress import Pace
from datadam.sets.distilled import DistilledSet
from datadam.where import Where
from datadam.wording import duration

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


class Making:
    """One call of `compare`: what is done, what is to do, and how long that takes.

    Arguments: `grid`, of what; `store`, where it lies; `where`, on what it is made, which is told each `GridProgress`; `note` and
    `command`, words for the table; `pictures`, whether it is drawn too.
    """

    def __init__(self, grid: Grid, store: Store, where: Where, note: str, command: str, *, pictures: bool = True) -> None:
        self.grid, self.store, self.real, self.where = grid, store, store.real, where
        self.note, self.command, self.pictures = note, command, pictures
        self.progress: Callable[[GridProgress], Any] = where.progress or (lambda _: None)
        self.results, self.clock = Results(), Clock()
        self.known: set[object] = set()  # what choices rest on and is done
        self.parts = parts_of(grid, self.real, where.device)
        self.todo = [part for part in self.parts if not self._is_done(part)]
        self.prepared: dict[tuple[str, str], RealData] = {}
        self.made = {
            "hardware": machine.hardware(torch.device(where.device)), "versions": machine.versions(), "commit": machine.commit(),
        }  # fmt: skip
        self.changed, self.saved, self.pictured = True, -math.inf, time.monotonic()

    def run(self) -> Comparison:
        """Do all that is to do; returns the table. Whatever stops it, the table on disk is that of the finished parts."""
        self._save()
        self._announce()
        try:
            if self.where.engine is not None:
                on_workers(self, self.where.engine, self.where.workers)
            while self.todo:
                part = self.todo[0]
                began = time.monotonic()
                self._tell(part, 0.0, 0.0)
                ended, remark = self.attempt(part)
                if ended:
                    self._learn(part, time.monotonic() - began)
                self.todo = [other for other in self.todo[1:] if not self.is_lost(other)]
                self.changed = True
                self._tell(part, 1.0, 0.0, remark)
        finally:
            comparison = self._save(picture=True)
        return comparison

    def hear(self, told: PieceEnded | PieceProgress) -> None:
        """A worker tells of a part: how far it is, or what became of it; then its files are there."""
        part = told.part
        if isinstance(told, PieceProgress):
            self._tell(part, told.share, None)
            return
        if told.ended:
            self._is_done(part)
        self.results.refused |= told.refused
        self.results.failed |= told.failed
        self.todo = [other for other in self.todo if other != part and not self.is_lost(other)]
        self.changed = True
        self._tell(part, 1.0, 0.0, told.remark)

    def say(self, part: Piece, remark: str) -> None:
        """Tell something once."""
        self._tell(part, 0.0, None, remark)

    def _announce(self) -> None:
        """Tell how much there is to do, and what is long in it."""
        done, rest = len(self.parts) - len(self.todo), self._left()
        long: dict[tuple[int, int], str] = {}
        known = set(self.known)
        for part in self.todo:
            seconds = expected(self.clock, part, known) if part.kind == "make" else None
            if seconds is not None and seconds > TELL:
                long.setdefault((part.row, part.column), long_words(self.grid.rows[part.row], part, seconds))
            known |= {one.who for one in part.behind}
        words = f"{len(self.parts)} parts, sets to make and to judge; {done} are done"
        words += "" if rest is None or not self.todo else f"; the rest takes about {duration(rest)}"
        for remark in (words, *long.values()):
            self.progress(GridProgress(done, len(self.parts), "", 0.0, rest, remark))

    def _is_done(self, part: Piece) -> bool:
        """Whether the folder holds this part; if so it joins the results, and teaches the clock."""
        results, grid = self.results, self.grid
        if part.kind == "make":
            row = grid.rows[part.row]
            card = self.store.state(self.store.run(row.folder, part.repeat), row.of_repeat(part.repeat))
            if isinstance(card, bool):
                return False
            results.cards[part.row, part.repeat] = card
            first = (card.get("trained_first_seconds") or 0.0) + (card.get("earlier_seconds") or 0.0)
            seconds = max(0.0, card["seconds"] - first)
        else:
            path, net, protocol, students, seed = self._evaluation(part)
            found = self.store.evaluation(path, net, protocol, students, seed)
            if found is None or (part.kind == "judge" and (part.row, part.repeat) not in results.cards):
                return False
            self._keep(part, found, path)
            seconds = found["seconds"]
        self._learn(part, seconds)
        return True

    def _learn(self, part: Piece, seconds: float) -> None:
        """Teach the clock: a part took so many seconds, of a choice only its own ones, and what it rests on once."""
        if not part.behind:
            self.clock.learn(part.key, part.units, seconds, self._fixed(part, seconds))
            return
        card = self.results.cards[part.row, part.repeat]
        met = card.get("behind") or []
        if len(met) == len(part.behind):  # a run of an earlier version does not tell
            self.clock.learn(part.key, part.units, max(0.0, card["seconds"] - sum(one["seconds"] for one in met)))
            for one, then in zip(part.behind, met, strict=True):
                if one.who not in self.known:
                    self.clock.learn(one.key, one.units, then["seconds"])
        self.known |= {one.who for one in part.behind}

    def _fixed(self, part: Piece, seconds: float) -> float:
        """Seconds of a part that is done which do not grow with its size: compiling, the start of processes, testing."""
        if part.kind == "make":
            card = self.results.cards.get((part.row, part.repeat), {})
            return min(COMPILING, seconds / 2) if (card.get("plan") or {}).get("compiled") else 0.0
        place = (part.row, part.repeat, part.column)
        told = self.results.whole.get(part.column) if part.kind == "whole" else self.results.evaluations.get(place)
        if not told or told.get("seconds_per_student") is None:
            return 0.0
        trained = told["seconds_per_student"] * sum(map(len, told["accuracies"])) / max(1, told.get("workers") or 1)
        return max(0.0, seconds - float(trained))

    def _evaluation(self, part: Piece) -> tuple[Path, str, Protocol, int, int]:
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

    def _keep(self, part: Piece, evaluation: dict[str, Any], path: Path) -> None:
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

    def attempt(self, part: Piece) -> tuple[bool, str]:
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

    def is_lost(self, part: Piece) -> bool:
        """Whether a part cannot be done since what it needs was refused or failed."""
        if part.kind == "whole":
            return False
        return part.row in self.results.refused or (part.row, part.repeat, -1) in self.results.failed

    def _make(self, part: Piece) -> str:
        row = self.grid.rows[part.row]
        recipe, folder = row.of_repeat(part.repeat), self.store.run(row.folder, part.repeat)
        if not machine.forget_peak() and len(self.results.cards):
            self.results.remarks.append("peak memory may hold that of runs made before in the same process")
        learns = not recipe.method.at_once
        if learns and self.store.state(folder, recipe):  # a choice is made anew, by what the cache holds
            run = resume(folder, self.real, device=self.where.device)
        else:
            if folder.exists():  # stopped before its first checkpoint: nothing in it is worth keeping
                clear_folder(folder)
            space = recipe.normalisation, recipe.zca
            if space not in self.prepared:
                self.prepared[space] = prepared(self.real, recipe)  # once for all
            run = begin(
                self.prepared[space], recipe, out=folder, device=self.where.device, memory_limit=self.where.memory_limit,
                note=self.note, command=self.command, progress=self._watch_choice(part),
            )  # fmt: skip
            for remark in run.remarks:
                self._tell(part, 0.0, 0.0, f"{part.doing}: {remark}")
        pace = Pace()
        with closing(run.steps()) as steps:
            for step in steps:
                self._tell(part, step.iteration / step.iterations, self._rest(part, pace, step.iteration, step.iterations))
        card = self.results.cards[part.row, part.repeat] = run.result().card
        return "; ".join(f"{part.doing}: {warning}" for warning in card["warnings"])

    def _judge(self, part: Piece) -> str:
        path, net, protocol, students, seed = self._evaluation(part)
        row = self.grid.rows[part.row]
        distilled = DistilledSet.load(self.store.run(row.folder, part.repeat))
        return self._judged(
            part, path,
            evaluate(
                distilled, self.real, net=net, protocol=protocol, students=students, seed=seed, device=self.where.device,
                workers=self.where.workers, note=self.note, progress=self._watch(part), keep=path.parent,
            ),
        )  # fmt: skip

    def _judge_whole(self, part: Piece) -> str:
        path, net, protocol, students, seed = self._evaluation(part)
        real = whitened(self.real, "kornia") if self.grid.zca else self.real
        return self._judged(
            part, path,
            evaluate_whole(
                real, net=net, protocol=protocol, students=students, seed=seed, device=self.where.device, note=self.note,
                progress=self._watch(part), keep=path.parent,
            ),
        )  # fmt: skip

    def _judged(self, part: Piece, path: Path, evaluation: Evaluation) -> str:
        evaluation.save(path)
        self._keep(part, evaluation.to_json(), path)
        return f"{part.doing}: {100 * evaluation.mean:.2f} %"

    def _watch_choice(self, part: Piece) -> Callable[[str, int, int | None], None]:
        """What shows how far a choice is: in all that it rests on, and then in itself."""
        places = {one.doing: place for place, one in enumerate(part.behind)}
        work = sum(one.units for one in part.behind)
        stage, pace = "", Pace()

        def show(what: str, done: int, total: int | None) -> None:
            nonlocal stage, pace
            if what != stage:
                stage, pace = what, Pace()
            share, rest, place = 0.0, None, places.get(what)
            if total and place is not None:
                share = done / total
                later = [seconds_of(self.clock, part), *(seconds_of(self.clock, one) for one in part.behind[place + 1 :])]
                rest = (pace.left(done, total) or 0.0) + sum(seconds or 0.0 for seconds in later)
                before = sum(one.units for one in part.behind[:place])
                share = (before + share * part.behind[place].units) / work if work else share
            self._tell(part, share, rest, doing=f"{part.doing}: {what}")

        return show

    def _watch(self, part: Piece) -> Callable[[Judging], None]:
        pace = Pace()

        def show(p: Judging) -> None:
            done, total = (p.student - 1) * p.epochs + p.epoch, p.students * p.epochs
            self._tell(part, done / total, self._rest(part, pace, done, total))

        return show

    def _rest(self, part: Piece, pace: Pace, done: int, total: int) -> float | None:
        """Seconds that a part still takes: by its own pace, and before that shows, by what others took."""
        left = pace.left(done, total)
        foreseen = expected(self.clock, part, self.known) if left is None else None
        return foreseen if left is None else left

    def _tell(self, part: Piece, share: float, rest: float | None, remark: str = "", doing: str = "") -> None:
        """Tell how far it is, and keep the table up to date; `rest`, the seconds that the running part still takes."""
        if self.changed and time.monotonic() - self.saved > TABLE_SECONDS:
            self._save(picture=time.monotonic() - self.pictured > PICTURE_SECONDS)
        done = len(self.parts) - len(self.todo)
        foreseen = None if share or not self.todo else expected(self.clock, part, self.known)
        self.progress(
            GridProgress(done, len(self.parts), doing or part.doing, share, self._left(part, rest if share else foreseen), remark)
        )

    def _left(self, running: Piece | None = None, rest: float | None = None) -> float | None:
        """Seconds until all is done, or None while too little is known."""
        return left(self.clock, self.todo, self.known, running, rest)

    def _save(self, *, picture: bool = False) -> Comparison:
        table = assemble(
            self.grid, self.results, self.real, parts=len(self.parts), done=len(self.parts) - len(self.todo), left=self._left(),
            note=self.note, command=self.command, device=self.where.device,
        )  # fmt: skip
        comparison = Comparison(table | self.made | {"created": machine.now()}, self.store.out)
        comparison.save(picture=picture and self.pictures)
        self.changed, self.saved = False, time.monotonic()
        if picture:
            self.pictured = time.monotonic()
        return comparison
