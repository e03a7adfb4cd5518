"""Generators by the command line: told, made, judged, shown, exported, resumed and refused."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from datadam.cli import distill as verb
from datadam.distillation import forecast
from datadam.exchange.sidecar import NAME
from datadam.sets.distilled import DistilledSet

TINY = ("--set", "epochs=1", "--set", "batch=6", "--set", "width=4", "--set", "noise=4")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATADAM_CACHE", str(tmp_path / "cache"))


def test_a_set_of_samples_is_one_like_any_other(cli: Any, pictures: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    made = cli("distill", pictures, "--ipc", 2, "--method", "biggan", *TINY, "--precision", "bfloat16", "--out", run)
    assert made.code == 0, made.err
    assert "biggan samples a generator that is trained for 1 epoch on the whole training set; that comes first" in made.err
    assert "6 images, 2 for each of 3 classes" in made.out
    assert "iterations" not in made.out
    judged = cli("evaluate", run, "--students", 1, "--epochs", 1, "--net", "convnet1:width=4", "--json").json
    assert (judged[0]["of"], judged[0]["images"]) == ("distilled", 6)
    shown = cli("show", run).out
    assert "sampled from a generator" in shown
    assert "biggan  epochs=1  batch=6" in shown
    page = (run / "README.md").read_text()
    assert "sampled from a generator trained on the" in page
    card = DistilledSet.load(run).card
    assert "generator of " + str(card["networks"]["generator"]) in page.replace("\u202f", "")
    assert cli("report", run).code == 0
    assert "sampled from a generator" in (run / "report.html").read_text()
    assert cli("export", run, "--to", "npz", "--out", tmp_path / "out").code == 0
    assert json.loads((tmp_path / "out" / NAME).read_text())["set"]["kind"] == "generated"
    again = ("--ipc", 3, "--method", "biggan", *TINY, "--precision", "bfloat16", "--out", tmp_path / "more")
    more = cli("distill", pictures, *again)
    assert more.code == 0
    assert DistilledSet.load(tmp_path / "more").card["behind"][0]["found"]


def test_time_is_told_first(cli: Any, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecast, "passes_a_second", lambda *what: 1e-3)
    monkeypatch.setattr(forecast, "SECONDS_MATTER", 0.0)
    made = cli("distill", pictures, "--ipc", 1, "--method", "gmmn", *TINY, "--out", tmp_path / "run")
    assert made.code == 0
    assert "this takes about" in made.err
    assert "--set epochs=N shortens it" in made.err


def test_a_long_training_is_asked_for_and_told_how_to_shorten(
    cli: Any, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verb, "LONG", -1.0)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdin", Terminal("n\n"))
        patch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
        outcome = cli("distill", pictures, "--ipc", 1, "--method", "dcvae", *TINY, "--out", tmp_path / "run")
    assert outcome.code == 1
    assert (
        "nothing was begun. --set epochs=N shortens it, and a smaller --set width=N; --yes begins without asking" in outcome.err
    )
    assert not (tmp_path / "cache" / "generators").exists()


def test_what_means_nothing_to_a_generator_is_refused(refused: Any, pictures: Path, tmp_path: Path) -> None:
    ask = ("distill", pictures, "--ipc", 1, "--method", "cgan", *TINY, "--out", tmp_path / "run")
    words = refused(*ask, "--batch-real", 8, "--start", "noise")
    assert "cgan samples a generator; leave out batch_real, start" in words
    assert "there is nothing to spread" in refused(*ask, "--workers", 2)
    assert "width is 0; it must be a whole number >= 1" in refused(*ask[:6], "--set", "width=0", "--out", tmp_path / "run")


def test_a_comparison_has_them_beside_others(cli: Any, pictures: Path, tmp_path: Path) -> None:
    methods = f"random,gmmn:{':'.join(TINY[1::2])},cgan:{':'.join(TINY[1::2])}:precision=bfloat16"
    out = ("--students", 1, "--epochs", 1, "--net", "convnet1:width=4", "--out", tmp_path / "out", "--json")
    table = cli("compare", pictures, "--methods", methods, "--ipc", 1, *out).json
    rows = {row["method"].split(":")[0]: row for row in table["rows"]}
    assert list(rows) == ["random", "gmmn", "cgan"]
    assert all(row["iterations"] is None for row in rows.values())
    assert all(row["cells"]["convnet1:width=4"]["mean"] is not None for row in rows.values())
