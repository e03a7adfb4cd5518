"""Many networks, each trained on several sets: what a search is made of, over processes, kept as it goes.

All trainings of a network share the network and, where it is compiled, its code. What a training gave is kept in the cache under
everything that decides it, so that another call with other proxies trains only what is new; one that was interrupted goes on
within the training. Letters: K classes, N images.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from datadam import machine, nets, parallel
from datadam.data import Transform
from datadam.data.real import Split, gather
from datadam.errors import RunFailed
from datadam.files.kept import Entry, Record, Store, cache_folder
from datadam.nets import Network
from datadam.nets.instance import InstanceNorm
from datadam.parallel import Tell, in_worker
from datadam.rng import stream
from datadam.training.resumable import train_on
from datadam.training.trainer import Forward, Trainer, Training, confusion, forward_of

FORMAT = "datadam-search/1"
COMPILING_PAYS = 5_000  # steps of the longest training of a network above which its code is compiled


@dataclass(frozen=True)
class Course:
    """What networks learn: a `name`; `pixels` of real images, or `images` [N, C, H, W] of a set in network space; their `labels`,
    class numbers [N] or probabilities [N, K]; the `transform` between bytes and that space; the `training`; after how many steps
    it is stopped (None: at its end); and on which of the parts each network is tested."""

    name: str
    labels: npt.NDArray[Any]
    transform: Transform
    training: Training
    tests: tuple[str, ...]
    pixels: npt.NDArray[np.uint8] | None = None
    images: npt.NDArray[np.float32] | None = None
    stop: int | None = None

    @property
    def steps(self) -> int:
        """Steps of a training."""
        steps = self.training.epochs * -(-len(self.labels) // self.training.batch)
        return steps if self.stop is None else min(steps, self.stop)

    @property
    def seen(self) -> int:
        """Images that a training looks at, each as often as it does."""
        an_epoch = -(-len(self.labels) // self.training.batch)
        whole, rest = divmod(self.steps, an_epoch)
        return whole * len(self.labels) + min(rest * self.training.batch, len(self.labels))

    def key(self) -> dict[str, Any]:
        """Everything of it that decides a training."""
        found, zca = hashlib.sha256(), self.transform.zca
        whitening = (zca.matrix.numpy(), zca.mean.numpy()) if zca else ()
        for array in (self.pixels, self.images, self.labels, *whitening):
            if array is not None:
                found.update(str((array.dtype, array.shape)).encode())
                found.update(np.ascontiguousarray(array).data)
        return {
            "name": self.name, "learned": found.hexdigest(), "transform": self.transform.to_card(),
            "training": asdict(self.training), "stop": self.stop, "tests": self.tests,
        }  # fmt: skip


@dataclass(frozen=True)
class Trained:
    """One training of a network on a course: counts [K, K] of (true class, predicted class) on each of the tested parts, and its
    `seconds`; `found`, whether an earlier call had made it."""

    counts: dict[str, npt.NDArray[np.int64]]
    seconds: float
    found: bool = False

    def accuracy(self, part: str) -> float:
        """The share of a part that it gets right."""
        return float(self.counts[part].trace() / self.counts[part].sum())


@dataclass
class NetworkTrainer:
    """Trains networks on all courses, some students of each. It can be sent to another process.

    Arguments: `courses`; `parts`, the real images that networks are tested on, by name; `classes` (K); `students` of each network
    and course; `seed`; `device`; `precision` as for students; `threads` of each process.
    """

    courses: tuple[Course, ...]
    parts: dict[str, Split]
    classes: int
    students: int
    seed: int
    device: str
    precision: str
    threads: int
    keys: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = Store(cache_folder("search"), FORMAT)
        machine_key = {
            "device": self.device, "precision": self.precision, "threads": self.threads, "versions": machine.versions(),
            "hardware": machine.hardware(torch.device(self.device)), "commit": machine.commit(),
        }  # fmt: skip
        tested = {
            name: hashlib.sha256(part.pixels.tobytes() + part.labels.tobytes()).hexdigest() for name, part in self.parts.items()
        }
        shared = machine_key | {"seed": self.seed, "tested": tested}
        self.keys = [shared | course.key() for course in self.courses]

    def __call__(self, net: str, tell: Tell) -> list[list[Trained]]:
        """For each course its students; tells (course, student, step) now and then."""
        if in_worker():  # a process of our own, which may be set up as we like
            torch.set_num_threads(self.threads)
            machine.tune_allocator()
        made: list[tuple[Network, Forward, Forward]] = []

        def network() -> tuple[Network, Forward, Forward]:
            if not made:  # not where all is found
                made.append(self._network(net))
            return made[0]

        with machine.telling_full_memory("use fewer --workers, or a smaller space"), machine.repeatable(self.device):
            return [
                [self._student(net, course, student, network, tell) for student in range(self.students)]
                for course in range(len(self.courses))
            ]

    def kept(self, networks: Sequence[str]) -> set[tuple[str, int, int]]:
        """Which of their trainings, by network, course and student, an earlier call has left."""
        return {
            (net, course, student)
            for net in networks
            for course in range(len(self.courses))
            for student in range(self.students)
            if self._entry(net, course, student).file.exists()
        }

    def _entry(self, net: str, course: int, student: int) -> Entry:
        return self.store.entry(self.keys[course] | {"net": net, "student": student})

    def _network(self, net: str) -> tuple[Network, Forward, Forward]:
        """The network, whose weights are drawn anew for each training, and how it is called: in training, and when it is tested.

        Testing takes about as long as a short training, and is done in the same number format; other sizes and modes would be
        compiled anew, so that it is not.
        """
        network = nets.build(net, shape=self._shape, classes=self.classes).to(self.device)
        longest = max(course.steps for course in self.courses)
        compiled = longest > COMPILING_PAYS and machine.can_compile(self.device)
        last = lies_channels_last(network)
        return (
            network,
            forward_of(network, longest, self.precision, compiled, channels_last=last),
            forward_of(network, longest, self.precision, False, channels_last=last or compiled),
        )

    def _student(
        self, net: str, number: int, student: int, network: Callable[[], tuple[Network, Forward, Forward]], tell: Tell
    ) -> Trained:
        course, zero = self.courses[number], torch.zeros((self.classes,) * 2, dtype=torch.long)
        entry = self._entry(net, number, student)

        def train() -> Record:
            module, forward, tested = network()
            nets.initialise(module, stream(self.seed, "student", course.name, student, "init"))
            trainer = Trainer(
                module, self._images(course), torch.from_numpy(course.labels), course.training, self.seed, "student", course.name,
                student, forward=forward, transform=course.transform,
            )  # fmt: skip
            trainer.steps = course.steps
            try:
                spent = train_on(trainer, entry.unfinished, lambda done: tell((number, student, done)))
                seconds = spent.seconds
            except RunFailed:  # its loss is not a number any more: it counts with what it finds then
                seconds = 0.0
            counts = {part: confusion(module, self._tests(part, course.transform), self.classes, tested) for part in course.tests}
            return Record(counts, seconds)

        record, found = entry.once(train, like=dict.fromkeys(course.tests, zero))
        entry.unfinished.remove()
        tell((number, student, course.steps))
        return Trained({part: counts.numpy() for part, counts in record.tensors.items()}, record.seconds, found)

    @property
    def _shape(self) -> tuple[int, int, int]:
        c, h, w = next(iter(self.parts.values())).pixels.shape[1:]
        return c, h, w

    def _images(self, course: Course) -> Callable[[Tensor], Tensor]:
        if course.images is not None:
            images = torch.from_numpy(course.images)
            return lambda chosen: images[chosen]
        pixels = course.pixels
        assert pixels is not None
        return lambda chosen: self._in_space(gather(pixels, chosen.numpy()), course.transform)

    def _in_space(self, pixels: npt.NDArray[np.uint8], transform: Transform) -> Tensor:
        return transform.bytes_to_network(torch.from_numpy(pixels).to(self.device))

    def _tests(self, part: str, transform: Transform) -> Iterator[tuple[Tensor, Tensor]]:
        split = self.parts[part]
        for chosen in torch.arange(len(split)).split(machine.images_at_once(self._shape, self.device)):
            yield self._in_space(gather(split.pixels, chosen.numpy()), transform), torch.from_numpy(split.labels)[chosen]


def lies_channels_last(network: Network) -> bool:
    """Whether an uncompiled network is faster on a CPU with the channels of its maps last: unless it normalises each image over
    whole maps, for which they are turned to and fro."""
    return not any(isinstance(module, InstanceNorm | nn.LayerNorm) for module in network.modules())


def train_all(
    trainer: NetworkTrainer, networks: Sequence[str], workers: int, told: Callable[[int, tuple[int, int, int]], None]
) -> list[list[list[Trained]]]:
    """For each network, each course and each student what came of it, over so many processes; `told(network, (course, student,
    step))` on the way."""
    return parallel.run(trainer, list(networks), workers=workers, report=told)
