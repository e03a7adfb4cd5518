"""Intervals: each against its definition, written out."""

import math
from statistics import NormalDist

import numpy as np
import pytest
import torch
from scipy import stats

from datadam.evaluation.statistics import Z, auc, tpr, wilson


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)


@pytest.mark.parametrize(("hits", "of"), [(0, 5), (1, 8), (40, 100), (100, 100), (3.5, 9)])
def test_the_ends_of_wilson_are_the_shares_that_the_normal_test_just_allows(hits: float, of: int) -> None:
    rate = wilson(hits, of)
    assert rate.value == hits / of
    assert 0 <= rate.low <= rate.value <= rate.high <= 1
    for end in {rate.low, rate.high} - {0.0, 1.0}:
        assert math.isclose(abs(rate.value - end), Z * math.sqrt(end * (1 - end) / of), rel_tol=1e-9)


@pytest.mark.parametrize(("hits", "of"), [(0, 5), (1, 8), (40, 100), (100, 100)])
def test_wilson_is_that_of_scipy(hits: int, of: int) -> None:
    rate, interval = wilson(hits, of), stats.binomtest(hits, of).proportion_ci(0.95, "wilson")
    assert (rate.low, rate.high) == (pytest.approx(interval.low, abs=1e-12), pytest.approx(interval.high, abs=1e-12))


def test_auc_is_the_share_of_pairs_in_the_right_order() -> None:
    rng = np.random.default_rng(0)
    members, others = rng.integers(0, 9, 25) + 1.0, rng.integers(0, 9, 40) * 1.0  # with ties
    pairs = np.sign(members[:, None] - others[None])
    rate = auc(members, others)
    assert math.isclose(rate.value, ((pairs + 1) / 2).mean())
    kernel = (pairs + 1) / 2  # DeLong: the variance of a mean over rows, and of one over columns
    error = math.sqrt(kernel.mean(1).var(ddof=1) / 25 + kernel.mean(0).var(ddof=1) / 40)
    assert math.isclose(rate.high - rate.value, Z * error, rel_tol=1e-9)
    assert math.isclose(rate.value - rate.low, Z * error, rel_tol=1e-9)
    assert math.isclose(auc(others, members).value, 1 - rate.value)


def test_the_interval_of_the_auc_holds_the_truth_as_often_as_it_says() -> None:
    """Two normal distributions one standard deviation apart: the truth is Phi(1 / sqrt 2)."""
    rng, truth = np.random.default_rng(1), NormalDist().cdf(1 / math.sqrt(2))
    held = [r.low <= truth <= r.high for r in (auc(rng.normal(1, 1, 80), rng.normal(0, 1, 60)) for _ in range(400))]
    assert 0.92 <= np.mean(held) <= 0.98  # 0.95, with three standard errors


@pytest.mark.parametrize(("m", "n"), [(100, 2000), (40, 8), (1, 50)])
def test_a_perfect_order_is_not_taken_for_certainty(m: int, n: int) -> None:
    """The true chance may be as low as lets all of min(m, n) independent pairs be in order with a chance of 2.5 %."""
    rate = auc(np.arange(m) + 10_000.0, np.arange(n) * 1.0)
    assert (rate.value, rate.high) == (1, 1)
    assert math.isclose(rate.low ** min(m, n), 0.025)
    opposite = auc(np.arange(n) * 1.0, np.arange(m) + 10_000.0)
    assert (opposite.value, opposite.low) == (0, 0)
    assert math.isclose(opposite.high, 1 - rate.low)


def test_the_bound_of_a_perfect_order_holds_where_the_truth_is_less() -> None:
    """Scores that are out of order once in a hundred pairs: 30 members often show none, and must not exclude the truth."""
    rng, truth = np.random.default_rng(5), 0.99
    shift = NormalDist().inv_cdf(truth) * math.sqrt(2)
    rates = [auc(rng.normal(shift, 1, 30), rng.normal(0, 1, 30)) for _ in range(300)]
    perfect = [rate for rate in rates if rate.value == 1]
    assert len(perfect) > 10
    assert all(rate.low <= truth <= rate.high for rate in perfect)


def test_the_true_positive_rate_allows_one_false_alarm_in_a_hundred() -> None:
    others = np.arange(200.0)  # two of them may lie above the threshold, which is therefore 197
    members = np.array([100.0, 197.0, 197.5, 198.5, 250.0])
    rate = tpr(members, others, generator())
    assert rate.value == 3 / 5
    assert rate.low < 3 / 5 < rate.high
    assert (others > 197).mean() == 0.01
    assert tpr(members, others[:99], generator()).value == 1.0  # below a hundred none may: the threshold is the largest, 98


def test_ties_at_the_threshold_are_no_hits() -> None:
    assert tpr(np.ones(10), np.ones(500), generator()).value == 0


def test_single_scores_have_the_interval_of_their_share() -> None:
    for members, others in ((np.ones(1), np.zeros(50)), (np.ones(50), np.zeros(1))):
        rate, share = tpr(members, others, generator()), wilson(len(members), len(members))
        assert (rate.value, rate.low, rate.high) == (1.0, share.low, share.high)


def test_resamples_are_those_of_the_generator() -> None:
    rng = np.random.default_rng(4)
    members, others = rng.normal(1, 1, 300), rng.normal(0, 1, 300)
    rate = tpr(members, others, generator())
    assert rate == tpr(members, others, generator())
    assert rate != tpr(members, others, torch.Generator().manual_seed(4))
    again = [np.mean(rng.choice(members, 300) > np.sort(rng.choice(others, 300))[-4]) for _ in range(4000)]  # three may lie above
    assert (rate.low, rate.high) == (
        pytest.approx(np.quantile(again, 0.025), abs=0.02),
        pytest.approx(np.quantile(again, 0.975), abs=0.02),
    )


def test_an_attack_that_finds_nobody_has_an_interval_all_the_same() -> None:
    rate = tpr(np.zeros(20), np.ones(500), generator())
    assert (rate.value, rate.low) == (0, 0)
    assert math.isclose(rate.high, wilson(0, 20).high)


def test_guessing_gives_a_half_and_one_in_a_hundred() -> None:
    rng = np.random.default_rng(2)
    members, others = rng.normal(size=3000), rng.normal(size=3000)
    assert abs(auc(members, others).value - 0.5) < 0.03
    assert abs(tpr(members, others, generator()).value - 0.01) < 0.01
