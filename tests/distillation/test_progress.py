"""Watching: what files tell of a run at work, at its end, dead, half written, or not there."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from datadam.distillation.progress import BARS, PATIENCE, look, sparkline
from datadam.errors import ArtifactError

NOW = 1_000_000.0


def line(iteration: int, loss: float, seconds: float) -> str:
    terms = {"sam": {"loss": 0.75 * loss, "grad_norm": 1.0}, "mmd": {"loss": 0.25 * loss, "grad_norm": 2.0}}
    return json.dumps({"iteration": iteration, "loss": loss, "terms": terms, "moved": 0.1, "seconds": seconds}) + "\n"


LINES = [line(1, 80.0, 0.5), line(11, 40.0, 20.5), line(21, 20.0, 40.5)]  # two seconds an iteration


def make(run: Path, text: str = "".join(LINES), *, iterations: int = 100, age: float = 5.0) -> Path:
    """A run whose last sign of life is `age` seconds old."""
    (run / "checkpoint").mkdir(parents=True)
    files = {"checkpoint/run.json": json.dumps({"recipe": {"iterations": iterations}}), "checkpoint/state.safetensors": "",
             "metrics.jsonl": text}  # fmt: skip
    for name, content in files.items():
        write(run / name, content, age)
    return run


def write(file: Path, content: str, age: float) -> None:
    file.write_text(content)
    os.utime(file, (NOW - age, NOW - age))


def finish(run: Path, done: int = 100, age: float = 4.0) -> None:
    card = {"recipe": {"iterations": 100}, "iterations_done": done, "seconds": 201.0}
    write(run / "card.json", json.dumps(card), age)


def test_a_run_at_work(tmp_path: Path) -> None:
    view = look(make(tmp_path / "run"), NOW)
    assert (view.state, view.over, view.iteration, view.iterations) == ("running", False, 21, 100)
    assert (view.loss, view.losses, view.moved) == (20.0, (80.0, 40.0, 20.0), 0.1)
    assert view.terms == {"sam": 15.0, "mmd": 5.0}
    assert view.left == pytest.approx(79 * 2 - 5)  # iterations left at two seconds each, five of them gone
    assert view.seconds == pytest.approx(40.5 + 5)
    assert view.quiet == pytest.approx(5)


def test_before_the_first_line_nothing_is_made_up(tmp_path: Path) -> None:
    view = look(make(tmp_path / "run", ""), NOW)
    assert (view.state, view.iteration, view.loss, view.left, view.losses) == ("running", 0, None, None, ())


def test_a_finished_run_and_one_that_was_ended_early(tmp_path: Path) -> None:
    run = make(tmp_path / "run")
    finish(run)
    view = look(run, NOW + 10**6)
    assert (view.state, view.over, view.iteration, view.left, view.seconds) == ("finished", True, 100, None, 201.0)
    finish(run, done=60)
    assert (look(run, NOW).state, look(run, NOW).iteration) == ("stopped", 60)


def test_a_run_that_goes_on_after_its_card_is_at_work(tmp_path: Path) -> None:
    run = make(tmp_path / "run")
    finish(run, done=20, age=300)
    assert look(run, NOW).state == "running"


def test_a_run_without_sign_of_life_is_silent_and_a_slow_one_is_not(tmp_path: Path) -> None:
    dead = make(tmp_path / "dead", age=PATIENCE + 1)
    assert look(dead, NOW).state == "silent"
    assert look(dead, NOW).over
    assert look(dead, NOW).left is None
    slow = make(tmp_path / "slow", line(1, 8.0, 0.0) + line(11, 4.0, 1000.0), age=PATIENCE + 1)
    assert look(slow, NOW).state == "running"
    write(dead / "checkpoint/state.safetensors", "", 3)  # a checkpoint is a sign of life too
    assert look(dead, NOW).state == "running"


def test_a_run_lives_as_long_as_the_process_that_holds_it(tmp_path: Path) -> None:
    slow, killed, far = (make(tmp_path / name, age=age) for name, age in (("slow", 9 * PATIENCE), ("killed", 1), ("far", 1)))
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    for run, pid, host in (
        (slow, os.getpid(), socket.gethostname()),
        (killed, gone.pid, socket.gethostname()),
        (far, gone.pid, "?"),
    ):
        write(run / ".lock", json.dumps({"pid": pid, "host": host, "command": "", "since": NOW}), 0)
    assert [look(run, NOW).state for run in (slow, killed, far)] == ["running", "dead", "running"]
    assert look(killed, NOW).over
    finish(killed, age=0)
    assert look(killed, NOW).state == "finished"
    write(far / ".lock", "half of a lo", 0)
    assert look(far, NOW).state == "running"


@pytest.mark.parametrize(
    "damage",
    [
        LINES[2][:30],  # being written
        "\x00\x00\n",
        "{}\n[]\n3\nnull\n",
        '{"iteration": 31, "loss": NaN, "terms": {}, "seconds": 3}\n',
        '{"iteration": "x", "loss": 1, "seconds": 3}\n',
        "[" * 100_000 + "\n",
    ],
)
def test_damaged_lines_are_passed_over(tmp_path: Path, damage: str) -> None:
    view = look(make(tmp_path / "run", "".join(LINES[:2]) + damage), NOW)
    assert (view.iteration, view.losses) == (11, (80.0, 40.0))


def test_a_line_told_again_after_a_resumption_counts_once(tmp_path: Path) -> None:
    view = look(make(tmp_path / "run", "".join(LINES) + line(11, 41.0, 22.0)), NOW)
    assert view.losses == (80.0, 41.0, 20.0)


def test_odd_terms_and_numbers_do_no_harm(tmp_path: Path) -> None:
    odd = {"iteration": 1, "loss": 2, "terms": {"a": 3, "b": {"loss": "x"}, "c": {"loss": 2}}, "moved": "far", "seconds": 1}
    view = look(make(tmp_path / "run", json.dumps(odd) + "\n"), NOW)
    assert (view.terms, view.moved) == ({"c": 2.0}, None)


def test_repeats_show_the_one_at_work(tmp_path: Path) -> None:
    (tmp_path / "repeats.json").write_text(json.dumps({"asked": {"repeats": 3}}))
    finish(make(tmp_path / "0"))
    between = look(tmp_path, NOW)
    assert (between.state, between.part, between.iteration) == ("running", "1 of 3", 100)
    assert look(tmp_path, NOW + 2 * PATIENCE).state == "silent"
    write(tmp_path / ".lock", json.dumps({"pid": os.getpid(), "host": socket.gethostname()}), 0)
    assert look(tmp_path, NOW + 2 * PATIENCE).state == "running"
    make(tmp_path / "1")
    assert (look(tmp_path, NOW).part, look(tmp_path, NOW).iteration) == ("2 of 3", 21)
    finish(tmp_path / "1")
    finish(make(tmp_path / "2"))
    assert (look(tmp_path, NOW).state, look(tmp_path, NOW).part) == ("finished", "3 of 3")


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    for folder in (tmp_path / "absent", tmp_path):
        with pytest.raises(ArtifactError, match="is no run"):
            look(folder, NOW)
    run = make(tmp_path / "run")
    (run / "checkpoint/run.json").write_text('{"recipe": {"iterations": "many"}}')
    with pytest.raises(ArtifactError, match="is no run"):
        look(run, NOW)


def test_nothing_is_written(tmp_path: Path) -> None:
    run = make(tmp_path / "run")
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    look(run)
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


def test_a_sparkline() -> None:
    assert sparkline([], 10) == ""
    assert sparkline([3.0], 10) == BARS[0]
    assert sparkline([1.0, 1.0, 1.0], 10) == BARS[0] * 3
    assert sparkline([2.0**i for i in range(8)], 8) == BARS  # equal steps of the logarithm
    assert sparkline([0.0, 7.0], 2) == BARS[0] + BARS[-1]
    assert sparkline([-1.0, -1.0, 6.0, 6.0], 2) == BARS[0] + BARS[-1]
    assert len(sparkline([float(i + 1) for i in range(1000)], 60)) == 60
