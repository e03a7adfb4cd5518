"""This build beside an earlier one, both from git, in turns: iterations of methods, and epochs of students.

    python benchmarks/speed/builds.py --then 9603a39 --out results/benchmarks/builds.json

Images of noise in CIFAR-10's shape, 10 classes, ConvNet-3 of width 128, as many threads as there are cores. Seconds are those of
one iteration, or of one epoch of one student, once all is compiled; `first` those of what comes before the first one. Work that
the earlier build does not know is left out by name. --quick is a rehearsal in which no number means anything.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import interleave

MANY = 100_000  # iterations of a run that is planned as a long one, of which a few are done
EPOCHS = 6  # of a student that are timed, after one that is not
ROOT = Path(__file__).resolve().parents[2]
CASES: dict[str, dict[str, Any]] = {
    "datadam, bfloat16": {"method": "datadam", "precision": "bfloat16"},
    "datadam, float32": {"method": "datadam", "precision": "float32"},
    "dm, bfloat16": {"method": "dm", "precision": "bfloat16"},
    "students of 100 images, bfloat16": {"images": 10, "precision": "bfloat16"},
    "students of 100 images, float32": {"images": 10, "precision": "float32"},
    "students of 400 images, bfloat16": {"images": 40, "precision": "bfloat16"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--then", help="a commit of this repository")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--cases", default=";".join(CASES), help='names, separated by ";"')
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        worker(json.loads(given.worker))
        return

    import torch

    from datadam import machine

    result: dict[str, Any] = {
        "command": " ".join(["python", "benchmarks/speed/builds.py", *sys.argv[1:]]), "quick": given.quick,
        "commit": machine.commit(), "then": given.then, "hardware": machine.hardware(torch.device("cpu")),
        "versions": machine.versions(), "threads": torch.get_num_threads(), "created": machine.now(), "cases": {},
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        earlier = Path(folder) / "earlier"
        subprocess.run(["git", "-C", str(ROOT), "worktree", "add", "--detach", str(earlier), given.then], check=True)
        try:
            for name in given.cases.split(";"):
                result["cases"][name] = beside(CASES[name] | {"quick": given.quick}, earlier, given.turns)
                interleave.write(result, given.out)
        finally:
            subprocess.run(["git", "-C", str(ROOT), "worktree", "remove", "--force", str(earlier)], check=True)


def beside(case: dict[str, Any], earlier: Path, turns: int) -> dict[str, Any]:
    """Both builds at the same work, and how many times as fast the later one is."""
    workers = []
    try:
        for name, build in (("now", ROOT), ("then", earlier)):
            command = [str(Path(__file__).resolve()), "--worker", json.dumps(case)]
            workers.append(interleave.Worker(name, command, {"PYTHONPATH": os.pathsep.join((str(build / "src"), str(build)))}))
    except SystemExit as error:
        for one in workers:
            one.close()
        return {"left_out": str(error)}
    found = interleave.in_turns(workers, turns)
    return found | {"times_as_fast": round(found["then"]["seconds"] / found["now"]["seconds"], 3)}


def worker(case: dict[str, Any]) -> None:
    """One build at one piece of work. Seconds of a call are those of one iteration, or of one epoch."""
    import numpy as np

    import datadam

    assert datadam.tune_allocator() or sys.platform != "linux"
    rng = np.random.default_rng(0)
    each, net = (20, "convnet3:width=8") if case["quick"] else (512, "convnet3")
    pixels, labels = rng.integers(0, 256, (10 * each, 3, 32, 32), dtype=np.uint8), np.repeat(np.arange(10), each)
    real = datadam.load((pixels, labels, pixels[::each], labels[::each]))
    began = time.perf_counter()
    call: Callable[[], Any]
    if "method" in case:
        recipe = datadam.preset(case["method"], real, ipc=10)
        settings = {"precision": case["precision"], "batch_real": 8 if case["quick"] else 256, "iterations": MANY, "net": net}
        steps = datadam.begin(real, recipe.change(settings | {"zca": "none"})).steps()

        def call() -> None:
            next(steps)
    else:
        call = students(case, net)
    interleave.serve(lambda: (call, {"first": round(first(call, began), 1)}))


def first(call: Callable[[], Any], began: float) -> float:
    """Seconds until the first piece of work is done, and another one that warms it up."""
    call()
    seconds = time.perf_counter() - began
    call()
    return seconds


def students(case: dict[str, Any], net: str) -> Callable[[], float]:
    """A student of so many images of each class, of which each call trains a few epochs."""
    import numpy as np

    from datadam.augment.siamese import STRATEGY
    from datadam.data import Transform
    from datadam.data.real import Split
    from datadam.training.students import Rows, Source, StudentTrainer
    from datadam.training.trainer import Training

    images = np.random.default_rng(0).standard_normal((10 * case["images"], 3, 32, 32), dtype=np.float32)
    source = Source(0, Rows(images), np.repeat(np.arange(10), case["images"]))
    test = Split(np.zeros((10, 3, 32, 32), dtype=np.uint8), np.arange(10))
    task = StudentTrainer(
        net, (source,), test, 10, Transform((0.5,) * 3, (0.25,) * 3), Training(epochs=1000, augment=STRATEGY), 0,
        precision=case["precision"], compiled=True,
    )  # fmt: skip

    class Enough(Exception):
        """The epochs to time are over."""

    def call() -> float:
        times: list[float] = []

        def watch(epoch: int) -> None:
            times.append(time.perf_counter())
            if epoch > (1 if case["quick"] else EPOCHS):
                raise Enough

        with suppress(Enough):
            task((0, 0), watch)
        return (times[-1] - times[0]) / (len(times) - 1)

    return call


if __name__ == "__main__":
    main()
