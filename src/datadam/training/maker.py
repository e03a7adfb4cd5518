"""How networks are trained on the real set and kept in a folder: what pools and experts share.

    FOLDER/index.json                                what they were made from and how, and a line for each file
    FOLDER/states/...                                weights
    FOLDER/network-NNNNN.unfinished.safetensors      how far a network is that is in training
    FOLDER/network-NNNNN.safetensors                 what another process has made of one, while an earlier one is in training

A network that is done is in the index, which knows them in their order; called again, the making goes on with those that are not,
where they stood. Each is decided by its number alone, whoever trains it.
"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import torch

from datadam import nets
from datadam.data import RealData
from datadam.errors import InvalidInput, RunFailed
from datadam.files.kept import Entry, Record, Store
from datadam.files.lock import LOCK
from datadam.files.partial import END
from datadam.files.seen import NAME as SIGN
from datadam.files.whole import require_writable
from datadam.nets import Network
from datadam.rng import stream
from datadam.training.flat import Flat
from datadam.training.resumable import train_on
from datadam.training.trainer import Trainer, Training, Watcher, forward_of

INDEX = "index.json"
OURS = re.compile(r"network(-\d+)?(\.unfinished)?\.safetensors")
LONGER = 1.5  # times the last step that the next one may take
AfterStep = Callable[[int, int, int], None]
Lesson = Callable[[int], torch.Tensor]
Check = Callable[[str, int, "int | None"], None]


class TimeIsUp(BaseException):
    """The time limit is nearly over; not an `Exception`, which something on the way might catch."""


class Until:
    """When to stop: `seconds` from now (None: never)."""

    def __init__(self, seconds: float | None = None) -> None:
        self.last = time.monotonic()
        self.end = None if seconds is None else self.last + seconds

    def begin(self) -> None:
        """Before a first step. Raises `TimeIsUp` when the time is over."""
        self.last = time.monotonic()
        self.check()

    def check(self) -> None:
        """Between two steps. Raises `TimeIsUp` unless there is time for one more."""
        now = time.monotonic()
        if self.end is not None and now + LONGER * (now - self.last) > self.end:
            raise TimeIsUp
        self.last = now

    @property
    def left(self) -> float | None:
        """Seconds that are left."""
        return None if self.end is None else self.end - time.monotonic()


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
    """A kind of such folders. It can be sent to another process.

    Arguments: `word`, for messages; `name`, of the random streams; `format`, of the state of a training; `read` a folder that has
    an index, or say what an `empty` one is; `part` of the data that is trained on; what `watches` a training; `add` the files of
    a network that is done.
    """

    word: str
    name: str
    format: str
    read: Callable[[Path], M]
    empty: Callable[[Path, dict[str, Any]], M]
    part: Callable[[RealData], RealData]
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
        names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
        if any(name not in ("states", LOCK, SIGN) and not OURS.fullmatch(name) and not name.endswith(END) for name in names):
            raise InvalidInput(f"{folder} holds files that are no {self.word}; choose another folder with --out")
        require_writable(folder)
        return self.empty(folder, settings)


@dataclass(frozen=True)
class Course(Generic[M, W]):
    """How the networks of a folder are trained: all that decides one, but for its number and the data. It can be sent to another
    process.

    Arguments: `kind`; `settings`, what decides the networks, as JSON knows it; `net`, in its canonical spelling; `training`;
    `seed`; `device`; `precision` of `forward_of`; `flat` and `lesson` of `Trainer`.
    """

    kind: Kind[M, W]
    settings: dict[str, Any]
    net: str
    training: Training
    seed: int
    device: str
    precision: str
    flat: Flat | None
    lesson: Lesson | None

    def entry(self, folder: Path, number: int) -> Entry:
        """Where what is made of a network lies before it is in the index."""
        key = self.settings | {"number": number, "on": [torch.device(self.device).type, torch.__version__]}
        return Store(folder, self.kind.format).entry(key, f"network-{number:05d}")


@dataclass
class Maker(Generic[M, W]):
    """Trains networks of a `folder` by a `course` on `real` data, one at a time."""

    course: Course[M, W]
    folder: Path
    real: RealData
    part: RealData = field(init=False)

    def __post_init__(self) -> None:
        course, self.part = self.course, self.course.kind.part(self.real)
        training = course.training
        steps = training.epochs * -(-len(self.part.train) // training.batch)
        self.network = nets.build(course.net, shape=self.part.shape, classes=len(self.part.classes)).to(course.device)
        self.forward = forward_of(self.network, steps, course.precision, batch=training.batch)

    def train(self, number: int, after_step: AfterStep | None, until: Until) -> tuple[W, float]:
        """What has watched the training of a network, from its beginning or from where it stood, to its end, and its seconds.
        Raises `TimeIsUp`, `RunFailed`."""
        until.begin()
        course, kind, part = self.course, self.course.kind, self.part
        watcher = self._watcher(number)
        trainer = Trainer(
            self.network, partial(part.images, device=course.device), torch.from_numpy(part.train.labels), course.training,
            course.seed, kind.name, number, forward=self.forward, transform=part.transform, watchers={"passed": watcher},
            flat=course.flat, lesson=course.lesson,
        )  # fmt: skip

        def told(done: int) -> None:
            if after_step:
                after_step(number, done, trainer.steps)
            if done < trainer.steps:
                until.check()

        return watcher, round(train_on(trainer, course.entry(self.folder, number).unfinished, told).seconds, 3)

    def found(self, number: int) -> tuple[W, float] | None:
        """What another process has made of a network, if it has."""
        record = self.course.entry(self.folder, number).read()
        if record is None:
            return None
        watcher = self._watcher(number)
        watcher.load(record.tensors)
        return watcher, record.seconds

    def keep(self, number: int, watcher: W, seconds: float) -> None:
        """Leave a network for `found`. Raises `RunFailed` where that cannot be."""
        entry = self.course.entry(self.folder, number)
        if not entry.write(Record(watcher.state(), seconds)):
            raise RunFailed(f"cannot write {entry.file}; make room, and the same command goes on")
        entry.unfinished.remove()

    def _watcher(self, number: int) -> W:
        nets.initialise(self.network, stream(self.course.seed, self.course.kind.name, number, "init"))
        return self.course.kind.watches(self.network, self.part)
