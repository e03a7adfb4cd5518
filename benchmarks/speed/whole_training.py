"""Do students score alike however they are computed, over a whole training? The same students by several ways.

    python benchmarks/speed/whole_training.py --out results/benchmarks/whole_training.json

A thousand epochs amplify any change of summation order, so that weights part; what must not part are the accuracies, but for
chance. Each way trains the same students (same streams) on the same ten real MNIST digits a class; told are their means with 95 %
intervals and the paired difference from the plain loop in one process. Nothing is timed.
"""

import argparse
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch

import datadam
from datadam import machine, parallel
from datadam.data import RealData
from datadam.evaluation.panel import protocol_named
from datadam.evaluation.statistics import t95
from datadam.training.students import Rows, Source, StudentTrainer

NET = "convnet3:width=32"
WAYS: dict[str, dict[str, Any]] = {
    "plain": {"compiled": False},
    "compiled": {"compiled": True},
    "compiled, two processes": {"compiled": True, "workers": 2},
    "compiled, bfloat16": {"compiled": True, "precision": "bfloat16"},
}


def accuracies(real: RealData, students: int, epochs: int, *, workers: int = 1, **way: Any) -> list[float]:
    """Test accuracy of each student."""
    chosen = datadam.distill(real, datadam.preset("random", real, ipc=10))
    source = Source(0, Rows(chosen.images.numpy()), chosen.labels.numpy())
    protocol = protocol_named("honest", epochs=epochs, augment="color_crop_cutout_scale_rotate")
    school = StudentTrainer(
        NET, (source,), real.test, len(real.classes), real.transform, protocol.training, 0,
        threads=max(1, torch.get_num_threads() // workers), **way,
    )  # fmt: skip
    found = parallel.run(school, [(0, number) for number in range(students)], workers=workers)
    return [float(one.counts.trace() / one.counts.sum()) for one in found]


def interval(values: list[float]) -> dict[str, float]:
    """Mean, and half of its 95 % interval by Student's t."""
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else math.inf
    return {"mean": float(np.mean(values)), "half": t95(len(values) - 1) * spread / math.sqrt(len(values))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--students", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=1000)
    given = parser.parse_args()
    real = datadam.load("mnist")
    ways: dict[str, Any] = {}
    for name, way in WAYS.items():
        found = accuracies(real, given.students, given.epochs, **way)
        ways[name] = {"accuracies": found, **interval(found)}
        plain = ways["plain"]["accuracies"]
        ways[name]["less_plain"] = interval([a - b for a, b in zip(found, plain, strict=True)])
        print(name, ways[name], flush=True)
    result = {
        "command": f"python benchmarks/speed/whole_training.py --students {given.students} --epochs {given.epochs}",
        "hardware": machine.hardware(torch.device("cpu")), "versions": machine.versions(), "commit": machine.commit(),
        "created": machine.now(), "threads": torch.get_num_threads(),
        "shape": f"{given.students} students {NET} of ten random MNIST digits a class, {given.epochs} epochs", "ways": ways,
    }  # fmt: skip
    if given.out:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
