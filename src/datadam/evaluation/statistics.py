"""What a difference between methods is worth, and shares, areas under the curve and true-positive rates with 95 % intervals.

    d_r = a_r - b_r,   t = mean(d) / (std(d) / sqrt(n)),   two-sided p with n - 1 degrees of freedom

is the paired t-test over repeats. Repeat r of every method has the same seed, so that draws of networks, real images and students
are shared and their luck cancels. Where many differences are tested, `holm` corrects their p values.
Tests and resamples are scipy's, which is imported where one is asked for: judging a set needs none of it.

Letters: n repeats; of rates, m members, n others, R resamples.
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

Scores = npt.NDArray[np.float64]

NO_SPREAD = 1e-12  # differences that are all the same but for rounding
Z = 1.959963984540054  # the 97.5 % quantile of the standard normal
ALL = 0.025  # how likely it must be that all of some trials succeed, for a bound on the chance of one
RESAMPLES = 1000
FPR = 0.01  # the false-positive rate at which an attack is told: one false alarm in a hundred
# Student's t, 97.5 % quantile, for 1 to 30 degrees of freedom
T95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110,
       2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042)  # fmt: skip


@dataclass(frozen=True)
class Difference:
    """One method less another, in fractions: the mean over `pairs` repeats, its 95 % interval and the p value.

    Interval and p are None where the differences do not spread, so that nothing can be tested.
    """

    mean: float
    low: float | None
    high: float | None
    p: float | None
    pairs: int

    @property
    def above(self) -> bool:
        """Whether the whole interval lies above zero."""
        return self.low is not None and self.low > 0

    def to_json(self) -> dict[str, Any]:
        """As kept in a table."""
        return asdict(self)


def paired(first: Mapping[int, float], second: Mapping[int, float]) -> Difference | None:
    """The difference over the repeats that both have, by number; None when these are fewer than two."""
    common = sorted(set(first) & set(second))
    if len(common) < 2:
        return None
    from scipy.stats import ttest_rel

    pairs = [(first[r], second[r]) for r in common]
    differences = [a - b for a, b in pairs]
    mean = math.fsum(differences) / len(pairs)
    if std(differences) < NO_SPREAD:
        return Difference(mean, None, None, None, len(pairs))
    test = ttest_rel(*zip(*pairs, strict=True))
    interval = test.confidence_interval(0.95)
    return Difference(mean, float(interval.low), float(interval.high), float(test.pvalue), len(pairs))


def holm(p: Sequence[float]) -> list[float]:
    """P values corrected for their number, which hold the chance of a single false discovery below the level they are read at.

    Source: Holm, Scand. J. Statist. 6, 1979: the k-th smallest of m times m - k + 1, never below one before it, at most 1.
    """
    order, found, reached = sorted(range(len(p)), key=lambda i: p[i]), [0.0] * len(p), 0.0
    for rank, i in enumerate(order):
        reached = max(reached, min(1.0, (len(p) - rank) * p[i]))
        found[i] = reached
    return found


def winner(columns: Sequence[Mapping[int, float]]) -> int | None:
    """The place of the method whose mean is significantly above every other's, or None.

    Each element holds one method's accuracy by repeat. The best mean wins when the 95 % interval of its paired difference to
    every other method lies above zero; with fewer than two common repeats, or one method alone, nobody wins.
    """
    if len(columns) < 2 or not all(columns):
        return None
    means = [math.fsum(column.values()) / len(column) for column in columns]
    best = means.index(max(means))
    gaps = [paired(columns[best], column) for place, column in enumerate(columns) if place != best]
    return best if all(gap is not None and gap.above for gap in gaps) else None


def t95(freedom: int) -> float:
    """The 97.5 % quantile of Student's t: exact to 3 decimals up to 30 degrees of freedom, an expansion above."""
    if freedom <= len(T95):
        return T95[freedom - 1]
    z = 1.959964  # Cornish-Fisher in 1 / freedom
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)


def std(values: Sequence[float]) -> float:
    """The standard deviation (0 for a single value)."""
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1)) if len(values) > 1 else 0.0


@dataclass(frozen=True)
class Rate:
    """A number with its interval, of 95 % unless it is asked for otherwise."""

    value: float
    low: float
    high: float

    def to_json(self) -> dict[str, float]:
        """{"value", "low", "high"}."""
        return {"value": self.value, "low": self.low, "high": self.high}


def wilson(hits: float, of: int) -> Rate:
    """The share hits / of with Wilson's score interval (J. Am. Stat. Assoc. 22, 1927). `of` is at least 1.

    Hits need not be whole, as those of a mean over students on the same test images; scipy's `binomtest` takes whole ones alone.
    """
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


def unpaired(first: Sequence[float], second: Sequence[float], confidence: float = 0.95) -> Rate:
    """The mean of one group of two or more less that of another, with its interval by Welch's t-test."""
    value = math.fsum(first) / len(first) - math.fsum(second) / len(second)
    if max(std(first), std(second)) < NO_SPREAD:
        return Rate(value, value, value)
    from scipy.stats import ttest_ind

    with warnings.catch_warnings():  # one of the groups may be all the same
        warnings.filterwarnings("ignore", message="Precision loss", category=RuntimeWarning)
        interval = ttest_ind(first, second, equal_var=False).confidence_interval(confidence)
    return Rate(value, float(interval.low), float(interval.high))


def needed(spread: float, half: float, confidence: float = 0.95) -> int:
    """How many values of each of two groups it takes, at least 2, for the interval of the difference of their means to reach at
    most `half` to either side, where both have this standard deviation `spread`."""
    from scipy.stats import t

    def reaches(n: int) -> bool:
        return float(t.ppf((1 + confidence) / 2, 2 * n - 2)) * spread * math.sqrt(2 / n) <= half

    most = 2
    while not reaches(most):
        most *= 2
    return next(n for n in range(max(2, most // 2), most + 1) if reaches(n))


def spearman(first: Sequence[float], second: Sequence[float]) -> Rate | None:
    """Spearman's rank correlation r of two scores of n things, in [-1, 1], with its interval; None for fewer than five, or
    where one of the scores is the same for all.

    The interval is tanh(artanh(r) +- 1.96 sqrt((1 + r^2 / 2) / (n - 3))). Source: Bonett and Wright, Psychometrika 65, 2000.
    Where all are in one order (1 or -1), which has no such interval, it begins at that of the nearest r that n ranks can have.
    """
    n = len(first)
    if n < 5 or min(first) == max(first) or min(second) == max(second):
        return None
    from scipy.stats import spearmanr

    value = float(spearmanr(first, second).statistic)
    value = value if abs(value) < 1 - NO_SPREAD else math.copysign(1.0, value)
    nearest = 1 - 12 / (n * (n * n - 1))  # two neighbours have changed their places
    r = max(-nearest, min(nearest, value))
    half = Z * math.sqrt((1 + r * r / 2) / (n - 3))
    low, high = math.tanh(math.atanh(r) - half), math.tanh(math.atanh(r) + half)
    return Rate(value, min(low, value), max(high, value))


def _share_below(lower: Scores, scores: Scores) -> Scores:
    """For each score the share of `lower` that lies below it, ties counting half."""
    order = np.sort(lower)
    below = np.searchsorted(order, scores, side="left") + np.searchsorted(order, scores, side="right")
    return np.asarray(below / (2 * len(order)), dtype=np.float64)


def tpr(members: Scores, others: Scores, generator: torch.Generator, fpr: float = FPR) -> Rate:
    """The share of members [m] found by the threshold above which at most the share `fpr` of the others [n] lies.

    The interval is that of a bootstrap of both sides, or Wilson's where that is wider: a resample of none is always none.
    """
    from scipy.stats import bootstrap

    allowed = int(fpr * len(others) + 1e-9)

    def hit_rate(members: Scores, others: Scores, axis: int = -1) -> Scores:
        threshold = np.sort(others, axis=axis).take([-1 - allowed], axis=axis)
        return np.asarray((members > threshold).mean(axis=axis))

    value = low = high = float(hit_rate(members, others))
    if min(len(members), len(others)) > 1:  # a single score is itself in every resample
        drawn = np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))
        options = {"method": "percentile", "n_resamples": RESAMPLES, "vectorized": True, "random_state": drawn}
        interval = bootstrap((members, others), hit_rate, **options).confidence_interval
        low, high = float(interval.low), float(interval.high)
    exact = wilson(value * len(members), len(members))
    return Rate(value, min(low, exact.low), max(high, exact.high))
