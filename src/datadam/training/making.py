"""Networks trained on the real set one after another and kept in a folder: what pools and experts share.

    FOLDER/index.json                            what they were made from and how, and a line for each file
    FOLDER/states/...                            weights
    FOLDER/network.unfinished.safetensors        how far the network is that is in training

A network that is done is in the index; called again, the making goes on with the first one that is not, where it stood.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import torch

from datadam import machine, nets
from datadam.data import RealData
from datadam.errors import InvalidInput
from datadam.files.kept import Entry, Store
from datadam.files.lock import LOCK, alone_in
from datadam.files.partial import END
from datadam.files.whole import read_json, require_writable, write_json
from datadam.nets import Network
from datadam.rng import stream
from datadam.training.flat import Flat
from datadam.training.resumable import train_on
from datadam.training.trainer import Trainer, Training, Watcher, forward_of

INDEX = "index.json"
AfterStep = Callable[[int, int, int], None]
Lesson = Callable[[int], torch.Tensor]


class Made(Protocol):
    """What a folder holds: `about`, what decides its networks, and how many `networks` are done."""

    @property
    def about(self) -> dict[str, Any]: ...

    @property
    def networks(self) -> int: ...

    def to_json(self) -> dict[str, Any]:
        """As kept in the index."""


M = TypeVar("M", bound=Made)
W = TypeVar("W", bound=Watcher)


@dataclass(frozen=True)
class Kind(Generic[M, W]):
    """A kind of such folders.

    Arguments: `word`, for messages; `name`, of the random streams; `format`, of the state of a training; `read` a folder that has
    an index, or say what an `empty` one is; `part` of the data that is trained on; what `watches` a training; `add` the files of
    a network that is done.
    """

    word: str
    name: str
    format: str
    read: Callable[[Path], M]
    empty: Callable[[Path, dict[str, Any]], M]
    part: Callable[[], RealData]
    watches: Callable[[Network, RealData], W]
    add: Callable[[M, int, W], M]

    def begun(self, folder: Path, settings: dict[str, Any]) -> M:
        """What the folder holds as it stands. Raises `InvalidInput` when it is something else."""
        if (folder / INDEX).exists():
            made = self.read(folder)
            if differs := [name for name in settings if made.about.get(name) != settings[name]]:
                raise InvalidInput(
                    f"{folder} holds a {self.word} made with another {', '.join(differs)}; choose another folder with --out"
                )
            return made
        ours = ("states", LOCK, self.unfinished(folder, {}).file.name)
        if folder.is_dir() and any(path.name not in ours and not path.name.endswith(END) for path in folder.iterdir()):
            raise InvalidInput(f"{folder} holds files that are no {self.word}; choose another folder with --out")
        require_writable(folder)
        return self.empty(folder, settings)

    def unfinished(self, folder: Path, key: dict[str, Any]) -> Entry:
        """Where the state of the network lies that is in training."""
        return Store(folder, self.format).entry(key, "network.unfinished")


def grow(
    kind: Kind[M, W], folder: Path, settings: dict[str, Any], net: str, training: Training, count: int, seed: int, *,
    device: str = "cpu", precision: str = "float32", after_step: AfterStep | None = None,
    flat: Flat | None = None, lessons: Callable[[], Lesson] | None = None,
) -> M:  # fmt: skip
    """Train the networks that are missing of `count`, and keep them.

    Arguments: `kind`; `folder`; `settings`, what decides the networks, as JSON knows it; `net`, in its canonical spelling;
    `training`; `seed`; `precision` of `forward_of`; `after_step(number, done, steps)`, called after each step of the
    network of a number, from 0; `flat` of `Trainer`; `lessons`, makes its `lesson`, where there is something to train. Raises
    `InvalidInput` when the folder holds something else, `RunFailed` when a training fails.
    """
    kind.begun(folder, settings)
    with alone_in(folder):
        made = kind.begun(folder, settings)  # as it stands now that nobody else is at work on it
        if made.networks >= count:
            return made
        part, lesson = kind.part(), lessons() if lessons else None
        spent = _spent(folder, made.networks)
        network = nets.build(net, shape=part.shape, classes=len(part.classes)).to(device)
        images, labels = partial(part.images, device=device), torch.from_numpy(part.train.labels)
        forward = forward_of(network, training.epochs * -(-len(labels) // training.batch), precision)
        for number in range(made.networks, count):
            nets.initialise(network, stream(seed, kind.name, number, "init"))
            watcher = kind.watches(network, part)
            trainer = Trainer(
                network, images, labels, training, seed, kind.name, number,
                forward=forward, transform=part.transform, watchers={"passed": watcher}, flat=flat, lesson=lesson,
            )  # fmt: skip
            key = settings | {"number": number, "on": [torch.device(device).type, torch.__version__]}
            entry = kind.unfinished(folder, key)

            def tell(done: int, number: int = number, steps: int = trainer.steps) -> None:
                if after_step:
                    after_step(number, done, steps)

            spent.append(round(train_on(trainer, entry, tell).seconds, 3))
            made = kind.add(made, number, watcher)
            written = {"seconds": spent, "versions": machine.versions(), "commit": machine.commit()}
            write_json(folder / INDEX, made.to_json() | written)
            entry.remove()
    return made


def seconds_of(folder: Path, networks: int) -> float | None:
    """How long the trainings of a folder with so many networks took in all; None where that was not kept."""
    spent = [seconds for seconds in _spent(folder, networks) if seconds is not None]
    return sum(spent) if len(spent) == networks else None


def _spent(folder: Path, networks: int) -> list[float | None]:
    """Seconds of each training; None for one of an earlier version, or what is no number."""
    kept = read_json(folder / INDEX).get("seconds") if (folder / INDEX).exists() else None
    known = kept if isinstance(kept, list) and len(kept) == networks else [None] * networks
    return [float(s) if isinstance(s, int | float) and 0 <= s < float("inf") else None for s in known]
