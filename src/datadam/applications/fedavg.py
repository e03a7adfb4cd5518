"""FedAvg: in each round every client trains the server's network on its own images, and the server takes the mean of the weights.

    w_c = SGD(w; images of client c),   w <- sum over c of n_c / n w_c

Source: McMahan et al., AISTATS 2017, Algorithm 1, all clients in each round. Weights are added up in float64.
Letters: C clients, K classes, N images, n_c of client c.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from datadam import machine, nets
from datadam.applications.clients import Indices
from datadam.data import RealData
from datadam.files.kept import Record, Store
from datadam.rng import stream
from datadam.training.resumable import train_on
from datadam.training.trainer import Trainer, Training, confusion, inside

FORMAT = "datadam-fedavg/1"


class FedAvg:
    """Rounds under way; a step is the training of one client, so `rounds` times C steps. What goes on from its state ends with
    the same bits.

    Arguments: `real`; `dealt`, the indices of each client's training images; `net`; `training` of a client in a round; `rounds`;
    `seed` and `number`, which name the random streams; `device`.
    """

    def __init__(
        self, real: RealData, dealt: Sequence[Indices], net: str, training: Training, rounds: int, seed: int, number: int,
        device: str = "cpu",
    ) -> None:  # fmt: skip
        self.real, self.dealt, self.training, self.device = real, dealt, training, device
        self.done, self.steps, self.rounds = 0, rounds * len(dealt), rounds
        self._what = (seed, "fedavg", number)
        self.network = nets.build(net, shape=real.shape, classes=len(real.classes)).to(device)
        nets.initialise(self.network, stream(*self._what, "init"))
        self.weights = _copied(self.network.state_dict())
        self.sums = _zeros(self.weights)
        self.counts: list[Tensor] = []
        """Of each round [K, K]: test images of (true class, predicted class)."""

    def step(self) -> None:
        """One client more; after the last of a round the server's network is tested. Raises `RunFailed`."""
        number, client = divmod(self.done, len(self.dealt))
        own = self.dealt[client]
        self.network.load_state_dict(self.weights)
        trainer = Trainer(
            self.network, lambda chosen: self.real.images(own[chosen.numpy()], device=self.device),
            torch.from_numpy(self.real.train.labels[own]), self.training, *self._what, number, client,
            transform=self.real.transform,
        )  # fmt: skip
        while trainer.done < trainer.steps:
            trainer.step()
        share = len(own) / sum(map(len, self.dealt))
        sums = {name: self.sums[name] + share * value.double() for name, value in self.network.state_dict().items()}
        if client + 1 == len(self.dealt):
            weights = {name: value.to(self.weights[name].dtype) for name, value in sums.items()}
            self.network.load_state_dict(weights)
            self.counts.append(confusion(self.network, self._tests(), len(self.real.classes)))
            self.weights, sums = weights, _zeros(weights)
        self.sums, self.done = sums, self.done + 1

    def _tests(self) -> Iterator[tuple[Tensor, Tensor]]:
        labels = torch.from_numpy(self.real.test.labels)
        for chosen in torch.arange(len(labels)).split(machine.images_at_once(self.real.shape, self.device)):
            yield self.real.images(chosen, "test", device=self.device), labels[chosen]

    def state(self) -> dict[str, Tensor]:
        """All that it goes on from."""
        tensors = {f"weight/{name}": value for name, value in self.weights.items()}
        tensors |= {f"sum/{name}": value for name, value in self.sums.items()}
        tensors |= {f"counts/{number}": value for number, value in enumerate(self.counts)}
        return {name: value.detach().cpu().clone() for name, value in tensors.items()} | {"done": torch.tensor(self.done)}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Be as the one of this state, which may have had more or fewer rounds to make.

        Raises `KeyError`, `ValueError` or `RuntimeError` for the state of another training.
        """
        self.network.load_state_dict(inside("weight", state))
        kept, done = inside("counts", state), int(state["done"])
        counts, sums = [kept[str(number)] for number in range(len(kept))], inside("sum", state)
        if done // len(self.dealt) != len(counts) or set(sums) != set(self.weights):
            raise ValueError(f"{done} steps of {len(self.dealt)} clients and {len(counts)} tested rounds do not belong together")
        self.weights = _copied(self.network.state_dict())
        self.sums = {name: sums[name].to(self.device) for name in self.weights}
        self.counts, self.done = counts, done

    @property
    def accuracies(self) -> list[float]:
        """After each round, the accuracy of the server's network on the test part."""
        return [float(counts.trace() / counts.sum()) for counts in self.counts[: self.rounds]]


def _copied(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in tensors.items()}


def _zeros(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: torch.zeros_like(value, dtype=torch.float64) for name, value in tensors.items()}


def curve(
    real: RealData, dealt: Sequence[Indices], net: str, training: Training, rounds: int, *, seed: int, number: int, folder: Path,
    device: str, advance: Callable[[int, int], Any] | None = None,
) -> list[float]:  # fmt: skip
    """The accuracy after each round of one training, of which `folder` keeps the state: asked again it goes on, also to more
    rounds. Arguments as `FedAvg`; `advance(steps done, steps)`."""
    trainer = FedAvg(real, dealt, net, training, rounds, seed, number, device)
    key = {
        "data": real.checksum, "transform": real.transform.to_card(), "dealt": _digest(dealt), "net": net,
        "training": asdict(training), "seed": seed, "number": number, "device": device, "threads": torch.get_num_threads(),
        "versions": machine.versions(), "hardware": machine.hardware(torch.device(device)), "commit": machine.commit(),
    }  # fmt: skip
    entry = Store(folder, FORMAT).entry(key)
    with machine.telling_full_memory("take a narrower --net, or a smaller --local-batch"), machine.repeatable(device):
        made: list[int] = []  # steps that are new

        def tell(done: int) -> None:
            made.append(done)
            if advance:
                advance(done, trainer.steps)

        spent = train_on(trainer, entry, tell)
    if made:
        entry.write(Record(trainer.state(), spent.seconds))
    return trainer.accuracies


def weight_bytes(net: str, real: RealData) -> int:
    """Bytes of a network's weights, sent one way."""
    network = nets.build(net, shape=real.shape, classes=len(real.classes))
    return sum(tensor.nbytes for tensor in network.state_dict().values())


def _digest(dealt: Sequence[Indices]) -> str:
    found = hashlib.sha256()
    for own in dealt:
        array: npt.NDArray[np.int64] = np.ascontiguousarray(own)
        found.update(str(len(array)).encode())
        found.update(array.tobytes())
    return found.hexdigest()
