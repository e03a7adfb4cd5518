"""Membership inference: can a student's answer tell whether a real image had a part in its making?

Attacks by the loss (Yeom et al., CSF 2018) and by the likelihood ratio with reference networks that never saw the image
(LiRA, offline; Carlini et al., S&P 2022). Letters: S students, R references, N images, K classes.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from datadam.evaluation.statistics import FPR, Rate, auc, tpr
from datadam.rng import stream

LEAST_OUT = 2  # references that must not have seen an image before it is judged by them
Numbers = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def log_odds(logits: Tensor, labels: Tensor) -> Tensor:
    """log(p / (1 - p)) of the right class [N] from logits [N, K], K >= 2: LiRA's confidence, stable where p is nearly 1."""
    logits = logits.double()
    right = logits.gather(1, labels[:, None])
    wrong = logits.scatter(1, labels[:, None], -torch.inf)
    return right[:, 0] - wrong.logsumexp(1)


@dataclass(frozen=True)
class Answers:
    """What networks say about N images: their log-odds of the right class, students' [S, N] and references' [R, N]; and `out`
    [R, N], whether a reference was trained without the image."""

    students: Numbers
    references: Numbers
    out: npt.NDArray[np.bool_]

    def loss(self) -> Numbers:
        """Scores [N] of the attack by the loss: minus the cross-entropy, mean over the students, which anyone may train."""
        return np.asarray(-np.logaddexp(0, -self.students).mean(0))  # log p = -log(1 + exp(-log-odds))

    def judged(self) -> npt.NDArray[np.bool_]:
        """Which images [N] enough references were trained without."""
        return np.asarray(self.out.sum(0) >= LEAST_OUT)

    def ratio(self) -> Numbers:
        """Scores [N] of the attack by the likelihood ratio (NaN where `judged` is false).

        The log-odds are taken as normal with the mean of the references that never saw the image and, for they are few, one
        variance for all images; then how unlikely the students' answer is without it orders the images as the difference of the
        two means.
        """
        count = self.out.sum(0)
        expected = np.where(self.out, self.references, 0).sum(0) / np.maximum(count, 1)
        return np.where(self.judged(), self.students.mean(0) - expected, np.nan)


@dataclass(frozen=True)
class Attack:
    """How well one attack tells `members` images from `others`."""

    auc: Rate
    tpr: Rate
    members: int
    others: int

    def to_json(self) -> dict[str, Any]:
        """As told in the docstring of the package."""
        found = {"auc": self.auc.to_json(), "tpr": self.tpr.to_json() | {"fpr": FPR}}
        return found | {"members": self.members, "others": self.others}


def attacks(members: Answers, others: Answers, seed: int, *what: str) -> dict[str, Attack | None]:
    """Both attacks, "loss" and "ratio", on members and others; None where no image can be judged. `what` names the random stream
    of the intervals."""
    found: dict[str, Attack | None] = {}
    for name in ("loss", "ratio"):
        ratio = name == "ratio"
        a, b = ((side.ratio()[side.judged()] if ratio else side.loss()) for side in (members, others))
        if len(a) and len(b):
            found[name] = Attack(auc(a, b), tpr(a, b, stream(seed, "audit", "resample", name, *what)), len(a), len(b))
        else:
            found[name] = None
    return found
