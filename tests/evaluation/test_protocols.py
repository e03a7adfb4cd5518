"""The protocols of other benchmarks, and how epochs follow the augmentation."""

import pytest

from datadam.evaluation.panel import protocol_named
from datadam.evaluation.protocols import CATALOG


def test_dc_bench() -> None:
    protocol = protocol_named("dc-bench")
    training = protocol.training
    assert (protocol.students, protocol.selects, training.fresh_optimizer) == (5, False, False)
    assert (training.epochs, training.batch, training.lr, training.momentum, training.weight_decay, training.augment) == (
        1000, 256, 0.01, 0.9, 5e-4, "dsa",
    )  # fmt: skip
    assert [training.lr_at(e) for e in (499, 500)] == pytest.approx([0.01, 0.001])


@pytest.mark.parametrize(
    ("augment", "epochs"), [("none", 300), ("dsa", 1000), ("autoaugment", 1000), ("randaugment", 1000), ("color_crop", 1000)]
)
def test_dc_bench_trains_for_longer_with_augmentation(augment: str, epochs: int) -> None:
    training = protocol_named("dc-bench", augment=augment).training
    assert (training.augment, training.epochs, training.drop) == (augment, epochs, epochs // 2)


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
    for name in set(CATALOG) - {"dc-bench"}:
        assert protocol_named(name, augment="none").training.epochs == CATALOG[name].training.epochs


def test_eccv24() -> None:
    protocol = protocol_named("eccv24")
    training = protocol.training
    assert (protocol.students, training.epochs, training.batch, training.augment) == (3, 1001, 256, "dsa")
    assert [training.lr_at(e) for e in (0, 501, 502)] == pytest.approx([0.01, 0.01, 0.001])


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
        "honest": 5, "paper": 5, "official": 5, "dc-bench": 5, "eccv24": 3,
    }  # fmt: skip


def test_what_the_challenge_did_not_judge_is_named() -> None:
    protocol = protocol_named("eccv24", epochs=3)
    assert protocol.departures(ipc=10, net="convnet3", zca=False) == ""
    told = protocol.departures(ipc=1, net="convnet3:norm=batch:width=64", zca=True)
    assert told.endswith("with instance norm; here: ipc 1, batch norm, ZCA")
    assert CATALOG["honest"].departures(ipc=1, net="convnet3:norm=batch", zca=True) == ""
