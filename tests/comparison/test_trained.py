"""What is trained before a set's first iteration: it counts in the seconds of each set that rests on it, and once in the sum."""

from pathlib import Path

import pytest
from small import make_real

import datadam
from datadam.comparison.table import Comparison
from datadam.comparison.variants import variant
from datadam.data import RealData
from datadam.evaluation.panel import protocol_named
from datadam.training.make_experts import make_experts
from datadam.training.making import seconds_of
from datadam.training.trainer import Training

NET = "convnet1:width=4"
FOLLOWS = "expert_epochs=1:max_start=1:steps=2:count=2"
METHODS = [
    "random",
    f"mtt:{FOLLOWS}",
    f"datm:{FOLLOWS}:first_max=0:epochs=1:expert_optimizer=sgd",
    "calm:count=1:epochs=1:start=real",
]


def tiny(real: RealData, out: Path, methods: list[str]) -> Comparison:
    return datadam.compare(
        real, methods, ipc=[1, 2], net=NET, zca=False, iterations=2, batch_real=3, precision="float32", students=1,
        protocol=protocol_named("honest", epochs=1), out=out,
    )  # fmt: skip


@pytest.fixture(scope="module")
def real() -> RealData:
    """Three classes of twelve 3x8x8 images."""
    return make_real()


@pytest.fixture(scope="module")
def made(real: RealData, tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """Methods that follow the same experts, and one that draws from a pool. Not to be changed."""
    with pytest.MonkeyPatch.context() as monkey:
        place = tmp_path_factory.mktemp("trained")
        monkey.setenv("DATADAM_CACHE", str(place / "cache"))
        monkey.setattr("datadam.training.needs.seconds_of", lambda folder, networks: 100.0 * networks)
        first = tiny(real, place / "out", METHODS[:2])
        assert first.table["seconds"]["again"] == 200.0
        return tiny(real, place / "out", METHODS)


def test_experts_are_made_once_and_count_in_each_set(made: Comparison) -> None:
    rows = {(row["method"], row["ipc"]): row for row in made.table["rows"]}
    networks = {row["settings"]["networks"] for row in rows.values()}
    assert networks == {"random"}, "what was asked for"
    for (method, _), row in rows.items():
        trained = {"mtt": 200.0, "datm": 200.0, "calm": 100.0, "random": 0.0}[method.partition(":")[0]]
        assert row["trained_first_seconds"] == trained
        assert trained <= row["seconds"] < trained + 60
        assert {cell["status"] for cell in row["cells"].values()} == {"done"}
    every, seconds = sum(row["seconds"] for row in rows.values()), made.table["seconds"]
    assert seconds["again"] == 3 * 200.0 + 100.0
    assert seconds["distilling"] == pytest.approx(every - 700.0, abs=0.1)
    assert sum("once in the sum of distilling" in note for note in made.table["notes"]) == 1


def test_a_folder_of_experts_is_named_in_a_word(real: RealData, tmp_path: Path) -> None:
    experts = make_experts(
        real.with_normalisation("mtt"), tmp_path / "experts", NET, Training(epochs=1, batch=12, augment="none"), 1, seed=3
    )
    assert variant("mtt:networks=experts:a/b:steps=2").settings == (("networks", "experts:a/b"), ("steps", "2"))
    word = f"mtt:{FOLLOWS}:networks=experts:{experts.folder}"
    made = tiny(real, tmp_path / "out", [word])
    row = made.table["rows"][0]
    assert row["settings"]["networks"] == experts.spec
    assert row["runs"][0]["experts"] == {"networks": 1, "epochs": 1}
    assert row["trained_first_seconds"] == pytest.approx(seconds_of(experts.folder, 1), abs=0.051)
    assert row["cells"][NET]["status"] == "done"
    assert tiny(real, tmp_path / "out", [word]).table["rows"][0]["runs"] == row["runs"]


def test_a_set_that_is_made_first_counts_in_each_that_goes_on_from_it(
    real: RealData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two that go on from the same first set, and one with a first set of its own; all follow the same experts."""
    monkeypatch.setattr("datadam.training.needs.seconds_of", lambda folder, networks: 100.0 * networks)
    words = [f"mtt:{FOLLOWS}:start=calm-quick{more}" for more in ("", ":rate=0.02", ":decoder=grid:2")]
    table = tiny(real, tmp_path / "out", words).table
    earlier = {(row["method"], row["ipc"]): row["runs"][0]["earlier_seconds"] for row in table["rows"]}
    shared = [earlier[words[0], ipc] for ipc in (1, 2)]
    assert shared == [earlier[words[1], ipc] for ipc in (1, 2)]
    assert min(earlier.values()) >= 200, "two networks of a pool"
    for row in table["rows"]:
        assert row["trained_first_seconds"] == pytest.approx(earlier[row["method"], row["ipc"]] + 200)
    assert table["seconds"]["again"] == pytest.approx(sum(shared) + 5 * 200, abs=0.11)
