"""What a difference between methods is worth: the paired t-test over repeats.

    d_r = a_r - b_r,   t = mean(d) / (std(d) / sqrt(n)),   two-sided p with n - 1 degrees of freedom

Repeat r of every method has the same seed, so that draws of networks, real images and students are shared and their luck
cancels. P values are not corrected for the number of comparisons.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

NO_SPREAD = 1e-12  # differences that are all the same but for rounding


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


def paired(one: Mapping[int, float], other: Mapping[int, float]) -> Difference | None:
    """The difference over the repeats that both have, by number; None when these are fewer than two."""
    common = sorted(set(one) & set(other))
    if len(common) < 2:
        return None
    differences = [one[r] - other[r] for r in common]
    n, mean = len(common), math.fsum(differences) / len(common)
    spread = math.sqrt(math.fsum((d - mean) ** 2 for d in differences) / (n - 1))
    if spread < NO_SPREAD:
        return Difference(mean, None, None, None, n)
    error = spread / math.sqrt(n)
    half = t95(n - 1) * error
    return Difference(mean, mean - half, mean + half, two_sided(mean / error, n - 1), n)


def two_sided(t: float, freedom: int) -> float:
    """P(|T| >= |t|) for Student's t with whole degrees of freedom: the sums of Abramowitz and Stegun, 26.7.3 and 26.7.4."""
    angle = math.atan2(abs(t), math.sqrt(freedom))
    cosine, sine = math.cos(angle), math.sin(angle)
    odd = freedom % 2
    term, total = cosine if odd else 1.0, 0.0
    for k in range(1 + odd, freedom, 2):  # cos, 2/3 cos^3, 2.4/3.5 cos^5, ... or 1, 1/2 cos^2, 1.3/2.4 cos^4, ...
        total += term
        term *= cosine**2 * k / (k + 1)
    inside = 2 / math.pi * (angle + sine * total) if odd else sine * total
    return min(1.0, max(0.0, 1 - inside))


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


T95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110,
       2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042)  # fmt: skip


def t95(freedom: int) -> float:
    """The 97.5 % quantile of Student's t: exact to 3 decimals up to 30 degrees of freedom, an expansion above."""
    if freedom <= len(T95):
        return T95[freedom - 1]
    z = 1.959964  # Cornish-Fisher in 1 / freedom
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)


def _std(values: Sequence[float]) -> float:
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1)) if len(values) > 1 else 0.0
