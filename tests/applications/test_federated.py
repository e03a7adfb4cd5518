"""Federations: how images are dealt out, FedAvg against its definition, what the server gets, what is refused."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

import datadam
from datadam import nets
from datadam.applications.clients import counts, deal, dealing, kept, part_of
from datadam.applications.fedavg import FedAvg, curve
from datadam.applications.federated import Asked, evenly, federated, plan
from datadam.applications.federated_page import sentence, sheet, text
from datadam.data import RealData
from datadam.errors import InvalidInput, UnknownName
from datadam.sets.distilled import DistilledSet
from datadam.training import resumable
from datadam.training.trainer import Trainer, Training
from datadam.where import Where

NET = "convnet1:width=4"
TINY = {
    "net": NET,
    "clients": 3,
    "split": "classes:2",
    "ipc": 1,
    "epochs": 2,
    "iterations": 2,
    "batch_real": 4,
    "students": 2,
    "rounds": 2,
    "augment": "none",
}
CPU = Where(device="cpu")


def asked(**changes: object) -> Asked:
    return Asked(**TINY | changes)  # type: ignore[arg-type]


# --- who has what ---


@pytest.mark.parametrize("word", ["iid", "dirichlet:0.5", "classes:2"])
def test_each_image_goes_to_one_client_and_the_seed_decides(real: RealData, word: str) -> None:
    dealt = deal(real, dealing(word), 4, seed=1)
    assert sorted(np.concatenate(dealt).tolist()) == list(range(len(real.train)))
    assert all((np.diff(own) > 0).all() for own in dealt)
    again, other = deal(real, dealing(word), 4, seed=1), deal(real, dealing(word), 4, seed=2)
    assert all(np.array_equal(a, b) for a, b in zip(dealt, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(dealt, other, strict=True))


def test_equal_parts_and_equal_classes(real: RealData) -> None:
    assert sorted(map(len, deal(real, dealing("iid"), 5, seed=0))) == [7, 7, 7, 7, 8]
    table = counts(real, deal(real, dealing("classes:2"), 4, seed=0))
    assert (table > 0).sum(1).tolist() == [2] * 4
    holders = (table > 0).sum(0)
    assert holders.max() - holders.min() <= 1
    for column in table.T:
        held = column[column > 0]
        assert held.max() - held.min() <= 1


def test_a_small_alpha_deals_less_evenly_and_a_class_by_itself(real: RealData) -> None:
    def spread(alpha: float) -> float:
        tables = []
        for seed in range(40):
            try:
                tables.append(counts(real, deal(real, dealing(f"dirichlet:{alpha}"), 3, seed=seed)))
            except InvalidInput:  # a client without an image, which happens
                continue
        return float(np.stack(tables).std())

    # of n images of a class, a share p ~ Beta(a, 2a) has the variance (2/9) / (3a + 1)
    for alpha in (0.5, 1000.0):
        assert spread(alpha) == pytest.approx(12 * (2 / 9 / (3 * alpha + 1)) ** 0.5, rel=0.2, abs=0.3)
    whole, fewer = (deal(data, dealing("dirichlet:1"), 2, seed=3) for data in (real, real.subset([0, 1])))
    two = np.isin(real.train.labels, [0, 1])
    place = np.cumsum(two) - 1
    for own, less in zip(whole, fewer, strict=True):
        assert np.array_equal(place[own[two[own]]], less)


def test_a_client_has_its_classes_alone(real: RealData) -> None:
    own = deal(real, dealing("classes:2"), 3, seed=0)[1]
    part = part_of(real, own)
    names = sorted({real.classes[k] for k in real.train.labels[own]})
    assert sorted(part.classes) == names
    assert np.array_equal(part.train.pixels, real.train.pixels[own])
    assert [part.classes[k] for k in part.train.labels] == [real.classes[k] for k in real.train.labels[own]]
    assert {part.classes[k] for k in part.test.labels} == set(names)
    assert part.transform == real.transform


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("even", "unknown split 'even'"),
        ("iid:3", "write iid, dirichlet:0.1 or classes:2"),
        ("dirichlet", "write iid, dirichlet:0.1 or classes:2"),
        ("dirichlet:0", "a number above 0"),
        ("dirichlet:nan", "a number above 0"),
        ("classes:1.5", "a whole number of at least 1"),
        ("classes:0", "a whole number of at least 1"),
    ],
)
def test_a_wrong_split_is_told(word: str, words: str) -> None:
    with pytest.raises((InvalidInput, UnknownName), match=re.escape(words)):
        dealing(word)


def test_images_and_classes_that_do_not_suffice(real: RealData) -> None:
    for word, clients, words in (
        ("iid", 1, "at least 2"),
        ("iid", 37, "clients is 37, and there are 36 training images"),
        ("dirichlet:0.001", 12, r"leaves \d+ of 12 clients without an image .*larger ALPHA"),
        ("classes:4", 2, "ask for at most classes:3"),
        ("classes:1", 2, "at most 2 of 3 classes; ask for at least 3 --?clients, or for classes:2"),
    ):
        with pytest.raises(InvalidInput, match=words.replace("--?", "-*")):
            deal(real, dealing(word), clients, seed=0)
    dealt = deal(real, dealing("dirichlet:1"), 2, seed=1)
    table = counts(real, dealt)
    assert (table < 3).any()
    assert np.array_equal(counts(real, kept(real, dealt, 3)), np.where(table >= 3, table, 0))
    with pytest.raises(InvalidInput, match=r"no client has 13 images of .*lower ipc"):
        kept(real, dealt, 13)


@pytest.mark.parametrize(("total", "room"), [(7, [3, 1, 9]), (2, [5, 5, 5]), (99, [2, 0, 3]), (0, [1, 1]), (10, [4, 4, 4])])
def test_images_are_shared_out_evenly(total: int, room: list[int]) -> None:
    given = evenly(total, room)
    assert sum(given) == min(total, sum(room))
    assert all(g <= r for g, r in zip(given, room, strict=True))
    unfilled = [g for g, r in zip(given, room, strict=True) if g < r]
    assert not unfilled or max(given) - min(unfilled) <= 1


# --- FedAvg ---


def local() -> Training:
    return Training(epochs=1, batch=4, lr=0.05, drop_after=1)


def test_a_round_is_the_weighted_mean_of_what_clients_learn(real: RealData) -> None:
    dealt = (np.arange(10), np.arange(10, 36))
    rounds = FedAvg(real, dealt, NET, local(), 1, seed=5, number=2)
    first = {name: value.clone() for name, value in rounds.weights.items()}
    expected = {name: torch.zeros_like(value, dtype=torch.float64) for name, value in first.items()}
    for client, own in enumerate(dealt):
        network = nets.build(NET, shape=real.shape, classes=3)
        network.load_state_dict(first)
        images, labels = real.images(own), torch.from_numpy(real.train.labels[own])
        trainer = Trainer(network, images.__getitem__, labels, local(), 5, "fedavg", 2, 0, client)
        for _ in range(-(-len(own) // 4)):
            trainer.step()
        for name, value in network.state_dict().items():
            expected[name] += len(own) / 36 * value.double()
    rounds.step()
    rounds.step()
    assert rounds.steps == rounds.done == 2
    assert all(torch.equal(rounds.weights[name], value.float()) for name, value in expected.items())
    network.load_state_dict(rounds.weights)
    right = network.eval()(real.images(np.arange(len(real.test)), "test")).argmax(1).numpy() == real.test.labels
    assert rounds.accuracies == [right.mean()]


def test_rounds_go_on_from_any_client_and_to_more(real: RealData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dealt = deal(real, dealing("iid"), 3, seed=0)

    def asks(folder: str, rounds: int) -> list[float]:
        return curve(real, dealt, NET, local(), rounds, seed=0, number=0, folder=tmp_path / folder, device="cpu")

    monkeypatch.setattr(resumable, "COPY_EVERY", 0.0)
    whole, really = asks("whole", 3), FedAvg.step

    def stops(self: FedAvg) -> None:
        if self.done == 4:
            raise KeyboardInterrupt
        really(self)

    monkeypatch.setattr(FedAvg, "step", stops)
    with pytest.raises(KeyboardInterrupt):
        asks("stopped", 2)
    seen: list[int] = []
    monkeypatch.setattr(FedAvg, "step", lambda self: seen.append(self.done) or really(self))
    assert asks("stopped", 2) == whole[:2]
    assert asks("stopped", 3) == whole
    assert seen == [4, 5, 6, 7, 8]
    assert asks("stopped", 1) == whole[:1]
    assert len(seen) == 5


# --- all of it ---


def test_the_server_gets_what_clients_make_and_all_is_found_again(
    real: RealData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = plan(real, asked())
    found = federated(made, tmp_path, CPU)
    union = DistilledSet.load(tmp_path / "union" / made.folder)
    parts = [datadam.distill(part_of(real, own), made.recipe_of(client)) for client, own in enumerate(made.dealt)]
    assert torch.equal(union.images, DistilledSet.merge(parts, real).images)
    assert len({part.card["recipe"]["seed"] for part in parts}) == 3
    assert [part.stored_bytes for part in parts] == made.set_bytes == found["set_bytes"]
    weights = sum(p.nbytes for p in nets.build(NET, shape=real.shape, classes=3).state_dict().values())
    assert found["round_bytes"] == 2 * 3 * weights
    assert found["bought"] == pytest.approx(union.stored_bytes / found["round_bytes"])
    sets, beside, at_end = found["ways"]
    assert sets["bytes"] == union.stored_bytes
    assert sets["bytes"] - 3 * found["image_bytes"] < beside["bytes"] <= sets["bytes"]
    assert beside["bytes"] == beside["images"] * (3 * 8 * 8 + 8)
    assert at_end["accuracies"] == pytest.approx([at_end["accuracy"]["value"] * 2 - a for a in at_end["accuracies"]][::-1])
    page = sheet(found, command="datadam federated").html()
    assert "<svg" in page
    assert "of a round" in sentence(found)
    assert len(text(found)[1]) == 3

    def never(*given: object, **options: object) -> None:
        raise AssertionError("made again")

    for name in ("begin", "evaluate"):
        monkeypatch.setattr(f"datadam.applications.sets.{name}", never)
    monkeypatch.setattr(FedAvg, "step", never)
    again = federated(plan(real, asked()), tmp_path, CPU)
    assert {k: v for k, v in again.items() if k != "created"} == {k: v for k, v in found.items() if k != "created"}


def test_rare_classes_are_left_out_and_bytes_pay_for_rounds(real: RealData, tmp_path: Path) -> None:
    made = plan(real, asked(split="dirichlet:1", ipc=3, clients=2, rounds=None, net="mlp:width=2", seed=1))
    assert made.rounds == max(10, int(made.bought))
    found = federated(plan(real, asked(split="dirichlet:1", ipc=3, clients=2, rounds=4, seed=1)), tmp_path, CPU)
    table = np.array(found["dealt"])
    rare = table[(table > 0) & (table < 3)]
    assert rare.size
    assert found["left_out"] == {"classes": rare.size, "images": int(rare.sum())}
    union = DistilledSet.load(next((tmp_path / "union").iterdir()))
    assert list(union.counts) == (3 * (table >= 3).sum(0)).tolist()
    equal = [way for way in found["ways"] if way["way"] == "fedavg at equal bytes"]
    assert [way["rounds"] for way in equal] == ([int(found["bought"])] if 1 <= found["bought"] < 5 else [])
    assert "are left out of the sets" in sheet(found).html()


def test_everything_wrong_is_told_at_once(real: RealData) -> None:
    with pytest.raises(InvalidInput) as met:
        plan(real, asked(split="dirichlet", ipc=0, students=0, rounds=0, local_epochs=0, local_lr=-1.0, method="dmm"))
    told = "\n".join(met.value.faults)
    for words in (
        "split is 'dirichlet'",
        "ipc is 0",
        "students is 0",
        "rounds is 0",
        "local_epochs is 0",
        "local_lr is",
        "'dmm'",
    ):
        assert words in told
    for changes, words in (
        ({"method": "dm:zca=kornia"}, "a whitening is fitted on all images"),
        ({"method": "mtt"}, "learns labels or a rate"),
        ({"method": "dc", "split": "classes:1"}, "dc looks at classes together, and client 0, 1, 2 has a single one"),
        ({"ipc": 13}, "no client has 13 images"),
    ):
        with pytest.raises(InvalidInput, match=words):
            plan(real, asked(**changes))
