"""What comes before the first iteration, in this build and an earlier one, in turns: whitening, images kept ready, compiling.

    python benchmarks/speed/beginnings.py --then 721c4d0 --out results/benchmarks/beginnings.json

Images of noise, as many as CIFAR-10 has; ConvNet-3 of width 128, bfloat16 on the real side. Each turn of each piece of work is a
process of its own. Told are seconds, processor seconds (of the process and all that it started, which other work on the machine
changes little), and the peak of memory above that of the imports, in MB. "cold": the compiler's cache is empty; "warm": it has
what the turn before has left there.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import interleave

ROOT = Path(__file__).resolve().parents[2]
MANY = 100_000  # iterations of a run that is planned as a long one
DRAWN = 20  # iterations' real images that are drawn
CASES = ("fit", "draw", "run", "compile datadam", "compile dm", "compile calm", "compile student")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--then", help="a commit of this repository")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        print(json.dumps(worker(given.worker)))
        return

    import torch

    from datadam import machine

    kept = json.loads(given.out.read_text()) if given.out and given.out.exists() else {"cases": {}}
    result: dict[str, Any] = kept | {
        "command": " ".join(["python", "benchmarks/speed/beginnings.py", *sys.argv[1:]]), "commit": machine.commit(),
        "then": given.then, "hardware": machine.hardware(torch.device("cpu")), "versions": machine.versions(),
        "threads": torch.get_num_threads(), "created": machine.now(),
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        earlier = Path(folder) / "earlier"
        subprocess.run(["git", "-C", str(ROOT), "worktree", "add", "--detach", str(earlier), given.then], check=True)
        try:
            for case in given.cases.split(","):
                turns = [
                    {name: measured(case, build, Path(folder)) for name, build in (("then", earlier), ("now", ROOT))}
                    for _ in range(given.turns)
                ]
                found = {name: least([turn[name] for turn in turns]) for name in ("then", "now")}
                result["cases"][case] = found | {"command": result["command"], "commit": result["commit"]}
                interleave.write(result, given.out)
        finally:
            subprocess.run(["git", "-C", str(ROOT), "worktree", "remove", "--force", str(earlier)], check=True)


def measured(case: str, build: Path, folder: Path) -> dict[str, dict[str, float]]:
    """One turn: of what compiles first cold, then warm."""
    with tempfile.TemporaryDirectory(dir=folder) as cache:
        own = {"PYTHONPATH": str(build / "src"), "TORCHINDUCTOR_CACHE_DIR": cache, "DATADAM_CACHE": f"{cache}/kept"}
        command = [sys.executable, str(Path(__file__).resolve()), "--worker", case]
        found = {}
        for name in ("cold", "warm") if case.startswith("compile") else ("",):
            done = subprocess.run(command, env=os.environ | own, stdout=subprocess.PIPE, text=True, check=True)
            found[name] = json.loads(done.stdout.splitlines()[-1])
            print(case, name, build.name, found[name], file=sys.stderr, flush=True)
        return found


def least(turns: list[dict[str, dict[str, float]]]) -> dict[str, dict[str, Any]]:
    """The least of every number, and of the seconds all."""
    return {
        name: {key: min(turn[name][key] for turn in turns) for key in turns[0][name]}
        | {"all_seconds": [turn[name]["seconds"] for turn in turns]}
        for name in turns[0]
    }


def processor() -> float:
    """Processor seconds so far of this process, of all below it that are there, and of their children that have ended."""
    spent, parents = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        number = int(folder.name)
        parents[number], spent[number] = int(words[1]), sum(map(int, words[11:15]))
    ours = {os.getpid()}
    while more := {number for number, parent in parents.items() if parent in ours} - ours:
        ours |= more
    return sum(spent[number] for number in ours) / os.sysconf("SC_CLK_TCK")


def worker(case: str) -> dict[str, float]:
    """A piece of work, in this process."""
    import datadam
    from datadam import machine

    assert datadam.tune_allocator() or sys.platform != "linux"
    kind, _, method = case.partition(" ")
    work = {"fit": fit, "draw": draw, "run": run, "compile": lambda: compiling(method)}[kind]()
    machine.forget_peak()
    before, began, spent = machine.peak_memory_mb(), time.perf_counter(), processor()
    less = work() or (0.0, 0.0)
    return {
        "seconds": round(time.perf_counter() - began - less[0], 3), "processor": round(processor() - spent - less[1], 2),
        "peak_mb": round(machine.peak_memory_mb() - before, 1),
    }  # fmt: skip


Work = Callable[[], tuple[float, float] | None]


def noise(per_class: int, side: int = 32) -> Any:
    """Images of noise of ten classes."""
    import numpy as np

    import datadam

    pixels = np.random.default_rng(0).integers(0, 256, (10 * per_class, 3, side, side), dtype=np.uint8)
    labels = np.repeat(np.arange(10), per_class)
    return datadam.load((pixels, labels, pixels[::per_class], labels[::per_class]))


def fit() -> Work:
    """Fitting ZCA; the images are there, and the libraries have been used."""
    real = noise(5000)
    noise(64, side=8).with_zca("official")

    def work() -> None:
        real.with_zca("official")

    return work


def draw() -> Work:
    """Drawing images that are kept ready in network space, as of so many iterations. They are not whitened: bytes are bytes."""
    import torch

    from datadam.data.resident import keep, take

    real = noise(5000)
    kept = keep(real, "float16", torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)

    def work() -> None:
        for _ in range(DRAWN):
            for members in real.by_class:
                chosen = torch.from_numpy(members)[torch.randperm(len(members), generator=generator)[:256]]
                take(kept, chosen, real, torch.float32)

    return work


def begun(method: str, real: Any, zca: str) -> Any:
    """The iterations of a run that is planned as a long one."""
    import datadam

    settings = {"precision": "bfloat16", "batch_real": 256, "iterations": MANY, "net": "convnet3", "zca": zca}
    return datadam.begin(real, datadam.preset(method, real, ipc=10).change(settings)).steps()


def run() -> Work:
    """Two iterations of DataDAM on whitened images, from the data on."""

    def work() -> None:
        steps = begun("datadam", noise(5000), "kornia")
        next(steps)
        next(steps)
        steps.close()

    return work


def compiling(method: str) -> Work:
    """All before the first iteration, or the first epoch of a student: what the first one takes beyond the second."""
    if method == "student":
        import builds

        builds.EPOCHS = 1
        epochs = builds.students({"images": 10, "precision": "bfloat16", "quick": False}, "convnet3")
        return lambda: (2 * epochs(), 0.0)  # its epochs take few processor seconds beside compiling

    def work() -> tuple[float, float]:
        steps = begun(method, noise(512), "none")
        next(steps)
        began, spent = time.perf_counter(), processor()
        next(steps)
        once = (time.perf_counter() - began, processor() - spent)
        steps.close()
        return 2 * once[0], 2 * once[1]

    return work


if __name__ == "__main__":
    main()
