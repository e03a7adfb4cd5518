"""What a worker does: distil some classes of a run as if they were all there are, and tell how it goes. It writes nothing.

Letters: K classes of the shard, N synthetic images of a class, C channels, H x W pixels.
"""

import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from datadam import machine
from datadam.data import Transform
from datadam.data.sending import ClassData, plain, rebuilt
from datadam.distillation.checkpoint import RunState
from datadam.distillation.loop import Distillation, Supply
from datadam.distillation.recipe import Recipe
from datadam.distillation.recorder import Line
from datadam.distillation.run import spread_of
from datadam.distillation.setup import Frame
from datadam.files.whole import all_finite
from datadam.methods.plan import Plan
from datadam.parallel import Tell, in_worker
from datadam.training.pool import Bucket

TELL = 0.5  # seconds between two words on how far it is
Array = npt.NDArray[np.floating]


class ShardProgress(NamedTuple):
    """How far a shard is, and its last loss."""

    iteration: int
    loss: float


class ShardLine(NamedTuple):
    """What is logged of an iteration: each term [K], squares of their gradients' norms, and the sum of pixels' changes."""

    iteration: int
    terms: dict[str, list[float]]
    squares: dict[str, float]
    moved: float


class ShardSnapshot(NamedTuple):
    """What is learned, by name, after an iteration that is to be kept."""

    iteration: int
    tensors: dict[str, Array]


class ShardState(NamedTuple):
    """All that is needed to go on after an iteration: what is learned, and the optimisers' buffers, by name."""

    iteration: int
    tensors: dict[str, Array]
    buffers: dict[str, Array]
    peak_mb: float
    gpu_peak_mb: float
    seconds: float = 0.0  # of the whole run, added where it comes together


@dataclass(frozen=True)
class Shard:
    """Some classes of a run: their `data`, the images they started from, where they stand, seconds `left` (None: no limit)."""

    data: ClassData
    start: Array
    stand: ShardState
    left: float | None = None


@dataclass(frozen=True)
class ShardTask:
    """The task: everything that the shards of a run have in common.

    Arguments: `classes`, of the whole run; `plan`, decided for all of them; `bucket`, trained networks (None: random ones);
    `snapshots`, iterations after which what is learned is told; `pause`, seconds between two stands that are told.
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
        run, last = self.run(shard, tell), 0.0
        with closing(run.steps(shard.left)) as steps:
            for step in steps:
                if (now := time.monotonic()) - last > TELL:
                    last = now
                    tell(ShardProgress(step.iteration, step.loss))

    def run(self, shard: Shard, tell: Tell) -> Distillation:
        """The run of the shard's classes, through the networks of the whole run, head included."""
        stand = shard.stand
        tensors, buffers = (
            {name: torch.from_numpy(a.copy()) for name, a in part.items()} for part in (stand.tensors, stand.buffers)
        )
        start = torch.from_numpy(shard.start.copy())
        frame = Frame(shard.data.open(self.transform), self.recipe, snapshots=self.snapshots)
        run = Distillation(
            frame, self.plan, spread_of(start), RunState(tensors, buffers, stand.iteration), torch.device(self.device),
            ShardRecorder(tell, start), Supply(self.classes, self.bucket),
        )  # fmt: skip
        run.pause = self.pause
        return run

    def __getstate__(self) -> dict[str, Any]:
        """For another process: tensors as arrays, which need no shared memory."""
        return vars(self) | {"transform": plain(self.transform)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state | {"transform": rebuilt(state["transform"])})


class ShardRecorder:
    """The recorder of a shard: tells the driver what another run would write."""

    out: Path | None = None

    def __init__(self, tell: Tell, start: Tensor) -> None:
        self.tell, self.start = tell, start

    def first(self, rows: int) -> Iterator[Tensor]:
        """The shard's own first images."""
        return iter(self.start.split(rows))

    def log(self, line: Line) -> None:
        """Squares and sums, which add up to those of the whole run."""
        terms = {name: term.tolist() for name, term in line.terms.items()}
        squares = {name: norm**2 for name, norm in line.norms.items()}
        self.tell(ShardLine(line.iteration, terms, squares, line.moved * self.start.numel()))

    def snapshot(self, iteration: int, tensors: Mapping[str, Tensor]) -> None:
        """Of the shard's classes."""
        self.tell(ShardSnapshot(iteration, arrays(tensors)))

    def save(self, state: RunState, plan: Plan) -> bool:
        """Where the shard stands, unless that is not finite."""
        if not all(map(all_finite, state.tensors.values())):
            return False
        self.tell(ShardState(state.iteration, arrays(state.tensors), arrays(state.buffers), state.peak_mb, state.gpu_peak_mb))
        return True


def arrays(tensors: Mapping[str, Tensor]) -> dict[str, Array]:
    """Copies, for they are sent while the work goes on."""
    return {name: array(values) for name, values in tensors.items()}


def array(values: Tensor) -> Array:
    """A copy, for it is sent while the work goes on."""
    return np.array(values.detach().cpu().numpy())


def tensor(array: Array) -> Tensor:
    """The array as a tensor that is only read: what came through Ray's store cannot be written."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)
