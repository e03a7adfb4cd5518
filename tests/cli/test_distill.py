"""`datadam distill`: what a run leaves behind, repeats, warm starts, ending in time."""

import io
import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from cli.conftest import CLASSES, TINY

from datadam.cli import distill as verb
from datadam.data import load
from datadam.distillation import loop
from datadam.distillation.begin import Distillation
from datadam.sets.distilled import DistilledSet


def images(run: Path) -> torch.Tensor:
    return DistilledSet.load(run).images


def card(run: Path) -> dict[str, Any]:
    return DistilledSet.load(run).card


def test_a_run_folder_is_complete_and_told(cli, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "run"
    outcome = cli("distill", pictures, "--ipc", 2, *TINY, "--out", out, "--note", "demo, not a result")
    assert outcome.code == 0
    assert outcome.out.splitlines()[0] == f"{out}: 6 images, 2 for each of 3 classes; stored in 4.7\u202fkB"
    assert outcome.out.splitlines()[-1].split() == ["judge", "datadam", "evaluate", str(out)]
    written = {path.name for path in out.iterdir()}
    assert written == {
        "card.json", "distilled.safetensors", "preview.png", "README.md", "metrics.jsonl", "checkpoint", "snapshots"
    }  # fmt: skip
    card = json.loads((out / "card.json").read_text())
    assert card["note"] == "demo, not a result"
    assert card["data"]["source"] == str(pictures)
    assert card["data"]["classes"] == list(CLASSES)
    assert card["iterations_done"] == 3
    assert card["recipe"]["net"] == "convnet1:width=4"


def test_a_long_run_says_how_long_before_it_starts(cli, pictures: Path, tmp_path: Path, monkeypatch) -> None:
    from datadam.distillation import forecast

    options = ("distill", pictures, "--ipc", 1, "--method", "dc", *TINY, "--overwrite", "--out", tmp_path / "run")
    assert "this takes about" not in cli(*options).err
    monkeypatch.setattr(forecast, "SECONDS_MATTER", 0.0)
    monkeypatch.setattr(forecast, "passes_a_second", lambda *what: 0.01)  # 3 iterations of 3 classes, (3 * 4 + 8) passes each
    assert "this takes about 5.0 h here; --iterations shortens it" in cli(*options).err


def test_json_is_the_card_and_nothing_else_is_on_standard_output(cli, pictures: Path, tmp_path: Path) -> None:
    outcome = cli("distill", pictures, "--ipc", 1, *TINY, "--out", tmp_path / "run", "--json")
    assert outcome.code == 0
    assert outcome.json == json.loads((tmp_path / "run/card.json").read_text()) | {"run": str(tmp_path / "run")}
    assert "3 iterations of 4 real images" in outcome.err


def test_no_more_real_images_are_told_than_a_class_has(cli, pictures: Path, tmp_path: Path) -> None:
    options = ("--ipc", 1, "--net", "convnet1:width=4", "--iterations", 1, "--batch-real", 256, "--out", tmp_path / "run")
    ours = tmp_path / "pictures"  # the others are shared
    shutil.copytree(pictures, ours)
    assert "1 iteration of 10 real images" in cli("distill", ours, *options).err
    next((ours / "train").glob("*/*.png")).unlink()
    assert "1 iteration of up to 10 real images" in cli("distill", ours, *options, "--overwrite").err


def test_the_default_folder_names_data_preset_ipc_and_seed(cli, pictures: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli("distill", pictures, "--ipc", 1, "--seed", 7, "--preset", "dm", *TINY).code == 0
    assert (tmp_path / "runs/pictures-dm-ipc1-seed7/card.json").exists()


def test_the_same_command_makes_the_same_images_and_another_seed_others(
    cli, finished: Path, pictures: Path, tmp_path: Path
) -> None:
    for seed in (0, 1):
        assert cli("distill", pictures, "--ipc", 2, *TINY, "--seed", seed, "--out", tmp_path / str(seed)).code == 0
    assert torch.equal(images(tmp_path / "0"), images(finished))
    assert not torch.equal(images(tmp_path / "1"), images(finished))


def test_an_earlier_run_is_kept_unless_told_otherwise(cli, refused, run: Path, pictures: Path) -> None:
    again = ("distill", pictures, "--ipc", 1, *TINY, "--out", run)
    before = (run / "card.json").read_bytes()
    (run / "mine.txt").write_text("kept")
    message = refused(*again)
    assert "already holds a run" in message
    assert f"--resume {run}" in message
    assert "--overwrite" in message
    assert (run / "card.json").read_bytes() == before
    assert cli(*again, "--overwrite").code == 0
    assert DistilledSet.load(run).ipc == 1
    assert (run / "mine.txt").read_text() == "kept"


def test_a_foreign_folder_is_never_written_to(refused, pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/holiday.txt").write_text("mine")
    for more in ((), ("--overwrite",), ("--repeats", 2), ("--repeats", 2, "--overwrite")):
        message = refused("distill", pictures, "--ipc", 1, *TINY, "--out", tmp_path / "photos", *more)
        assert "choose another folder" in message
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["holiday.txt"]


def test_a_coreset_learns_nothing(cli, pictures: Path, tmp_path: Path) -> None:
    outcome = cli("distill", pictures, "--ipc", 3, "--method", "random", "--out", tmp_path / "run", "--json")
    assert outcome.code == 0
    card = outcome.json
    assert (card["kind"], card["iterations_done"], card["moved"]) == ("coreset", 0, 0.0)
    real = load(pictures)
    everything = real.images(range(len(real.train)))
    for image in images(tmp_path / "run"):
        assert (everything == image).flatten(1).all(1).any()


def test_no_iterations_give_the_start(cli, pictures: Path, tmp_path: Path) -> None:
    options = ("--net", "convnet1:width=4", "--iterations", 0)
    assert cli("distill", pictures, "--ipc", 2, *options, "--out", tmp_path / "run").code == 0
    assert cli("distill", pictures, "--ipc", 2, "--method", "random", "--out", tmp_path / "random").code == 0
    assert torch.equal(images(tmp_path / "run"), images(tmp_path / "random"))


def test_a_warm_start_keeps_the_earlier_images_first(cli, finished: Path, pictures: Path, tmp_path: Path) -> None:
    options = ("--net", "convnet1:width=4", "--iterations", 0, "--start", finished)
    assert cli("distill", pictures, "--ipc", 4, *options, "--out", tmp_path / "run").code == 0
    now, before = images(tmp_path / "run").unflatten(0, (3, 4)), images(finished).unflatten(0, (3, 2))
    assert torch.equal(now[:, :2], before)
    assert not torch.equal(now[:, 2:], before)


def test_a_warm_start_counts_what_it_starts_from_also_after_an_interruption(
    cli, run: Path, pictures: Path, tmp_path: Path
) -> None:
    (run / "card.json").write_text(json.dumps(json.loads((run / "card.json").read_text()) | {"seconds": 100.0}))
    out = tmp_path / "out"
    options = ("--net", "convnet1:width=4", "--iterations", 3, "--batch-real", 4, "--start")
    assert cli("distill", pictures, "--ipc", 2, *options, run, "--out", out).code == 0
    assert card(out)["earlier_seconds"] == 100 <= card(out)["seconds"]
    assert cli("report", out).code == 0
    assert "of making what it starts from" in (out / "report.html").read_text()
    (out / "card.json").unlink()  # as if it had ended before its set was written
    assert cli("distill", "--resume", out).code == 0
    assert card(out)["earlier_seconds"] == 100 <= card(out)["seconds"]
    again = tmp_path / "again"
    pooled = ("--method", "calm", "--set", "count=1", "--set", "epochs=1", "--set", "decoder=plain", *options)
    assert cli("distill", pictures, "--ipc", 2, *pooled, out, "--out", again).code == 0  # also where networks come first
    assert card(again)["earlier_seconds"] == card(out)["seconds"] <= card(again)["seconds"]


def test_a_warm_start_that_does_not_fit_is_refused_before_anything_is_removed(refused, run: Path, pictures: Path) -> None:
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    message = refused("distill", pictures, "--ipc", 1, *TINY, "--start", run, "--out", run, "--overwrite")
    assert "the earlier run has 2 images per class, more than the 1 asked for" in message
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_zca_can_be_switched_on_and_off(cli, pictures: Path, tmp_path: Path) -> None:
    for flag, zca in (("--zca", "kornia"), ("--no-zca", "none")):
        outcome = cli("distill", pictures, "--ipc", 1, *TINY, flag, "--out", tmp_path / zca, "--json")
        assert outcome.json["recipe"]["zca"] == zca
    assert (tmp_path / "kornia/zca.safetensors").exists()
    (tmp_path / "c.yaml").write_text("zca: true")
    command = ("distill", pictures, "--ipc", 1, *TINY, "--config", tmp_path / "c.yaml", "--no-zca", "--out", tmp_path / "off")
    assert cli(*command, "--json").json["recipe"]["zca"] == "none"


def test_a_time_limit_ends_with_a_complete_set_that_says_so(cli, pictures: Path, tmp_path: Path, monkeypatch) -> None:
    now, step = [64.0], Distillation._step
    clock = SimpleNamespace(monotonic=lambda: now[0])

    def worked(run: Distillation) -> float:  # an eighth of a second an iteration
        now[0] += 0.125
        return step(run)

    for module in (verb, loop):
        monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(verb, "STARTED", 60.0)  # loading took four seconds
    monkeypatch.setattr(Distillation, "_step", worked)
    options = ("--net", "convnet1:width=4", "--batch-real", 4, "--iterations", 1000, "--time-limit", 8)
    outcome = cli("distill", pictures, "--ipc", 1, *options, "--out", tmp_path / "run", "--json")
    assert outcome.code == 0
    left = 8 - 4 - verb.FINISHING
    assert outcome.json["iterations_done"] == 7 == int((left - 0.5 * 0.125) / 0.125)  # half an iteration is left to spare
    assert outcome.json["warnings"][0] == "stopped after 7 of 1000 iterations"
    assert "warning: stopped after 7 of" in outcome.err
    assert len(images(tmp_path / "run")) == 3


def test_repeats_share_a_time_limit(cli, pictures: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(verb, "STARTED", 0.0)
    monkeypatch.setattr(verb, "FINISHING", 0.0)
    monkeypatch.setattr(verb.time, "monotonic", lambda: 0.0)  # no time passes
    shares = []
    drive = verb._drive
    short = lambda run, folder, out, left, events: (shares.append(left), drive(run, folder, out, None, events))[1]  # noqa: E731
    monkeypatch.setattr(verb, "_drive", short)
    assert cli("distill", pictures, "--ipc", 1, *TINY, "--repeats", 3, "--time-limit", 60, "--out", tmp_path / "r").code == 0
    assert shares == [20, 30, 60]


def test_repeats_are_independent_runs_with_seeds_counting_up(cli, finished: Path, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "repeats"
    command = ("distill", pictures, "--ipc", 2, *TINY, "--out", out)
    outcome = cli(*command, "--repeats", 3, "--json")
    assert outcome.code == 0
    assert [card["recipe"]["seed"] for card in outcome.json] == [0, 1, 2]
    assert torch.equal(images(out / "0"), images(finished))
    assert not torch.equal(images(out / "1"), images(finished))
    fewer = cli(*command, "--repeats", 2, "--overwrite")
    assert fewer.code == 0
    assert fewer.out.splitlines()[-1].split() == ["judge", "datadam", "evaluate", str(out)]
    assert sorted(path.name for path in out.iterdir()) == ["0", "1", "repeats.json"]


def test_interrupted_repeats_go_on_where_they_stood(cli, refused, pictures: Path, tmp_path: Path, monkeypatch) -> None:
    out = tmp_path / "repeats"
    command = ("distill", pictures, "--ipc", 1, *TINY, "--repeats", 3)
    step = Distillation._step

    def interrupted(run: Distillation) -> float:
        if run.recipe.seed == 1 and run.state.iteration == 2:
            raise KeyboardInterrupt
        return step(run)

    with monkeypatch.context() as patch:
        patch.setattr(Distillation, "_step", interrupted)
        outcome = cli(*command, "--out", out)
    assert outcome.code == 130
    assert f"2 of 3 iterations are saved. Go on with: datadam distill --resume {out}\n" in outcome.err
    assert f"--resume {out}" in refused(*command, "--out", out)
    for verb_of_run in ("evaluate", "show"):
        assert f"1 of 3 finished repeats; finish them with: datadam distill --resume {out}" in refused(verb_of_run, out)
    assert cli("distill", "--resume", out).code == 0
    assert cli(*command, "--out", tmp_path / "whole").code == 0
    for r in "012":
        assert torch.equal(images(out / r), images(tmp_path / "whole" / r))
    for damage in ("{", "[]", "{}"):
        (out / "repeats.json").write_text(damage)
        assert "repeats.json" in refused("distill", "--resume", out)


@pytest.mark.parametrize("limit", [0, -3, "nan"])
def test_a_time_limit_must_be_some_seconds(refused, pictures: Path, finished: Path, tmp_path: Path, limit: object) -> None:
    options = ("--time-limit", limit)
    assert "a number of seconds > 0" in refused("distill", pictures, "--ipc", 1, *TINY, "--out", tmp_path / "run", *options)
    assert "a number of seconds > 0" in refused("distill", "--resume", finished, *options)
    assert not (tmp_path / "run").exists()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("answer", "begun"), [("y\n", True), ("yes\n", True), ("\n", False), ("n\n", False), ("", False)])
def test_a_long_run_is_asked_for_in_a_terminal(
    cli, pictures: Path, tmp_path: Path, monkeypatch, answer: str, begun: bool
) -> None:
    monkeypatch.setattr(verb, "LONG", -1.0)
    out = tmp_path / "run"
    words = ("distill", pictures, "--ipc", 2, *TINY, "--out", out)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdin", Terminal(answer))
        patch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
        outcome = cli(*words)
    assert outcome.code == (0 if begun else 1)
    assert "here. Begin? [y/N] " in outcome.err
    assert ("nothing was begun. --iterations" in outcome.err) is not begun
    assert out.exists() is begun


def test_a_long_run_is_not_asked_for_without_a_terminal_or_with_yes(cli, pictures: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(verb, "LONG", -1.0)
    for number, (terminal, more) in enumerate(((False, ()), (True, ("--yes",)))):
        monkeypatch.setattr(sys, "stdin", Terminal("n\n") if terminal else io.StringIO("n\n"))
        outcome = cli("distill", pictures, "--ipc", 2, *TINY, "--out", tmp_path / str(number), *more)
        assert outcome.code == 0
        assert "Begin?" not in outcome.err
