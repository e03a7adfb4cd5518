"""How fast is one iteration of DataDAM? Against the yardstick (eager_reference.py) and against the machine's own convolutions.

    python benchmarks/speed/speed.py --out results/benchmarks/speed.json

CIFAR-10's shape, 10 classes, ConvNet-3 of width 128, instance norm; images are noise, which costs what real ones cost. All ways
take turns (interleave.py). Before anything is timed, the yardstick's loss and gradient are asserted equal to the product's.
Also: memory at 10, 100 and 1000 classes, growth with classes, real batch and images per class, the share of drawing, start-up.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import eager_reference
import interleave
import numpy as np
import torch
from torch import nn

import datadam
from datadam import machine
from datadam.augment.siamese import STRATEGY
from datadam.data.real import RealData, Split
from datadam.data.whitening import Transform
from datadam.distillation.forecast import forecast
from datadam.distillation.loop import Distillation
from datadam.methods import matching
from datadam.methods.matching import augment

B, IPC, CLASSES = 256, 10, 10
MEMORY_BATCH = 64  # real images of a class where memory is measured, up to 1000 classes
FOLDER = tempfile.TemporaryDirectory()  # of a run that keeps its checkpoints
MANY = 10_000  # iterations that a run is said to have, so that it is planned as a long one


def noise(classes: int, per_class: int = 512) -> RealData:
    """Images of noise in CIFAR-10's shape."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (classes * per_class, 3, 32, 32), dtype=np.uint8)
    labels = np.repeat(np.arange(classes), per_class)
    transform = Transform((0.5,) * 3, (0.25,) * 3)
    names = tuple(f"class {k}" for k in range(classes))
    return RealData("noise", "", {}, names, Split(pixels, labels), Split(pixels[:10], labels[:10]), transform)


def begin(precision: str, classes: int = CLASSES, batch: int = B, ipc: int = IPC, zca: str = "none", **plan: Any) -> Distillation:
    """A run of the default preset in that shape, planned as a long one."""
    real = noise(classes, 512 if zca == "none" else 5000)  # whitened images are kept: as many as CIFAR-10 has
    recipe = datadam.preset("datadam", real, ipc=ipc)
    settings = {
        "precision": precision,
        "batch_real": batch,
        "iterations": MANY,
        "net": "convnet3",
        "zca": zca,
        "augment": STRATEGY,
    }
    return datadam.begin(real, recipe.change(settings), **plan)


def ours(run: Distillation) -> Callable[[], None]:
    """One iteration after another, without its logging."""
    numbers = iter(range(1, MANY))

    def one() -> None:
        draw = run.draws.at(next(numbers))
        gradient = run.gradient({}, run.synthetic, draw, False)
        run.optimisers.step(gradient.of)

    return one


def yardstick(run: Distillation) -> Callable[[], Any]:
    """The same iterations written plainly."""
    numbers = iter(range(1, MANY))

    def one() -> Any:
        draw = run.draws.at(next(numbers))
        network = draw.network()
        k = range(len(run.synthetic.classes))
        augmentations = [draw.augmentation(i) for i in k]
        real = torch.stack([augment(a, draw.real(i)) for i, a in zip(k, augmentations, strict=True)])
        synthetic = torch.stack([augment(a, run.synthetic.images(i, i + 1)) for i, a in zip(k, augmentations, strict=True)])
        return eager_reference.iteration(network, real, synthetic, power=4.0, task_balance=0.01, scale=100.0)

    return one


def assert_equal() -> None:
    """Stop unless the yardstick has the product's loss and gradient (without augmentation, whose gradient it leaves out)."""
    run = begin("float64", classes=3, batch=32)  # in float32 a rounding can move a ReLU, and with it single pixels
    run.draws.augment = "none"
    draw = run.draws.at(1)
    expected = run.gradient({}, run.synthetic, draw, False)
    loss, gradient = yardstick(run)()
    ours_loss = sum(term.double().sum() for term in expected.terms.values())
    torch.testing.assert_close(loss, ours_loss, rtol=1e-9, atol=0)
    torch.testing.assert_close(gradient.flatten(0, 1), expected.images, rtol=1e-6, atol=1e-9)


def peak(precision: str) -> tuple[Callable[[], None], dict[str, Any]]:
    """The convolutions of the real side of one iteration alone, each layer in the best of the layouts and batch sizes tried."""
    dtype = getattr(torch, precision)
    chosen, flops = [], 0
    for channels, side in ((3, 32), (128, 16), (128, 8)):
        tried = []
        for layout in (torch.channels_last, torch.contiguous_format):
            for count in (8, 16, 64, 256):
                conv = nn.Conv2d(channels, 128, 3, padding=1).to(dtype).to(memory_format=layout)
                x = torch.randn(count, channels, side, side).to(dtype).contiguous(memory_format=layout)
                repeats = CLASSES * B // count
                tried.append(
                    (
                        interleave.least(partial(convolve, conv, x, repeats // CLASSES), 3),
                        len(tried),
                        partial(convolve, conv, x, repeats),
                    )
                )
        chosen.append(min(tried)[2])
        flops += 2 * channels * 9 * 128 * side * side * CLASSES * B

    def layers() -> None:
        for layer in chosen:
            layer()

    return layers, {"flops": flops}


@torch.no_grad()
def convolve(conv: nn.Conv2d, x: torch.Tensor, repeats: int) -> None:
    """A convolution, some times over."""
    for _ in range(repeats):
        conv(x)


def whole(run: Distillation) -> Callable[[], None]:
    """The first iteration as a user has it: with its line of metrics and a checkpoint."""

    def one() -> None:
        steps = run.steps()
        next(steps)
        steps.close()

    return one


def real_side(run: Distillation) -> Callable[[], None]:
    """The real side of an iteration alone, drawing included."""
    engine = matching.Engine(run.recipe.method, run.plan, run.recipe.precision)  # type: ignore[arg-type]
    numbers = iter(range(1, MANY))

    def one() -> None:
        draw = run.draws.at(next(numbers))
        network = draw.network()
        for first, last in engine._groups(run.synthetic, draw, network):
            engine._real_means(draw, network, first, last, [draw.augmentation(k) for k in range(first, last)])

    return one


def drawing(run: Distillation) -> Callable[[], None]:
    """Drawing, normalising and augmenting the real images of an iteration."""
    numbers = iter(range(1, MANY))

    def one() -> None:
        draw = run.draws.at(next(numbers))
        for k in range(len(run.synthetic.classes)):
            augment(draw.augmentation(k), draw.real(k))

    return one


def average(call: Callable[[], Any], times: int) -> Callable[[], Any]:
    """Calls whose cost depends on what is drawn are averaged over some."""

    def many() -> None:
        for _ in range(times):
            call()

    return many


def worker(name: str, options: dict[str, Any]) -> None:
    """One way, taking turns."""
    kind, _, rest = name.partition("-")
    precision = rest or "float32"
    times = options.pop("times")

    def prepare() -> tuple[Callable[[], Any], dict[str, Any]]:
        if kind != "yardstick" or rest == "tuned":
            machine.tune_allocator()
        if kind == "peak":
            return peak(precision)
        if kind == "whole":
            options["out"] = FOLDER.name
        run = begin("float32" if kind == "yardstick" else precision, **options)
        call = {"ours": ours, "whole": whole, "yardstick": yardstick, "real": real_side, "drawing": drawing}[kind](run)
        call()
        foreseen = forecast(run.frame.real, run.recipe)
        facts = {"flops": foreseen.flops, "plan": run.plan.to_json(), "precision": run.recipe.precision}
        return average(call, times), facts | {"iterations_a_turn": times}

    interleave.serve(prepare)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--parts", default="iteration,growth,memory,start", help="which parts to measure")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    for option in ("classes", "batch", "ipc", "times"):
        parser.add_argument(f"--{option}", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--zca", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        asked = {name: getattr(given, name) for name in ("classes", "batch", "ipc", "zca") if getattr(given, name)}
        worker(given.worker, asked | {"times": given.times or 1})
        return
    print("the yardstick has the product's loss and gradient:", end=" ", file=sys.stderr, flush=True)
    assert_equal()
    print("yes", file=sys.stderr)
    parts = given.parts.split(",")
    kept = json.loads(given.out.read_text()) if given.out and given.out.exists() else {}  # parts that are not asked for stay
    result: dict[str, Any] = kept | {
        "hardware": machine.hardware(torch.device("cpu")),
        "threads": torch.get_num_threads(),
        "versions": machine.versions(),
        "shape": f"{CLASSES} classes, {B} real images each, ipc {IPC}, 3x32x32, ConvNet-3 of width 128, instance norm",
    }
    for part in parts:
        found = {"iteration": iteration, "growth": growth, "memory": memory, "start": start_up}[part](given.rounds)
        command = " ".join(["python", "benchmarks/speed/speed.py", "--parts", part, "--rounds", str(given.rounds)])
        result[part] = found | {"command": command, "commit": machine.commit(), "created": machine.now()}
        if given.out:
            interleave.write(result, given.out)
    interleave.write(result, given.out)


def spawn(name: str, **options: Any) -> interleave.Worker:
    """A worker of this file."""
    words = [word for key, value in options.items() for word in (f"--{key}", str(value))]
    label = " ".join([name, *(f"{key}={value}" for key, value in options.items() if key != "times")])
    return interleave.Worker(label, [__file__, "--worker", name, *words])


def iteration(rounds: int) -> dict[str, Any]:
    """Ours and the yardstick in turns, then the real side and the floor that the machine's convolutions set, in turns too.

    Few ways at a time: one that waits still holds its gigabytes, and the yardstick, which takes new ones, would wait for them.
    """
    precisions = ("float32", "bfloat16")
    ours = [f"ours-{precision}" for precision in precisions]
    found = interleave.in_turns([spawn(name) for name in ("yardstick", *ours)], rounds)
    tuned = interleave.in_turns([*map(spawn, ("yardstick-tuned", *ours)), spawn(ours[1], zca="kornia")], rounds)
    sides = [spawn(f"{kind}-{precision}") for kind in ("real", "peak") for precision in precisions]
    found |= interleave.in_turns([*sides, spawn("drawing", times=10)], rounds)
    floor = {precision: found.pop(f"peak-{precision}") for precision in precisions}
    for one in floor.values():
        one["gflops"] = round(one["flops"] / one["seconds"] / 1e9)
    ratios = {f"{name}, against the yardstick": ratio(found["yardstick"], found[name]) for name in ours} | {
        f"{name}, with the allocator tuned on both sides": ratio(tuned["yardstick-tuned"], tuned[name]) for name in ours
    }
    shares = {
        f"{precision}: real side, share of the convolutions' own speed": round(
            floor[precision]["seconds"] / found[f"real-{precision}"]["seconds"], 3
        )
        for precision in floor
    }
    drawn = found["drawing"]["seconds"] / 10
    shares["drawing and augmenting, share of an iteration in bfloat16"] = round(drawn / found["ours-bfloat16"]["seconds"], 4)
    return {"times_faster": ratios, "shares": shares, "convolutions_alone": floor, "ways": found, "allocator_tuned": tuned}


def ratio(slow: dict[str, Any], fast: dict[str, Any]) -> float:
    """How many times faster, by the least seconds of both."""
    return round(slow["seconds"] / fast["seconds"], 2)


def growth(rounds: int) -> dict[str, Any]:
    """Seconds of an iteration as classes, real batch and images per class grow."""
    cases = [
        {"classes": 10, "batch": 64}, {"classes": 10, "batch": 128}, {"classes": 10, "batch": 256}, {"classes": 20, "batch": 256},
        {"classes": 10, "batch": 256, "ipc": 1}, {"classes": 10, "batch": 256, "ipc": 50},
    ]  # fmt: skip
    rows = []
    for case in cases:
        workers = [spawn(name, **case) for name in ("yardstick", "ours-float32", "ours-bfloat16")]
        found = list(interleave.in_turns(workers, max(2, rounds // 3)).values())
        rows.append(
            {"ipc": IPC}
            | case
            | {name: one["seconds"] for name, one in zip(("yardstick", "float32", "bfloat16"), found, strict=True)}
            | {
                "peak_mb": {
                    name: one["peak_mb_above_imports"] for name, one in zip(("yardstick", "float32"), found[:2], strict=True)
                }
            }
        )
    return {"rows": rows}


def memory(rounds: int) -> dict[str, Any]:
    """Peak memory of a run with its folder above the imports, less the data and three tensors of the synthetic images' size."""
    rows = []
    for classes, precision in [(c, p) for p in ("float32", "bfloat16") for c in (10, 100, 1000)]:
        one = spawn(f"whole-{precision}", classes=classes, batch=MEMORY_BATCH)
        one.close()
        peak_mb = one.facts["warm_peak_mb"]
        data = classes * 512 * (3072 + 8 + 8) / 1e6  # pixels, labels, the index by class
        images = 3 * classes * IPC * 3072 * 4 / 1e6
        rows.append({
            "classes": classes, "precision": precision, "peak_mb_above_imports": peak_mb, "data_mb": round(data, 1),
            "three_tensors_mb": round(images, 1), "rest_mb": round(peak_mb - data - images, 1),
        })  # fmt: skip
    return {"batch": MEMORY_BATCH, "rows": rows}


def start_up(rounds: int) -> dict[str, Any]:
    """Seconds of the help, and of a small run from the command to its end."""
    command = [sys.executable, "-m", "datadam.cli"]
    helped, small = [], []
    for _ in range(rounds):
        began = time.perf_counter()
        subprocess.run([*command, "--help"], check=True, capture_output=True)
        helped.append(time.perf_counter() - began)
    for _ in range(max(2, rounds // 2)):
        with tempfile.TemporaryDirectory() as folder:
            words = ["distill", "mnist", "--ipc", "1", "--iterations", "3", "--batch-real", "16", "--out", f"{folder}/run"]
            began = time.perf_counter()
            subprocess.run([*command, *words], check=True, capture_output=True)
            small.append(time.perf_counter() - began)
    return {
        "help_seconds": round(min(helped), 3),
        "small_run_seconds": round(min(small), 2),
        "small_run": "datadam distill mnist --ipc 1 --iterations 3 --batch-real 16, from the command to its end",
    }


if __name__ == "__main__":
    main()
