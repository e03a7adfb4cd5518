"""The networks of a folder, trained by several processes of this machine or on a cluster.

A worker keeps how far it is, and what it has made, in the folder, which all machines must see; the process that asked puts the
networks into the index, in their order. With as many threads in each process they have the same bits as those of one alone.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from datadam import machine, nets, parallel
from datadam.data import RealData
from datadam.data.sending import SentData
from datadam.errors import InvalidInput
from datadam.files.seen import Sign
from datadam.parallel import Tell, in_worker
from datadam.parallel.schedule import LOSSES
from datadam.training.maker import AfterStep, Course, Maker, TimeIsUp, Until
from datadam.where import Where


@dataclass
class NetworkTask:
    """The task: what all networks have in common; an item is the number of one, with the seconds that there are for it (None: as
    many as it takes). Gives whether it is made."""

    course: Course[Any, Any]
    real: SentData
    sign: Sign
    threads: int
    made: list[Maker[Any, Any]] = field(default_factory=list, repr=False)

    def __call__(self, item: tuple[int, float | None], tell: Tell) -> bool:
        """Train a network, from where it stood, and leave it in the folder."""
        number, left = item
        until, folder = Until(left), self.sign.require()
        if in_worker():
            torch.set_num_threads(self.threads)
            machine.tune_allocator()
        if not self.made:  # one after another, in the same network
            self.made.append(Maker(self.course, folder, self.real.open()))
        try:
            watcher, seconds = self.made[0].train(number, lambda *step: tell(step), until)
        except TimeIsUp:
            return False
        self.made[0].keep(number, watcher, seconds)
        return True


def side_by_side(
    course: Course[Any, Any], folder: Path, real: RealData, numbers: Sequence[int], where: Where, after_step: AfterStep | None,
    until: Until,
) -> Iterator[None]:  # fmt: skip
    """Train the networks of these numbers; something comes whenever one is made, or its time is over.

    Arguments as `grow`, but for `until`. Raises `InvalidInput`, `RunFailed`.
    """
    if nets.card_of(course.net):
        raise InvalidInput(f"{course.net} is known in this process alone; leave out workers, which are others")
    if where.engine:
        workers, threads = where.engine.settle(where.workers, len(numbers))
    else:
        workers = min(where.workers or 1, len(numbers))
        threads = max(1, torch.get_num_threads() // workers)
    sign = Sign.left(folder, machine.now())
    try:
        task = NetworkTask(course, SentData.of(real), sign, threads)
        events = parallel.stream(
            task, len(numbers), lambda item: (numbers[item], until.left), workers=workers, engine=where.engine, threads=threads,
            losses=LOSSES if where.engine else 0,
        )  # fmt: skip
        with closing(events):
            for _, kind, value in events:
                if kind == "tell" and after_step:
                    after_step(*value)
                elif kind == "done":
                    yield
    finally:
        sign.remove()
