"""Attacks: their scores written out, and what each can do."""

import math

import numpy as np
import torch

from datadam.privacy.membership import Answers, attacks, log_odds


def test_log_odds_are_those_of_the_softmax() -> None:
    logits = torch.randn(20, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels = torch.arange(20) % 5
    p = np.exp(logits.numpy()) / np.exp(logits.numpy()).sum(1, keepdims=True)
    right = p[np.arange(20), labels]
    assert np.allclose(log_odds(logits, labels), np.log(right / (1 - right)))


def test_log_odds_keep_their_digits_where_the_network_is_sure() -> None:
    logits = torch.tensor([[300.0, 0.0, 0.0], [301.0, 0.0, 0.0]])
    found = log_odds(logits, torch.tensor([0, 0]))
    assert np.allclose(found, [300 - math.log(2), 301 - math.log(2)])  # the probability is 1 in any number format


def test_the_loss_is_the_mean_cross_entropy_of_the_students() -> None:
    logits = torch.randn(3, 20, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    labels = torch.arange(20) % 4
    told = np.stack([log_odds(one, labels).numpy() for one in logits])
    score = Answers(told, np.zeros((2, 20)), np.ones((2, 20), dtype=bool)).loss()
    losses = [torch.nn.functional.cross_entropy(one, labels, reduction="none").numpy() for one in logits]
    assert np.allclose(score, -np.mean(losses, axis=0))


def test_the_ratio_takes_references_that_never_saw_the_image() -> None:
    students = np.array([[4.0, 4.0, 4.0], [6.0, 6.0, 6.0]])
    references = np.array([[1.0, 1.0, 1.0], [3.0, 3.0, 3.0], [99.0, 99.0, 5.0]])
    out = np.array([[True, False, True], [True, True, True], [False, False, True]])
    answers = Answers(students, references, out)
    assert answers.judged().tolist() == [True, False, True]  # the second image has one reference left
    ratio = answers.ratio()
    assert (ratio[0], ratio[2]) == (5 - 2, 5 - 3)
    assert math.isnan(ratio[1])


def world(leak: float) -> tuple[Answers, Answers]:
    """Images of very unlike difficulty, which all networks share; students are surer of members by `leak`."""
    rng = np.random.default_rng(0)

    def side(extra: float) -> Answers:
        difficulty = rng.normal(0, 5, 600)
        told = [difficulty + rng.normal(0, 0.5, 600) for _ in range(7)]
        return Answers(np.stack(told[:3]) + extra, np.stack(told[3:]), np.ones((4, 600), dtype=bool))

    return side(leak), side(0.0)


def test_the_ratio_sees_through_difficulty_and_the_loss_does_not() -> None:
    found = attacks(*world(1.0), 0)
    assert found["loss"].auc.value < 0.65
    assert found["ratio"].auc.low > 0.9
    assert found["ratio"].tpr.low > 0.3


def test_where_nothing_leaks_nothing_is_found() -> None:
    found, again = attacks(*world(0.0), 0), attacks(*world(0.0), 0)
    assert all(attack.auc.low < 0.5 < attack.auc.high for attack in found.values())
    assert found == again


def test_images_that_cannot_be_judged_are_left_out_and_counted() -> None:
    members, others = world(1.0)
    out = members.out.copy()
    out[1:, :100] = False
    found = attacks(Answers(members.students, members.references, out), others, 0)
    assert (found["ratio"].members, found["loss"].members) == (500, 600)
    assert attacks(Answers(members.students, members.references, np.zeros_like(out)), others, 0)["ratio"] is None
