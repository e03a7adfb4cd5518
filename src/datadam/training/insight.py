"""Insight: what networks know of the real images, for coresets to choose by. Trained once, kept on the disk, shared by all rules.

Letters: N training images, n of a class, K classes, D numbers of the embedding.
"""

import dataclasses
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from datadam import nets
from datadam.data import RealData
from datadam.files.kept import Entry, Record, Store, cache_folder
from datadam.machine import images_at_once, versions
from datadam.nets import Network
from datadam.rng import stream
from datadam.training.difficulty import SCORES, History
from datadam.training.resumable import train_kept
from datadam.training.trainer import Trainer, Training, forward_of

Progress = Callable[[str, int, int | None], None]
FORMAT = "datadam-insight/2"
TRAINING = "training"


class Requirement(NamedTuple):
    """Work that choices rest on and that the disk keeps: `what`, a "training" or a score of all images ("el2n", "grand"), of
    network `number`, by its `training`."""

    what: str
    number: int
    training: Training

    @property
    def doing(self) -> str:
        """What progress says of it."""
        if self.what == TRAINING:
            return f"training network {self.number + 1} on the real set"
        return f"{self.what} of all images, network {self.number + 1}"


class Provenance(NamedTuple):
    """Such work as one choice met it: the `name` of its file, `what` as above, the `seconds` that it took when it was done, and
    whether it was `found` on the disk, so that this choice took none of them."""

    name: str
    what: str
    seconds: float
    found: bool


def trained(epochs: int) -> Training:
    """A whole training to choose by."""
    return Training(epochs=epochs)


def early(epochs: int) -> Training:
    """The beginning of a longer training: at the full rate throughout."""
    return Training(epochs=epochs, drop_after=epochs)


@dataclass
class Insight:
    """Networks on one real set, and what they make of its training images.

    Arguments: `real`; `seed`, the run's; `net`, the network; `device`; `progress(what, done, total)`, called while one trains or
    looks at all images. `met` tells what the choice rests on; `past` are the seconds that anything found on the disk took when it
    was made, so that the cost of a choice can be told whole.
    Networks are trained as the field's students: SGD 0.01, batch 256, momentum 0.9, weight decay 5e-4, no augmentation.
    """

    real: RealData
    seed: int
    net: str = "auto"
    device: str = "cpu"
    progress: Progress | None = None
    past: float = field(default=0.0, init=False)
    met: list[Provenance] = field(default_factory=list, init=False)
    _networks: dict[tuple[Training, int], tuple[Network, History]] = field(default_factory=dict, init=False, repr=False)
    _scores: dict[tuple[str, int, int], Tensor] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def _order(self) -> Tensor:
        return torch.from_numpy(self.real.order)

    @cached_property
    def _labels(self) -> Tensor:
        return torch.from_numpy(self.real.train.labels)[self._order]

    def members(self, k: int) -> Tensor:
        """Training indices [n] of class k by the digest of the images: however their files lie, they come in one order.

        All row numbers below are into it, and ties between images are broken by it.
        """
        return self._order[self._labels == k]

    def embeddings(self, k: int, epochs: int = 0) -> Tensor:
        """Embeddings [n, D], float32, of class k under a network trained for some epochs; 0: one with random weights."""
        network = self.network(epochs)
        with torch.no_grad():
            return torch.cat([network.features(x).embedding.cpu() for x, _ in self._batches(self.members(k))])

    def network(self, epochs: int = 0) -> Network:
        """A network trained for some epochs, in evaluation mode; 0: one with random weights."""
        return self.trained(trained(epochs)) if epochs else self._random

    def trained(self, training: Training, number: int = 0) -> Network:
        """The network of a number, trained as it is said, in evaluation mode."""
        return self._trained(training, number)[0]

    def forgetting(self, k: int, epochs: int) -> tuple[Tensor, Tensor]:
        """Of class k: how often each image was forgotten in a training, int32 [n], and whether ever learned, bool [n]."""
        history = self._trained(trained(epochs), 0)[1]
        return history.forgotten[self._labels == k], history.learned[self._labels == k]

    def difficulty(self, k: int, score: str, averaged: int, epochs: int) -> Tensor:
        """Mean scores [n], float64, of class k over some networks, each early in training; `score` is "el2n" or "grand"."""
        scores = torch.stack([self._score(score, number, epochs) for number in range(averaged)])
        return scores.double().mean(0)[self._labels == k]

    def _entry(self, training: Training, number: int, **more: object) -> Entry:
        key = {
            "data": self.real.checksum,
            "transform": self.real.transform.to_card(),
            "net": nets.canonical(self.net, self.real.shape),
            "seed": self.seed,
            "number": number,
            "training": dataclasses.asdict(training),
            "device": torch.device(self.device).type,  # the last bits differ
            "versions": {name: version for name, version in versions().items() if name in ("datadam", "torch")},
        }
        return Store(cache_folder("insight"), FORMAT).entry(key | more)

    def _build(self, *what: str | int) -> Network:
        network = nets.build(self.net, shape=self.real.shape, classes=len(self.real.classes))
        nets.initialise(network, stream(self.seed, "coreset", *what))
        return network.to(self.device)

    @cached_property
    def _random(self) -> Network:
        return self._build("network").eval()

    def _trained(self, training: Training, number: int) -> tuple[Network, History]:
        """A trained network in evaluation mode, and what was seen of its images, in the order of `_labels`."""
        if (training, number) not in self._networks:
            network, history = self._build("trained", number), History(self._labels)
            trainer = Trainer(
                network, self._images, self._labels, training, self.seed, "coreset", "trained", number,
                transform=self.real.transform, watchers={"history": history},
            )  # fmt: skip
            entry, work = self._entry(training, number), Requirement(TRAINING, number, training)
            spent = train_kept(
                trainer, entry, lambda done: self._tell(work.doing, done, trainer.steps),
                forward=lambda: forward_of(network, trainer.steps),
            )  # fmt: skip
            self._meet(entry, TRAINING, *spent)
            self._networks[training, number] = network.eval(), history
        return self._networks[training, number]

    def _images(self, chosen: Tensor) -> Tensor:
        return self.real.images(self._order[chosen], device=self.device)

    def _score(self, score: str, number: int, epochs: int) -> Tensor:
        """Scores [N] under one network, in the order of `_labels`."""
        if (score, number, epochs) not in self._scores:
            training = early(epochs)
            network = self.trained(training, number)  # here and not within the look, whose seconds are its own

            entry, work = self._entry(training, number, score=score), Requirement(score, number, training)
            like = {"scores": torch.zeros(len(self._labels))}
            record, found = entry.once(lambda: self._look(work, network), like)
            self._meet(entry, score, record.seconds, record.seconds if found else 0.0, found)
            self._scores[score, number, epochs] = record.tensors["scores"]
        return self._scores[score, number, epochs]

    def _look(self, work: Requirement, network: Network) -> Record:
        began, scores, done = time.monotonic(), [], 0
        for x, y in self._batches(self._order):
            scores.append(SCORES[work.what](network, x, y).cpu())
            done += len(y)
            self._tell(work.doing, done, len(self._order))
        return Record({"scores": torch.cat(scores)}, time.monotonic() - began)

    def _batches(self, indices: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        labels = torch.from_numpy(self.real.train.labels)
        for part in indices.split(images_at_once(self.real.shape)):
            yield self.real.images(part, device=self.device), labels[part].to(self.device)

    def _meet(self, entry: Entry, what: str, seconds: float, earlier: float, found: bool) -> None:
        """Note work of so many seconds, of which some were spent `earlier`."""
        self.past += earlier
        self.met.append(Provenance(entry.name, what, seconds, found))

    def _tell(self, what: str, done: int, total: int) -> None:
        if self.progress:
            self.progress(what, done, total)
