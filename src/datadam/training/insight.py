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
from datadam.files.kept import kept, name_of
from datadam.machine import images_at_once, versions
from datadam.nets import Network
from datadam.rng import stream
from datadam.training.difficulty import SCORES, History
from datadam.training.trainer import Training, forward_of, train_steps

Progress = Callable[[str, int, int | None], None]
TRAINING = "training"


class Behind(NamedTuple):
    """Work that choices rest on and that the disk keeps: `what`, a "training" or a score of all images ("el2n", "grand"), of
    network `number`, by its `training`."""

    what: str
    number: int
    training: Training

    @property
    def doing(self) -> str:
        """What progress says of it."""
        if self.what == TRAINING:
            return f"training network {self.number + 1} to choose by"
        return f"{self.what} of all images, network {self.number + 1}"


class Met(NamedTuple):
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
    met: list[Met] = field(default_factory=list, init=False)
    _networks: dict[tuple[Training | None, int], tuple[Network, dict[str, Tensor]]] = field(
        default_factory=dict, init=False, repr=False
    )
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
        return self._trained(trained(epochs), 0)[0] if epochs else self._random()

    def forgetting(self, k: int, epochs: int) -> tuple[Tensor, Tensor]:
        """Of class k: how often each image was forgotten in a training, int32 [n], and whether ever learned, bool [n]."""
        found = self._trained(trained(epochs), 0)[1]
        return found["forgotten"][self._labels == k], found["learned"][self._labels == k]

    def difficulty(self, k: int, score: str, averaged: int, epochs: int) -> Tensor:
        """Mean scores [n], float64, of class k over some networks, each early in training; `score` is "el2n" or "grand"."""
        scores = torch.stack([self._score(score, number, epochs) for number in range(averaged)])
        return scores.double().mean(0)[self._labels == k]

    def _key(self, training: Training, number: int) -> dict[str, object]:
        return {
            "data": self.real.checksum,
            "transform": self.real.transform.to_card(),
            "net": nets.canonical(self.net, self.real.shape),
            "seed": self.seed,
            "number": number,
            "training": dataclasses.asdict(training),
            "device": torch.device(self.device).type,  # the last bits differ
            "versions": {name: version for name, version in versions().items() if name in ("datadam", "torch")},
        }

    def _build(self, *what: str | int) -> Network:
        network = nets.build(self.net, shape=self.real.shape, classes=len(self.real.classes))
        nets.initialise(network, stream(self.seed, "coreset", *what))
        return network.to(self.device)

    def _random(self) -> Network:
        if (None, 0) not in self._networks:
            self._networks[None, 0] = self._build("network").eval(), {}
        return self._networks[None, 0][0]

    def _trained(self, training: Training, number: int) -> tuple[Network, dict[str, Tensor]]:
        """A trained network in evaluation mode, and its history `forgotten` and `learned` [N], in the order of `_labels`."""
        if (training, number) not in self._networks:
            network, empty = self._build("trained", number), History(len(self.real.train))
            weights = {f"weight/{name}": tensor for name, tensor in network.state_dict().items()}
            like = weights | {"forgotten": empty.forgotten, "learned": empty.learned}
            found = self._kept(TRAINING, self._key(training, number), like, lambda: self._train(network, training, number))
            state = {name.removeprefix("weight/"): tensor for name, tensor in found.items() if name in weights}
            network.load_state_dict(state)
            network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # as found: compiling changed it
            self._networks[training, number] = network.eval(), found
        return self._networks[training, number]

    def _train(self, network: Network, training: Training, number: int) -> dict[str, Tensor]:
        history = History(len(self._labels))
        total = training.epochs * -(-len(self._labels) // training.batch)
        inner = forward_of(network, total)
        shown = self._order

        def images(chosen: Tensor) -> Tensor:
            nonlocal shown
            shown = chosen
            return self.real.images(self._order[chosen], device=self.device)

        def forward(x: Tensor) -> Tensor:
            logits = inner(x)
            history.see(shown, logits.detach().argmax(1).cpu() == self._labels[shown])
            return logits

        steps = train_steps(network, images, self._labels, training, self.seed, "coreset", "trained", number, forward=forward)
        for step, _ in enumerate(steps, 1):
            self._tell(Behind(TRAINING, number, training).doing, step, total)
        weights = {f"weight/{name}": tensor.cpu() for name, tensor in network.state_dict().items()}
        return weights | {"forgotten": history.forgotten, "learned": history.learned}

    def _score(self, score: str, number: int, epochs: int) -> Tensor:
        """Scores [N] under one network, in the order of `_labels`."""
        if (score, number, epochs) not in self._scores:
            training = early(epochs)
            self._trained(training, number)  # here and not within the look, whose seconds are its own
            key = self._key(training, number) | {"score": score, "seconds": "of the look alone"}
            like = {"scores": torch.zeros(len(self._labels))}
            found = self._kept(score, key, like, lambda: self._look(score, training, number))
            self._scores[score, number, epochs] = found["scores"]
        return self._scores[score, number, epochs]

    def _look(self, score: str, training: Training, number: int) -> dict[str, Tensor]:
        network, scores, done = self._trained(training, number)[0], [], 0
        for x, y in self._batches(self._order):
            scores.append(SCORES[score](network, x, y).cpu())
            done += len(y)
            self._tell(Behind(score, number, training).doing, done, len(self._order))
        return {"scores": torch.cat(scores)}

    def _batches(self, indices: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        labels = torch.from_numpy(self.real.train.labels)
        for part in indices.split(images_at_once(self.real.shape)):
            yield self.real.images(part, device=self.device), labels[part].to(self.device)

    def _kept(
        self, what: str, key: dict[str, object], like: dict[str, Tensor], make: Callable[[], dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """As `kept`; counts into `past` what it took then."""
        fresh = False

        def timed() -> dict[str, Tensor]:
            nonlocal fresh
            fresh, began = True, time.monotonic()
            made = make()
            return made | {"seconds": torch.tensor(time.monotonic() - began, dtype=torch.float64)}

        found = kept(key, like | {"seconds": torch.zeros((), dtype=torch.float64)}, timed)
        seconds = float(found["seconds"])
        if not fresh:
            self.past += seconds
        self.met.append(Met(name_of(key), what, seconds, not fresh))
        return found

    def _tell(self, what: str, done: int, total: int) -> None:
        if self.progress:
            self.progress(what, done, total)
