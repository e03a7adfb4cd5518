"""The paired t-test against scipy's, who may be called the winner, differences of groups and correlations of ranks."""

import math

import numpy as np
import pytest
from scipy import stats

from datadam.evaluation.statistics import Rate, needed, paired, spearman, unpaired, winner


@pytest.mark.parametrize("repeats", [2, 3, 5, 12])
def test_paired_is_scipys_test_and_interval(repeats: int) -> None:
    rng = np.random.default_rng(repeats)
    a, b = rng.normal(0.5, 0.02, repeats), rng.normal(0.48, 0.02, repeats)
    found, test = paired(dict(enumerate(a)), dict(enumerate(b))), stats.ttest_rel(a, b)
    interval = test.confidence_interval(0.95)
    assert found is not None
    assert (found.mean, found.p, found.pairs) == (pytest.approx((a - b).mean()), pytest.approx(test.pvalue), repeats)
    assert (found.low, found.high) == (pytest.approx(interval.low, rel=1e-9), pytest.approx(interval.high, rel=1e-9))
    assert found.above == (found.low > 0)


def test_pairs_go_by_the_number_of_the_repeat() -> None:
    one, other = {0: 0.1, 2: 0.5, 3: 0.9}, {3: 0.8, 1: 0.0, 0: 0.2}
    found = paired(one, other)
    assert found is not None
    assert found.pairs == 2
    assert found.mean == pytest.approx(((0.1 - 0.2) + (0.9 - 0.8)) / 2, abs=1e-15)
    assert paired(one, {0: 0.3, 1: 0.4}) is None
    assert paired({}, {}) is None


def test_without_spread_nothing_is_claimed() -> None:
    for gap in (0.0, 0.1):  # 0.1 + k differs from k by 0.1 up to rounding
        found = paired({r: r / 7 + gap for r in range(4)}, {r: r / 7 for r in range(4)})
        assert found is not None
        assert (found.low, found.high, found.p, found.above) == (None, None, None, False)


def test_the_winner_is_above_each_other_one() -> None:
    low, high = {0: 0.30, 1: 0.31, 2: 0.29}, {0: 0.500, 1: 0.515, 2: 0.490}
    near = {r: a - 0.001 * (r - 0.5) for r, a in high.items()}
    assert winner([low, high]) == 1
    assert winner([high, low]) == 0
    assert winner([low, high, near]) is None  # nearly as good: nobody
    assert winner([high]) is None
    assert winner([{0: 0.9}, {0: 0.1}]) is None  # one repeat tests nothing
    assert winner([high, low, {}]) is None  # one of them is not there yet
    assert winner([]) is None


def test_rank_correlation_is_pearsons_of_the_ranks_and_its_interval_covers() -> None:
    draw = np.random.default_rng(0)
    covered, n, trials = 0, 30, 400
    truth = 6 / math.pi * math.asin(0.7 / 2)  # of ranks, where normal numbers correlate by 0.7
    for _ in range(trials):
        x = draw.normal(size=n)
        y = 0.7 * x + math.sqrt(1 - 0.49) * draw.normal(size=n)
        found = spearman(x.tolist(), y.tolist())
        assert found is not None
        covered += found.low <= truth <= found.high
    ranks = [values.argsort().argsort() for values in (x, y)]
    assert found.value == pytest.approx(np.corrcoef(*ranks)[0, 1], abs=1e-12)
    assert 0.92 < covered / trials < 0.98


def test_rank_correlation_where_there_is_little_to_tell() -> None:
    up = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]
    same, turned = spearman(up, up), spearman(up, up[::-1])
    assert same is not None
    assert turned is not None
    assert (same.value, same.high) == (1.0, 1.0)
    assert (turned.value, turned.low) == (-1.0, -1.0)
    assert 0 < same.low < 1
    assert same.low == pytest.approx(-turned.high)
    assert spearman(up[:4], up[:4]) is None
    assert spearman(up, [0.5] * 8) is None


def test_the_difference_of_two_groups_is_welchs() -> None:
    first, second = [0.90, 0.92, 0.91, 0.89], [0.80, 0.86, 0.83]
    found = unpaired(first, second, 0.9)
    variances = [np.var(values, ddof=1) / len(values) for values in (first, second)]
    freedom = sum(variances) ** 2 / sum(v**2 / (len(x) - 1) for v, x in zip(variances, (first, second), strict=True))
    half = stats.t.ppf(0.95, freedom) * math.sqrt(sum(variances))
    assert (found.value, found.low, found.high) == pytest.approx((0.075, 0.075 - half, 0.075 + half), abs=1e-12)
    assert unpaired([0.5, 0.5], [0.25, 0.25]) == Rate(0.25, 0.25, 0.25)


def test_as_many_values_as_needed_and_not_one_more() -> None:
    for spread, half in ((0.01, 0.005), (0.02, 0.001), (0.001, 0.5)):
        n = needed(spread, half)
        reach = [stats.t.ppf(0.975, 2 * m - 2) * spread * math.sqrt(2 / m) for m in (n, n - 1) if m > 1]
        assert reach[0] <= half
        assert n == 2 or reach[1] > half
