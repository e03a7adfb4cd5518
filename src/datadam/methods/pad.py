"""PAD: Prioritize Alignment in Dataset Distillation (Li et al., 2024, arXiv 2408.03360).

DATM (datm.py), of whose two halves what does not fit the size of the set is left out:

    FIEX   experts see easy images first, and late in their training no longer the easiest (training/curriculum.py)
    FIEM   of the distance  sum over w in A of (student_w - target_w)^2 / sum over w in A of (start_w - target_w)^2
           A leaves out a share of the weights: by "depth" those of the first layers, by "loss" those with the smallest gap

The paper leaves out layers, and ranks images by EL2N. The released code leaves out single weights, chosen anew every iteration,
and ranks by GraNd; both are settings. Departures: its guard of the loss reads an option that does not exist, and is not here. A
layer is a convolution or a product with what follows it up to the next one (its bias, its norm).
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from datadam.methods.datm import DATM
from datadam.methods.mtt import normalised_distance
from datadam.methods.student import Student
from datadam.methods.trajectory import Outcome
from datadam.settings import finite, require
from datadam.training.curriculum import SCORES, Curriculum
from datadam.training.needs import Needs

LEFT_OUT = ("depth", "loss")


@dataclass(frozen=True, kw_only=True)
class PAD(DATM):
    """DATM, aligned in what experts see and in what is matched.

    Arguments, beside those of DATM (the paper's symbol): `share` (alpha) of layers or weights that are left out, by their "depth"
    or "loss" (`left_out`); `curriculum` of the experts that are made where none are named, by "el2n", "grand", or "none".
    Raises `InvalidInput` with every wrong setting.
    """

    share: float = 0.5
    left_out: str = "depth"
    curriculum: str = "el2n"

    name: ClassVar[str] = "pad"
    description: ClassVar[str] = "as DATM, without the first layers, from experts that see images by their difficulty"
    citation: ClassVar[str] = """@article{li2024pad,
  title={Prioritize Alignment in Dataset Distillation},
  author={Li, Zekai and Guo, Ziyao and Zhao, Wangbo and Zhang, Tianle and Cheng, Zhi-Qi and Khaki, Samir and Zhang, Kaipeng and
    Sajedi, Ahmad and Plataniotis, Konstantinos N. and Wang, Kai and You, Yang},
  journal={arXiv:2408.03360}, year={2024}}"""

    def more_faults(self) -> list[str]:
        """Of its own settings."""
        faults = super().more_faults()
        require(finite(self.share) and 0 <= self.share < 1, f"share is {self.share!r}; it must lie in [0, 1)", faults)
        for name, allowed in (("left_out", LEFT_OUT), ("curriculum", (*SCORES, "none"))):
            value = getattr(self, name)
            require(value in allowed, f"{name} is {value!r}; allowed: {', '.join(allowed)}", faults)
        return faults

    @property
    def needs(self) -> Needs:
        """Experts as DATM's, with a curriculum."""
        return replace(super().needs, curriculum=None if self.curriculum == "none" else Curriculum(by=self.curriculum))

    def compare(self, student: Student, start: Tensor, target: Tensor) -> Outcome:
        """distance [1], that of MTT among the weights that count."""
        if self.left_out == "depth":
            deep = below(student.shapes, self.share).to(start.device)
            return normalised_distance(start, target, lambda gap: deep)
        return normalised_distance(start, target, lambda gap: largest(gap, self.share))


def below(shapes: list[torch.Size], share: float) -> Tensor:
    """Which weights [P] of parameters of these shapes lie below the first layers, of which there are `share` of all, rounded
    down."""
    begins = [i for i, shape in enumerate(shapes) if len(shape) > 1] or [0]
    out = int(share * len(begins))
    first = begins[out] if out else 0
    return torch.cat([torch.full((shape.numel(),), i >= first) for i, shape in enumerate(shapes)])


def largest(gap: Tensor, share: float) -> Tensor:
    """Which weights [P] do not belong to the share of all with the smallest squared gap [P], rounded down."""
    counts = torch.ones_like(gap, dtype=torch.bool)
    counts[gap.argsort(stable=True)[: int(share * len(gap))]] = False
    return counts
