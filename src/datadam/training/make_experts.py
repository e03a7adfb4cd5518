"""Make experts: train networks on the whole real set and keep their weights after each epoch (see experts.py).

Letters: P weights.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from datadam import nets
from datadam.augment.policies import check_words
from datadam.augment.siamese import strategy_for
from datadam.data import RealData
from datadam.errors import InvalidInput
from datadam.files.whole import write_tensors
from datadam.nets import Network
from datadam.parallel import Ray
from datadam.training.curriculum import Curriculum
from datadam.training.experts import FORMS, STAMPS, Experts
from datadam.training.flat import Flat
from datadam.training.insight import Insight
from datadam.training.maker import AfterStep, Check, Kind, Lesson
from datadam.training.making import grow
from datadam.training.pool import about
from datadam.training.trainer import Training, Watcher, ends_of
from datadam.where import Where

FORMAT = "datadam-expert/1"  # of the state of a training


def make_experts(
    real: RealData,
    folder: Path,
    net: str,
    training: Training,
    count: int,
    seed: int,
    *,
    form: str = "float32",
    device: str = "cpu",
    precision: str = "float32",
    flat: Flat | None = None,
    curriculum: Curriculum | None = None,
    after_step: AfterStep | None = None,
    workers: int | None = 1,
    engine: Ray | None = None,
    time_limit: float | None = None,
) -> Experts:
    """Train `count` experts on the training part, and keep the weights of each before its first and after each epoch.

    Arguments: `real`, whitened as the runs that will follow them; `folder`, where an earlier call with the same settings is gone
    on with; `net`; `training` of each (the augmentation "dsa" is what the data allow of it); `seed` names all randomness;
    `form`, "float32" or "float16", of the numbers on disk; `precision`, "float32" or "bfloat16" (with weights in float32), of
    the trainings; `flat`, towards flat minima (None: plain SGD); `curriculum`, which images an epoch trains on (None: all);
    `after_step(number, done, steps)`, called after each step of the expert of a number, from 0; `workers`, processes that train
    experts side by side, of `engine`, a Ray cluster whose machines all see the folder (None: of this machine), or as many as it
    has room for (None); `time_limit` in seconds, after which those that are done stand in the folder, and how far the others are.
    Raises `InvalidInput` when the folder holds something else or has no room, `RunFailed` when a training fails.
    """
    net = nets.canonical(net, real.shape)
    if count < 1:
        raise InvalidInput(f"count is {count}; it must be at least 1")
    if form not in FORMS:
        raise InvalidInput(f"form is {form!r}; allowed: {', '.join(FORMS)}")
    if training.augment == "dsa":
        training = replace(training, augment=strategy_for(real.name, flips=real.flips))
    check_words(training.augment)
    weights = weights_of(real, net)
    settings = {**about(real, net), "training": asdict(training), "seed": seed, "form": form, "weights": weights}
    settings |= {"optimizer": str(flat) if flat else None, "curriculum": as_kept(curriculum)}
    ends = ends_of(training, images_of(real, training.epochs, curriculum))
    kind = Kind(
        "folder of experts", "expert", FORMAT, Experts.read, _none, part=_all, watches=partial(_Stamps.of, ends, FORMS[form]),
        add=_with,
    )  # fmt: skip

    def lessons(check: Check) -> Lesson:
        assert curriculum
        return curriculum.lessons(Insight(real, seed, net, device, check))

    where = Where(device=device, workers=workers, engine=engine)
    return grow(
        kind, folder, settings, net, training, count, seed, real, where=where, precision=precision, after_step=after_step,
        flat=flat, lessons=lessons if curriculum else None, time_limit=time_limit,
    )  # fmt: skip


def as_kept(curriculum: Curriculum | None) -> dict[str, Any] | None:
    """A curriculum as JSON knows it."""
    return asdict(curriculum) | {"drops": [list(drop) for drop in curriculum.drops]} if curriculum else None


def images_of(real: RealData, epochs: int, curriculum: Curriculum | None) -> list[int]:
    """How many images each epoch trains on."""
    sizes = [len(members) for members in real.by_class]
    return [curriculum.count(epoch, sizes) if curriculum else sum(sizes) for epoch in range(epochs)]


def weights_of(real: RealData, net: str) -> int:
    """P, of a network on these data."""
    network = nets.build(net, shape=real.shape, classes=len(real.classes))
    return sum(parameter.numel() for parameter in network.parameters())


def bytes_of(real: RealData, net: str, epochs: int, count: int, form: str = "float32") -> int:
    """Bytes that experts take on the disk."""
    return count * (epochs + 1) * weights_of(real, net) * FORMS[form].itemsize


class _Stamps(Watcher):
    """The weights of a network before its first epoch and after each.

    Arguments: `network`, at its beginning; `ends`, the steps that are done after each epoch; `form` of what is kept.
    """

    def __init__(self, network: Network, ends: Sequence[int], form: torch.dtype) -> None:
        self.network, self.form, self.ends = network, form, frozenset(ends)
        self.stamps = [self._now()]

    @classmethod
    def of(cls, ends: Sequence[int], form: torch.dtype, network: Network, part: RealData) -> "_Stamps":
        """Those of a network on any part of the data."""
        return cls(network, ends, form)

    def _now(self) -> Tensor:
        """A copy: on a CPU the weights themselves would change with the next step."""
        return torch.cat([p.detach().flatten() for p in self.network.parameters()]).to("cpu", self.form, copy=True)

    def step(self, done: int) -> None:
        """Kept after each epoch."""
        if done in self.ends:
            self.stamps.append(self._now())

    def state(self) -> dict[str, Tensor]:
        """The weights, by epoch."""
        return {str(epoch): stamp for epoch, stamp in enumerate(self.stamps)}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a `state`."""
        self.stamps = [state[str(epoch)] for epoch in range(len(state))]


def _none(folder: Path, settings: dict[str, Any]) -> Experts:
    """A folder without an expert."""
    return Experts(folder, settings, ())


def _all(real: RealData) -> RealData:
    """Experts train on the whole training part."""
    return real


def _with(experts: Experts, number: int, stamps: _Stamps) -> Experts:
    """The experts and one more, which is written."""
    path = experts.file(number)
    write_tensors(path, {STAMPS: torch.stack(stamps.stamps)})
    return replace(experts, digests=(*experts.digests, hashlib.sha256(path.read_bytes()).hexdigest()))
