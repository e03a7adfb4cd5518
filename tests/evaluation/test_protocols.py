"""The protocols of other benchmarks, and how epochs follow the augmentation."""

import pytest

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
        "honest": 5, "paper": 5, "official": 5, "dsa": 5, "dc-bench": 5, "mtt": 5, "eccv24": 3,
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
