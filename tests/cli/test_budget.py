"""`datadam distill --budget`: what it decides is said, and is done."""

import json
from pathlib import Path

import pytest
from cli.conftest import Command

from datadam.distillation import budget


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is too slow for the usual network, and compiles nothing."""
    monkeypatch.setattr(budget, "passes_a_second", lambda net, *_: 3.0 if "width=32" in net else 0.1)
    monkeypatch.setattr(budget, "can_compile", lambda *_: False)
    monkeypatch.setattr(budget, "fast_precision", lambda *_: "float32")
    monkeypatch.setattr(budget, "MEASURED", 1)


@pytest.mark.usefixtures("slow")
def test_a_budget_says_what_it_decides_and_does_that(cli: Command, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    outcome = cli("distill", pictures, "--ipc", 1, "--budget", "120s", "--seed", 3, "--out", out)
    assert outcome.code == 0, outcome.err
    recipe = json.loads((out / "card.json").read_text())["recipe"]
    method, said = recipe["method"], " ".join(outcome.err.split())
    assert f"in 120s: {method['count']} network" in said
    assert f"{recipe['iterations']} iterations of calm, decoder {recipe['decoder']}" in said
    assert recipe["net"].endswith(":width=32")
    usual = recipe["net"].removesuffix(":width=32")
    assert f"on {recipe['net']}, as {usual} takes more time here; evaluate RUN --net {usual} judges on that one" in said
    assert recipe["seed"] == 3


@pytest.mark.usefixtures("slow")
def test_with_time_a_set_is_made_first_and_gone_on_with(
    cli: Command, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "passes_a_second", lambda *_: 1e6)
    monkeypatch.setattr(budget, "FOLLOWED", (1, 2))
    out = tmp_path / "run"  # more time than any machine takes: the test is of what is decided
    outcome = cli("distill", pictures, "--ipc", 1, "--budget", "2h", "--net", "convnet1:width=4", "--out", out)
    assert outcome.code == 0, outcome.err
    card, said = json.loads((out / "card.json").read_text()), " ".join(outcome.err.split())
    assert "in 2h: a set of calm-quick, then 3 networks of 7 epochs over the real images, then 2 iterations of mtt" in said
    assert "mtt goes on from a set of calm-quick and matches in 3 networks on their way through 7 epochs" in said
    assert (card["recipe"]["method"]["name"], card["recipe"]["start"], card["iterations_done"]) == ("mtt", "calm-quick", 2)
    assert 0 < card["earlier_seconds"] < card["seconds"]


@pytest.mark.usefixtures("slow")
@pytest.mark.parametrize(
    "asked", [("--nested",), ("--set", "batch_synthetic=4"), ("--set", "calibration=3"), ("--set", "real_every=2")]
)
def test_what_trajectories_do_not_take_leaves_the_time_to_calm(
    cli: Command, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: tuple[str, ...]
) -> None:
    monkeypatch.setattr(budget, "passes_a_second", lambda *_: 1e6)
    monkeypatch.setattr(budget, "ITERATIONS", (2, 2))
    out = tmp_path / "run"
    outcome = cli("distill", pictures, "--ipc", 2, "--budget", "60s", "--net", "convnet1:width=4", *asked, "--out", out)
    assert outcome.code == 0, outcome.err
    assert json.loads((out / "card.json").read_text())["recipe"]["method"]["name"] == "calm"


@pytest.mark.usefixtures("slow")
def test_a_network_that_is_named_is_taken(cli: Command, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    outcome = cli("distill", pictures, "--ipc", 1, "--budget", "60s", "--net", "convnet1:width=4", "--out", out)
    assert outcome.code == 0, outcome.err
    assert json.loads((out / "card.json").read_text())["recipe"]["net"] == "convnet1:width=4"
    assert "takes more time here" not in outcome.err


@pytest.mark.parametrize("decided", [("--method", "dm"), ("--iterations", "5"), ("--preset", "paper")])
def test_what_a_budget_decides_is_not_given_beside_it(refused, pictures: Path, decided: tuple[str, str]) -> None:
    words = refused("distill", pictures, "--ipc", 1, "--budget", "5min", *decided)
    assert f"--budget decides {decided[0].removeprefix('--')}; leave that out, or leave --budget out" in words
