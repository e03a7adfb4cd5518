"""What a comparison foresees, refuses and adds up where rows share trainings, or where one method cannot do what is asked."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from small import make_real

import datadam
from datadam.comparison import making
from datadam.comparison.clock import Clock
from datadam.comparison.grid import Grid, plan
from datadam.comparison.making import GridProgress
from datadam.comparison.parts import expected, left, parts_of
from datadam.comparison.table import Comparison
from datadam.data import RealData
from datadam.distillation import forecast as costs
from datadam.errors import InvalidInput
from datadam.evaluation.panel import protocol_named
from datadam.evaluation.protocols import Protocol
from datadam.methods.coresets import cost as choosing
from datadam.methods.coresets.cost import passes_behind
from datadam.methods.cost import BACKWARD, COMPILED_GAIN

NET = "convnet1:width=4"
HERDING = "herding:epochs=2"


@pytest.fixture(scope="module")
def real() -> RealData:
    """Three classes of twelve 3x8x8 images."""
    return make_real()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Collecting garbage takes a third of a second for each run; and a cache with nothing in it."""
    monkeypatch.setattr("gc.collect", lambda: 0)
    monkeypatch.setenv("DATADAM_CACHE", str(tmp_path / "cache"))


def tiny(real: RealData, out: Path, methods: str, **options: object) -> Comparison:
    """A comparison in moments."""
    settings = {
        "ipc": [1], "net": NET, "iterations": 2, "batch_real": 3, "students": 2,
        "protocol": protocol_named("honest", epochs=2), "out": out,
    }  # fmt: skip
    return datadam.compare(real, methods, **(settings | options))


def planned(real: RealData, methods: str, **options: object) -> Grid:
    """A grid of which nothing is made."""
    settings = {
        "repeats": 2, "iterations": None, "batch_real": None, "precision": None, "net": NET, "normalisation": None, "zca": None,
        "protocol": "honest", "students": 1, "whole": False, "whole_epochs": None, "seed": 0, "device": "cpu",
        "memory_limit": None,
    }  # fmt: skip
    return plan(real, methods, [1, 2], None, **(settings | options))


@pytest.fixture
def rate(monkeypatch: pytest.MonkeyPatch) -> float:
    """Forward passes a second, as if measured."""
    monkeypatch.setattr(costs, "SECONDS_MATTER", 0.0)
    monkeypatch.setattr(costs, "passes_a_second", lambda *what: 10.0)
    return 10.0


# --- the trainings behind coresets ---


def test_a_training_is_foreseen_once_for_all_that_rest_on_it(real: RealData, rate: float) -> None:
    """Two repeats, so two trainings of 20 epochs over 36 images, whatever the rows; each row looks at all images anew."""
    grid = planned(real, "random,herding,kcenter,forgetting")
    making = [part for part in parts_of(grid, real, "cpu") if part.kind == "make"]
    training, look = 20 * 36 * BACKWARD / rate, 36 / rate
    assert left(Clock(), making, set()) == pytest.approx(2 * training + 2 * 2 * 2 * look)  # herding, kcenter; ipc; repeats
    one = next(part for part in making if part.doing.startswith("herding"))
    assert expected(Clock(), one, set()) == pytest.approx(training + look)
    assert expected(Clock(), one, {one.behind[0].who}) == pytest.approx(look)


def test_other_network_whitening_or_epochs_are_other_trainings(real: RealData, rate: float) -> None:
    grid = planned(real, "herding,herding:epochs=10,herding:zca=kornia,herding:net=convnet1[width=5],el2n,grand", repeats=1)
    who = {one.who for part in parts_of(grid, real, "cpu") for one in part.behind}
    assert len(who) == 4 + 3 + 3 + 3  # el2n and grand share three trainings; each has looks of its own


def test_scores_count_their_looks(real: RealData, rate: float) -> None:
    grid = planned(real, "el2n:averaged=1,grand:averaged=1", repeats=1)
    easy, hard = (part for part in parts_of(grid, real, "cpu") if part.kind == "make" and part.doing.endswith("ipc 1"))
    training = 5 * 36 * BACKWARD / rate
    assert expected(Clock(), easy, set()) == pytest.approx(training + 36 / rate)
    assert expected(Clock(), hard, set()) == pytest.approx(training + 6 * 36 / rate)


def test_long_choices_are_told_with_their_seconds_and_memory(real: RealData, tmp_path: Path, monkeypatch, rate: float) -> None:
    monkeypatch.setattr(making, "TELL", 5.0)
    told: list[GridProgress] = []
    tiny(real, tmp_path / "out", f"random,{HERDING},kcenter:epochs=2,dm:iterations=30", repeats=1, progress=told.append)
    remarks = [p.remark for p in told if " a set; " in p.remark]
    assert len(remarks) == 2  # the second choice finds the first one's training
    assert remarks[0].startswith(f"{HERDING}, ipc 1: about")
    assert "of memory a set; most of it trains networks to choose by" in remarks[0]
    assert "MB of memory a set; --iterations shortens it" in remarks[1]


def test_progress_of_a_choice_is_that_of_its_training(real: RealData, tmp_path: Path) -> None:
    told: list[GridProgress] = []
    tiny(real, tmp_path / "out", "el2n:averaged=2:epochs=3", repeats=1, progress=told.append)
    shares = [p.share for p in told if "training network" in p.doing or "of all images" in p.doing]
    assert len(shares) == 2 * (3 + 1)
    assert shares == sorted(shares)
    assert 0 < shares[0] < 0.2
    assert shares[-1] == pytest.approx(1.0)


def test_a_shared_training_adds_to_the_sum_once(real: RealData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each card counts it, and says so apart; the clock learns of it once."""
    lessons: list[tuple[str, str]] = []
    learn = Clock.learn
    monkeypatch.setattr(Clock, "learn", lambda self, key, *rest: lessons.append(key) or learn(self, key, *rest))
    out = tmp_path / "out"
    made = tiny(real, out, f"{HERDING},kcenter:epochs=2", ipc=[1, 2], repeats=1)
    assert lessons.count(("train", f"training {NET}")) == 1
    cards = [json.loads(path.read_text()) for path in sorted(out.glob("runs/*/0/card.json"))]
    behind = [card["behind"][0] for card in cards]
    assert len(cards) == 4
    assert {one["name"] for one in behind} == {behind[0]["name"]}
    assert sorted(one["found"] for one in behind) == [False, True, True, True]
    seconds = behind[0]["seconds"]
    total = sum(card["seconds"] for card in cards)
    assert all(card["seconds"] >= round(seconds, 1) for card in cards)
    assert made.table["seconds"]["again"] == pytest.approx(3 * seconds, abs=0.06)
    assert made.table["seconds"]["distilling"] == pytest.approx(total - 3 * seconds, abs=0.06)
    assert made.table["rows"][0]["runs"][0]["behind"] == [cards[0]["behind"][0] | {"found": False}]

    lessons.clear()  # the same command again: from the cards
    again = tiny(real, out, f"{HERDING},kcenter:epochs=2", ipc=[1, 2], repeats=1)
    assert lessons.count(("train", f"training {NET}")) == 1
    assert again.table["seconds"]["distilling"] == made.table["seconds"]["distilling"]


def test_compiled_trainings_count_for_less(monkeypatch: pytest.MonkeyPatch) -> None:
    from datadam.training.insight import TRAINING, Requirement, trained

    one = Requirement(TRAINING, 0, trained(20))
    monkeypatch.setattr(choosing, "can_compile", lambda device="cpu": True)
    short, long = (passes_behind(one, images, "cpu") / images for images in (36, 50_000))
    assert short == 3 * 20
    assert long == pytest.approx(3 * 20 / COMPILED_GAIN["float32"])


# --- what one method cannot do ---


def test_what_one_method_cannot_do_is_refused_in_its_row(real: RealData, tmp_path: Path) -> None:
    words = "random,dm,dc,pixel:init=xavier,cafe:network_epochs=3:precision=float32"
    made = tiny(real, tmp_path / "out", words, repeats=1, precision="bfloat16")
    status = {row["method"]: row["cells"][NET]["status"] for row in made.table["rows"]}
    assert list(status.values()) == ["done", "done", "refused", "refused", "refused"]
    reasons = [made.cell(method, 1, NET)["reason"] for method in list(status)[2:]]
    for told, reason in zip(("bfloat16 is too coarse", "no use for init", "decides itself how long"), reasons, strict=True):
        assert told in reason
    assert made.failed == 0


@pytest.mark.parametrize("word", ["dc:precision=bfloat16:momentum=2", "dc:precison=bfloat16", "pixel:init=xavir"])
def test_a_wrong_word_is_a_fault_of_the_command(real: RealData, tmp_path: Path, word: str) -> None:
    with pytest.raises(InvalidInput, match=r"momentum is 2|unknown setting|init is 'xavir'"):
        tiny(real, tmp_path / "out", f"random,{word}")
    assert not (tmp_path / "out").exists()


def test_where_every_row_is_refused_nothing_is_made(real: RealData, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"dc, ipc 1: dc: dc takes gradients.*bfloat16"):
        tiny(real, tmp_path / "out", "dc", precision="bfloat16")


def test_a_comparison_starts_from_no_earlier_run(real: RealData, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="starts from nothing that an earlier run has left") as refusal:
        tiny(real, tmp_path / "out", f"random,dm:start={tmp_path}")
    assert "allowed too" not in str(refusal.value)
    assert not (tmp_path / "out").exists()


# --- protocols ---


@pytest.mark.parametrize(("augment", "column", "epochs"), [("none", "dsa", 1001), ("dsa", "none", 301), ("none", "none", 301)])
def test_a_column_of_dc_bench_has_the_epochs_of_its_augmentation(real: RealData, augment: str, column: str, epochs: int) -> None:
    rule = protocol_named("dc-bench", augment=augment)
    grid = plan_column(real, rule, f"{NET}@{column}")
    assert grid.columns[0].protocol.training.epochs == epochs


def plan_column(real: RealData, rule: Protocol, column: str) -> Grid:
    return plan(
        real, "random", [1], column, repeats=1, iterations=None, batch_real=None, precision=None, net=NET, normalisation=None,
        zca=None, protocol=rule, students=1, whole=False, whole_epochs=None, seed=0, device="cpu", memory_limit=None,
    )  # fmt: skip


def test_epochs_that_were_asked_for_stay_in_every_column(real: RealData) -> None:
    for epochs in (40, 300):
        rule = protocol_named("dc-bench", augment="none", epochs=epochs)
        assert plan_column(real, rule, f"{NET}@dsa").columns[0].protocol.training.epochs == epochs


def test_other_epochs_of_a_column_are_told(real: RealData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short = replace(protocol_named("dc-bench"), schedules=((1, 1), (2, 1)))
    rule = short.with_augment("none")
    made = tiny(real, tmp_path / "out", "random", protocol=rule, nets=f"{NET},{NET}@color", repeats=1)
    assert rule.training.epochs == 1
    assert any(f"{NET}@color are trained for 2 epochs, and not for 1" in note for note in made.table["notes"])


def test_a_protocol_of_three_students_has_three_by_default(real: RealData, tmp_path: Path) -> None:
    rule = protocol_named("eccv24", epochs=1)
    made = tiny(real, tmp_path / "out", "random", protocol=rule, students=None, repeats=1, nets="convnet1:norm=batch:width=4")
    assert made.table["words"].startswith("eccv24: 3 of 3 students")
    assert any(
        "eccv24 judged 10 images per class" in note and "ipc 1, convnet1:norm=batch:width=4" in note
        for note in made.table["notes"]
    )
    assert not any("eccv24 judged" in note for note in tiny(real, tmp_path / "b", "random", repeats=1).table["notes"])
