"""The loop: draw, compare, step. Any method, with exact resume.

Everything drawn is named by the iteration (methods/draw.py), so the learned tensors, the optimisers' buffers and the method's
state are all that a checkpoint holds, and a resumed run ends bit-equal to an uninterrupted one on the same machine.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator
from contextlib import closing, nullcontext
from typing import NamedTuple

import torch
from torch import Tensor

from datadam import machine, nets
from datadam.data import RealData
from datadam.data.resident import keep
from datadam.distillation.checkpoint import RunState
from datadam.distillation.nested import drawn, widened
from datadam.distillation.optimisers import Optimisers
from datadam.distillation.recipe import Recipe
from datadam.distillation.recorder import Line, Recorder
from datadam.distillation.run import Run, Step
from datadam.distillation.setup import Frame
from datadam.errors import ArtifactError, NonFiniteLoss
from datadam.methods.draw import Draw, Draws
from datadam.methods.gradient import Gradient
from datadam.methods.plan import Plan
from datadam.sets.decoders import decoder_named
from datadam.sets.synthetic import SyntheticSet
from datadam.training.experts import Experts, open_experts
from datadam.training.needs import Progress, prepare, trained_seconds
from datadam.training.pool import Bucket, open_bucket

CHECKPOINT_SECONDS = 30.0
CHECKPOINT_SHARE = 0.03  # of the time at most, where writing one is slow
LINES = 200  # lines of metrics a run, about
GPU_FULL = "free it and go on with --resume, or begin anew with a lower --batch-real or --ipc, or with --precision bfloat16"


class Supply(NamedTuple):
    """What a run computes with: how many `classes` its networks tell apart, the trained ones to draw from (None: random
    weights), and what was made because the method needs it."""

    classes: int
    bucket: Bucket | None
    given: object = None


def supply_of(real: RealData, recipe: Recipe, device: str = "cpu", progress: Progress | None = None) -> Supply:
    """What a recipe needs on these data, whitened as the run will see them: opened, found, or made now.

    `progress(what, done, total)` is called while networks train. Raises `InvalidInput`, `ArtifactError`, `RunFailed`.
    """
    needs, networks = recipe.method.needs, recipe.networks
    given: object
    if needs.training and needs.networks == "experts":
        given = open_experts(networks, real, recipe.net, needs.training.epochs)  # also those that were made when the run began
    else:
        given = open_bucket(networks, real, recipe.net)
    if given is None:
        given = prepare(
            needs, real, net=recipe.net, seed=recipe.seed, device=device, progress=progress,
            precision=recipe.precision if recipe.precision == "bfloat16" or recipe.method.samples else "float32",
        )  # fmt: skip
    return Supply(len(real.classes), given if isinstance(given, Bucket) else None, given)


class Distillation(Run):
    """A run that is computed here.

    Arguments: as `Run`; `supply` of networks (None: opened here).
    """

    def __init__(
        self, frame: Frame, plan: Plan, spread: float, state: RunState, device: torch.device, recorder: Recorder,
        supply: Supply | None = None,
    ) -> None:  # fmt: skip
        super().__init__(frame, plan, spread, state, device, recorder)
        for values in (state.tensors, state.buffers, state.method):
            values.update({name: value.to(device) for name, value in values.items() if isinstance(value, Tensor)})
        self.kept = state.iteration > 0  # whether the state as it is now has been saved
        self.pause = CHECKPOINT_SECONDS  # between two checkpoints, at least
        recipe, real = self.recipe, frame.real
        self.synthetic = SyntheticSet(state.tensors, real.classes, recipe.counts(real), decoder_named(recipe.decoder))
        supply = supply or supply_of(real, recipe, str(device))
        if recipe.method.needs.training and (trained := trained_seconds(supply.given)) is not None:
            self.facts["trained_first_seconds"] = round(trained, 1)
        if isinstance(supply.given, Experts):
            self.facts["experts"] = supply.given.to_card()
        self._prepare(supply)

    def _prepare(self, supply: Supply) -> None:
        """Make what computes: the network, what is drawn, the optimisers, the gradient."""
        recipe, real, plan, state, device = self.recipe, self.frame.real, self.plan, self.state, self.device
        method, dtype = recipe.method, state.images.dtype
        network = nets.build(recipe.net, shape=real.shape, classes=supply.classes).to(device, dtype)
        features_only = method.only_features and not recipe.on_the_way
        if features_only and supply.bucket is None:
            nets.headless(network)
        if plan.compiled:
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # as the engine lays images out
        self.draws = Draws(
            real, network, recipe.seed, recipe.batch_real, recipe.augment, recipe.init, recipe.iterations_per_network,
            device=device, dtype=dtype, on_the_way=recipe.on_the_way, plan=plan, precision=recipe.precision, bucket=supply.bucket,
            between=method.between_states, given=supply.given, real_every=recipe.real_every,
            batch_synthetic=recipe.batch_synthetic,
        )  # fmt: skip
        with machine.threads(plan.threads):
            if plan.kept and state.iteration < recipe.iterations:
                self.draws.kept = keep(real, plan.kept, device)
            if state.iteration == 0 and not state.method:
                state.method = method.init(self.synthetic, self.draws.at(0))
        self.optimisers = Optimisers(method.groups(recipe.group), state.tensors, state.buffers, state.iteration)
        state.buffers = self.optimisers.buffers()
        self.draws_ahead = device.type == "cuda" and features_only and method.needs_network

    def gradient(self, state: dict[str, Tensor | int | float], synthetic: SyntheticSet, draw: Draw, norms: bool) -> Gradient:
        """The method's, of the loss with respect to what it learns."""
        return self.recipe.method.gradient(state, synthetic, draw, norms=norms)

    def steps(self, time_limit: float | None = None) -> Generator[Step, None, None]:
        """As of any run; yields after each iteration. Raises `NonFiniteLoss`."""
        state, total = self.state, self.recipe.iterations
        self.draws.drawn = -1  # an interruption may have left a network half trained
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
        count = drawn(recipe.ladder, recipe.seed, state.iteration)
        synthetic = self.synthetic if count is None else self.synthetic.prefix(count)
        self._between(draw, synthetic)
        every = max(10, recipe.iterations // LINES)
        log = state.iteration % every == 0 or state.iteration + 1 == recipe.iterations
        more = self.draws_ahead and state.iteration + 1 < recipe.iterations
        with self.draws.ahead(state.iteration + 1) if more else nullcontext():
            gradient = self.gradient(state.method, synthetic, draw, log)
        if count is not None:
            gradient = widened(gradient, self.synthetic, count)
        loss = self._finite(gradient.terms)
        with machine.unbroken():  # Ctrl-C waits: these belong together
            self.torn = True
            self.kept = False
            if gradient.skips:
                self.optimisers.skip()
            else:
                self.optimisers.step(gradient.of)
            state.iteration += 1
            if log:
                state.moved = self.moved()
                terms = {name: term.double() for name, term in gradient.terms.items()}
                self.recorder.log(Line(state.iteration, terms, gradient.norms, state.moved, state.seconds))
            if state.iteration in self.frame.snapshots:
                self.recorder.snapshot(state.iteration, state.tensors)
            self.torn = False  # not after an error: a checkpoint would go on without the line or the snapshot that is missing
        return loss

    def _between(self, draw: Draw, synthetic: SyntheticSet) -> None:
        """What the method does before this image step; Ctrl-C ends it at once, and a resumed run goes on from what it yielded."""
        try:
            with closing(self.recipe.method.between(self.state.method, synthetic, draw)) as pieces:
                for piece in pieces:
                    self.state.method, self.kept = piece, False
        except RuntimeError as error:
            if "state_dict" in str(error):
                raise ArtifactError(f"the network in the checkpoint is no {self.recipe.net}; make the run again") from error
            raise

    def _finite(self, terms: dict[str, Tensor]) -> float:
        """The loss, summed in class order. Raises `NonFiniteLoss` with the class."""
        per_class = torch.stack([term.double() for term in terms.values()]).cpu().sum(0)  # the one place that waits for a GPU
        bad = (~torch.isfinite(per_class)).nonzero()
        if len(bad):
            self.torn = True  # what led here is not worth keeping: the last good checkpoint stays
            classes = self.frame.real.classes
            whose = f"class {classes[int(bad[0])]!r}" if len(per_class) == len(classes) else "the images"
            where = f"; the last good checkpoint is in {self.recorder.out}" if self.recorder.out else ""
            raise NonFiniteLoss(
                f"the loss of {whose} is {float(per_class[bad[0]])} at iteration "
                f"{self.state.iteration}{where}. Lower lr_images (now {self.recipe.lr_images:g}) or the method's scale"
            )
        return float(per_class.sum())

    def save(self) -> None:
        """As of any run; a state that has been saved is not written again, since it would push out the one before."""
        self.state.gpu_peak_mb = max(self.state.gpu_peak_mb, machine.gpu_peak_mb(self.device))
        if not self.kept and self.recorder.save(self.state, self.plan):
            self.kept, self.saved = True, self.state.iteration
