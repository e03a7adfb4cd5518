"""`datadam watch` beside a run at work, and `distill --tensorboard`."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cli.conftest import TINY, spawn
from waiting import until

from datadam.cli.watch import line_of, panel
from datadam.distillation.loop import Distillation
from datadam.distillation.progress import look

WAITS = """
import sys, time
from pathlib import Path
from datadam.cli import app
from datadam.distillation.loop import Distillation
step, go = Distillation._step, Path(sys.argv.pop(1))
def waiting(run):
    deadline = time.monotonic() + 300  # a test that fails leaves nothing behind
    while run.state.iteration == 30 and not go.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    return step(run)
Distillation._step = waiting
sys.exit(app.run())
"""  # in the middle, for a file


def test_a_finished_run_is_told_in_one_line(cli, run: Path) -> None:
    outcome = cli("watch", run)
    assert outcome.code == 0
    assert outcome.err == ""
    assert re.fullmatch(rf"{run}: iteration 3 of 3, finished, loss \S+, \d+ s so far  [▁▂▃▄▅▆▇█]+\n", outcome.out)
    told = cli("watch", run, "--json").json
    assert (told["state"], told["iteration"], told["left"]) == ("finished", 3, None)


def test_a_dead_run_is_said_to_be_dead(cli, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (run / "card.json").unlink()
    later = max(path.stat().st_mtime for path in run.rglob("*")) + 7200  # the run was made by an earlier test, who knows when
    monkeypatch.setattr("datadam.distillation.progress.time.time", lambda: later)
    once = cli("watch", run, "--once")
    assert (once.code, "silent for 2.0 h" in once.out) == (0, True)
    outcome = cli("watch", run)
    assert outcome.code == 1
    assert f"Go on with: datadam distill --resume {run}" in outcome.err


def test_what_is_no_run_is_refused(refused, run: Path, tmp_path: Path) -> None:
    assert "is no run" in refused("watch", tmp_path / "absent")
    assert "every is 0" in refused("watch", run, "--every", 0)


def test_it_follows_a_run_to_its_end_and_an_interruption_leaves_the_run_alone(cli, pictures: Path, tmp_path: Path) -> None:
    out, go, said = tmp_path / "run", tmp_path / "go", [tmp_path / name for name in ("first", "second")]
    options = ("--ipc", "2", "--net", "convnet1:width=4", "--batch-real", "4", "--iterations", "60", "--out", str(out))
    working = spawn(["-c", WAITS, str(go), "distill", str(pictures), *options])
    assert until((out / "metrics.jsonl").exists, working), working.communicate(timeout=60)
    watchers = []
    for file in said:
        with file.open("w") as stderr:
            watchers.append(spawn(["-m", "datadam.cli", "watch", str(out), "--every", "0.1"], stderr=stderr))
    assert until(lambda: all(file.read_text().endswith("\n") for file in said), working, *watchers), watchers
    watchers[0].send_signal(signal.SIGINT)
    watchers[0].communicate(timeout=60)
    assert watchers[0].returncode == 130
    assert said[0].read_text().endswith(f"The watching has ended; the run in {out} goes on by itself.\n")
    assert until(lambda: "iteration 21 of 60" in said[1].read_text(), working, watchers[1])  # where it waits
    go.touch()
    told, _ = working.communicate(timeout=120)
    assert working.returncode == 0, told
    told, _ = watchers[1].communicate(timeout=60)
    assert watchers[1].returncode == 0
    assert "iteration 60 of 60, finished" in told
    lines = said[1].read_text().splitlines()
    assert lines
    assert all(re.search(r"iteration \d+ of 60, (loss|no loss)", line) for line in lines)


def test_the_screen_shows_terms_and_fits_its_width(run: Path) -> None:
    from rich.console import Console

    view = look(run)
    console = Console(width=70, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    console.print(panel(view, 70))
    console.file.close()
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 70
    for words in (*view.terms, "iteration 3 of 3", "moved"):
        assert words in text
    assert "2 of 5" in line_of(type(view)(**vars(view) | {"part": "2 of 5"}))


def steps(folder: Path) -> list[int]:
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator", reason="no tensorboard")
    found = reader.EventAccumulator(str(folder))
    found.Reload()
    return [event.step for event in found.Scalars("loss")]


def test_events_go_where_they_are_asked_for(cli, pictures: Path, tmp_path: Path) -> None:
    assert cli("distill", pictures, "--ipc", 1, *TINY, "--out", tmp_path / "a", "--tensorboard").code == 0
    assert steps(tmp_path / "a/tensorboard") == [1, 3]
    assert cli("distill", pictures, "--ipc", 1, *TINY, "--out", tmp_path / "b", "--tensorboard", tmp_path / "logs").code == 0
    assert steps(tmp_path / "logs/b") == [1, 3]
    many = ("--repeats", 2, "--out", tmp_path / "c", "--tensorboard", tmp_path / "logs")
    assert cli("distill", pictures, "--ipc", 1, *TINY, *many).code == 0
    assert [steps(tmp_path / "logs/c" / part) for part in "01"] == [[1, 3]] * 2
    asked = json.loads((tmp_path / "c/repeats.json").read_text())["asked"]
    assert asked["tensorboard"] == str(tmp_path / "logs")


def test_a_file_of_options_may_ask_for_events_and_a_resumed_run_goes_on_there(
    cli, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "options.yaml").write_text(f"tensorboard: {tmp_path / 'logs'}\niterations: 30\n")
    out = tmp_path / "run"
    begun = ("distill", pictures, "--ipc", 1, "--net", "convnet1:width=4", "--batch-real", 4, "--out", out)
    step = Distillation._step

    def interrupted(working: Distillation) -> float:
        if working.state.iteration == 15:
            raise KeyboardInterrupt
        return step(working)

    with monkeypatch.context() as patch:
        patch.setattr(Distillation, "_step", interrupted)
        assert cli(*begun, "--config", tmp_path / "options.yaml").code == 130
    assert steps(tmp_path / "logs/run") == [1, 11]
    assert cli("distill", "--resume", out).code == 0
    assert steps(tmp_path / "logs/run") == [1, 11, 21, 30]


def test_without_the_package_it_is_refused_before_work(refused, pictures: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("datadam.distillation.tensorboard.find_spec", lambda name: None)
    words = refused("distill", pictures, "--ipc", 1, *TINY, "--out", tmp_path / "run", "--tensorboard")
    assert "pip install 'datadam[tensorboard]'" in words
    assert not (tmp_path / "run").exists()


def test_looking_needs_no_torch(run: Path) -> None:
    code = (
        "import sys; from datadam.cli.app import run; run(['watch', sys.argv[1]]); print({'torch', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(run)], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"
