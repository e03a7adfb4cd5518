"""Methods that follow experts: trained on the synthetic set from an expert's weights, a student shall come where the expert came.

An iteration draws an expert and an epoch s to start from (window.py), trains a student for N steps from the expert's weights
theta_s on the synthetic set at its learned rate, and compares its last weights with those of the expert M epochs later
(trajectory.py takes the gradient). mtt.py has the shortest such method.

Letters: N steps, M epochs, P weights of the network, K classes, B images of a batch.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from datadam.errors import RunFailed
from datadam.methods.base import Group, Method, State
from datadam.methods.cost import Cost, Size
from datadam.methods.draw import Draw
from datadam.methods.gradient import Gradient
from datadam.methods.student import LARGE, Student, piece
from datadam.methods.trajectory import Outcome, through
from datadam.methods.window import batches, window
from datadam.sets.synthetic import SyntheticSet
from datadam.settings import finite, refuse, require
from datadam.training.flat import Flat
from datadam.training.needs import Needs
from datadam.training.trainer import Training

FORWARD, BACK, BACK_CUT = 3, 8, 6  # forward passes that a step counts for an image: on the way, and back
MAPS, ROWS = 40, 12  # alive while one step is gone back through, about: copies of all blocks of an image, and of the weights
TRACED = 20  # and of the blocks where the step is traced at once
HELD = 100  # the learned rate stays within its first value divided, and multiplied, by this
BACKWARD = ("exact", "tesla")
OPTIMIZERS = ("sgd", "gsam")


@dataclass(frozen=True, kw_only=True)
class Following(Method):
    """What methods that follow experts have in common.

    Arguments (the paper's symbol): `steps` (N) of the student; `expert_epochs` (M) that it is compared over; `max_start` (T+),
    starts are drawn below it; `batch` (b), synthetic images a step (0: all); `rate` (alpha), the first value of the learned rate;
    `lr_rate`, the rate of its own SGD, with momentum 0.5; `student_momentum`; `backward`, the "exact" gradient or "tesla",
    which takes the weights on the way for constants; `count`, experts that are made where none are named, by the
    `expert_optimizer` "sgd" or "gsam" (flat.py) at the `expert_rate` in batches of `expert_batch`.
    The learned rate is held within a hundredth and a hundred times its first value: a rate that is negative trains no student.
    Raises `InvalidInput` with every wrong setting.
    """

    steps: int = 20
    expert_epochs: int = 3
    max_start: int = 25
    batch: int = 0
    rate: float = 0.01
    lr_rate: float = 1e-5
    student_momentum: float = 0.0
    backward: str = "exact"
    count: int = 100
    expert_optimizer: str = "sgd"
    expert_rate: float = 0.01
    expert_batch: int = 256

    family: ClassVar[str] = "trajectory matching"
    separable: ClassVar[bool] = False
    learns: ClassVar[frozenset[str]] = frozenset({"images", "rate"})
    draws_real: ClassVar[bool] = False
    real_gradient: ClassVar[bool] = False
    compiles: ClassVar[bool] = False  # not before compiled code has been shown to give the same
    augments_each: ClassVar[bool] = True

    def __post_init__(self) -> None:
        faults: list[str] = []
        for name in ("steps", "expert_epochs", "max_start", "batch", "count", "expert_batch"):
            value, least = getattr(self, name), 0 if name == "batch" else 1
            require(type(value) is int and value >= least, f"{name} is {value!r}; it must be a whole number >= {least}", faults)
        for name in ("rate", "lr_rate", "expert_rate"):
            value = getattr(self, name)
            require(finite(value) and value > 0, f"{name} is {value!r}; it must be a number > 0", faults)
        value = self.student_momentum
        require(finite(value) and 0 <= value < 1, f"student_momentum is {value!r}; it must lie in [0, 1)", faults)
        for name, allowed in (("backward", BACKWARD), ("expert_optimizer", OPTIMIZERS)):
            value = getattr(self, name)
            require(value in allowed, f"{name} is {value!r}; allowed: {', '.join(allowed)}", faults)
        faults += self.more_faults()
        refuse(faults)

    def more_faults(self) -> list[str]:
        """What is wrong with the settings of a method of its own."""
        return []

    @property
    def last_epoch(self) -> int:
        """The last epoch of an expert that is ever looked at; none is trained any longer."""
        return self.max_start - 1 + self.expert_epochs

    @property
    def needs(self) -> Needs:
        """Experts: SGD without momentum, augmented, no fall of the rate."""
        epochs, rate, batch = self.last_epoch, self.expert_rate, self.expert_batch
        plain = Training(epochs=epochs, batch=batch, lr=rate, momentum=0.0, weight_decay=0.0, drop_after=epochs, augment="dsa")
        return Needs("experts", plain, self.count, Flat() if self.expert_optimizer == "gsam" else None)

    def groups(self, images: Group) -> Sequence[Group]:
        """The images, and the rate."""
        bounds = (self.rate / HELD, self.rate * HELD)
        return images, Group(tensors=("rate",), lr=self.lr_rate, momentum=0.5, bounds=bounds)

    def start_values(self, synthetic: SyntheticSet, given: object) -> dict[str, Tensor]:
        """The first rate."""
        return {"rate": torch.tensor(self.rate, dtype=torch.float64)}

    def starts(self, iteration: int) -> tuple[int, int]:
        """The first and the last epoch that an iteration may start from."""
        return 0, self.max_start - 1

    def compare(self, student: Student, start: Tensor, target: Tensor) -> Outcome:
        """What the student's last weights are compared by: of them the terms of the loss, and its gradient."""
        raise NotImplementedError

    def gradient(self, state: State, synthetic: SyntheticSet, draw: Draw, *, norms: bool) -> Gradient:
        """Through the training of the student. Raises `RunFailed` where it is not finite."""
        source, leaf = draw.source, synthetic.leaves(self.learns)
        chunk, compiled, coarse = piece(source.plan.chunk), source.plan.compiled, source.precision == "bfloat16"
        student: Student = source.once(lambda: Student(source.network, chunk=chunk, compiled=compiled, coarse=coarse))
        images, labels = leaf.images(), leaf.labels()
        start, target = window(draw, *self.starts(draw.iteration), self.expert_epochs)
        steps = batches(draw, self.steps, len(images), self.batch)
        found = through(
            student, start, images.detach(), labels.detach(), leaf.tensors["rate"].detach(), steps,
            self.compare(student, start, target), momentum=self.student_momentum, exact=self.backward == "exact",
        )  # fmt: skip
        of = {"rate": found.rate, "images": torch.autograd.grad(images, leaf.stored, found.images)[0]}
        if found.labels is not None:
            of["labels"] = torch.autograd.grad(labels, leaf.tensors["labels"], found.labels)[0]
        bad = [name for name, gradient in of.items() if not torch.isfinite(gradient).all()]
        if bad and all(torch.isfinite(term).all() for term in found.terms.values()):  # else the run tells it of the loss
            raise RunFailed(
                f"the gradient of the {bad[0]} is not finite at iteration {draw.iteration}: the student's training ran away; "
                f"lower lr_images, or the first rate (now {self.rate:g})"
            )
        whole = math.hypot(*(float(gradient.norm()) for gradient in of.values())) if norms else 0.0
        return Gradient(of, found.terms, dict.fromkeys(found.terms, whole) if norms else {})

    def cost(self, size: Size) -> Cost:
        """Forward and backward on the way, and a derivative of both on the way back; one step's maps, and all weights."""
        images = sum(size.synthetic)
        batch = min(self.batch or images, images)
        together = batch if size.couples else min(batch, piece(size.chunk))
        passes = self.steps * batch * (FORWARD + (BACK if self.backward == "exact" else BACK_CUT))
        maps = TRACED if size.weights >= 4 * LARGE else MAPS
        needed = maps * together * sum(size.blocks) + (self.steps + ROWS) * size.weights
        return Cost(passes=passes, bytes=needed, cure="lower batch")
