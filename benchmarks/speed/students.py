"""How fast are many students of one set trained? Ways in turns, each for a few epochs of 10 students.

    python benchmarks/speed/students.py --out results/benchmarks/students.json
    python benchmarks/speed/students.py --students 1 --images 500 --rounds 2 --out results/benchmarks/large_set.json

CIFAR-10's shape, 10 classes, ConvNet-3 of width 128, protocol honest; 100 images, or more, as a training on a whole real set has:
then one student alone. The plain way is the loop of the field: one student after another, uncompiled, all threads in each step,
the allocator as it is. Seconds are those of training alone: what a way takes
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
WIDTH, BATCHES = 128, (10, 25, 100)


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


def floor(precision: str, images: int) -> None:
    """A call computes the convolutions of EPOCHS - 1 epochs of a student."""
    machine.tune_allocator()
    dtype, chosen = getattr(torch, precision), []
    for channels, side in ((3, 32), (WIDTH, 16), (WIDTH, 8)):
        tried = []
        for layout in (torch.channels_last, torch.contiguous_format):
            for count in BATCHES:
                conv = nn.Conv2d(channels, WIDTH, 3, padding=1, bias=False).to(dtype).to(memory_format=layout)
                x = torch.randn(count, channels, side, side).to(dtype).contiguous(memory_format=layout)
                x.requires_grad_(channels != 3)  # images need no gradient
                tried.append(
                    (interleave.least(partial(learn, conv, x, images // count), 3), len(tried), conv, x, images // count)
                )
        chosen.append(min(tried)[2:])

    def call() -> float:
        began = time.perf_counter()
        for conv, x, times in chosen:
            learn(conv, x, times * (EPOCHS - 1))
        return (time.perf_counter() - began) / (EPOCHS - 1)

    interleave.serve(lambda: (call, {"precision": precision}))


def worker(name: str, students: int, images: int) -> None:
    """One way: a call trains so many students on so many images of ten classes of noise."""
    if name in FLOORS:
        floor(FLOORS[name], images)
        return
    processes, compiled, precision = WAYS[name]
    processes = processes or torch.get_num_threads()
    threads = torch.get_num_threads() // processes if processes > 1 else 0
    if name != "plain loop":
        machine.tune_allocator()
    real = noise(10, per_class=20)
    drawn = np.random.default_rng(0).standard_normal((images, 3, 32, 32), dtype=np.float32)
    source = Source(0, Rows(drawn), np.repeat(np.arange(10), images // 10))
    training = Training(epochs=1000, augment=STRATEGY)
    task = Timed(
        "convnet3", (source,), real.test, 10, real.transform, training, 0, precision=precision, threads=threads, compiled=compiled
    )

    def call() -> float:
        seconds = parallel.run(task, [(0, student) for student in range(students)], workers=processes)
        return float(sum(seconds) / students / (EPOCHS - 1) / processes)

    interleave.serve(lambda: (call, {"processes": processes, "compiled": compiled, "precision": precision}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--students", type=int, default=10, help="one: without the ways of several processes")
    parser.add_argument("--images", type=int, default=100, help="that each of them trains on; a multiple of 100")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.images < 100 or given.images % 100:
        parser.error(f"--images {given.images}: a multiple of 100")
    if given.worker:
        worker(given.worker, given.students, given.images)
        return
    size = ["--students", str(given.students), "--images", str(given.images)]
    asked = [*size, "--rounds", str(given.rounds)]
    ways = [name for name, (processes, *_) in WAYS.items() if processes or given.students > 1]
    workers = [interleave.Worker(name, [__file__, "--worker", name, *size]) for name in (*ways, *FLOORS)]
    found = interleave.in_turns(workers, given.rounds)
    base, count = found["plain loop"]["seconds"], "one student" if given.students == 1 else f"{given.students} students"
    result = {
        "command": f"python benchmarks/speed/students.py {' '.join(asked)}",
        "hardware": machine.hardware(torch.device("cpu")),
        "threads": torch.get_num_threads(),
        "versions": machine.versions(),
        "commit": machine.commit(),
        "created": machine.now(),
        "shape": f"{count} of {given.images} images 3x32x32, ConvNet-3 of width 128; seconds of an epoch of one student",
        "times_faster": {name: round(base / one["seconds"], 2) for name, one in found.items()},
        "ways": found,
    }
    interleave.write(result, given.out)


if __name__ == "__main__":
    main()
