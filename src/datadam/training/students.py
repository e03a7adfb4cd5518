"""Students: networks trained from scratch on a set and tested on real images, each by its own random stream.

Letters: K classes, N images, M test images.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from datadam import machine, nets
from datadam.data import Transform
from datadam.data.real import Split, gather
from datadam.errors import NotEnoughMemory
from datadam.files.kept import Entry
from datadam.nets import Network
from datadam.parallel import Tell, in_worker
from datadam.rng import carry, stream
from datadam.training.resumable import train_on
from datadam.training.trainer import Forward, Trainer, Training, adam, confusion, forward_of, pays, squared_error

PRECISIONS = ("float32", "float64", "bfloat16")
WORKERS_PAY = 250  # steps of all students above which processes of their own are worth their start
WORKER_BYTES = 1_200_000_000  # of a process that trains one, beside the data
MAPS_ALIVE = 3  # of each block while a student learns, at least
GPU_WORKERS, GPU_WORKER_BYTES = 4, 3_000_000_000  # processes that one GPU serves, and its memory for each


@dataclass(frozen=True)
class Rows:
    """The images [N, C, H, W] of a set by their indices; can be sent to another process."""

    images: npt.NDArray[np.floating]

    def __call__(self, indices: Tensor) -> Tensor:
        """The images [n, C, H, W] of some indices [n]."""
        return torch.from_numpy(self.images[indices.cpu().numpy()])


@dataclass(frozen=True)
class Source:
    """What a student learns from: `number` of the set, which names its stream; `images` by their indices; `labels`, class numbers
    [N] or probabilities [N, K]; `lr`, a rate of its own (None: that of the training)."""

    number: int
    images: Callable[[Tensor], Tensor]
    labels: npt.NDArray[np.int64] | npt.NDArray[np.float32]
    lr: float | None = None


@dataclass(frozen=True)
class Student:
    """One student's `counts` [K, K] of (true class, predicted class), its training `seconds`, and its `weights` where asked."""

    counts: npt.NDArray[np.int64]
    seconds: float
    weights: dict[str, npt.NDArray[np.floating]] = field(default_factory=dict)


@dataclass
class StudentTrainer:
    """Trains students one by one; as many schools may work side by side as there are processes.

    Arguments: `net`, their network; `sources`, the sets; `test`, bytes and labels they are tested on, and `classes` (K);
    `transform`, between bytes and the sets' network space; `training`; `seed`; `device`; `precision`: "float32", "float64", or
    "bfloat16" for convolutions and products in that format with weights in float32; `threads` of each; `keep_weights` of the
    students; `compiled`, whether their network is (None: where it pays); `regress`, whether they learn by Adam on the squared
    error, and not by SGD on cross-entropy.
    """

    net: str
    sources: tuple[Source, ...]
    test: Split
    classes: int
    transform: Transform
    training: Training
    seed: int
    device: str = "cpu"
    precision: str = "float32"
    threads: int = 0
    keep_weights: bool = False
    compiled: bool | None = None
    regress: bool = False

    def __call__(self, item: tuple[int, int], tell: Tell, unfinished: Entry | None = None) -> Student:
        """Student number `item[1]` of source `item[0]`; tells each finished epoch, from 1. It goes on from what is `unfinished`,
        where its state is kept meanwhile (None: it is not)."""
        if in_worker():  # a process of our own, which may be set up as we like
            torch.set_num_threads(self.threads or torch.get_num_threads())
            machine.tune_allocator()
        with machine.telling_full_memory("use fewer --workers, or a smaller batch or net"), machine.repeatable(self.device):
            return self._train_student(item, tell, unfinished)

    def _train_student(self, item: tuple[int, int], tell: Tell, unfinished: Entry | None) -> Student:
        source = self.sources[item[0]]
        network, forward = self._student_network(source)
        what = ("student", source.number, item[1])
        nets.initialise(network, stream(self.seed, *what, "init"))
        labels = torch.from_numpy(source.labels)
        if self.precision == "float64" and labels.is_floating_point():
            labels = labels.double()
        training = self.training if source.lr is None else replace(self.training, lr=source.lr)
        by: dict[str, Any] = {"rule": adam, "loss": squared_error} if self.regress else {}
        trainer = Trainer(
            network, self._images(source), labels, training, self.seed, *what, forward=forward, transform=self.transform, **by
        )
        seconds = train_on(trainer, unfinished, lambda _: tell(trainer.epoch) if trainer.ends_epoch else None).seconds
        counts = confusion(network, self._tests(), self.classes)
        weights = {name: value.cpu().numpy().copy() for name, value in network.state_dict().items()} if self.keep_weights else {}
        return Student(counts.numpy(), seconds, weights)

    def _images(self, source: Source) -> Callable[[Tensor], Tensor]:
        if torch.device(self.device).type == "cpu" or not isinstance(source.images, Rows):
            return source.images
        there = torch.from_numpy(source.images.images).to(self.device)
        return lambda chosen: there[carry(chosen, there.device)]

    def _student_network(self, source: Source) -> tuple[Network, Forward]:
        """The network whose weights are drawn anew for each student, and how it is called in training; made once a process."""
        if not hasattr(self, "_made"):
            network = nets.build(self.net, shape=self.shape, classes=self.classes).to(self.device)
            network = network.double() if self.precision == "float64" else network
            self._made = network, self._forward(network, source)
        return self._made

    def _forward(self, network: Network, source: Source) -> Forward:
        steps, together = self.steps(len(source.labels))
        forward = forward_of(network, steps, self.precision, self.compiled)
        few = source.images(torch.arange(together)).to(self.device)  # compiled before the clock of the first student starts
        few = few[: machine.even_chunk(together, forward.together(few) or together)]
        F.cross_entropy(forward(few), torch.zeros(len(few)).long().to(self.device)).backward()
        network.zero_grad(set_to_none=True)
        return forward

    def steps(self, images: int) -> tuple[int, int]:
        """Steps of a student on so many images, and the images of a step."""
        return self.training.epochs * -(-images // self.training.batch), min(images, self.training.batch)

    @property
    def compiles(self) -> bool:
        """Whether the network of the longest student is compiled."""
        wanted = pays(max(self.steps(len(source.labels))[0] for source in self.sources))
        if self.compiled is not None or nets.card_of(self.net):
            return bool(self.compiled)
        return wanted and machine.can_compile(self.device)

    @property
    def remark(self) -> str:
        """What a user should be told of these students; "" for nothing."""
        long = pays(max(self.steps(len(source.labels))[0] for source in self.sources))
        if self.compiled is None and long and not self.compiles and not nets.card_of(self.net):
            return "no compiler works here: students train uncompiled, two to three times slower"
        return ""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        c, h, w = self.test.pixels.shape[1:]
        return c, h, w

    def _tests(self) -> Iterator[tuple[Tensor, Tensor]]:
        dtype = torch.float64 if self.precision == "float64" else torch.float32
        for chosen in torch.arange(len(self.test)).split(machine.images_at_once(self.shape, self.device)):
            pixels = torch.from_numpy(gather(self.test.pixels, chosen.numpy())).to(self.device)
            yield self.transform.bytes_to_network(pixels, dtype), torch.from_numpy(self.test.labels)[chosen]

    def __getstate__(self) -> dict[str, Any]:
        """For another process: without what was made in this one."""
        return {name: value for name, value in vars(self).items() if name != "_made"}


@torch.no_grad()
def require_memory(spec: str, shape: tuple[int, int, int], classes: int, together: int, device: str) -> None:
    """Raise `NotEnoughMemory` where a student's maps of so many images `together` do not fit into what is free."""
    network = nets.build(spec, shape=shape, classes=classes).to("meta")  # which computes sizes alone
    maps = sum(block.numel() for block in network.eval().features(torch.zeros(1, *shape, device="meta")).blocks)
    needed, free = MAPS_ALIVE * 4 * together * maps, machine.available_memory(device)
    if needed > free:
        raise NotEnoughMemory(
            f"a student {spec} needs about {needed / 1e9:.3g} GB of memory for {together} images at once, and "
            f"{free / 1e9:.3g} GB are free; take a narrower --net"
        )


def side_by_side(school: StudentTrainer, students: int, workers: int | None = None) -> tuple[int, int]:
    """Processes for so many students, `workers` where asked, and the threads of each.

    Unasked as many as pay: one a thread, one process for short work. The threads, which decide how a student rounds, follow
    from the work and the processor alone. Where memory is short fewer processes are at work at once, so that the same command
    gives the same accuracies however full the machine is.
    """
    threads = torch.get_num_threads()
    if workers is not None:
        workers = min(workers, students)
        return workers, max(1, threads // workers)
    steps = students * max(school.steps(len(source.labels))[0] for source in school.sources)
    if steps < WORKERS_PAY or not all(isinstance(source.images, Rows) for source in school.sources):
        return 1, threads
    wanted = min(threads, students)
    room = machine.available_memory() // (WORKER_BYTES + school.test.pixels.nbytes)
    if torch.device(school.device).type == "cuda":  # they take turns on it: while one computes, the others' Python runs
        room = min(room, GPU_WORKERS, machine.available_memory(school.device) // GPU_WORKER_BYTES)
    return max(1, min(wanted, room)), threads // wanted
