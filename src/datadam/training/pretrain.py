"""Make a pool of networks at all accuracies: train many on the real set and keep states on the way (see pool.py).

Accuracy is measured on images held out of the training part, never on the test part, which judges what is distilled through these
networks. (The paper sorted its 1 000 networks "based on testing performance".) How far a network in training is lies beside
(maker.py).
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from datadam import machine, nets
from datadam.augment.policies import check_words
from datadam.augment.siamese import strategy_for
from datadam.data import RealData
from datadam.data.real import Raw, hold_out
from datadam.errors import InvalidInput
from datadam.files.whole import write_tensors
from datadam.nets import Network
from datadam.parallel import Ray
from datadam.rng import stream
from datadam.training.maker import AfterStep, Kind
from datadam.training.making import grow
from datadam.training.pool import WIDTH, Pool, State, about
from datadam.training.trainer import Training, Watcher, confusion, inside
from datadam.where import Where

FORMAT = "datadam-pool-network/1"
MEASURED = 2000  # held-out images that accuracy is measured on, at most


@dataclass(frozen=True)
class Progress:
    """One epoch of one network is done: `network` of `networks`, `epoch` of `epochs` (all from 1)."""

    network: int
    networks: int
    epoch: int
    epochs: int


def pretrain(
    real: RealData,
    out: Path | str,
    *,
    net: str = "auto",
    count: int = 100,
    epochs: int = 30,
    augment: str = "dsa",
    seed: int = 0,
    device: str = "auto",
    progress: Callable[[Progress], None] | None = None,
    workers: int | None = 1,
    engine: Ray | None = None,
    time_limit: float | None = None,
) -> Pool:
    """Train `count` networks on the training part, but for a fifth of each class, and keep states of each.

    The accuracy of a network is measured after 1, 2, 4, 8, ... steps and after each epoch; of each fifth of the accuracies it
    passes through, 0-20, 20-40 % and so on, its last state is kept.

    Arguments: `real`, whitened as the runs that will draw from the pool; `out`, the pool's folder, where an earlier call with the
    same settings is gone on with; `net`; `count`; `epochs` of each, SGD as for students (rate 0.01, x0.1 after half), with
    `augment`; `seed` names all randomness; `progress`, called after each epoch; `workers`, `engine` and `time_limit` as
    `make_experts`.
    Raises `InvalidInput` when nothing can be held out, or the folder holds a pool with other settings.
    """
    device = machine.settle_device(device)
    folder, spec = Path(out), nets.canonical(net, real.shape)
    if count < 1:
        raise InvalidInput(f"count is {count}; it must be at least 1")
    if max(map(len, real.by_class)) < 2:
        raise InvalidInput("no class has two training images, so none can be held out to measure accuracy on; give more images")
    if augment != "dsa":
        check_words(augment)
    training = Training(epochs=epochs, augment=strategy_for(real.name, flips=real.flips) if augment == "dsa" else augment)

    def after_step(number: int, done: int, steps: int) -> None:
        epoch, rest = divmod(done * epochs, steps)
        if progress and not rest:
            progress(Progress(number + 1, count, epoch, epochs))

    where = Where(device=device, workers=workers, engine=engine)
    return make_pool(real, folder, spec, training, count, seed, where, after_step, time_limit=time_limit)


def make_pool(
    real: RealData,
    folder: Path,
    net: str,
    training: Training,
    count: int,
    seed: int,
    where: Where | None = None,
    after_step: AfterStep | None = None,
    precision: str = "float32",
    measured: int = MEASURED,
    time_limit: float | None = None,
) -> Pool:
    """As `pretrain`, with a whole `training`, `net` in its canonical spelling, `where`, `after_step(number, done, steps)`, called
    after each step of the network of a number, from 0, the `precision` of `forward_of`, and how many held-out images
    accuracy is `measured` on, at most. Raises `InvalidInput` when the folder holds something else."""
    nets.build(net, shape=real.shape, classes=len(real.classes))  # refused before any work where it does not fit
    kind = Kind(
        "pool", "pretrain", FORMAT, Pool.read, _none, part=partial(_held_out, measured=measured),
        watches=partial(_Passed, training=training), add=_with,
    )  # fmt: skip
    settings = {**about(real, net), "training": asdict(training), "seed": seed}
    return grow(
        kind, folder, settings, net, training, count, seed, real, where=where, precision=precision, after_step=after_step,
        time_limit=time_limit,
    )  # fmt: skip


def _none(folder: Path, settings: dict[str, Any]) -> Pool:
    """A pool without a network."""
    return Pool(folder, settings, 0, ())


def _held_out(real: RealData, measured: int = MEASURED) -> RealData:
    """The training part but for a fifth of each class, of which the test part is (some of) the images."""
    train, held, _ = hold_out(Raw(real.classes, real.train, None))
    order = torch.randperm(len(held), generator=stream(0, "pretrain", "measured"))[:measured]
    return replace(real, train=train, test=held.take(order.sort().values.numpy()))


class _Passed(Watcher):
    """The states that a network passes through: of each fifth of the accuracies the last one measured.

    Arguments: `network`; `real`, whose test part accuracy is measured on; `training`. `states` by fifth: step, accuracy, weights.
    """

    def __init__(self, network: Network, real: RealData, training: Training) -> None:
        self.network, self.real, self.an_epoch = network, real, -(-len(real.train) // training.batch)
        self.states: dict[int, tuple[int, float, dict[str, Tensor]]] = {}

    def step(self, done: int) -> None:
        """Measured are the steps 1, 2, 4, 8, ... of the first epoch, and each epoch's last."""
        if done % self.an_epoch and (done > self.an_epoch or done & (done - 1)):
            return
        table = confusion(self.network, self._measured(), len(self.real.classes))
        accuracy = int(table.trace()) / int(table.sum())
        weights = {name: value.detach().clone() for name, value in self.network.state_dict().items()}
        self.states[min(int(100 * accuracy / WIDTH), 100 // WIDTH - 1)] = (done, accuracy, weights)

    def _measured(self) -> Iterator[tuple[Tensor, Tensor]]:
        labels, device = torch.from_numpy(self.real.test.labels), next(self.network.parameters()).device
        for chosen in torch.arange(len(labels)).split(machine.images_at_once(self.real.shape)):
            yield self.real.images(chosen, "test", device=device), labels[chosen]

    def state(self) -> dict[str, Tensor]:
        """The states, by fifth."""
        tensors: dict[str, Tensor] = {}
        for fifth, (step, accuracy, weights) in self.states.items():
            tensors |= {f"{fifth}/step": torch.tensor(step), f"{fifth}/accuracy": torch.tensor(accuracy, dtype=torch.float64)}
            tensors |= {f"{fifth}/weight/{name}": value.cpu() for name, value in weights.items()}
        return tensors

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a `state`."""
        fifths = {int(name.partition("/")[0]) for name in state}
        self.states = {
            fifth: (int(state[f"{fifth}/step"]), float(state[f"{fifth}/accuracy"]), inside(f"{fifth}/weight", state))
            for fifth in sorted(fifths)
        }


def _with(pool: Pool, number: int, passed: _Passed) -> Pool:
    """The pool and the states of one more network, which are written."""
    states = list(pool.states)
    for step, accuracy, weights in sorted(passed.states.values(), key=lambda state: state[0]):
        path = pool.file(State(number, step, accuracy, ""))
        write_tensors(path, weights)
        states.append(State(number, step, accuracy, hashlib.sha256(path.read_bytes()).hexdigest()))
    return replace(pool, networks=number + 1, states=tuple(states))
