"""What is said of accuracies: one interval everywhere, few test images, unequal classes, sets no better than random ones."""

import numpy as np
import pytest
from scipy.stats import ttest_ind

from datadam.evaluation.statistics import holm
from datadam.evaluation.told import around, balanced, better, images_judged, in_percent, spread, verdict

EVEN = [[30, 0], [0, 30]]


def told(confusion: list[list[int]], students: int = 1) -> dict[str, object]:
    per_class = [row[k] / sum(row) if sum(row) else None for k, row in enumerate(confusion)]
    return {"accuracies": [[0.5] * students], "confusion": confusion, "per_class": per_class}


def test_an_interval_never_leaves_what_an_accuracy_can_be() -> None:
    assert spread(0.4, 0.6) == "± 10.0"
    assert spread(-0.02, 0.82) == "0.0 to 82.0"
    assert spread(0.7, 1.3, 2) == "70.00 to 100.00"
    assert around(0.5, {"low": 0.4, "high": 0.6}) == "50.0 ± 10.0"
    assert around(0.4, {"low": -0.02, "high": 0.82}) == "40.0 (0.0 to 82.0)"
    assert around(0.4, None) == "40.0"


def test_few_test_images_stand_beside_their_percentage() -> None:
    assert in_percent(1.0, 2) == "100.0\u202f% of 2"
    assert in_percent(1.0, 99, 2) == "100.00\u202f% of 99"
    assert in_percent(1.0, 100) == in_percent(1.0, None) == "100.0\u202f%"
    assert images_judged(told(EVEN, students=10)) == 6
    assert images_judged({"accuracies": [[0.5]]}) is None  # of so many classes that no table of them is kept


def test_unequal_classes_have_a_balanced_accuracy() -> None:
    assert balanced(told(EVEN)) is None
    assert balanced(told([[90, 0], [5, 5]])) == pytest.approx(0.75)
    assert balanced(told([[90, 0, 0], [5, 5, 0], [0, 0, 0]])) == pytest.approx(0.75)  # a class without test images says nothing
    assert balanced({"accuracies": [[1.0]], "per_class": [1.0, 0.0]}) is None


@pytest.mark.parametrize("seed", range(6))
def test_better_is_welchs_test_at_five_per_cent(seed: int) -> None:
    draw = np.random.default_rng(seed)
    ours, theirs = draw.normal(0.55, 0.03, 5), draw.normal(0.5, 0.05, 3)
    test = ttest_ind(ours, theirs, equal_var=False)
    if abs(test.pvalue - 0.05) > 0.02:  # the quantile is that of whole degrees of freedom
        assert better([ours.tolist()], [theirs.tolist()]) == (test.pvalue < 0.05 and test.statistic > 0)
    assert better([[one] for one in ours], [[one] for one in theirs]) == better([ours.tolist()], [theirs.tolist()])  # as sets


def test_single_numbers_are_compared_with_what_is_known_of_chance() -> None:
    assert better([[0.6]], [[0.5]])
    assert not better([[0.5]], [[0.5]])
    assert better([[0.9]], [[0.5, 0.51, 0.49]])
    assert not better([[0.52]], [[0.5, 0.51, 0.49]])
    assert better([[0.6, 0.6]], [[0.5, 0.5]])


def test_the_verdict_names_both_means() -> None:
    assert verdict([[0.9, 0.91, 0.92]], [[0.5, 0.52]]) == ""
    assert verdict([[0.4, 0.5]], [[0.5, 0.6]]) == "not better than random real images: 45.0\u202f% against 55.0\u202f%"
    words = "not better than random real images: 50.0\u202f% against 47.0\u202f%, a difference within what chance gives"
    assert verdict([[0.4, 0.6]], [[0.44, 0.5]]) == words


def test_holm_by_its_definition() -> None:
    assert holm([]) == []
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])  # his example of four
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    draw = np.random.default_rng(0).random(20).tolist()
    for level in (0.05, 0.2, 0.9):  # step down: reject while p_(k) <= level / (m - k + 1)
        rejected, order = set(), sorted(range(20), key=draw.__getitem__)
        for rank, i in enumerate(order):
            if draw[i] > level / (20 - rank):
                break
            rejected.add(i)
        assert {i for i, p in enumerate(holm(draw)) if p <= level} == rejected
