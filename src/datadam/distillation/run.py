"""Run: what every run of a recipe has, whoever computes it: where it stands, what it tells, and the set that it becomes.

Letters: K classes, M stored images.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from datadam.distillation.checkpoint import RunState
from datadam.distillation.recorder import Recorder
from datadam.distillation.setup import Frame
from datadam.methods.plan import Plan
from datadam.sets.distilled import DistilledSet

STILL = 0.01  # a run whose pixels moved less than this many standard deviations of the start says so
PIECE = 1_000_000  # numbers of images compared at once


@dataclass(frozen=True)
class Step:
    """Progress: `iteration` of `iterations` done, the last loss, and how far a pixel moved on average (network space)."""

    iteration: int
    iterations: int
    loss: float
    moved: float


class Run(ABC):
    """One run: iterate over `steps()`, then take `result()`. Made by `begin` or `resume`.

    Arguments: `frame`, what stays fixed; `plan`; `spread`, the standard deviation of the first images; `state`, where it stands;
    `device`, of those who compute; `recorder`, where it tells how it goes.
    """

    def __init__(
        self, frame: Frame, plan: Plan, spread: float, state: RunState, device: torch.device, recorder: Recorder
    ) -> None:
        self.frame, self.recipe, self.plan, self.spread, self.state = frame, frame.recipe, plan, spread, state
        self.device, self.recorder = device, recorder
        self.torn = False  # true only while the state is between two iterations
        self.saved = state.iteration  # of the last checkpoint
        self.remarks: tuple[str, ...] = ()  # what a user should be told before it starts
        self.expected = 0.0  # seconds its iterations take, about; 0.0 for moments, or where nobody has asked
        self.facts: dict[str, Any] = {}  # more for the card

    @abstractmethod
    def steps(self, time_limit: float | None = None) -> Generator[Step, None, None]:
        """Run to the end, or until `time_limit` seconds from now are nearly over; yields on the way.

        An interruption (Ctrl-C, or closing the iterator) leaves a checkpoint behind.
        """

    @abstractmethod
    def save(self) -> None:
        """Write a checkpoint, whole or not at all."""

    def unfinished(self) -> str:
        """What to say of a run that has stopped before its end; "" for none."""
        done, total = self.state.iteration, self.recipe.iterations
        return f"stopped after {done} of {total} iterations" if done < total else ""

    def moved(self) -> float:
        """Mean change of a number of the stored images since the start, taken in pieces."""
        images, total = self.state.images, 0.0
        rows = max(1, PIECE // images[0].numel())
        for now, then in zip(images.split(rows), self.recorder.first(rows), strict=True):
            total += float((now - then.to(now.device)).abs().sum(dtype=torch.float64))
        return total / images.numel()

    def result(self) -> DistilledSet:
        """The set as it stands, with its card; written to the run folder when there is one."""
        state, warnings = self.state, []
        if words := self.unfinished():
            warnings.append(words)
        state.moved = self.moved()
        if state.iteration and state.moved < STILL * self.spread and "images" in self.recipe.method.learns:
            warnings.append(
                f"the images hardly moved ({state.moved:.2g} a pixel; they spread by {self.spread:.2g}): this is "
                "nearly the start; raise the method's scale or lr_images, or run longer"
            )
        measured = {
            "iterations_done": state.iteration,
            "moved": state.moved,
            "seconds": round(state.seconds, 1),
            "peak_memory_mb": round(state.peak_mb, 1),
            **({"gpu_peak_memory_mb": round(state.gpu_peak_mb, 1)} if state.gpu_peak_mb else {}),
            "plan": self.plan.to_json(),
            **self.facts,
            "warnings": warnings,
        }
        return self.frame.finish(state.tensors, measured, self.device, self.recorder.out)


def spread_of(start: Tensor) -> float:
    """The standard deviation of the first images, against which movement is told."""
    return float(start.std())
