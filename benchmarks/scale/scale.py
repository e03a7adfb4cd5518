"""What spreading a run over workers costs and gives: efficiency from one worker to two, start-up, overhead, bytes moved.

    python benchmarks/scale/scale.py --out results/benchmarks/scale.json

CIFAR-10's shape, 10 classes of noise, ConvNet-3 of width 128, uncompiled float32, one thread a worker. Ways take turns in
processes of their own, and the least seconds of each are compared. `pair` is the yardstick of the machine: two plain runs of half
the classes beside each other that know nothing of one another, as fast as two workers could ever be here.
"""

import argparse
import json
import pickle
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import datadam
from datadam import machine, parallel
from datadam.augment.siamese import STRATEGY
from datadam.data.real import RealData, Split
from datadam.data.whitening import Transform
from datadam.distillation.begin import begin
from datadam.distillation.shards import run as shards
from datadam.methods.plan import Plan
from datadam.parallel import Ray
from datadam.parallel.spread import Spread

CLASSES, BATCH, IPC, CHUNK = 10, 64, 10, 16
WAYS = {
    "plain": None,
    "processes-1": Spread(workers=1),
    "processes-2": Spread(workers=2),
    "ray-1": (1,),
    "ray-2": (2,),
}
SHAPE = (
    f"{CLASSES} classes, {BATCH} real images each, ipc {IPC}, 3x32x32, ConvNet-3 of width 128, instance norm, float32, uncompiled"
)


def noise(classes: int) -> RealData:
    """Images of noise in CIFAR-10's shape, 500 a class."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (classes * 500, 3, 32, 32), dtype=np.uint8)
    labels = np.repeat(np.arange(classes), 500)
    names = tuple(f"class {k}" for k in range(classes))
    transform = Transform((0.5,) * 3, (0.25,) * 3)
    return RealData("noise", "", {}, names, Split(pixels, labels), Split(pixels[:10], labels[:10]), transform)


def once(way: str, iterations: int) -> dict[str, float]:
    """One run: seconds from its beginning to its end, and those in which workers were at work."""
    torch.set_num_threads(1)
    machine.tune_allocator()
    real = noise(CLASSES // 2 if way == "half" else CLASSES)
    recipe = datadam.preset("datadam", real, ipc=IPC).change({
        "iterations": iterations, "batch_real": BATCH, "net": "convnet3", "augment": STRATEGY, "precision": "float32",
    })  # fmt: skip
    spread = WAYS.get(way)
    if isinstance(spread, tuple):
        spread = Spread(workers=spread[0], engine=Ray())
    with tempfile.TemporaryDirectory() as folder:
        out, began = Path(folder) / "run", time.perf_counter()
        if spread is not None and spread.engine is not None:
            spread.engine.connect()
        joined = time.perf_counter() - began
        run = begin(real, recipe, out=out, plan=Plan(False, CHUNK, 1), spread=spread)
        for _ in run.steps():
            pass
        wall, log = time.perf_counter() - began, out / "workers.jsonl"
        if not log.exists():
            return {"wall": wall, "work": run.state.seconds, "joined": 0.0}
        events = [json.loads(line) for line in log.read_text().splitlines()]
        starts, ends = ([e["seconds"] for e in events if e["event"] == what] for what in ("start", "done"))
        spans = [end - start for start, end in zip(sorted(starts), sorted(ends), strict=True)]
        return {"wall": wall, "work": max(spans), "joined": joined}


def moved(iterations: int) -> dict[str, Any]:
    """Bytes of everything that is sent to two workers, and of what they tell."""
    sent: dict[str, list[int]] = {"task": [], "items": [], "told": []}
    kinds: dict[str, list[int]] = {}
    inner = parallel.stream

    def size(value: object) -> int:
        return len(pickle.dumps(value, protocol=5))

    def counting(task: Any, items: int, make: Any, **options: Any) -> Any:
        def made(number: int) -> Any:
            item = make(number)
            sent["items"].append(size(item))
            return item

        sent["task"].append(size(task))
        for event in inner(task, items, made, **options):
            if event.kind == "tell":
                kinds.setdefault(type(event.value).__name__, []).append(size(event.value))
            yield event

    shards.parallel.stream = counting  # type: ignore[attr-defined, assignment]
    found = once("processes-2", iterations)
    data = CLASSES * 500 * 3 * 32 * 32
    return {
        "seconds": round(found["work"], 1), "to_workers": sum(sent["task"]) * 2 + sum(sent["items"]), "of_that_real_images": data,
        "from_workers": sum(map(sum, kinds.values())),
        "words": {name: {"times": len(sizes), "bytes": sum(sizes)} for name, sizes in sorted(kinds.items())},
    }  # fmt: skip


def spawn(way: str, iterations: int) -> "subprocess.Popen[str]":
    """This file in a process of its own."""
    words = [sys.executable, __file__, "--worker", way, "--iterations", str(iterations)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def told(process: "subprocess.Popen[str]") -> dict[str, float]:
    """What it has found."""
    out, _ = process.communicate()
    if process.returncode:
        sys.exit(f"a way has failed: {out}")
    found: dict[str, float] = json.loads(out.splitlines()[-1])
    return found


def pair(iterations: int) -> dict[str, float]:
    """Two plain runs of half the classes at once."""
    both = [told(process) for process in [spawn("half", iterations), spawn("half", iterations)]]
    return {name: max(one[name] for one in both) for name in both[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=60.0, help="of the plain run, about")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--iterations", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        found = moved(given.iterations) if given.worker == "moved" else once(given.worker, given.iterations)
        print(json.dumps(found))
        return
    few = 12
    rate = told(spawn("plain", few))["work"] / few
    iterations = max(few, round(given.seconds / rate))
    ways: dict[str, list[dict[str, float]]] = {name: [] for name in (*WAYS, "pair")}
    for turn in range(given.rounds):
        for name, found in ways.items():
            found.append(pair(iterations) if name == "pair" else told(spawn(name, iterations)))
            print(turn, name, {k: round(v, 2) for k, v in found[-1].items()}, file=sys.stderr, flush=True)
    work = {name: min(one["work"] for one in found) for name, found in ways.items()}
    start = {name: min(one["wall"] - one["work"] for one in found) for name, found in ways.items()}
    result = {
        "command": f"python benchmarks/scale/scale.py --rounds {given.rounds} --seconds {given.seconds:g}",
        "hardware": machine.hardware(torch.device("cpu")),
        "threads": 1,
        "versions": machine.versions() | {"ray": version_of_ray()},
        "commit": machine.commit(),
        "created": machine.now(),
        "shape": SHAPE,
        "iterations": iterations,
        "efficiency_of_two": {
            "two plain runs side by side": round(work["plain"] / (2 * work["pair"]), 3),
            **{engine: round(work[f"{engine}-1"] / (2 * work[f"{engine}-2"]), 3) for engine in ("processes", "ray")},
        },
        "overhead_of_one": {engine: round(work[f"{engine}-1"] / work["plain"] - 1, 4) for engine in ("processes", "ray")},
        "start_seconds": {name: round(seconds, 2) for name, seconds in start.items()},
        "seconds": {name: [round(one["work"], 2) for one in found] for name, found in ways.items()},
        "bytes": told(spawn("moved", iterations)),
    }  # fmt: skip
    text = json.dumps(result, indent=1) + "\n"
    if given.out:
        given.out.write_text(text)
    print(text)


def version_of_ray() -> str:
    """Ray's version."""
    from importlib.metadata import version

    return version("ray")


if __name__ == "__main__":
    main()
