"""DATM: Towards Lossless Dataset Distillation via Difficulty-Aligned Trajectory Matching (Guo et al., ICLR 2024).

MTT's distance (mtt.py) with three changes:

    starts     T- <= s < T(i), T(i) = min(T+, T + floor((T+ - T) * i / `widens_by`)): small sets match early epochs, large ones
               late ones
    labels     students learn softmax(y); y are logits that are learned, and begin as the mean answer of those experts, after
               their last epoch, that get the image right
    threshold  an iteration whose loss is above it takes no step at all

Paper: arXiv 2310.05773. Experts train by GSAM, as FTD's. Departures: an image that no expert gets right begins with the mean
answer of all (released code: 0/0). There is no average of the images over iterations, which FTD alone has: the released code has
a setting for one that nothing reads.

Letters: N training images, M stored ones, K classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from datadam.methods.base import Group, State
from datadam.methods.draw import Draw
from datadam.methods.following import Following
from datadam.methods.gradient import Gradient
from datadam.methods.mtt import normalised_distance
from datadam.methods.student import Student
from datadam.methods.trajectory import Outcome
from datadam.sets.synthetic import SyntheticSet
from datadam.settings import finite, require
from datadam.training.experts import Experts
from datadam.training.needs import Needs


@dataclass(frozen=True, kw_only=True)
class DATM(Following):
    """Match trajectories of a difficulty that suits the size of the set, with soft labels.

    Arguments, beside those of MTT (the paper's symbol): `min_start` (T-), starts are drawn from it on; `first_max` (T), below
    which they are drawn at first (0: below `max_start` from the beginning); `widens_by`, the iteration at which the window has
    reached `max_start` (T+); `lr_labels`, the rate of the labels' SGD, with momentum 0.9; `threshold` of the loss, above which
    no step is taken; `epochs` of the experts that are made where none are named, whose last one gives the first labels.
    Raises `InvalidInput` with every wrong setting.
    """

    steps: int = 80
    expert_epochs: int = 2
    max_start: int = 20
    min_start: int = 0
    first_max: int = 10
    widens_by: int = 3000
    lr_labels: float = 2.0
    threshold: float = 1.0
    epochs: int = 100
    expert_optimizer: str = "gsam"

    name: ClassVar[str] = "datm"
    description: ClassVar[str] = "as MTT, with soft labels, from starts that suit the size of the set"
    learns: ClassVar[frozenset[str]] = frozenset({"images", "labels", "rate"})
    citation: ClassVar[str] = """@inproceedings{guo2024datm,
  title={Towards Lossless Dataset Distillation via Difficulty-Aligned Trajectory Matching},
  author={Guo, Ziyao and Wang, Kai and Cazenavette, George and Li, Hui and Zhang, Kaipeng and You, Yang},
  booktitle={ICLR}, year={2024}}"""

    def more_faults(self) -> list[str]:
        """Of its own settings."""
        faults: list[str] = []
        for name, least in (("min_start", 0), ("first_max", 0), ("widens_by", 1), ("epochs", 1)):
            value = getattr(self, name)
            require(type(value) is int and value >= least, f"{name} is {value!r}; it must be a whole number >= {least}", faults)
        for name in ("lr_labels", "threshold"):
            value = getattr(self, name)
            require(finite(value) and value > 0, f"{name} is {value!r}; it must be a number > 0", faults)
        if not faults and type(self.max_start) is int and type(self.expert_epochs) is int:
            first = self.first_max or self.max_start
            order = f"min_start={self.min_start}, first_max={self.first_max}, max_start={self.max_start}"
            require(self.min_start < first <= self.max_start, f"{order}: they must rise, first_max may be 0", faults)
            require(self.epochs >= self.last_epoch, f"epochs is {self.epochs}; starts reach to epoch {self.last_epoch}", faults)
        return faults

    @property
    def needs(self) -> Needs:
        """Experts as MTT's, trained for `epochs`."""
        needs = super().needs
        assert needs.training is not None
        return replace(needs, training=replace(needs.training, epochs=self.epochs, drop_after=self.epochs))

    def groups(self, images: Group) -> Sequence[Group]:
        """The labels too."""
        return Group(tensors=("labels",), lr=self.lr_labels, momentum=0.9), *super().groups(images)

    def start_values(self, synthetic: SyntheticSet, given: object) -> dict[str, Tensor]:
        """The first rate, and the experts' answers."""
        assert isinstance(given, Experts)
        return super().start_values(synthetic, given) | {"labels": first_labels(synthetic, given)}

    def starts(self, iteration: int) -> tuple[int, int]:
        """A window that widens."""
        if not self.first_max:
            return self.min_start, self.max_start - 1
        more = (self.max_start - self.first_max) * iteration // self.widens_by
        return self.min_start, min(self.max_start, self.first_max + more) - 1

    def compare(self, student: Student, start: Tensor, target: Tensor) -> Outcome:
        """distance [1], that of MTT."""
        return normalised_distance(start, target)

    def gradient(self, state: State, synthetic: SyntheticSet, draw: Draw, *, norms: bool) -> Gradient:
        """No step is taken above the threshold."""
        found = super().gradient(state, synthetic, draw, norms=norms)
        return replace(found, skips=float(found.terms["distance"].sum()) > self.threshold)


@torch.no_grad()
def first_labels(synthetic: SyntheticSet, experts: Experts) -> Tensor:
    """Logits [M, K]: the mean answer, over the training images of a stored one, of the experts that get it right after their last
    epoch; of all experts where none does."""
    images, numbers = synthetic.images().cpu().float(), synthetic.labels().cpu()
    rows, each = len(synthetic.stored), synthetic.decoder.each
    total, right_total, right_count = (torch.zeros(rows, n) for n in (len(synthetic.classes), len(synthetic.classes), 1))
    for network in experts.finished():
        logits = torch.cat([network(piece) for piece in images.split(256)])
        right = (logits.argmax(1) == numbers).float()[:, None]
        total += logits.unflatten(0, (rows, each)).sum(1)
        right_total += (logits * right).unflatten(0, (rows, each)).sum(1)
        right_count += right.unflatten(0, (rows, each)).sum(1)
    return torch.where(right_count > 0, right_total / right_count.clamp(min=1), total / (experts.networks * each))
