"""How fast are many students of one set trained? Ways in turns, each for a few epochs of 10 students.

    python benchmarks/speed/students.py --out results/benchmarks/students.json

CIFAR-10's shape, 10 classes, ipc 10, ConvNet-3 of width 128, protocol honest. The plain way is the loop of the field: one student
after another, uncompiled, all threads in each step, the allocator as it is. Seconds are those of training alone: what a way takes
to begin (compiling, other processes) stands beside, and how many epochs it must last to pay.

"convolutions alone" are those of an epoch, forward and with the gradients of weights and maps, each layer in the best of the
layouts and batch sizes tried, on all threads: the floor of one process that computes them by torch, whatever is fused or batched
between them.
"""

import argparse
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import interleave
import numpy as np
import torch
from speed import noise
from torch import nn

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
FLOORS = {"convolutions alone": "float32", "convolutions alone, bfloat16": "bfloat16"}
IMAGES, WIDTH = 100, 128


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


def learn(conv: nn.Conv2d, x: torch.Tensor, times: int) -> None:
    """A convolution forward and back, so many times."""
    for _ in range(times):
        out = conv(x)
        torch.autograd.grad(out, [conv.weight, *([x] if x.requires_grad else [])], torch.ones_like(out))


def floor(precision: str) -> None:
    """A call computes the convolutions of EPOCHS - 1 epochs of a student."""
    machine.tune_allocator()
    dtype, chosen = getattr(torch, precision), []
    for channels, side in ((3, 32), (WIDTH, 16), (WIDTH, 8)):
        tried = []
        for layout in (torch.channels_last, torch.contiguous_format):
            for count in (10, 25, IMAGES):
                conv = nn.Conv2d(channels, WIDTH, 3, padding=1, bias=False).to(dtype).to(memory_format=layout)
                x = torch.randn(count, channels, side, side).to(dtype).contiguous(memory_format=layout)
                x.requires_grad_(channels != 3)  # images need no gradient
                tried.append(
                    (interleave.least(partial(learn, conv, x, IMAGES // count), 3), len(tried), conv, x, IMAGES // count)
                )
        chosen.append(min(tried)[2:])

    def call() -> float:
        began = time.perf_counter()
        for conv, x, times in chosen:
            learn(conv, x, times * (EPOCHS - 1))
        return (time.perf_counter() - began) / (EPOCHS - 1)

    interleave.serve(lambda: (call, {"precision": precision}))


def worker(name: str) -> None:
    """One way: a call trains STUDENTS students of ten images of ten classes of noise."""
    if name in FLOORS:
        floor(FLOORS[name])
        return
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
    workers = [interleave.Worker(name, [__file__, "--worker", name]) for name in (*WAYS, *FLOORS)]
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
