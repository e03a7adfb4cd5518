"""Make experts: train networks on the whole real set and keep their weights after each epoch (see experts.py).

Letters: P weights.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Tensor

from datadam import nets
from datadam.augment.policies import check_words
from datadam.augment.siamese import strategy_for
from datadam.data import RealData
from datadam.errors import InvalidInput
from datadam.files.whole import write_tensors
from datadam.nets import Network
from datadam.training.experts import FORMS, STAMPS, Experts
from datadam.training.making import AfterStep, Kind, grow
from datadam.training.pool import about
from datadam.training.trainer import Training, Watcher

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
    after_step: AfterStep | None = None,
) -> Experts:
    """Train `count` experts on the training part, and keep the weights of each before its first and after each epoch.

    Arguments: `real`, whitened as the runs that will follow them; `folder`, where an earlier call with the same settings is gone
    on with; `net`; `training` of each (the augmentation "dsa" is what the data allow of it); `seed` names all randomness;
    `form`, "float32" or "float16", of the numbers on disk; `precision`, "float32" or "bfloat16" (with weights in float32), of
    the trainings; `after_step(number, done, steps)`, called after each step of the expert of a number, from 0.
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
    kind = Kind(
        "folder of experts", "expert", FORMAT, Experts.read, lambda folder, settings: Experts(folder, settings, ()),
        part=lambda: real, watches=lambda network, part: _Stamps(network, len(part.train), training, FORMS[form]), add=_with,
    )  # fmt: skip
    return grow(kind, folder, settings, net, training, count, seed, device=device, precision=precision, after_step=after_step)


def weights_of(real: RealData, net: str) -> int:
    """P, of a network on these data."""
    network = nets.build(net, shape=real.shape, classes=len(real.classes))
    return sum(parameter.numel() for parameter in network.parameters())


def bytes_of(real: RealData, net: str, epochs: int, count: int, form: str = "float32") -> int:
    """Bytes that experts take on the disk."""
    return count * (epochs + 1) * weights_of(real, net) * FORMS[form].itemsize


class _Stamps(Watcher):
    """The weights of a network before its first epoch and after each.

    Arguments: `network`, at its beginning; `images` that it trains on; `training`; `form` of what is kept.
    """

    def __init__(self, network: Network, images: int, training: Training, form: torch.dtype) -> None:
        self.network, self.form, self.an_epoch = network, form, -(-images // training.batch)
        self.stamps = [self._now()]

    def _now(self) -> Tensor:
        """A copy: on a CPU the weights themselves would change with the next step."""
        return torch.cat([p.detach().flatten() for p in self.network.parameters()]).to("cpu", self.form, copy=True)

    def step(self, done: int) -> None:
        """Kept after each epoch."""
        if done % self.an_epoch == 0:
            self.stamps.append(self._now())

    def state(self) -> dict[str, Tensor]:
        """The weights, by epoch."""
        return {str(epoch): stamp for epoch, stamp in enumerate(self.stamps)}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a `state`."""
        self.stamps = [state[str(epoch)] for epoch in range(len(state))]


def _with(experts: Experts, number: int, stamps: _Stamps) -> Experts:
    """The experts and one more, which is written."""
    path = experts.file(number)
    write_tensors(path, {STAMPS: torch.stack(stamps.stamps)})
    return replace(experts, digests=(*experts.digests, hashlib.sha256(path.read_bytes()).hexdigest()))
