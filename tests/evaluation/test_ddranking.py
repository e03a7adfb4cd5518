"""DD-Ranking's scores: numbers worked out by hand, bounds, order, and what is read from evaluations."""

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from datadam.augment.siamese import STRATEGY, strategy_for
from datadam.errors import InvalidInput
from datadam.evaluation.ddranking import USUAL, ars, hlr, ior, lrs, scores, standing
from datadam.evaluation.protocols import CATALOG


def test_numbers_worked_out_by_hand() -> None:
    """Accuracies 0.85 (whole), 0.54 (set), 0.30 (random): a = 0.5 x 0.24 - 0.5 x 0.31 = -0.035.

    e^-0.035 = 0.965605, 1/e = 0.367879, e - 1/e = 2.350402: (0.965605 - 0.367879) / 2.350402 = 0.254308.
    """
    assert hlr(0.85, 0.54) == pytest.approx(0.31)
    assert ior(0.54, 0.30) == pytest.approx(0.24)
    assert lrs(0.24, 0.31) == pytest.approx(0.254308, abs=2e-6)
    assert ars(0.24, 0.10) == pytest.approx((1.185305 - 0.367879) / 2.350402, abs=2e-6)  # b = 0.17


def test_bounds_and_the_middle() -> None:
    assert lrs(1, -1) == ars(1, 1) == pytest.approx(1)
    assert lrs(-1, 1) == ars(-1, -1) == pytest.approx(0)
    assert lrs(0, 0) == ars(0, 0) == pytest.approx((1 - math.exp(-1)) / (math.e - math.exp(-1)))
    assert lrs(0.4, 0.9, w=1) == ars(0.4, -1, gamma=1)
    assert lrs(0.4, 0.9, w=0) == ars(-1, -0.9, gamma=0)


def test_better_accuracies_give_higher_scores() -> None:
    steps = np.linspace(0, 1, 21)
    for row in (
        [lrs(s, 0.3) for s in steps],
        [lrs(0.3, 1 - s) for s in steps],
        [ars(s, 0.1) for s in steps],
        [ars(0, s) for s in steps],
    ):
        assert all(a < b for a, b in pairwise(row))
        assert 0 <= min(row) <= max(row) <= 1


@pytest.mark.parametrize(
    "call",
    [
        lambda: hlr(84.8, 54.2),
        lambda: ior(0.5, -0.1),
        lambda: lrs(24, 0.3),
        lambda: ars(0.1, math.nan),
        lambda: lrs(0.1, 0.1, w=2),
    ],
)
def test_per_cent_are_refused(call) -> None:
    with pytest.raises(InvalidInput):
        call()


CARD = {
    "kind": "distilled",
    "recipe": {"net": "convnet3", "ipc": 10, "protocol": "honest", "method": {"name": "datadam"}},
    "data": {"source": "my photos", "options": {"root": "/d"}, "classes": list("abcdefghij")},
}


def evaluation(
    of: str, mean: float, augment: str = "color", epochs: int = 1000, students: int = 5, **more: Any
) -> dict[str, Any]:
    protocol = {"name": "honest", "epochs": epochs, "augment": augment}
    return {"of": of, "mean": mean, "net": "convnet3", "protocol": protocol, "iteration": None, "precision": "float32",
            "images": 5000 if of == "whole" else 100, "accuracies": [[mean] * students]} | more  # fmt: skip


FULL = [evaluation("distilled", 0.54), evaluation("random", 0.30), evaluation("whole", 0.85, epochs=100),
        evaluation("distilled", 0.45, "none"), evaluation("random", 0.35, "none")]  # fmt: skip


def test_scores_from_evaluations() -> None:
    found = scores(CARD, FULL, "run")
    assert found.missing == ()
    assert (found.hlr, found.ior) == (pytest.approx(0.31), pytest.approx(0.24))
    assert found.lrs == pytest.approx(lrs(0.24, 0.31))
    assert found.ars == pytest.approx(ars(0.24, 0.10))
    told = found.to_json()
    assert told["used"] == {
        "set_augmented": 0.54,
        "random_augmented": 0.30,
        "set_plain": 0.45,
        "random_plain": 0.35,
        "whole": 0.85,
    }


def test_what_is_not_alike_is_not_compared() -> None:
    odd = [
        evaluation("random", 0.9, epochs=10), evaluation("random", 0.9, net="mlp"), evaluation("random", 0.9, images=10),
        evaluation("distilled", 0.9, iteration=500), evaluation("distilled", 0.9, precision="bfloat16"),
        evaluation("whole", 0.1, "none"),
        evaluation("random", 0.9, protocol={"name": "official", "epochs": 9999, "augment": "color"}),
    ]  # fmt: skip
    assert scores(CARD, [*odd, *FULL], "run") == scores(CARD, FULL, "run")


def test_a_damaged_evaluation_counts_for_nothing() -> None:
    whole = FULL[0]
    epochs = {"protocol": whole["protocol"] | {"epochs": "many"}}
    for damaged in ({}, {"net": "convnet3"}, whole | {"mean": 48.5}, whole | {"accuracies": []}, whole | {"accuracies": None},
                    whole | {"accuracies": [[]]}, whole | {"accuracies": [["x"] * 9]}, whole | epochs,
                    whole | {"protocol": {"name": "honest"}}, whole | {"mean": "high"}):  # fmt: skip
        assert scores(CARD, [damaged, *FULL], "run") == scores(CARD, FULL, "run")


def test_the_longest_then_the_most_students_count() -> None:
    more = [evaluation("distilled", 0.2, epochs=50), evaluation("random", 0.1, epochs=50),
            evaluation("distilled", 0.6, students=20), evaluation("random", 0.3, students=20)]  # fmt: skip
    assert scores(CARD, [*more, *FULL], "run").used["set_augmented"] == 0.6


def test_missing_evaluations_are_told_with_the_commands_that_make_them() -> None:
    found = scores(CARD, [], "my run")
    assert (found.lrs, found.hlr, found.ior, found.ars, found.used) == (None, None, None, None, {})
    assert found.missing == (
        "datadam evaluate 'my run'",
        "datadam baseline 'my photos' --root /d --ipc 10 --beside 'my run'",
        "datadam evaluate 'my run' --augment none",
        "datadam baseline 'my photos' --root /d --ipc 10 --beside 'my run' --augment none",
        "datadam baseline 'my photos' --root /d --whole --beside 'my run'",
    )
    some = scores(CARD, [evaluation("distilled", 0.5, epochs=300), evaluation("whole", 0.8)], "r")
    assert some.missing[0] == "datadam baseline 'my photos' --root /d --ipc 10 --beside r --epochs 300"
    plain = scores(CARD, FULL[3:], "r")
    assert plain.ior == pytest.approx(0.10)
    assert plain.ars is None
    assert "datadam baseline 'my photos' --root /d --whole --beside r --augment none" in plain.missing


def test_random_images_are_not_taken_for_the_set() -> None:
    """A baseline is kept beside a run that is not judged yet; a run of random images is its own baseline."""
    random = [evaluation("random", 0.3), evaluation("random", 0.35, "none")]
    assert scores(CARD, random, "run").ior is None
    own = CARD | {"kind": "coreset", "recipe": CARD["recipe"] | {"method": {"name": "random"}}}
    assert scores(own, random, "run").ars == pytest.approx(ars(0, 0))


def test_sets_are_held_against_random_images_of_their_decoder_alone() -> None:
    grid = CARD | {"decoder": "grid:2"}
    decoded = [e | {"decoder": "grid:2", "labels": "hard", "stored_bytes": 1} if e["of"] != "whole" else e for e in FULL]
    assert scores(grid, FULL, "run").ior is None
    assert scores(grid, decoded, "run").used == scores(CARD, FULL, "run").used
    assert scores(CARD, decoded, "run").ior is None
    mixed = [e if e["of"] == "random" else other for e, other in zip(FULL, decoded, strict=True)]
    assert scores(grid, mixed, "run").ior is None
    assert any("baseline" in command for command in scores(grid, mixed, "run").missing)


@pytest.mark.parametrize("kind", [{"labels": "soft"}, {"counts": [9, *[10] * 9]}])
def test_sets_of_soft_labels_or_unequal_classes_have_no_scores_and_miss_nothing(kind: dict[str, Any]) -> None:
    found = scores(CARD | kind, FULL, "run")
    assert (found.lrs, found.hlr, found.ior, found.ars, found.used, found.missing) == (None, None, None, None, {}, ())
    assert found.to_json()["missing"] == []


def test_the_usual_augmentation_is_that_of_every_protocol() -> None:
    assert set(USUAL) == {STRATEGY, strategy_for("mnist"), *(rule.training.augment for rule in CATALOG.values())}


def test_of_several_evaluations_the_one_of_the_greatest_standing_speaks() -> None:
    """Each differs from the next in one thing, and what comes later in the order never outweighs what comes before."""
    usual = STRATEGY
    order = [
        evaluation("distilled", 0.1, usual, 1000, 5),
        evaluation("distilled", 0.9, usual, 1000, 4),
        evaluation("distilled", 0.9, usual, 999, 20),
        evaluation("distilled", 0.9, usual, 2000, 20, precision="bfloat16"),
        evaluation("distilled", 0.9, "none", 2000, 20),
        evaluation("distilled", 0.9, protocol={"name": "paper", "epochs": 2000, "augment": usual}),
        evaluation("distilled", 0.9, usual, 2000, 20, net="mlp"),
        evaluation("distilled", 0.9, usual, 2000, 20, iteration=500),
    ]
    for told in (order, order[::-1]):
        assert sorted(told, key=lambda e: standing(CARD, e), reverse=True) == order


def test_another_policy_does_not_speak_for_the_protocol_in_the_scores() -> None:
    more = [evaluation(of, 0.9, "autoaugment", 9000, 20) for of in ("distilled", "random")]
    usual = [e | {"protocol": e["protocol"] | {"augment": STRATEGY}} if e["protocol"]["augment"] == "color" else e for e in FULL]
    assert scores(CARD, [*more, *usual], "run").used["set_augmented"] == 0.54


def spread_about(mean: float, *steps: float) -> dict[str, Any]:
    return {"accuracies": [[mean + step for step in steps]]}


def test_intervals_by_hand() -> None:
    """Set 0.54 +- 0.01 and random 0.30 +- 0.02 of three students each, one student on the whole set.

    a = set - (random + whole) / 2: its variance is 0.01^2 / 3 + 0.02^2 / 12 = 6.6667e-5 in two equal parts of two degrees of
    freedom: four. Half of the interval: 2.776445 x 0.00816497 = 0.0226696.
    """
    told = [
        evaluation("distilled", 0.54, **spread_about(0.54, -0.01, 0, 0.01)),
        evaluation("random", 0.30, **spread_about(0.30, -0.02, 0, 0.02)),
        evaluation("whole", 0.85, epochs=100, students=1),
    ]
    found = scores(CARD, told, "run")
    ends = [(math.exp(a) - math.exp(-1)) / (math.e - math.exp(-1)) for a in (-0.035 - 0.0226696, -0.035 + 0.0226696)]
    assert found.intervals["lrs"] == pytest.approx(ends, abs=1e-6)
    half = 2.776445 * math.sqrt(0.01**2 / 3)  # of the set alone: the whole set has no spread; two degrees of freedom
    assert found.intervals["hlr"] == pytest.approx(
        [0.31 - half / 2.776445 * 4.302653, 0.31 + half / 2.776445 * 4.302653], abs=1e-6
    )
    assert found.intervals["ars"] is None
    assert found.evidence == {
        "set_augmented": {"students": 3, "sets": 1, "epochs": 1000},
        "random_augmented": {"students": 3, "sets": 1, "epochs": 1000},
        "whole": {"students": 1, "sets": 1, "epochs": 100},
    }
    assert found.to_json()["intervals"]["lrs"] == found.intervals["lrs"]


def test_without_a_spread_there_is_no_interval_and_sets_are_what_is_spread() -> None:
    alone = [e | {"accuracies": [[e["mean"]]]} for e in FULL]
    assert set(scores(CARD, alone, "run").intervals.values()) == {None}
    sets = {"accuracies": [[0.5, 0.9], [0.7, 0.7]]}  # equal means of the sets, whatever the students do
    told = [evaluation("distilled", 0.7, **sets), evaluation("random", 0.7, **sets)]
    assert scores(CARD, told, "run").intervals["ior"] == (0.0, 0.0)
    wide = [evaluation("distilled", 0.5, accuracies=[[0.1, 0.9]]), evaluation("random", 0.5, accuracies=[[0.1, 0.9]])]
    assert scores(CARD, wide, "run").intervals["ior"] == (-1, 1)


def test_the_interval_of_a_score_holds_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    truth = {"distilled": (0.54, 0.01), "random": (0.40, 0.03), "whole": (0.85, 0.005)}
    held = []
    for _ in range(300):
        told = []
        for augment in ("color", "none"):
            for of, (mean, std) in truth.items():
                drawn = rng.normal(mean, std, 3).tolist()
                told.append(evaluation(of, sum(drawn) / 3, augment, accuracies=[drawn]))
        found = scores(CARD, told, "run").intervals
        expected = {"lrs": lrs(0.14, 0.31), "ars": ars(0.14, 0.14), "ior": 0.14, "hlr": 0.31}
        held.append([found[name][0] <= value <= found[name][1] for name, value in expected.items()])
    assert np.mean(held, 0).min() >= 0.91  # 0.95, with three standard errors
