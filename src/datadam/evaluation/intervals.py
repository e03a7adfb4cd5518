"""Shares, areas under the curve and true-positive rates, each with a 95 % interval.

Letters: m members, n others, R resamples.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

Scores = npt.NDArray[np.float64]

Z = 1.959963984540054  # the 97.5 % quantile of the standard normal
ALL = 0.025  # how likely it must be that all of some trials succeed, for a bound on the chance of one
RESAMPLES = 1000
FPR = 0.01  # the false-positive rate at which an attack is told: one false alarm in a hundred


@dataclass(frozen=True)
class Rate:
    """A number of [0, 1] with its 95 % interval."""

    value: float
    low: float
    high: float

    def to_json(self) -> dict[str, float]:
        """{"value", "low", "high"}."""
        return {"value": self.value, "low": self.low, "high": self.high}


def wilson(hits: float, of: int) -> Rate:
    """The share hits / of with Wilson's score interval (J. Am. Stat. Assoc. 22, 1927). `of` is at least 1."""
    share, scale = hits / of, 1 + Z * Z / of
    middle = (share + Z * Z / (2 * of)) / scale
    half = Z / scale * math.sqrt(share * (1 - share) / of + Z * Z / (4 * of * of))
    return Rate(share, max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half)))


def auc(members: Scores, others: Scores) -> Rate:
    """The probability that a member's score [m] lies above another's [n], ties counting half, with DeLong's interval.

    0.5 is guessing. Source: DeLong et al., Biometrics 44, 1988. Where all pairs are in the same order (1 or 0) DeLong's variance
    is 0, which is no knowledge; there the bound is exact: min(m, n) pairs that share no score are each in order with the true
    probability p, all of them with p^min(m, n), which falls below 2.5 % where p < 0.025^(1 / min(m, n)) (Clopper and Pearson,
    Biometrika 26, 1934). From 100 members: 0.964.
    """
    above_others = _share_below(others, members)  # of each member, the others it lies above
    below_members = 1 - _share_below(members, others)
    value = float(above_others.mean())
    if value in (0.0, 1.0):
        bound = float(ALL ** (1 / min(len(members), len(others))))
        return Rate(value, bound, 1.0) if value else Rate(value, 0.0, 1 - bound)
    variance = sum(float(part.var(ddof=1)) / len(part) for part in (above_others, below_members) if len(part) > 1)
    half = Z * math.sqrt(variance)
    return Rate(value, max(0.0, value - half), min(1.0, value + half))


def _share_below(lower: Scores, scores: Scores) -> Scores:
    """For each score the share of `lower` that lies below it, ties counting half."""
    order = np.sort(lower)
    below = np.searchsorted(order, scores, side="left") + np.searchsorted(order, scores, side="right")
    return np.asarray(below / (2 * len(order)), dtype=np.float64)


def tpr(members: Scores, others: Scores, generator: torch.Generator, fpr: float = FPR) -> Rate:
    """The share of members [m] found by the threshold above which at most the share `fpr` of the others [n] lies.

    The interval is that of a bootstrap of both sides, or Wilson's where that is wider: a resample of none is always none.
    """
    allowed = int(fpr * len(others) + 1e-9)

    def found(members: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
        threshold = others.topk(allowed + 1, 1).values[:, -1:]
        return (members > threshold).double().mean(1)

    a, b = torch.from_numpy(members), torch.from_numpy(others)
    value = float(found(a[None], b[None]))
    drawn = [x[torch.randint(len(x), (RESAMPLES, len(x)), generator=generator)] for x in (a, b)]
    low, high = np.quantile(found(*drawn).numpy(), [0.025, 0.975]).tolist()
    exact = wilson(value * len(members), len(members))
    return Rate(value, min(low, exact.low), max(high, exact.high))
