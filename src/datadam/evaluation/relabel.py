"""Relabel: a set whose images stay as they are and whose labels become what teachers answer about them.

Letters: M stored images, N training images that they decode to, E of each, K classes, T teachers.
"""

import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from datadam import machine, nets
from datadam.data import RealData
from datadam.errors import InvalidInput
from datadam.evaluation.evaluate import require_fit
from datadam.nets import Network
from datadam.sets.card import FORMAT, SOFT, digest
from datadam.sets.distilled import DistilledSet
from datadam.settings import finite
from datadam.training.insight import Progress
from datadam.training.pool import Pool, open_bucket, parse
from datadam.training.teachers import COUNT, EPOCHS, teacher_logits, teachers


def relabel(
    distilled: DistilledSet,
    real: RealData,
    teacher: str,
    *,
    count: int | None = None,
    epochs: int | None = None,
    temperature: float = 1.0,
    seed: int = 0,
    device: str = "auto",
    note: str = "",
    command: str = "",
    progress: Progress | None = None,
) -> DistilledSet:
    """The same stored images with soft labels: the mean of the teachers' logits on the training images of each.

    Arguments: `distilled`; `real`, the data it was made from; `teacher`, a range of a pool such as "pools/mnist@60-100", of which
    every state teaches, or a network to be trained on the whole training part, such as "convnet3", `count` of them (None: 3) for
    `epochs` (None: 30); `temperature`, of the softmax that students learn; `seed`, of what is trained; `device`; `note` (kept
    where it is "") and `command`, for the card; `progress(what, done, total)`.
    A rate that was learned with the old labels is left out. Raises `InvalidInput`, before any work, when the data or the pool do
    not fit or a number has no meaning.
    """
    device = machine.settle_device(device)
    require_fit(distilled, real)
    if not finite(temperature) or temperature <= 0:
        raise InvalidInput(f"temperature is {temperature}; it must be a number above 0")
    real, began = replace(real, transform=distilled.transform), time.monotonic()
    networks = teachers(teacher, real, epochs=epochs, count=count, seed=seed, device=device, progress=progress)
    origin = _origin(teacher, real, count, epochs, seed)
    counted = _Counted(networks)
    labels = stored_logits(distilled, counted)
    card = distilled.card
    before = {name: card.get(name) for name in ("digest", "labels", "command", "created", "temperature", "rate") if name in card}
    likely = labels.argmax(1) == distilled.numbers
    told = {
        "format": FORMAT, "labels": SOFT, "temperature": temperature, "note": note or card.get("note", ""), "command": command,
        "digest": digest(distilled.images, labels), "hardware": machine.hardware(torch.device(device)),
        "versions": machine.versions(), "commit": machine.commit(), "created": machine.now(),
        "relabelled": {
            "teacher": origin | {"networks": counted.count}, "before": before, "agree": float(likely.double().mean()),
            "seconds": round(time.monotonic() - began, 1),
        },
    }  # fmt: skip
    kept = {name: value for name, value in card.items() if name != "rate"}
    return DistilledSet(distilled.images, labels, distilled.transform, kept | told)


def stored_logits(distilled: DistilledSet, networks: Iterable[Network]) -> Tensor:
    """The soft labels of a set's stored images, float32 [M, K]: the mean over teachers and over the E training images of each."""
    logits = teacher_logits(distilled.training_images, networks)
    return logits.reshape(len(distilled.images), distilled.decoder.each, -1).double().mean(1).float()


class _Counted:
    """Networks that are passed on one by one, and how many there were."""

    def __init__(self, networks: Iterable[Network]) -> None:
        self.networks, self.count = networks, 0

    def __iter__(self) -> Iterator[Network]:
        for network in self.networks:
            self.count += 1
            yield network


def _origin(teacher: str, real: RealData, count: int | None, epochs: int | None, seed: int) -> dict[str, Any]:
    """Who the teachers are, as the card keeps it: enough to train or find them again."""
    if "@" not in teacher:
        net = nets.canonical(teacher, real.shape)
        return {
            "net": net,
            "count": COUNT if count is None else count,
            "epochs": EPOCHS if epochs is None else epochs,
            "seed": seed,
        }
    wanted = parse(teacher)
    assert wanted is not None
    net = str(Pool.read(Path(wanted.folder)).about["net"])
    bucket = open_bucket(teacher, real, net)
    assert bucket is not None
    return {"net": net, "pool": bucket.spec}
