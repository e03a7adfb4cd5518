"""Make networks on the real set: those that a folder lacks, here or by several processes (maker.py has one network)."""

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from datadam import machine
from datadam.data import RealData
from datadam.files.lock import alone_in
from datadam.files.whole import read_json, write_json
from datadam.training.flat import Flat
from datadam.training.maker import INDEX, AfterStep, Check, Course, Kind, Lesson, M, Maker, TimeIsUp, Until, W
from datadam.training.side_by_side import side_by_side
from datadam.training.trainer import Training
from datadam.where import Where


def grow(
    kind: Kind[M, W], folder: Path, settings: dict[str, Any], net: str, training: Training, count: int, seed: int, real: RealData,
    *, where: Where | None = None, precision: str = "float32", after_step: AfterStep | None = None, flat: Flat | None = None,
    lessons: Callable[[Check], Lesson] | None = None, time_limit: float | None = None,
) -> M:  # fmt: skip
    """Train the networks that are missing of `count`, and keep them; fewer when the `time_limit` in seconds is over.

    Arguments: `kind`; `folder`; `settings`, what decides the networks, as JSON knows it; `net`, in its canonical spelling;
    `training`; `seed`; `real`, the data; `where` they are trained; `precision` of `forward_of`;
    `after_step(number, done, steps)`, called after each step of the network of a number, from 0; `flat` of `Trainer`; `lessons`,
    makes its `lesson`, where there is something to train, and calls what it is given on the way. Raises `InvalidInput` when the
    folder holds something else, `RunFailed` when a training fails.
    """
    where, until = where or Where(device="cpu"), Until(time_limit)
    kind.begun(folder, settings)
    with alone_in(folder):
        made = kind.begun(folder, settings)  # as it stands now that nobody else is at work on it
        if made.networks >= count:
            return made
        spent = _spent(folder, made.networks)
        with suppress(TimeIsUp):
            lesson = lessons(lambda *_: until.check()) if lessons else None
            course = Course(kind, settings, net, training, seed, where.device, precision, flat, lesson)
            maker = Maker(course, folder, real)

            def keep(number: int, watcher: W, seconds: float) -> None:
                nonlocal made
                spent.append(seconds)
                made = kind.add(made, number, watcher)
                written = {"seconds": spent, "versions": machine.versions(), "commit": machine.commit()}
                write_json(folder / INDEX, made.to_json() | written)
                entry = course.entry(folder, number)
                entry.remove()
                entry.unfinished.remove()

            missing = [number for number in range(made.networks, count) if not course.entry(folder, number).read()]
            if len(missing) > 1 and (where.engine or (where.workers or 1) > 1):
                for _ in side_by_side(course, folder, real, missing, where, after_step, until):
                    while made.networks < count and (found := maker.found(made.networks)):
                        keep(made.networks, *found)
            for number in range(made.networks, count):
                keep(number, *(maker.found(number) or maker.train(number, after_step, until)))
                until.last = time.monotonic()  # writing is no step
    return made


def seconds_of(folder: Path, networks: int) -> float | None:
    """How long the trainings of a folder with so many networks took in all; None where that was not kept."""
    spent = [seconds for seconds in _spent(folder, networks) if seconds is not None]
    return sum(spent) if len(spent) == networks else None


def _spent(folder: Path, networks: int) -> list[float | None]:
    """Seconds of each training; None for one of an earlier version, or what is no number."""
    kept = read_json(folder / INDEX).get("seconds") if (folder / INDEX).exists() else None
    known = kept if isinstance(kept, list) and len(kept) == networks else [None] * networks
    return [float(s) if isinstance(s, int | float) and 0 <= s < float("inf") else None for s in known]
