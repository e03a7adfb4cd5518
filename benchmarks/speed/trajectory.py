"""The gradient through a student's training beside a plain unroll: peak memory, seconds, and how far TESLA's approximation is.

    python benchmarks/speed/trajectory.py --steps 5,10,80 --repeats 0 --cases eager,plain --out results/benchmarks/trajectory.json
    python benchmarks/speed/trajectory.py --steps 5 --cases eager,coarse,plain --out results/benchmarks/trajectory_seconds.json

Each case is a process of its own, so that its peak is its own: `ours` (compiled where a compiler works), `eager` (ours
uncompiled), `coarse` (ours uncompiled with convolutions in bfloat16), `tesla` (ours with the approximation), and `plain`, an
unroll that keeps the graphs of all steps in the style of the field's code. Peaks are told above what the process held after its
imports; `held` of it was there before the first timed iteration, the compiler among it. Where `plain` would need more memory than
is free, by how it grew between the numbers of steps before, it is left out and that number told. `apart` compares gradients on
the same draws in float64, on a small network. --repeats 0 measures memory alone, which is valid on a busy machine too. --quick is
a rehearsal in which no number means anything.

Letters: N steps, P weights, M images.
"""

import argparse
import json
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import interleave
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call

from datadam import machine, nets
from datadam.augment.siamese import STRATEGY, draw_augmentation
from datadam.methods.mtt import normalised_distance
from datadam.methods.student import Student, piece
from datadam.methods.trajectory import Step, through
from datadam.nets import Network

CASES = ("ours", "eager", "coarse", "tesla", "plain")
SHAPE, CLASSES = (3, 32, 32), 10
FREE = 0.7  # of the free memory that a case may take
APART = ((10, 0.01), (50, 0.01), (50, 0.03), (50, 0.1))  # steps and rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--net", default="convnet3")
    parser.add_argument("--ipc", type=int, default=10)
    parser.add_argument("--steps", default="5,10,80", help="N of the student, one case each")
    parser.add_argument("--repeats", type=int, default=2, help="timed iterations of each case, after one that is not; 0: none")
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.quick:
        given.net, given.ipc, given.steps, given.repeats = "convnet3:width=8", 1, "2,4", 1
    if given.case:
        kind, steps = json.loads(given.case)
        print(json.dumps(measured(kind, steps, given)))
        return
    result: dict[str, Any] = {
        "command": " ".join(["python", "benchmarks/speed/trajectory.py", *sys.argv[1:]]), "quick": given.quick,
        "hardware": machine.hardware(torch.device("cpu")), "threads": torch.get_num_threads(), "versions": machine.versions(),
        "commit": machine.commit(), "created": machine.now(), "net": given.net, "ipc": given.ipc, "classes": CLASSES,
        "shape": SHAPE, "apart": [apart(n, rate) for n, rate in (APART[:1] if given.quick else APART)], "cases": {},
    }  # fmt: skip
    for steps in map(int, given.steps.split(",")):
        for kind in given.cases.split(","):
            met = {n: result["cases"].get(f"plain N={n}", {}).get("peak_mb_above_imports") for n in range(1, steps)}
            foretold = grown({n: peak for n, peak in met.items() if peak}, steps) if kind == "plain" else 0.0
            result["cases"][f"{kind} N={steps}"] = (
                {"left_out": "more memory than is free", "foretold_mb_above_imports": round(foretold)}
                if foretold > FREE * machine.available_memory() / 1e6
                else alone(kind, steps)
            )
            print(f"{kind} N={steps}: {result['cases'][f'{kind} N={steps}']}", file=sys.stderr, flush=True)
    interleave.write(result, given.out)


def grown(peaks: dict[int, float], steps: int) -> float:
    """The peak in MB after so many steps, on the line through the two that are nearest; 0.0 where fewer are known."""
    if len(peaks) < 2:
        return 0.0
    (a, low), (b, high) = sorted(peaks.items())[-2:]
    return high + (high - low) * (steps - b) / (b - a)


def alone(kind: str, steps: int) -> dict[str, Any]:
    """One case in a process of its own; one that ends badly, as for want of memory, says so."""
    run = subprocess.run(
        [sys.executable, __file__, *sys.argv[1:], "--case", json.dumps([kind, steps])],
        stdout=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    lines = run.stdout.splitlines()
    found: dict[str, Any] = json.loads(lines[-1]) if lines else {"failed": f"the process ended with code {run.returncode}"}
    return found


class Draws:
    """What an iteration is given: weights to start from and to reach, images, labels, a rate, and the steps."""

    def __init__(self, net: str, ipc: int, steps: int, dtype: torch.dtype = torch.float32, shape: tuple[int, int, int] = SHAPE):
        self.network = nets.build(net, shape=shape, classes=CLASSES).to(dtype)
        generator = torch.Generator().manual_seed(0)
        self.start = torch.cat([parameter.detach().flatten() for parameter in self.network.parameters()])
        self.target = self.start + 0.01 * torch.randn(len(self.start), generator=generator, dtype=dtype)
        self.images = torch.randn(CLASSES * ipc, *shape, generator=generator, dtype=dtype)
        self.labels, self.rate = torch.arange(CLASSES).repeat_interleave(ipc), torch.tensor(0.01, dtype=dtype)
        everything = torch.arange(len(self.images))
        self.steps = [
            Step(everything, draw_augmentation(STRATEGY, 0, "step", i, images=len(everything))) for i in range(steps)
        ]  # fmt: skip

    def walked(self, student: Student, *, exact: bool = True) -> tuple[Tensor, Tensor]:
        """The gradients of images and rate by two walks."""
        found = through(
            student, self.start, self.images, self.labels, self.rate, self.steps, normalised_distance(self.start, self.target),
            exact=exact,
        )  # fmt: skip
        return found.images, found.rate

    def plain(self) -> tuple[Tensor, Tensor]:
        """The same by an unroll that keeps every graph."""
        images, rate = self.images.clone().requires_grad_(), self.rate.clone().requires_grad_()
        weights = [self.start.clone().requires_grad_()]
        for step in self.steps:
            assert step.augment is not None
            loss = F.cross_entropy(called(self.network, weights[-1], step.augment(images[step.chosen])), self.labels[step.chosen])
            (slope,) = torch.autograd.grad(loss, weights[-1], create_graph=True)
            weights.append(weights[-1] - rate * slope)
        loss = (weights[-1] - self.target).square().sum() / (self.start - self.target).square().sum()
        of_images, of_rate = torch.autograd.grad(loss, [images, rate])
        return of_images, of_rate


def called(network: Network, weights: Tensor, images: Tensor) -> Tensor:
    """The logits of a network whose weights [P] lie in one row."""
    edges = [0]
    for parameter in network.parameters():
        edges.append(edges[-1] + parameter.numel())
    views = {
        name: weights[a:b].view(parameter.shape)
        for (name, parameter), (a, b) in zip(network.named_parameters(), pairwise(edges), strict=True)
    }
    logits: Tensor = functional_call(network, views, (images,))
    return logits


def measured(kind: str, steps: int, given: argparse.Namespace) -> dict[str, Any]:
    """Seconds of an iteration, the first one apart, and the peak of memory above what was there before it."""
    machine.tune_allocator()
    imported = machine.peak_memory_mb()
    draws = Draws(given.net, given.ipc, steps)
    compiles = kind in ("ours", "tesla") and machine.can_compile()
    student = Student(draws.network, chunk=piece(machine.images_at_once(SHAPE)), compiled=compiles, coarse=kind == "coarse")
    call = draws.plain if kind == "plain" else lambda: draws.walked(student, exact=kind != "tesla")
    began = time.perf_counter()
    if kind != "plain":
        Draws.walked(few(draws), student, exact=kind != "tesla")  # compiled before the clock and the peak begin
    made = time.perf_counter() - began
    reset = machine.forget_peak()
    held, times = machine.peak_memory_mb(), []
    for _ in range(1 + given.repeats):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return {
        **({"seconds": round(median(times[1:]), 4), "first_seconds": round(times[0], 4), "compile_seconds": round(made, 1)}
           if given.repeats else {}),
        "peak_mb_above_imports": round(machine.peak_memory_mb() - imported, 1),
        "held_mb_above_imports": round(held - imported, 1), "peak_is_its_own": reset,
        "compiled": compiles,
    }  # fmt: skip


def few(draws: Draws) -> Draws:
    """The same with one step, of the same shapes."""
    one = object.__new__(Draws)
    vars(one).update(vars(draws) | {"steps": draws.steps[:1]})
    return one


def apart(steps: int, rate: float) -> dict[str, float]:
    """How far our two gradients of the images are from the plain unroll's, in parts of its norm, and the angle's cosine, in
    float64."""
    draws = Draws("convnet2:width=16", 1, steps, torch.float64, (3, 16, 16))
    draws.rate.fill_(rate)
    plain, _ = draws.plain()
    found: dict[str, float] = {"steps": steps, "rate": rate}
    for name, exact in (("exact", True), ("tesla", False)):
        images, _ = draws.walked(Student(draws.network), exact=exact)
        found[f"{name}_relative"] = float((images - plain).norm() / plain.norm())
        found[f"{name}_cosine"] = float(F.cosine_similarity(images.flatten(), plain.flatten(), dim=0))
    return found


if __name__ == "__main__":
    main()
