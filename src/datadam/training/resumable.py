"""Trainings that are kept: made once, and gone on with where they were interrupted.

While a network trains, the state of the training is copied every two seconds and written every thirty. Ctrl-C, or any error but a
loss that is no longer finite, writes what there is; a kill costs what came after the last writing. Called again it ends with the
same bits as if nothing had happened.
"""

import time
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from datadam.errors import RunFailed
from datadam.files.kept import Entry, Record
from datadam.training.trainer import Forward, Trainer

COPY_EVERY = 2.0  # seconds: what an interruption within a step costs
WRITE_EVERY = 30.0  # seconds: what a kill costs

AfterStep = Callable[[int], None]


class Resumable(Protocol):
    """A training under way, of whatever networks; its state goes on as it would have done."""

    done: int
    steps: int

    def step(self) -> None:
        """One step more. Raises `RunFailed`."""

    def state(self) -> dict[str, Tensor]:
        """All that it goes on from, the weights as "weight/NAME"."""

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Be as the one of this state. Raises `KeyError`, `ValueError`, `RuntimeError` for that of another training."""


class Spent(NamedTuple):
    """The `seconds` of a training in all, those that were spent `earlier`, and whether it was `found` at its end (then all)."""

    seconds: float
    earlier: float
    found: bool


def train_kept(
    trainer: Trainer,
    entry: Entry,
    after_step: AfterStep | None = None,
    forward: Callable[[], Forward] | None = None,
) -> Spent:
    """Train a network, unless it is kept already; afterwards it and its watchers are as at the end of the training.

    Arguments: `trainer`, at its beginning; `entry`, where it is kept, under everything that decides it; `after_step(done)`,
    called after each step; `forward`, makes the trainer's, where there is something to train. Of several processes that want the
    same one trains it. Raises `RunFailed` as `Trainer.step`.
    """
    spent: list[Spent] = []

    def train() -> Record:
        if forward:
            trainer.forward = forward()
        spent.append(train_on(trainer, entry.unfinished, after_step))
        return Record(trainer.result(), spent[0].seconds)

    record, found = entry.once(train, like=trainer.result())
    if found:
        trainer.load(record.tensors)
        spent.append(Spent(record.seconds, record.seconds, True))
    entry.unfinished.remove()
    trainer.network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # as found: compiling changed it
    return spent[0]


def train_on(trainer: Resumable, entry: Entry | None, after_step: AfterStep | None = None) -> Spent:
    """Train a network to its end, from where the disk has its state.

    Arguments as `train_kept`, but for `entry`, where the state is kept: under everything that decides it, written by one process
    at a time, and left for the caller to remove when the result is safe (None: it is not kept).
    """
    if entry is None:
        return _train(trainer, after_step)
    earlier, began = _gone_on_with(trainer, entry), time.monotonic()
    copied = written = began
    latest, kept, between = Record({}, earlier), True, True

    def now() -> Record:
        return Record(trainer.state(), earlier + time.monotonic() - began)

    try:
        while trainer.done < trainer.steps:
            between = False
            trainer.step()
            between = True
            clock = time.monotonic()
            if clock - copied >= COPY_EVERY or clock - written >= WRITE_EVERY:
                latest, kept, copied = now(), False, time.monotonic()
            if clock - written >= WRITE_EVERY:
                kept, written = entry.write(latest), time.monotonic()
            if after_step:
                after_step(trainer.done)
    except BaseException as error:
        if between:
            latest, kept = now(), False
        elif isinstance(error, RunFailed):  # it would fail again
            entry.remove()
            raise
        if not kept:  # of a step that broke off, weights and watchers do not belong together: what was before it counts
            entry.write(latest)
        raise
    return Spent(earlier + time.monotonic() - began, earlier, False)


def _train(trainer: Resumable, after_step: AfterStep | None) -> Spent:
    began = time.monotonic()
    while trainer.done < trainer.steps:
        trainer.step()
        if after_step:
            after_step(trainer.done)
    return Spent(time.monotonic() - began, 0.0, False)


def _gone_on_with(trainer: Resumable, entry: Entry) -> float:
    """Let the trainer go on from a state, if there is a whole one; returns the seconds that it took."""
    beginning = trainer.state()
    record = entry.read(like={name: tensor for name, tensor in beginning.items() if name.startswith("weight/")})
    if record is None:
        return 0.0
    try:
        trainer.load(record.tensors)
    except (KeyError, ValueError, RuntimeError):
        trainer.load(beginning)
        return 0.0
    return record.seconds
