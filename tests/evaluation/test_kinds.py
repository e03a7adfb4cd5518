"""Students of soft labels, decoded images and a learned rate, against hard labels, images decoded by hand, and formulas."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from kinds import KINDS, LOGITS, set_of_kind

import datadam
from datadam import nets
from datadam.data import RealData
from datadam.errors import InvalidInput
from datadam.evaluation.evaluate import source_of, train_student
from datadam.evaluation.panel import protocol_named
from datadam.evaluation.protocols import Protocol
from datadam.evaluation.result import Evaluation
from datadam.rng import stream
from datadam.sets.distilled import DistilledSet
from datadam.sets.kind import Kind

NET = "convnet2:width=6"
RULE = protocol_named("honest", epochs=4, augment="none")
LEARNED = dataclasses.replace(RULE, learned_rate=True)


def judged(one: DistilledSet | list[DistilledSet], real: RealData, rule: Protocol = RULE, **options: Any) -> Evaluation:
    return datadam.evaluate(one, real, net=NET, protocol=rule, students=2, **options)


def stepped(one: DistilledSet, real: RealData, rate: float) -> dict[str, torch.Tensor]:
    """The first student's weights after one step on all images, in float64: cross-entropy from its definition, SGD by hand."""
    network = nets.build(NET, shape=real.shape, classes=len(real.classes)).double()
    nets.initialise(network, stream(0, "student", 0, 0, "init"))
    logits = one.training_labels.double().numpy() / one.temperature
    shares = np.exp(logits - logits.max(1, keepdims=True))
    wanted = torch.from_numpy(shares / shares.sum(1, keepdims=True))
    out = network(one.training_images.double())
    loss = -(wanted * (out - out.logsumexp(1, keepdim=True))).sum(1).mean()
    names, weights = zip(*network.named_parameters(), strict=True)
    steps = torch.autograd.grad(loss, weights)
    decay = RULE.training.weight_decay
    return {name: (w - rate * (g + decay * w)).detach() for name, w, g in zip(names, weights, steps, strict=True)}


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("decoder", ["plain", "grid:2"])
def test_a_step_on_soft_labels_is_that_of_the_formula(real: RealData, temperature: float, decoder: str) -> None:
    one = set_of_kind(real, LOGITS, decoder=decoder, temperature=temperature)
    wanted = torch.softmax(one.labels.double() / temperature, 1)
    np.testing.assert_allclose(source_of(0, one).labels, wanted.repeat_interleave(one.decoder.each, 0), atol=1e-6)
    rule = protocol_named("honest", epochs=1, augment="none")
    student, _ = train_student(one, real, net=NET, protocol=rule, precision="float64")
    for name, value in stepped(one, real, rule.training.lr).items():
        torch.testing.assert_close(student.state_dict()[name].double(), value, rtol=1e-5, atol=1e-7)  # probabilities in float32


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_logits_of_certainty_are_hard_labels(real: RealData, precision: str) -> None:
    hard = set_of_kind(real)
    soft = set_of_kind(real, 1e4 * torch.eye(3)[hard.labels], images=hard.images)
    ours, theirs = (judged(one, real, precision=precision) for one in (soft, hard))
    assert ours.accuracies == theirs.accuracies
    assert ours.confusion == theirs.confusion
    assert (ours.kind, theirs.kind) == (Kind(labels="soft"), Kind())


@pytest.mark.parametrize("kind", ["grid", "all"])
@pytest.mark.parametrize("augment", ["none", "color_crop"])
def test_a_decoded_set_trains_as_the_same_images_decoded_by_hand(real: RealData, kind: str, augment: str) -> None:
    one = set_of_kind(real, **KINDS[kind])
    rule = protocol_named("honest", epochs=3, augment=augment)
    ours, theirs = judged(one, real, rule), judged(one.as_plain(), real, rule)
    assert ours.accuracies == theirs.accuracies
    assert ours.confusion == theirs.confusion
    assert theirs.images == ours.images * one.decoder.each
    assert (ours.decoder, theirs.decoder) == (one.decoder.word, "plain")
    assert (ours.stored_bytes, theirs.stored_bytes) == (one.stored_bytes, one.as_plain().stored_bytes)


def test_the_rate_that_a_set_has_learned(real: RealData) -> None:
    one = set_of_kind(real, rate=0.05)
    slow = dataclasses.replace(RULE, training=dataclasses.replace(RULE.training, lr=0.05))
    taken, left, by_hand = judged(one, real, LEARNED), judged(one, real), judged(one, real, slow)
    assert taken.accuracies == by_hand.accuracies
    assert left.accuracies == judged(set_of_kind(real), real).accuracies
    assert left.made["remark"] == "the protocol's own rate, and not the one that the set has learned"
    assert "remark" not in taken.made
    assert taken.to_json()["protocol"]["learned_rate"] is True
    assert "learned_rate" not in left.to_json()["protocol"]
    assert judged(set_of_kind(real), real, LEARNED).accuracies == left.accuracies  # where there is none
    assert source_of(0, one).lr is None
    assert source_of(0, one, learned_rate=True).lr == pytest.approx(0.05)


def test_the_kind_stands_in_the_evaluation(real: RealData, tmp_path: Path) -> None:
    one = set_of_kind(real, **KINDS["all"])
    found = judged(one, real)
    assert "6 images, decoded by grid:4, soft labels, convnet2:width=6" in str(found)
    found.save(tmp_path / "e.json")
    told = json.loads((tmp_path / "e.json").read_text())
    assert (told["labels"], told["decoder"], told["stored_bytes"], told["images"]) == ("soft", "grid:4", one.stored_bytes, 6)
    assert Kind.of_evaluation(told) == one.kind


def test_sets_of_different_kinds_are_judged_one_by_one(real: RealData) -> None:
    with pytest.raises(InvalidInput, match="different kinds of labels, or decoders"):
        judged([set_of_kind(real), set_of_kind(real, decoder="grid:2")], real)
    with pytest.raises(InvalidInput, match="different kinds of labels, or decoders"):
        judged([set_of_kind(real), set_of_kind(real, LOGITS)], real)
