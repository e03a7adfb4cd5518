"""How fast are many students of one set trained? Ways in turns, each for a few epochs of 10 students.

    python benchmarks/speed/students.py --out results/benchmarks/students.json

CIFAR-10's shape, 10 classes, ipc 10, ConvNet-3 of width 128, protocol honest. The plain way is the loop of the field: one student
after another, uncompiled, all threads in each step, the allocator as it is. Seconds are those of training alone: what a way takes
to begin (compiling, other processes) stands beside, and how many epochs it must last to pay.
"""

import argparse
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import interleave
import numpy as np
import torch
from speed import noise

from datadam import machine, parallel
from datadam.augment.siamese import STRATEGY
from datadam.training.students import Rows, Source, StudentTrainer
from datadam.training.trainer import Training

STUDENTS = 10
EPOCHS = 6  # that are timed; the first one warms up
WAYS = {  # name -> processes (0: one a thread), whether compiled, precision
    "plain loop": (1, False, "float32"),
    "compiled": (1, True, "float32"),
    "processes": (0, False, "float32"),
    "processes, compiled": (0, True, "float32"),
    "compiled, bfloat16": (1, True, "bfloat16"),
    "processes, compiled, bfloat16": (0, True, "bfloat16"),
}


class Enough(Exception):
    """The epochs to time are over."""


class Timed(StudentTrainer):
    """A school whose students stop after EPOCHS epochs and give the seconds of all but the first."""

    def __call__(self, item: tuple[int, int], tell: Callable[[Any], None]) -> Any:
        times: list[float] = []

        def watch(epoch: int) -> None:
            times.append(time.perf_counter())
            if epoch == EPOCHS:
                raise Enough

        with suppress(Enough):
            super().__call__(item, watch)
        return times[-1] - times[0]


def worker(name: str) -> None:
    """One way: a call trains STUDENTS students of ten images of ten classes of noise."""
    processes, compiled, precision = WAYS[name]
    processes = processes or torch.get_num_threads()
    threads = torch.get_num_threads() // processes if processes > 1 else 0
    if name != "plain loop":
        machine.tune_allocator()
    real = noise(10, per_class=20)
    images = np.random.default_rng(0).standard_normal((100, 3, 32, 32), dtype=np.float32)
    source = Source(0, Rows(images), np.repeat(np.arange(10), 10))
    training = Training(epochs=1000, augment=STRATEGY)
    task = Timed(
        "convnet3", (source,), real.test, 10, real.transform, training, 0, precision=precision, threads=threads, compiled=compiled
    )

    def call() -> float:
        seconds = parallel.run(task, [(0, student) for student in range(STUDENTS)], workers=processes)
        return float(sum(seconds) / STUDENTS / (EPOCHS - 1) / processes)

    interleave.serve(lambda: (call, {"processes": processes, "compiled": compiled, "precision": precision}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        worker(given.worker)
        return
    workers = [interleave.Worker(name, [__file__, "--worker", name]) for name in WAYS]
    found = interleave.in_turns(workers, given.rounds)
    base = found["plain loop"]["seconds"]
    result = {
        "command": "python benchmarks/speed/students.py",
        "hardware": machine.hardware(torch.device("cpu")),
        "threads": torch.get_num_threads(),
        "versions": machine.versions(),
        "commit": machine.commit(),
        "created": machine.now(),
        "shape": f"{STUDENTS} students of 100 images 3x32x32, ConvNet-3 of width 128; seconds of an epoch of one student",
        "times_faster": {name: round(base / one["seconds"], 2) for name, one in found.items()},
        "ways": found,
    }
    interleave.write(result, given.out)


if __name__ == "__main__":
    main()
