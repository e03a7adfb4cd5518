"""The loop: draw, compare, step. Any method, with exact resume.

Everything drawn is named by the iteration (draw.py), so the images, their momentum and the method's state are all that a
checkpoint holds, and a resumed run ends bit-equal to an uninterrupted one on the same machine.
"""

import time
from collections import deque
from collections.abc import Generator
from contextlib import closing, nullcontext
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from datadam import machine, nets
from datadam.data.resident import keep
from datadam.distillation.checkpoint import Checkpoint, RunState
from datadam.distillation.setup import Frame
from datadam.errors import ArtifactError, NonFiniteLoss
from datadam.files.whole import read_slices, write_tensors
from datadam.methods import FeatureMatching
from datadam.methods.draw import Draw, Draws
from datadam.methods.gradient import gradient_of
from datadam.methods.matching import Gradient, Plan
from datadam.sets.distilled import DistilledSet
from datadam.sets.synthetic import SyntheticSet
from datadam.training.pool import Bucket, open_bucket

STILL = 0.01  # a run whose pixels moved less than this many standard deviations of the start says so
CHECKPOINT_SECONDS = 30.0
CHECKPOINT_SHARE = 0.03  # of the time at most, where writing one is slow
PIECE = 1_000_000  # numbers of images compared at once
LINES = 200  # lines of metrics a run, about
GPU_FULL = "free it and go on with --resume, or begin anew with a lower --batch-real or --ipc, or with --precision bfloat16"


@dataclass(frozen=True)
class Step:
    """Progress: `iteration` of `iterations` done, the last loss, and how far a pixel moved on average (network space)."""

    iteration: int
    iterations: int
    loss: float
    moved: float


class Distillation:
    """One run: iterate over `steps()`, then take `result()`. Made by `begin` or `resume`."""

    def __init__(
        self, frame: Frame, plan: Plan, start: Tensor, state: RunState, device: torch.device, checkpoint: Checkpoint | None
    ) -> None:
        recipe, real = frame.recipe, frame.real
        self.frame, self.recipe, self.plan, self.state, self.checkpoint = frame, recipe, plan, state, checkpoint
        self.device, dtype = device, start.dtype
        self.start = None if checkpoint else start.to(device)  # read from its file, where it lies in one: see _moved
        self.spread = float(start.std())
        state.images, state.momentum = state.images.to(device), state.momentum.to(device)
        self.synthetic = SyntheticSet(state.images, recipe.ipc, real.classes)
        self.torn = False  # true only while the state is between two iterations
        self.written = state.iteration  # in the file of the state; shards keep more
        self.saved = state.iteration  # of the last checkpoint
        torn = checkpoint.remark if checkpoint else ""
        self.remarks: tuple[str, ...] = (torn,) if torn else ()  # what a user should be told before it starts
        self.expected = 0.0  # seconds the whole run takes, about; 0.0 for moments, or where nobody has asked
        self.pause = CHECKPOINT_SECONDS  # between two checkpoints, at least
        self.facts: dict[str, Any] = {}  # more for the card
        self._prepare(dtype)

    def _prepare(self, dtype: torch.dtype) -> None:
        """Make what computes: the network, what is drawn, the gradient."""
        recipe, real, plan, state, device = self.recipe, self.frame.real, self.plan, self.state, self.device
        classes, bucket = self._matching()
        network = nets.build(recipe.net, shape=real.shape, classes=classes).to(device, dtype)
        features_only = isinstance(recipe.method, FeatureMatching) and not recipe.trains_network
        if features_only and bucket is None:
            nets.headless(network)
        if plan.compiled:
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # as the engine lays images out
        self.draws = Draws(
            real, network, recipe.seed, recipe.batch_real, recipe.augment, recipe.init, recipe.iterations_per_network,
            device=device, dtype=dtype, training=recipe.network_training, chunk=plan.chunk,
            bucket=bucket,
        )  # fmt: skip
        state.method = {k: v.to(device) if isinstance(v, Tensor) else v for k, v in state.method.items()}
        with machine.threads(plan.threads):
            if plan.kept and state.iteration < recipe.iterations:
                self.draws.kept = keep(real, plan.kept, device)
            if state.iteration == 0:
                state.method = recipe.method.init(self.synthetic, self.draws.at(0))
        self.gradient = gradient_of(recipe.method, plan, recipe.precision, str(device))
        self.draws_ahead = device.type == "cuda" and features_only and recipe.method.needs_network

    def _matching(self) -> tuple[int, Bucket | None]:
        """How many classes the matching networks tell apart, and the trained ones to draw from (None: random weights)."""
        real = self.frame.real
        return len(real.classes), open_bucket(self.recipe.networks, real, self.recipe.net)

    def steps(self, time_limit: float | None = None) -> Generator[Step, None, None]:
        """Run to the end, or until `time_limit` seconds from now are nearly over; yields after each iteration.

        An interruption (Ctrl-C, or closing the iterator) leaves a checkpoint behind. Raises `NonFiniteLoss`.
        """
        state, total = self.state, self.recipe.iterations
        self.draws.drawn = -1  # an interruption may have left a network half trained
        if state.network:  # it was trained on the images of then: drawing it again is not enough
            try:
                self.draws.at(state.iteration - 1).network().load_state_dict(state.network)
            except RuntimeError as error:
                raise ArtifactError(f"the network in the checkpoint is no {self.recipe.net}; make the run again") from error
        began, before = time.monotonic(), self.state.seconds
        recent: deque[float] = deque(maxlen=5)  # seconds of the last iterations; the first one may compile
        saved, pause = began, self.pause
        try:
            while state.iteration < total:
                now = time.monotonic()
                if time_limit is not None and now + 1.5 * max(recent, default=0.0) > began + time_limit:
                    break
                with machine.telling_full_memory(GPU_FULL), machine.threads(self.plan.threads):
                    loss = self._step()
                recent.append(time.monotonic() - now)
                state.seconds = before + time.monotonic() - began
                state.peak_mb = max(state.peak_mb, machine.peak_memory_mb())
                if (now := time.monotonic()) - saved > pause:
                    self.save()
                    saved = time.monotonic()
                    pause = max(self.pause, (saved - now) / CHECKPOINT_SHARE)
                yield Step(state.iteration, total, loss, state.moved)
        finally:
            if not self.torn:
                self.save()

    def _step(self) -> float:
        state, recipe = self.state, self.recipe
        draw = self.draws.at(state.iteration)
        if recipe.trains_network and (draw.starts_network if recipe.network_when == "drawn" else not draw.starts_network):
            draw.network()
            self._train_network(draw)
        every = max(10, recipe.iterations // LINES)
        log = state.iteration % every == 0 or state.iteration + 1 == recipe.iterations
        more = self.draws_ahead and state.iteration + 1 < recipe.iterations
        with self.draws.ahead(state.iteration + 1) if more else nullcontext():
            gradient = self.gradient(state.method, self.synthetic, draw, log)
        loss = self._finite(gradient.terms)
        with machine.unbroken():  # Ctrl-C waits: these belong together
            self.torn = True
            state.momentum.mul_(recipe.momentum).add_(gradient.images)
            state.images.sub_(state.momentum, alpha=recipe.lr_images)
            state.method = recipe.method.after_step(state.method, self.synthetic, draw)
            state.iteration += 1
            if recipe.trains_network:  # kept apart: an interruption in the next training must find it as it is now
                state.network = {name: value.clone() for name, value in self.draws.network.state_dict().items()}
            if log:
                state.moved = self._moved()
                self._log(gradient)
            if state.iteration in self.frame.snapshots:
                self._snapshot()
            self.torn = False  # not after an error: a checkpoint would go on without the line or the snapshot that is missing
        return loss

    def _log(self, gradient: Gradient) -> None:
        """Write a line of metrics."""
        if self.checkpoint:
            terms = {name: term.double() for name, term in gradient.terms.items()}
            state = self.state
            self.checkpoint.log(metrics(state.iteration, terms, gradient.norms, state.moved, state.seconds))

    def _snapshot(self) -> None:
        """Keep the images as they are now."""
        if self.checkpoint:
            write_tensors(self.checkpoint.snapshot(self.state.iteration), {"images": self.state.images})

    def _finite(self, terms: dict[str, Tensor]) -> float:
        """The loss, summed in class order. Raises `NonFiniteLoss` with the class."""
        per_class = torch.stack([term.double() for term in terms.values()]).cpu().sum(0)  # the one place that waits for a GPU
        bad = (~torch.isfinite(per_class)).nonzero()
        if len(bad):
            self.torn = True  # what led here is not worth keeping: the last good checkpoint stays
            classes = self.frame.real.classes
            whose = f"class {classes[int(bad[0])]!r}" if len(per_class) == len(classes) else "the images"
            where = f"; the last good checkpoint is in {self.checkpoint.out}" if self.checkpoint else ""
            raise NonFiniteLoss(
                f"the loss of {whose} is {float(per_class[bad[0]])} at iteration "
                f"{self.state.iteration}{where}. Lower lr_images (now {self.recipe.lr_images:g}) or the method's scale"
            )
        return float(per_class.sum())

    def _moved(self) -> float:
        """Mean change of a pixel since the start, taken in pieces: the images of a thousand classes are not held once more."""
        images, total = self.state.images, 0.0
        rows = max(1, PIECE // images[0].numel())
        if self.checkpoint:
            pieces = read_slices(self.checkpoint.snapshot(0), "images", rows)
        else:
            assert self.start is not None
            pieces = iter(self.start.split(rows))
        for now, then in zip(images.split(rows), pieces, strict=True):
            total += float((now - then.to(now.device)).abs().sum(dtype=torch.float64))
        return total / images.numel()

    def _train_network(self, draw: Draw) -> None:
        """Train the drawn network on the synthetic set: for `network_steps` steps, or `network_epochs` passes."""
        recipe = self.recipe
        limit = recipe.network_steps or None  # a pass has at least one step
        epochs = recipe.network_epochs or recipe.network_steps
        with closing(draw.training_steps(self.state.images, self.synthetic.labels, epochs)) as steps:
            for _ in islice(steps, limit):
                pass

    def save(self) -> None:
        """Write a checkpoint, whole or not at all."""
        self.state.gpu_peak_mb = max(self.state.gpu_peak_mb, machine.gpu_peak_mb(self.device))
        if self.checkpoint and self.written == self.state.iteration and self.checkpoint.state.exists():
            return  # written again, it would push out the one before
        if self.checkpoint and self.checkpoint.write(self.state, self.plan):
            self.saved = self.written = self.state.iteration

    def _unfinished(self) -> str:
        """What to say of a run that has stopped before its end; "" for none."""
        done, total = self.state.iteration, self.recipe.iterations
        return f"stopped after {done} of {total} iterations" if done < total else ""

    def result(self) -> DistilledSet:
        """The set as it stands, with its card; written to the run folder when there is one."""
        state, warnings = self.state, []
        if words := self._unfinished():
            warnings.append(words)
        state.moved = self._moved()
        if state.iteration and state.moved < STILL * self.spread:
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
        return self.frame.finish(state.images, measured, self.device, self.checkpoint.out if self.checkpoint else None)


def metrics(iteration: int, terms: dict[str, Tensor], norms: dict[str, float], moved: float, seconds: float) -> dict[str, Any]:
    """A line of metrics: `terms`, each one number a class [K], float64, summed in class order; `norms`, of their gradients."""
    parts = {name: {"loss": float(term.sum()), "grad_norm": norms[name]} for name, term in terms.items()}
    loss = float(torch.stack(list(terms.values())).cpu().sum(0).sum())
    return {"iteration": iteration, "loss": loss, "terms": parts, "moved": moved, "seconds": round(seconds, 3)}
