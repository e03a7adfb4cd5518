"""The paired t-test against scipy's, and who may be called the winner."""

import numpy as np
import pytest
from scipy import stats

from datadam.evaluation.statistics import paired, winner


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
