"""The protocols of other benchmarks, and how epochs follow the augmentation."""

import math

import pytest

import datadam
from datadam.data import RealData
from datadam.errors import InvalidInput
from datadam.evaluation.evaluate import source_of
from datadam.evaluation.panel import protocol_named
from datadam.evaluation.protocols import CATALOG

RELEASED = ("dsa", "dc-bench", "mtt", "eccv24")  # those that released code trains by


@pytest.mark.parametrize("name", RELEASED)
def test_protocols_of_released_code(name: str) -> None:
    """Epochs are counted from 0 to 1 000 and the rate falls after number 501, with a new optimiser: the momentum is lost."""
    protocol = protocol_named(name)
    training = protocol.training
    students = {"dsa": (20, 5), "dc-bench": (5, 1), "mtt": (5, 1), "eccv24": (3, 1)}[name]
    assert (protocol.students, protocol.sets, protocol.selects, training.fresh_optimizer) == (*students, False, True)
    assert (training.epochs, training.batch, training.lr, training.momentum, training.weight_decay, training.augment) == (
        1001, 256, 0.01, 0.9, 5e-4, "dsa",
    )  # fmt: skip
    assert [training.lr_at(e) for e in (0, 501, 502, 1000)] == pytest.approx([0.01, 0.01, 0.001, 0.001])


def test_the_honest_one_keeps_its_momentum() -> None:
    training = CATALOG["honest"].training
    assert (training.epochs, training.drop, training.fresh_optimizer) == (1000, 500, False)
    assert "momentum kept" in CATALOG["honest"].description


@pytest.mark.parametrize("name", ["dsa", "dc-bench"])
@pytest.mark.parametrize(
    ("augment", "epochs", "drop"),
    [("none", 301, 152), ("dsa", 1001, 502), ("autoaugment", 1001, 502), ("randaugment", 1001, 502), ("color_crop", 1001, 502)],
)
def test_they_train_for_longer_with_augmentation(name: str, augment: str, epochs: int, drop: int) -> None:
    training = protocol_named(name, augment=augment).training
    assert (training.augment, training.epochs, training.drop, training.fresh_optimizer) == (augment, epochs, drop, True)


def test_epochs_that_are_asked_for_go_first() -> None:
    for augment in (None, "none", "randaugment"):
        training = protocol_named("dc-bench", epochs=40, augment=augment).training
        assert (training.epochs, training.drop) == (40, 20)


def test_switching_augmentation_off_and_on_comes_back() -> None:
    protocol = CATALOG["dc-bench"]
    assert protocol.with_augment("none").with_augment("dsa") == protocol
    assert protocol.with_epochs(70).with_augment("randaugment").training.epochs == 70  # it stays on: nothing changes
    assert protocol.with_augment(None) is protocol


def test_other_protocols_keep_their_epochs() -> None:
    for name in set(CATALOG) - {"dc-bench", "dsa"}:
        assert protocol_named(name, augment="none").training.epochs == CATALOG[name].training.epochs


def test_cards_name_the_protocol_and_its_numbers() -> None:
    for name, protocol in CATALOG.items():
        card = protocol.to_card()
        assert (card["name"], card["epochs"], card["augment"]) == (name, protocol.training.epochs, "dsa")
        assert protocol.description


def test_epochs_that_were_asked_for_stay_whatever_the_augmentation() -> None:
    """Also where they are those that the protocol has anyway."""
    for epochs in (300, 1000, 40):
        protocol = protocol_named("dc-bench", epochs=epochs, augment="none")
        assert protocol.with_augment("dsa").training.epochs == epochs


def test_students_by_default_are_never_more_than_the_protocol_has() -> None:
    assert {name: protocol.usual_students for name, protocol in CATALOG.items()} == {
        "honest": 5, "paper": 5, "official": 5, "dsa": 5, "dc-bench": 5, "mtt": 5, "frepo": 5, "eccv24": 3,
    }  # fmt: skip


def test_what_the_challenge_did_not_judge_is_named() -> None:
    protocol = protocol_named("eccv24", epochs=3)
    assert protocol.departures(ipc=10, net="convnet3", zca=False) == ""
    told = protocol.departures(ipc=1, net="convnet3:norm=batch:width=64", zca=True)
    assert told.endswith("with instance norm; here: ipc 1, convnet3:norm=batch:width=64, ZCA")
    assert protocol.departures(ipc=10, net="convnet4", zca=False).endswith(
        "here: convnet4"
    )  # Tiny ImageNet too was judged on three blocks
    assert CATALOG["honest"].departures(ipc=1, net="convnet3:norm=batch", zca=True) == ""


@pytest.mark.parametrize(
    ("images", "steps", "an_epoch"),
    [(10, 1000, 1), (100, 2000, 1), (200, 20_000, 1), (500, 5000, 1), (1000, 10_000, 2), (5000, 40_000, 10)],
)
def test_frepos_students_take_the_steps_of_its_released_code(images: int, steps: int, an_epoch: int) -> None:
    protocol = CATALOG["frepo"].for_images(images)
    training = protocol.training
    assert training.epochs * an_epoch == steps
    assert training.drop * an_epoch == 500
    assert (training.lr, training.batch, training.momentum, training.weight_decay) == (3e-4, 500, 0.9, 0.0)
    for step in (1, 250, 500, 700, steps // 2 + 250, steps):
        way = max(0.0, step - 500) / (steps - 500)
        wanted = 3e-4 * min(1.0, step / 500) * (0.99 * 0.5 * (1 + math.cos(math.pi * way)) + 0.01)
        assert training.lr_at(step / an_epoch) == pytest.approx(wanted, rel=1e-12)
    assert protocol.for_images(7) is protocol  # as it was settled
    assert protocol_named("frepo", epochs=40).for_images(images).training.epochs == 40


def test_frepos_students_regress_learned_labels_as_they_are(real: RealData) -> None:
    recipe = datadam.preset("frepo", real, ipc=1).change(
        {"net": "convnet1:width=4", "iterations": 2, "batch_real": 3, "zca": "none", "pool": 1}
    )
    made = datadam.distill(real, recipe)
    learned = made.training_labels
    assert (learned < 0).any()
    assert source_of(0, made, regress=True).labels.tolist() == learned.tolist()
    assert source_of(0, made).labels.sum(1) == pytest.approx([1.0] * 3)
    judged = datadam.evaluate(
        made, real, net="convnet1:norm=none:width=4", protocol=protocol_named("frepo", epochs=3), students=1
    )
    assert judged.words.startswith(
        "frepo: 1 of 5 students, 1 of 1 sets; 3 epochs, batch 500, Adam on squared error 0.0003, rate up"
    )
    assert judged.to_json()["protocol"]["regress"] is True
    assert ", SGD 0.01," in datadam.evaluate(made, real, protocol=protocol_named("honest", epochs=1), students=1).words


def test_frepos_protocol_says_what_it_is_not_for(real: RealData, tmp_path) -> None:
    protocol = CATALOG["frepo"]
    assert protocol.departures(ipc=1, net="convnet3:norm=none", zca=True) == ""
    told = protocol.departures(ipc=1, net="convnet3:width=32", zca=True)
    assert told == "frepo judged networks without norm (--net convnet3:norm=none); here: convnet3:width=32"
    with pytest.raises(
        InvalidInput, match="a comparison trains students by SGD on cross-entropy; judge by protocol frepo with datadam"
    ):
        datadam.compare(real, "random", ipc=1, protocol="frepo", out=tmp_path / "out")
