"""Recorders: where a run's lines, snapshots and states go. To its folder, to the driver of a shard, or nowhere.

Letters: K classes, M stored images.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import torch
from torch import Tensor

from datadam.files.whole import read_slices, write_tensors
from datadam.methods.plan import Plan

if TYPE_CHECKING:
    from datadam.distillation.checkpoint import Checkpoint, RunState


class Line(NamedTuple):
    """What is logged of an iteration: each term of the loss [K] or [1], float64; norms of their gradients; the mean change of a
    pixel since the start; seconds so far."""

    iteration: int
    terms: dict[str, Tensor]
    norms: dict[str, float]
    moved: float
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """As kept in metrics.jsonl: terms summed in class order."""
        parts = {name: {"loss": float(term.sum()), "grad_norm": self.norms[name]} for name, term in self.terms.items()}
        loss = float(torch.stack(list(self.terms.values())).cpu().sum(0).sum())
        seconds = round(self.seconds, 3)
        return {"iteration": self.iteration, "loss": loss, "terms": parts, "moved": self.moved, "seconds": seconds}


class Recorder(Protocol):
    """What a run tells on its way."""

    @property
    def out(self) -> Path | None:
        """The run folder; None where there is none."""

    def first(self, rows: int) -> Iterator[Tensor]:
        """The images that the run started from, so many rows at a time."""

    def log(self, line: Line) -> None:
        """A line of metrics."""

    def snapshot(self, iteration: int, tensors: Mapping[str, Tensor]) -> None:
        """What is learned, by name (sets/synthetic.py), after an iteration that is to be kept."""

    def save(self, state: RunState, plan: Plan) -> bool:
        """All that is needed to go on; returns whether it is kept."""


class Nowhere:
    """Of a run without a folder: only the images it started from are remembered."""

    out: Path | None = None

    def __init__(self, start: Tensor) -> None:
        self.start = start

    def first(self, rows: int) -> Iterator[Tensor]:
        """From memory."""
        return iter(self.start.split(rows))

    def log(self, line: Line) -> None:
        """Nobody reads it."""

    def snapshot(self, iteration: int, tensors: Mapping[str, Tensor]) -> None:
        """Nobody looks at it."""

    def save(self, state: RunState, plan: Plan) -> bool:
        """There is nothing to go on from."""
        return False


class Folder:
    """Of a run folder, whose files are written whole or not at all."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self.out: Path | None = checkpoint.out

    def first(self, rows: int) -> Iterator[Tensor]:
        """From their file, so that the images of a thousand classes are not held once more."""
        return read_slices(self.checkpoint.snapshot(0), "images", rows)

    def log(self, line: Line) -> None:
        """One more line in metrics.jsonl."""
        self.checkpoint.log(line.to_json())

    def snapshot(self, iteration: int, tensors: Mapping[str, Tensor]) -> None:
        """A file in snapshots/."""
        write_tensors(self.checkpoint.snapshot(iteration), tensors)

    def save(self, state: RunState, plan: Plan) -> bool:
        """The checkpoint; the one before stays beside it."""
        return self.checkpoint.write(state, plan)
