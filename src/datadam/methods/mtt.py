"""MTT: Dataset Distillation by Matching Training Trajectories (Cazenavette et al., CVPR 2022, arXiv 2203.11932).

    theta^_s     = theta*_s
    theta^_{i+1} = theta^_i - alpha * gradient of the cross-entropy of an augmented synthetic batch
    L            = || theta^_{s+N} - theta*_{s+M} ||^2 / || theta*_s - theta*_{s+M} ||^2

theta* are the weights of an expert, a network trained on the real set, after each of its epochs; s < T+ is drawn uniformly. The
images and the student's rate alpha are learned. TESLA (Cui et al., ICML 2023) is the setting `backward` = "tesla".

Departures: the gradient is that of the paper at a constant memory (trajectory.py). Batches that do not divide the images leave a
smaller one at the end of a pass (released code: at its beginning). The learned rate is held above zero (released code: it is not,
and can go negative). TESLA's released code halves its gradient of the images; ours is that of its formula, so its lr_images of
1 000 is 500 here. The last set is kept (released code: the one that tested best).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from datadam.methods.following import Following
from datadam.methods.student import Student
from datadam.methods.trajectory import Outcome


@dataclass(frozen=True, kw_only=True)
class MTT(Following):
    """Train a student from an expert's weights, and match where the expert came.

    Arguments (the paper's symbol): `steps` (N) of the student; `expert_epochs` (M) that it is compared over; `max_start` (T+),
    starts are drawn below it; `batch` (b), synthetic images a step (0: all); `rate` (alpha), the first value of the learned rate;
    `lr_rate`, the rate of its own SGD; `student_momentum`; `backward`, "exact" or "tesla"; `count`, experts
    that are made where none are named, by the `expert_optimizer` "sgd" or "gsam" (as FTD's) at the `expert_rate` in batches of
    `expert_batch`.
    Raises `InvalidInput` with every wrong setting.
    """

    name: ClassVar[str] = "mtt"
    description: ClassVar[str] = "weights of a student after N steps against those of an expert after M epochs"
    citation: ClassVar[str] = """@inproceedings{cazenavette2022mtt,
  title={Dataset Distillation by Matching Training Trajectories},
  author={Cazenavette, George and Wang, Tongzhou and Torralba, Antonio and Efros, Alexei A. and Zhu, Jun-Yan},
  booktitle={CVPR}, year={2022}}"""

    def compare(self, student: Student, start: Tensor, target: Tensor) -> Outcome:
        """distance [1], squared and in parts of the expert's own way."""
        return normalised_distance(start, target)


def normalised_distance(start: Tensor, target: Tensor, among: Callable[[Tensor], Tensor] | None = None) -> Outcome:
    """The squared distance of weights [P] to the target, in parts of that of the start; `among` which weights, given the squared
    gap [P] of each (True where it counts; None: all of them)."""

    def outcome(weights: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        gap, whole = weights - target, start - target
        if among is not None:
            counts = among(gap.square())
            gap, whole = gap * counts, whole * counts
        scale = whole.square().sum()
        return {"distance": (gap.square().sum() / scale)[None]}, 2 * gap / scale

    return outcome
