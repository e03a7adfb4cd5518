"""Ctrl-C and a scheduler's stop save a run; resuming ends with the images of an uninterrupted run."""

import json
import signal
import sys
from pathlib import Path

import pytest
import torch
from cli.conftest import spawn
from waiting import until

from datadam.distillation.loop import Distillation
from datadam.files.whole import read_tensors
from datadam.sets.distilled import DistilledSet

ITERATIONS = 60
OPTIONS = ("--ipc", "2", "--net", "convnet1:width=4", "--batch-real", "4", "--iterations", str(ITERATIONS), "--snapshots", "5,55")
STUCK = """
import sys, time
from datadam.cli import app
from datadam.distillation.loop import Distillation
step = Distillation._step
def stuck(run):
    if run.state.iteration == 20:
        time.sleep(300)  # it never comes to its end, however late the signal is sent
    return step(run)
Distillation._step = stuck
sys.exit(app.run())
"""


def test_interrupted_and_resumed_is_bit_equal_to_uninterrupted(
    cli, refused, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, step = tmp_path / "whole", Distillation._step

    def interrupted(run: Distillation) -> float:
        if run.state.iteration == 20:
            signal.raise_signal(signal.SIGINT)
        return step(run)

    assert cli("distill", pictures, *OPTIONS, "--out", whole).code == 0
    for stop in (signal.SIGINT, signal.SIGTERM):
        out = tmp_path / stop.name
        words = ("distill", pictures, *OPTIONS, "--out", out, "--json")
        if stop is signal.SIGTERM:  # from another process, as a scheduler's comes
            process = spawn(["-c", STUCK, *map(str, words)])
            assert until((out / "snapshots/00000005.safetensors").exists, process), process.communicate(timeout=60)
            process.send_signal(stop)
            said, complained = process.communicate(timeout=120)
            code = process.returncode
        else:
            with monkeypatch.context() as patch:
                patch.setattr(sys, "argv", ["datadam", *map(str, words)])
                patch.setattr(Distillation, "_step", interrupted)
                outcome = cli(*words)
            code, said, complained = outcome.code, outcome.out, outcome.err
        assert code == 130, complained
        assert said == ""
        assert complained.endswith(f"of {ITERATIONS} iterations are saved. Go on with: datadam distill --resume {out}\n")
        assert "Traceback" not in complained
        assert not (out / "card.json").exists()
        assert f"unfinished run; finish it with: datadam distill --resume {out}" in refused("evaluate", out)

        state = json.loads(read_tensors(out / "checkpoint/state.safetensors")[1]["state"])
        assert 0 < state["iteration"] < ITERATIONS
        assert f"{state['iteration']} of {ITERATIONS} iterations are saved" in complained
        outcome = cli("distill", "--resume", out, "--json")
        assert outcome.code == 0
        assert f"going on after {state['iteration']} of {ITERATIONS}" in outcome.err
        assert outcome.json["iterations_done"] == ITERATIONS
        assert outcome.json["command"] == f"datadam distill {pictures} {' '.join(OPTIONS)} --out {out} --json"
        assert torch.equal(DistilledSet.load(out).images, DistilledSet.load(whole).images)
        for snapshot in (whole / "snapshots").iterdir():
            then = read_tensors(out / "snapshots" / snapshot.name)[0]["images"]
            assert torch.equal(then, read_tensors(snapshot)[0]["images"])
        told = [[json.loads(line)["loss"] for line in (run / "metrics.jsonl").read_text().splitlines()] for run in (whole, out)]
        assert told[0] == told[1]


def test_resuming_a_finished_run_changes_no_image(cli, finished: Path, run: Path) -> None:
    assert cli("distill", "--resume", run).code == 0
    assert torch.equal(DistilledSet.load(run).images, DistilledSet.load(finished).images)


@pytest.mark.parametrize("extra", [("--ipc", "3"), ("--seed", "1"), ("--set", "power=2"), ("--no-zca",), ("--out", "x")])
def test_a_run_is_resumed_as_it_was_begun(refused, run: Path, extra: tuple[str, ...]) -> None:
    message = refused("distill", "--resume", run, *extra)
    assert "goes on with a run as it was begun; leave out" in message
    assert extra[0].removeprefix("--").removeprefix("no-") in message


def test_there_must_be_something_to_resume(refused, run: Path, tmp_path: Path) -> None:
    assert "nothing to resume" in refused("distill", "--resume", tmp_path)
    assert "nothing to resume" in refused("distill", "--resume", tmp_path / "nowhere")
    (run / "checkpoint/before.safetensors").unlink()  # with it, a torn state would not matter
    for name in ("checkpoint/state.safetensors", "checkpoint/run.json", "snapshots/00000000.safetensors"):
        whole = (run / name).read_bytes()
        for damage in (whole[: len(whole) // 2], b""):
            (run / name).write_bytes(damage)
            assert Path(name).name in refused("distill", "--resume", run)
        (run / name).unlink()
        told = refused("distill", "--resume", run)
        assert ("nothing to resume" if name.endswith("run.json") else "does not exist") in told
        (run / name).write_bytes(whole)


def test_resuming_needs_the_same_data(cli, refused, tmp_path: Path, pictures: Path) -> None:
    from shutil import copytree

    data = copytree(pictures, tmp_path / "pictures")
    assert cli("distill", data, *OPTIONS, "--out", tmp_path / "run").code == 0
    (data / "train/cat/00.png").unlink()
    assert "is not what the run was made from" in refused("distill", "--resume", tmp_path / "run")
