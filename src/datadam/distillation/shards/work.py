"""What a worker does: distil some classes of a run as if they were all there are, and tell how it goes. It writes nothing.

Letters: K classes of the shard, N synthetic images of a class, C channels, H x W pixels.
"""

import time
import warnings
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from datadam import machine
from datadam.data import Transform
from datadam.data.parcel import Parcel, plain, rebuilt
from datadam.distillation.checkpoint import RunState
from datadam.distillation.loop import Distillation
from datadam.distillation.recipe import Recipe
from datadam.distillation.setup import Frame
from datadam.files.whole import all_finite
from datadam.methods.matching import Gradient, Plan
from datadam.parallel import Tell, in_worker
from datadam.training.pool import Bucket

TELL = 0.5  # seconds between two words on how far it is
Array = npt.NDArray[np.floating]


class At(NamedTuple):
    """How far a shard is, and its last loss."""

    iteration: int
    loss: float


class Line(NamedTuple):
    """What is logged of an iteration: each term [K], squares of their gradients' norms, and the sum of pixels' changes."""

    iteration: int
    terms: dict[str, list[float]]
    squares: dict[str, float]
    moved: float


class Kept(NamedTuple):
    """The images [K*N, C, H, W] after an iteration that is to be kept."""

    iteration: int
    images: Array


class Stand(NamedTuple):
    """All that is needed to go on after an iteration."""

    iteration: int
    images: Array
    momentum: Array
    peak_mb: float
    gpu_peak_mb: float
    seconds: float = 0.0  # of the whole run, added where it comes together


@dataclass(frozen=True)
class Shard:
    """Some classes of a run: their `data`, the images they started from, where they stand, seconds `left` (None: no limit)."""

    data: Parcel
    start: Array
    stand: Stand
    left: float | None = None


@dataclass(frozen=True)
class Work:
    """The task: everything that the shards of a run have in common.

    Arguments: `classes`, of the whole run; `plan`, decided for all of them; `bucket`, trained networks (None: random ones);
    `snapshots`, iterations after which images are told; `pause`, seconds between two stands that are told.
    """

    recipe: Recipe
    classes: int
    transform: Transform
    plan: Plan
    device: str
    bucket: Bucket | None
    snapshots: tuple[int, ...]
    pause: float

    def __call__(self, shard: Shard, tell: Tell) -> None:
        """Distil a shard to its end; the last that is told of it is where it stands then."""
        if in_worker():
            torch.set_num_threads(self.plan.threads)
            machine.tune_allocator()
        run, last = _Part(self, shard, tell), 0.0
        with closing(run.steps(shard.left)) as steps:
            for step in steps:
                if (now := time.monotonic()) - last > TELL:
                    last = now
                    tell(At(step.iteration, step.loss))

    def __getstate__(self) -> dict[str, Any]:
        """For another process: tensors as arrays, which need no shared memory."""
        return vars(self) | {"transform": plain(self.transform)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state | {"transform": rebuilt(state["transform"])})


class _Part(Distillation):
    """A run of the shard's classes that tells what another would write."""

    def __init__(self, work: Work, shard: Shard, tell: Tell) -> None:
        self.work, self.tell = work, tell
        stand = shard.stand
        images, momentum, start = (torch.from_numpy(a.copy()) for a in (stand.images, stand.momentum, shard.start))
        state = RunState(images, momentum, stand.iteration)
        frame = Frame(shard.data.open(work.transform), replace(work.recipe), snapshots=work.snapshots)
        super().__init__(frame, work.plan, start, state, torch.device(work.device), None)
        self.pause = work.pause

    def _matching(self) -> tuple[int, Bucket | None]:
        return self.work.classes, self.work.bucket  # the networks of the whole run, head included

    def _log(self, gradient: Gradient) -> None:
        terms = {name: term.double().tolist() for name, term in gradient.terms.items()}
        squares = {name: norm**2 for name, norm in gradient.norms.items()}
        self.tell(Line(self.state.iteration, terms, squares, self.state.moved * self.state.images.numel()))

    def _snapshot(self) -> None:
        self.tell(Kept(self.state.iteration, array(self.state.images)))

    def save(self) -> None:
        """Tell where the shard stands, unless that is not finite."""
        state = self.state
        if all_finite(state.images):
            gpu = machine.gpu_peak_mb(self.device)
            self.tell(Stand(state.iteration, array(state.images), array(state.momentum), state.peak_mb, gpu))


def array(values: Tensor) -> Array:
    """A copy, for it is sent while the work goes on."""
    return np.array(values.detach().cpu().numpy())


def tensor(array: Array) -> Tensor:
    """The array as a tensor that is only read: what came through Ray's store cannot be written."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)
