"""One run of a separable method on many workers: its classes are cut into shards that never talk to each other.

Randomness is named by iteration and class (rng.py) and a forward pass never mixes classes, so any number of shards gives the
same images. Workers tell how far they are, what is to be logged and where they stand; everything comes together here, in the one
run folder, whose files are those of a run that was not spread. A shard whose worker is lost is begun again where it stood last.
"""

import json
import time
from collections.abc import Generator
from contextlib import closing, suppress
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from datadam import machine, parallel
from datadam.data.sending import ClassData
from datadam.distillation.checkpoint import Checkpoint, RunState
from datadam.distillation.loop import Supply, supply_of
from datadam.distillation.optimisers import Optimisers
from datadam.distillation.recorder import Line, Nowhere, Recorder
from datadam.distillation.run import Run, Step
from datadam.distillation.setup import Frame
from datadam.distillation.shards.records import Range, Records, Whole, rows_of
from datadam.distillation.shards.worker import (
    Shard,
    ShardLine,
    ShardProgress,
    ShardSnapshot,
    ShardState,
    ShardTask,
    array,
    tensor,
)
from datadam.errors import RunFailed
from datadam.methods.plan import Plan
from datadam.parallel.spread import Places, cut
from datadam.sets.distilled import DistilledSet
from datadam.sets.synthetic import SyntheticSet

BYTES_A_SECOND = 20e6  # at which all workers together tell where they stand
LEAST_PAUSE, MOST_PAUSE = 2.0, 600.0  # seconds between two such words of a worker


def records_of(checkpoint: Checkpoint, classes: int) -> Records:
    """What shards have left in a run folder."""
    return Records(checkpoint.folder / "shards", classes)


class Sharded(Run):
    """A run whose classes are distilled by workers. Made by `begin` or `resume` like any other, and used like it.

    Arguments: as `Run`; `device`, that of the workers: here the images stay in memory; `places`, how many workers there are.
    """

    def __init__(
        self, frame: Frame, plan: Plan, spread: float, state: RunState, device: torch.device, recorder: Recorder, places: Places,
        supply: Supply | None = None,
    ) -> None:  # fmt: skip
        super().__init__(frame, plan, spread, state, device, recorder)
        self.places, self.classes = places, len(frame.real.classes)
        self.counted = frame.recipe.counts(frame.real)
        self.bucket = (supply or supply_of(frame.real, frame.recipe, str(device))).bucket  # once for all
        synthetic = SyntheticSet(state.tensors, frame.real.classes, self.counted)
        self.rows = synthetic.rows
        state.buffers = Optimisers(frame.recipe.method.groups(frame.recipe.group), state.tensors, state.buffers).buffers()
        self.records = Records(recorder.out / "checkpoint" / "shards" if recorder.out else None, self.classes)
        self.written = -1  # the iteration of the checkpoint of the whole run
        self.at = [state.iteration] * self.classes  # where each class stands in `state`
        self.before = list(self.at)  # and where by what was kept before that
        self.gathered: set[int] = set()  # iterations whose snapshots are whole, and still kept by shard
        self.counts = {"lost": 0}

    def recall(self, checkpoint: Checkpoint) -> None:
        """Go on from where shards stood when an earlier process ended, and finish what it had gathered but not written."""
        for first, last, stand in self.records.stands():
            if stand.iteration >= self.at[first] and self._fits(first, last, stand):
                self._take(first, last, stand)
        self.saved = self.state.iteration = min(self.at)
        lines = checkpoint.metrics.read_text().splitlines() if checkpoint.metrics.exists() else []
        logged = int(json.loads(lines[-1])["iteration"]) if lines else 0
        for whole in self.records.recall(self.at):
            if whole.iteration > logged:
                self._write(whole)
        for iteration in self.frame.snapshots:
            self._gather(iteration)
        self._forget()

    def _pairs(self, first: int, last: int, stand: ShardState) -> list[tuple[Tensor, Tensor]]:
        """Each tensor of the state, of these classes, and what a shard has told of it. Raises `KeyError`."""
        state, rows = self.state, self.rows(first, last)
        pairs = [(values, tensor(stand.tensors[name])) for name, values in state.tensors.items()]
        pairs += [(values, tensor(stand.buffers[name])) for name, values in state.buffers.items()]
        return [(values[rows] if values.ndim else values, told) for values, told in pairs]

    def _fits(self, first: int, last: int, stand: ShardState) -> bool:
        with suppress(KeyError):
            same = all(values.shape == told.shape for values, told in self._pairs(first, last, stand))
            return same and stand.iteration <= self.recipe.iterations
        return False

    def _take(self, first: int, last: int, stand: ShardState) -> None:
        """Some classes stand here now."""
        self.before[first:last] = self.at[first:last]
        state = self.state
        for values, told in self._pairs(first, last, stand):
            values.copy_(told)
        for name in ("peak_mb", "gpu_peak_mb", "seconds"):
            setattr(state, name, max(getattr(state, name), getattr(stand, name)))
        self.at[first:last] = [stand.iteration] * (last - first)

    def _ranges(self) -> list[Range]:
        """What is to do: the shards, cut where an earlier process has left neighbours at different iterations."""
        edges = {first for first, _ in cut(self.classes, self.places.shards)}
        edges |= {k for k in range(1, self.classes) if self.at[k] != self.at[k - 1]}
        order = [*sorted(edges), self.classes]
        return [(first, last) for first, last in pairwise(order) if self.at[first] < self.recipe.iterations]

    def _shard(self, first: int, last: int, until: float | None) -> Shard:
        """The item of some classes, as they stand now; `until`, the moment of this process's clock at which to stop."""
        rows, state = self.rows(first, last), self.state
        learned, buffers = (
            {name: array(values[rows] if values.ndim else values) for name, values in part.items()}
            for part in (state.tensors, state.buffers)
        )
        stand = ShardState(self.at[first], learned, buffers, 0.0, 0.0)
        if isinstance(self.recorder, Nowhere):
            start = self.recorder.start[rows]
        else:
            assert self.recorder.out is not None
            start = rows_of(Checkpoint(self.recorder.out).snapshot(0), rows)
        left = None if until is None else until - time.monotonic()
        return Shard(ClassData.of(self.frame.real, first, last), array(start), stand, left)

    def steps(self, time_limit: float | None = None) -> Generator[Step, None, None]:
        """As of any run; a step is told now and then, when a shard has come further, and not for each iteration.

        Shards stop at the time limit where each of them stands, and go on from there when the run is resumed.
        """
        ranges, state, total = self._ranges(), self.state, self.recipe.iterations
        if not ranges:
            if self.records:  # an earlier process ended before it had put the last shards together
                self.save()
            return
        size = 2 * state.images.numel() * state.images.element_size()
        work = ShardTask(
            self.recipe, self.classes, self.frame.real.transform, self.plan, str(self.device), self.bucket, self.frame.snapshots,
            min(MOST_PAUSE, max(LEAST_PAUSE, size / BYTES_A_SECOND)),
        )  # fmt: skip
        began, before = time.monotonic(), state.seconds
        until = None if time_limit is None else began + time_limit

        def further(number: int, value: object) -> bool:
            return isinstance(value, ShardState) and value.iteration > self.at[ranges[number][0]]

        far, losses = {ends: self.at[ends[0]] for ends in ranges}, dict.fromkeys(ranges, 0.0)
        events = parallel.stream(
            work, len(ranges), lambda n: self._shard(*ranges[n], until), workers=self.places.workers,
            engine=self.places.engine, threads=min(self.plan.threads, self.places.threads), saved=further,
        )  # fmt: skip
        try:
            with closing(events):
                for number, kind, value in events:
                    ends, state.seconds = ranges[number], before + time.monotonic() - began
                    if kind == "note":
                        self._note(ends, value)
                    elif kind == "done":
                        self._note(ends, {"event": "done", "iteration": self.at[ends[0]]})
                    elif isinstance(value, ShardProgress):
                        far[ends], losses[ends] = max(far[ends], value.iteration), value.loss
                        done = sum(far.get((f, n), self.at[f]) * (n - f) for f, n in ranges)
                        done += total * (self.classes - sum(n - f for f, n in ranges))
                        yield Step(done // self.classes, total, sum(losses.values()), state.moved)
                    else:
                        self._hear(*ends, value)
        finally:
            if not self.torn:
                self.save()
        yield Step(state.iteration, total, sum(losses.values()), state.moved)

    def _hear(self, first: int, last: int, told: ShardLine | ShardSnapshot | ShardState) -> None:
        """What a shard tells joins what the others have told."""
        if isinstance(told, ShardLine):
            if whole := self.records.line(first, last, told):
                self._write(whole)
        elif isinstance(told, ShardSnapshot):
            self.records.keep(first, last, told)
            self._gather(told.iteration)
        elif told.iteration > self.at[first]:  # an attempt that was begun again may lag behind
            with machine.unbroken():  # Ctrl-C waits: these belong together
                self.torn = True
                self._take(first, last, told)
                self.torn = False
                self.records.stand(first, last, told._replace(seconds=self.state.seconds))
                self.saved = self.state.iteration = min(self.at)
            self._forget()

    def _write(self, whole: Whole) -> None:
        """Log an iteration that all classes have done."""
        self.state.moved = whole.moved / self.state.images.numel()
        self.recorder.log(Line(whole.iteration, whole.terms, whole.norms, self.state.moved, self.state.seconds))

    def _gather(self, iteration: int) -> None:
        """Keep what was learned after an iteration once that of all classes is there."""
        if self.recorder.out and (whole := self.records.snapshot(iteration)) is not None:
            self.recorder.snapshot(iteration, whole)
            self.gathered.add(iteration)

    def _forget(self) -> None:
        """Let go of shards' parts of snapshots that are whole.

        Not before all classes stand there by what is kept, also where the last of it is torn: `resume` makes later snapshots
        anew, and shards that are past one by then do not tell it again.
        """
        for iteration in [i for i in self.gathered if i <= min(self.before)]:
            self.records.forget(iteration)
            self.gathered.remove(iteration)

    def _note(self, ends: Range, event: dict[str, Any]) -> None:
        """Add a line to RUN/workers.jsonl. Raises `RunFailed` when it cannot be written."""
        self.counts["lost"] += event["event"] == "lost"
        if not self.recorder.out:
            return
        line = {"time": machine.now(), "seconds": round(self.state.seconds, 3), "classes": list(ends), **event}
        line.setdefault("iteration", self.at[ends[0]])
        path = self.recorder.out / "workers.jsonl"
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise RunFailed(f"cannot write {path}: {error}. Free space, then go on with --resume {self.recorder.out}") from error

    def save(self) -> None:
        """Write the checkpoint of a run that is whole, when all classes stand at one iteration; shards have kept theirs."""
        if min(self.at) != max(self.at):
            return
        if self.written != self.state.iteration and self.recorder.save(self.state, self.plan):
            self.saved = self.written = self.state.iteration
        if self.written == self.state.iteration:
            self.records.clear()

    def unfinished(self) -> str:
        """What to say of a run that has stopped before its end, maybe at another iteration for each class."""
        least, most, total = min(self.at), max(self.at), self.recipe.iterations
        return super().unfinished() if least == most else f"stopped after {least} to {most} of {total} iterations, by class"

    def result(self) -> DistilledSet:
        """As of any run."""
        self.facts["spread"] = {
            "engine": "ray" if self.places.engine else "processes", "workers": self.places.workers,
            "shards": self.places.shards, **self.counts,
        }  # fmt: skip
        return super().result()
