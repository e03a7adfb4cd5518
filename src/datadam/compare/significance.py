"""What a difference between methods is worth: the paired t-test over repeats.

    d_r = a_r - b_r,   t = mean(d) / (std(d) / sqrt(n)),   two-sided p with n - 1 degrees of freedom

Repeat r of every method has the same seed, so that draws of networks, real images and students are shared and their luck
cancels. P values are not corrected for the number of comparisons.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from datadam.evaluate import t95

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
