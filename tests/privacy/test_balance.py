"""Recall of each class, worked out by hand."""

import numpy as np
import pytest

from datadam.evaluation.statistics import wilson
from datadam.privacy.balance import balance, spread


def test_recalls_and_their_spread() -> None:
    first = np.array([[8, 2, 0], [5, 5, 0], [0, 0, 0]])
    second = np.array([[10, 0, 0], [7, 3, 0], [0, 0, 0]])
    found = balance([first, second])
    assert [one["recall"]["value"] if one["recall"] else None for one in found["classes"]] == [0.9, 0.4, None]
    assert found["classes"][0]["students"] == [0.8, 1.0]
    assert found["classes"][1]["recall"] == wilson(4, 10).to_json()
    assert [one["images"] for one in found["classes"]] == [10, 10, 0]
    assert (found["worst"], found["best"], found["students"]) == (1, 0, 2)
    assert found["gap"] == pytest.approx(0.5)
    assert found["std"] == pytest.approx(0.25)
    assert found["mean"] == pytest.approx(26 / 40)


def test_the_intervals_of_a_spread_hold_the_truth_as_often_as_they_say() -> None:
    """Tests of classes whose true recalls are known; the more equal they are, the more of the spread found is luck."""
    rng = np.random.default_rng(0)
    for truth, of in (([0.5] * 10, 100), (np.linspace(0.3, 0.6, 10), 400), ([0.4, 0.5], 200), ([0.2, 0.4, 0.5], 300)):
        counts = np.full(len(truth), float(of))
        held = []
        for seed in range(150):
            gap, std = spread(rng.binomial(of, truth) / of, counts, seed)
            assert gap.low <= gap.value <= gap.high
            assert std.low <= std.value <= std.high
            held.append((gap.low <= np.ptp(truth) <= gap.high, std.low <= np.std(truth) <= std.high))
        assert np.mean(held, 0).min() >= 0.9  # 0.95, with three standard errors
    gap, std = spread(np.array([0.5] * 10), np.full(10, 100.0))
    assert (gap.value, gap.low) == (std.value, std.low) == (0, 0)
    assert gap.high > 0.02


def test_a_spread_is_told_with_its_interval_and_the_same_seed_tells_the_same() -> None:
    tables = [np.array([[80, 20, 0], [50, 50, 0], [0, 0, 0]])]
    found = balance(tables, 3)
    for name, value in (("gap", 0.3), ("std", 0.15)):
        assert found[name] == pytest.approx(value)
        assert found[f"{name}_interval"]["low"] < value < found[f"{name}_interval"]["high"]
    error = np.sqrt(0.8 * 0.2 / 100 + 0.5 * 0.5 / 100)  # of a difference of two shares
    assert found["gap_interval"]["high"] - 0.3 == pytest.approx(1.96 * error, rel=0.15)
    assert balance(tables, 3) == found
    assert balance(tables, 4) != found
