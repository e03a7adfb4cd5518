"""A run folder out of nothing: random images that are smooth enough to look at, and numbers that fit together."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from datadam.data.whitening import Transform

CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
MEAN, STD = (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)


def images_of(classes: int, ipc: int, shape: tuple[int, int, int], seed: int = 0) -> torch.Tensor:
    """Smooth random colours in [0.1, 0.9], one motif a class: [K * N, C, H, W]."""
    draw = np.random.default_rng(seed)
    channels, height, width = shape
    motif = draw.random((classes, 1, channels, 5, 5))
    coarse = torch.from_numpy(0.6 * motif + 0.4 * draw.random((classes, ipc, channels, 5, 5))).float().flatten(0, 1)
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic", align_corners=False)
    return smooth.add(torch.from_numpy(draw.normal(0, 0.03, smooth.shape)).float()).clamp(0.1, 0.9)


def card_of(classes: tuple[str, ...], ipc: int, shape: tuple[int, int, int], **changes: Any) -> dict[str, Any]:
    """A card as a run writes it; `changes` replace its parts."""
    channels = shape[0]
    method = {"name": "datadam", "power": 4.0, "task_balance": 0.01, "scale": 100.0, "layers": None}
    card = {
        "format": "datadam/1",
        "kind": "distilled",
        "note": "",
        "recipe": {
            "method": method, "ipc": ipc, "net": "convnet3", "iterations": 150, "batch_real": 64, "lr_images": 1.0,
            "momentum": 0.5, "start": "real", "zca": "none", "seed": 0, "precision": "float32", "preset": "quick",
        },
        "iterations_done": 150,
        "data": {
            "name": "cifar10", "source": "cifar10", "options": {"size": None}, "checksum": "sha256:" + "5e" * 32,
            "classes": list(classes), "shape": list(shape), "train": 50000, "test": 10000, "notes": [],
        },
        "transform": {"mean": list(MEAN[:channels]), "std": list(STD[:channels]), "zca": None},
        "labels": "class", "moved": 0.3127, "seconds": 123.4, "peak_memory_mb": 912.4,
        "hardware": {"cpu": "AMD EPYC 9B14", "cores": 2, "memory_gb": 24, "gpu": None},
        "versions": {"datadam": "0.1.0", "torch": "2.13.0", "numpy": "2.4.6", "python": "3.11.2"},
        "commit": None, "command": "datadam distill cifar10 --ipc 10 --preset quick", "created": "2026-11-20T15:00:00Z",
        "citations": ["@inproceedings{sajedi2023datadam,\n  title={DataDAM}, author={Sajedi, Ahmad}, year={2023}}"],
        "warnings": [],
    }  # fmt: skip
    return card | changes


def evaluation_of(of: str, about: float, classes: tuple[str, ...], **changes: Any) -> dict[str, Any]:
    """An evaluation of five students whose numbers lie about a mean; `changes` replace its parts."""
    draw = np.random.default_rng(round(1000 * about))
    count = len(classes)
    confusion = np.zeros((count, count), int)
    for true in range(count):
        right = int(100 * np.clip(about + 0.08 * draw.normal(), 0.05, 0.99))
        confusion[true] = draw.multinomial(100 - right, draw.dirichlet(np.full(count, 0.3)))
        confusion[true, true] += right
    confusion *= 5  # of all students, each of whom saw a hundred images of each class
    students = (about + 0.004 * draw.normal(size=5)).clip(0, 1)
    evaluation = {
        "format": "datadam-evaluation/1", "of": of, "note": "", "net": "convnet3", "ipc": 10, "images": 10 * count,
        "iteration": None, "protocol": {"name": "honest", "epochs": 1000}, "students": 5, "sets": 1,
        "accuracies": [students.tolist()], "mean": float(students.mean()), "std": float(students.std(ddof=1)),
        "interval": {
            "low": float(students.mean() - 0.005), "high": float(students.mean() + 0.005), "over": "students only",
        },
        "per_class": (np.diag(confusion) / 500).tolist(), "confusion": confusion.tolist(), "classes": list(classes),
        "seconds_per_student": 120.1, "seconds": 600.2, "seed": 0, "data": "cifar10",
        "words": "honest: 5 of 20 students, 1 of 5 sets, 1000 epochs of SGD with rate 0.01, Siamese augmentation",
    }  # fmt: skip
    return evaluation | changes


def metrics_of(iterations: int, every: int = 10) -> list[dict[str, Any]]:
    """A loss that falls, in two terms."""
    draw = np.random.default_rng(3)
    lines = []
    for iteration in range(every, iterations + 1, every):
        fall = float(np.exp(-iteration / iterations * 3) * (1 + 0.1 * draw.normal()))
        terms = {
            "sam": {"loss": 0.4 * fall, "grad_norm": 0.02 * fall},
            "mmd": {"loss": fall + 0.2, "grad_norm": 0.05 * fall},
        }
        moved = 0.31 * (1 - float(np.exp(-iteration / iterations * 2)))
        line = {
            "iteration": iteration,
            "loss": 1.4 * fall + 0.2,
            "terms": terms,
            "moved": moved,
            "seconds": 0.8 * iteration,
        }
        lines.append(line)
    return lines


def write_run(
    folder: Path,
    *,
    classes: tuple[str, ...] = ("cat", "dog", "ship"),
    ipc: int = 2,
    shape: tuple[int, int, int] = (3, 8, 8),
    evaluations: dict[str, dict[str, Any]] | None = None,
    metrics: list[dict[str, Any]] | None = None,
    snapshots: tuple[int, ...] = (),
    **changes: Any,
) -> Path:
    """A run folder; `changes` replace parts of its card."""
    folder.mkdir(parents=True)
    card = card_of(classes, ipc, shape, **changes)
    (folder / "card.json").write_text(json.dumps(card))
    transform = Transform.from_card(card["transform"] | {"zca": None})
    end = images_of(len(classes), ipc, shape)
    start = images_of(len(classes), ipc, shape, seed=1)
    labels = torch.arange(len(classes)).repeat_interleave(ipc)
    save_file({"images": transform.to_network(end), "labels": labels}, folder / "distilled.safetensors")
    for iteration in snapshots:
        (folder / "snapshots").mkdir(exist_ok=True)
        share = iteration / 150
        between = transform.to_network(share * end + (1 - share) * start)
        save_file({"images": between}, folder / "snapshots" / f"{iteration:08d}.safetensors")
    for name, evaluation in (evaluations or {}).items():
        (folder / "evaluations").mkdir(exist_ok=True)
        (folder / "evaluations" / f"{name}.json").write_text(json.dumps(evaluation))
    if metrics:
        (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in metrics))
    return folder


def full_run(folder: Path, **options: Any) -> Path:
    """A run with everything: ten classes, ten images each, five snapshots, evaluations beside random and whole."""
    whole = {"images": 50000, "words": "honest: 3 students, 60 epochs on the whole training set"}
    told = {
        "distilled-convnet3": evaluation_of("distilled", 0.642, CIFAR),
        "distilled-resnet18": evaluation_of("distilled", 0.571, CIFAR, net="resnet18"),
        "random-convnet3": evaluation_of("random", 0.431, CIFAR),
        "herding-convnet3": evaluation_of("herding", 0.487, CIFAR),
        "whole-convnet3": evaluation_of("whole", 0.851, CIFAR, **whole),
    }
    standard: dict[str, Any] = {
        "classes": CIFAR, "ipc": 10, "shape": (3, 32, 32), "evaluations": told, "metrics": metrics_of(150),
        "snapshots": (0, 38, 75, 112, 150),
    }  # fmt: skip
    return write_run(folder, **(standard | options))


@pytest.fixture
def made() -> SimpleNamespace:
    """Makers of run folders and of what is in them."""
    return SimpleNamespace(
        run=write_run, full=full_run, card=card_of, evaluation=evaluation_of, metrics=metrics_of, images=images_of
    )
