"""Make a pool of networks at all accuracies: train many on the real set and keep states on the way (see pool.py).

Accuracy is measured on images held out of the training part, never on the test part, which judges what is distilled through these
networks. (The paper sorted its 1 000 networks "based on testing performance".)
"""

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
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
from datadam.files.lock import LOCK, alone_in
from datadam.files.partial import END
from datadam.files.whole import require_writable, write_json, write_tensors
from datadam.nets import Network
from datadam.rng import stream
from datadam.training.pool import WIDTH, Pool, State, about
from datadam.training.trainer import Training, confusion, forward_of, train_steps

MEASURED = 2000  # held-out images that accuracy is measured on, at most

Kept = dict[int, tuple[int, float, dict[str, Tensor]]]  # by fifth of the accuracies: step, accuracy, weights


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
    device: str = "cpu",
    progress: Callable[[Progress], None] | None = None,
) -> Pool:
    """Train `count` networks on the training part, but for a fifth of each class, and keep states of each.

    The accuracy of a network is measured after 1, 2, 4, 8, ... steps and after each epoch; of each fifth of the accuracies it
    passes through, 0-20, 20-40 % and so on, its last state is kept.

    Arguments: `real`, whitened as the runs that will draw from the pool; `out`, the pool's folder, where an earlier call with the
    same settings is gone on with; `net`; `count`; `epochs` of each, SGD as for students (rate 0.01, x0.1 after half), with
    `augment`; `seed` names all randomness; `progress`, called after each epoch.
    Raises `InvalidInput` when nothing can be held out, or the folder holds a pool with other settings.
    """
    folder, spec = Path(out), nets.canonical(net, real.shape)
    if count < 1:
        raise InvalidInput(f"count is {count}; it must be at least 1")
    if max(map(len, real.by_class)) < 2:
        raise InvalidInput("no class has two training images, so none can be held out to measure accuracy on; give more images")
    if augment != "dsa":
        check_words(augment)
    training = Training(epochs=epochs, augment=strategy_for(real.name) if augment == "dsa" else augment)
    network = nets.build(spec, shape=real.shape, classes=len(real.classes)).to(device)
    settings = {**about(real, spec), "training": asdict(training), "seed": seed}
    _begun(folder, settings)
    with alone_in(folder):
        pool = _begun(folder, settings)  # as it stands now that nobody else is at work on it
        part = _held_out(real)
        forward = forward_of(network, epochs * _steps(part, training))
        for number in range(pool.networks, count):

            def told(epoch: int, number: int = number) -> None:
                if progress:
                    progress(Progress(number + 1, count, epoch, epochs))

            kept = _train(network, forward, part, training, seed, number, told)
            pool = _with(pool, number, kept)
            write_json(folder / "index.json", pool.to_json() | {"versions": machine.versions(), "commit": machine.commit()})
    return pool


def _begun(folder: Path, settings: dict[str, Any]) -> Pool:
    """The pool as it stands. Raises `InvalidInput` when the folder holds something else."""
    if (folder / "index.json").exists():
        pool = Pool.read(folder)
        differs = [name for name in settings if pool.about.get(name) != settings[name]]
        if differs:
            raise InvalidInput(f"{folder} holds a pool made with another {', '.join(differs)}; choose another folder with --out")
        return pool
    if folder.is_dir() and any(p.name not in ("states", LOCK) and not p.name.endswith(END) for p in folder.iterdir()):
        raise InvalidInput(f"{folder} holds files that are no pool; choose another folder with --out")
    require_writable(folder)
    return Pool(folder, settings, 0, ())


def _held_out(real: RealData) -> RealData:
    """The training part but for a fifth of each class, of which the test part is (some of) the images."""
    train, held, _ = hold_out(Raw(real.classes, real.train, None))
    order = torch.randperm(len(held), generator=stream(0, "pretrain", "measured"))[:MEASURED]
    return replace(real, train=train, test=held.take(order.sort().values.numpy()))


def _steps(real: RealData, training: Training) -> int:
    return math.ceil(len(real.train) / training.batch)


def _train(
    network: Network, forward: Callable[[Tensor], Tensor], real: RealData, training: Training, seed: int, number: int,
    told: Callable[[int], None],
) -> Kept:  # fmt: skip
    """Train the network of a number from scratch; gives the states that are kept."""
    device, what = next(network.parameters()).device, ("pretrain", number)
    nets.initialise(network, stream(seed, *what, "init"))
    labels, an_epoch = torch.from_numpy(real.train.labels), _steps(real, training)
    steps = train_steps(
        network, lambda i: real.images(i, device=device), labels, training, seed, *what, forward=forward, transform=real.transform
    )
    kept: Kept = {}
    for step, _ in enumerate(steps, 1):
        epoch, rest = divmod(step, an_epoch)
        if rest and (step > an_epoch or step & (step - 1)):
            continue
        table = confusion(network, _measured(real, device), len(real.classes))
        accuracy = int(table.trace()) / int(table.sum())
        weights = {name: value.detach().clone() for name, value in network.state_dict().items()}
        kept[min(int(100 * accuracy / WIDTH), 100 // WIDTH - 1)] = (step, accuracy, weights)
        if not rest:
            told(epoch)
    return kept


def _measured(real: RealData, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    labels = torch.from_numpy(real.test.labels)
    for chosen in torch.arange(len(labels)).split(machine.images_at_once(real.shape)):
        yield real.images(chosen, "test", device=device), labels[chosen]


def _with(pool: Pool, number: int, kept: Kept) -> Pool:
    """The pool and the states of one more network, which are written."""
    states = list(pool.states)
    for step, accuracy, weights in sorted(kept.values(), key=lambda one: one[0]):
        path = pool.file(State(number, step, accuracy, ""))
        write_tensors(path, weights)
        states.append(State(number, step, accuracy, hashlib.sha256(path.read_bytes()).hexdigest()))
    return replace(pool, networks=number + 1, states=tuple(states))
