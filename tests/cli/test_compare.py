"""`datadam compare`: the table, what is refused before any work, and grids that are stopped in the middle."""

import json
import os
import signal
from pathlib import Path

import pytest
from cli.conftest import spawn
from waiting import until

from datadam.distillation.begin import Distillation
from datadam.files.whole import read_tensors

GRID = ("--methods", "random,dm:start=noise,datadam:power=1", "--ipc", "1,2", "--net", "convnet1:width=4",
        "--iterations", "12", "--batch-real", "4", "--students", "2", "--epochs", "2")  # fmt: skip
STUCK = """
import sys, time
from pathlib import Path
import datadam.distillation.loop
from datadam.cli import app
from datadam.distillation.loop import Distillation
datadam.distillation.loop.CHECKPOINT_SECONDS, datadam.distillation.loop.CHECKPOINT_SHARE = 0.0, 1e9
step, told = Distillation._step, Path(sys.argv.pop(1))
def stuck(run):
    if run.recipe.method.name == "datadam" and run.state.iteration == 6:
        told.touch()
        time.sleep(300)
    return step(run)
Distillation._step = stuck
sys.exit(app.run())
"""  # in the middle of the second learned set


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Collecting garbage takes a third of a second for each run."""
    monkeypatch.setattr("gc.collect", lambda: 0)


def numbers(out: Path) -> dict[tuple[str, int, str], list[list[float]]]:
    table = json.loads((out / "table.json").read_text())
    return {(row["method"], row["ipc"], net): cell["accuracies"] for row in table["rows"] for net, cell in row["cells"].items()}


def test_a_killed_and_an_interrupted_grid_go_on_to_the_same_table(
    cli, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, out = tmp_path / "whole", tmp_path / "out"
    done = cli("compare", pictures, *GRID, "--out", whole)
    assert done.code == 0
    process = spawn(["-c", STUCK, str(tmp_path / "stuck"), "compare", str(pictures), *GRID, "--out", str(out)])
    assert until((tmp_path / "stuck").exists, process), process.communicate(timeout=60)
    second = out / "runs/datadam-power=1-ipc1/0"
    assert json.loads(read_tensors(second / "checkpoint/state.safetensors")[1]["state"])["iteration"] == 6
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert not (second / "card.json").exists()
    first = out / "runs/dm-start=noise-ipc1/0/card.json"
    made = first.stat().st_mtime_ns

    step = Distillation._step

    def interrupted(run: Distillation) -> float:  # going on, Ctrl-C comes in the second half
        if run.recipe.ipc == 2 and run.recipe.method.name == "datadam" and run.state.iteration == 5:
            raise KeyboardInterrupt
        return step(run)

    with monkeypatch.context() as patch:
        patch.setattr(Distillation, "_step", interrupted)
        stopped = cli("compare", pictures, *GRID, "--out", out)
    assert (stopped.code, stopped.out) == (130, "")
    assert f"What is done stands in {out / 'table.md'}. Go on with the same command: datadam" in stopped.err
    assert "Traceback" not in stopped.err
    assert json.loads((out / "table.json").read_text())["progress"]["done"] == 10
    assert "(10 of 12 parts done)" in (out / "table.md").read_text()

    outcome = cli("compare", pictures, *GRID, "--out", out, "--json")
    assert outcome.code == 0
    assert numbers(out) == numbers(whole)
    assert outcome.json == json.loads((out / "table.json").read_text())
    assert first.stat().st_mtime_ns == made
    assert "12 parts, sets to make and to judge; 12 are done" not in outcome.err
    assert not any(path.name.endswith(".partial") for path in out.rglob("*") if "runs" not in path.parts)

    again = cli("compare", pictures, *GRID, "--out", out)
    assert "12 parts, sets to make and to judge; 12 are done" in again.err
    assert again.out.splitlines()[0] == "Test accuracy on pictures, % of 12 test images"
    assert "no difference is tested" in again.out
    assert f"see      {out / 'table.md'}" in again.out


def test_the_folder_can_be_judged_and_reported_as_any_run(cli, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    short = ("--ipc", 1, "--net", "convnet1:width=4", "--students", 1, "--epochs", 1, "--out", out)
    outcome = cli("compare", pictures, "--methods", "random", "--repeats", 2, "--whole", "--whole-epochs", 1, *short)
    assert outcome.code == 0
    assert "whole set" in outcome.out
    judged = cli("evaluate", out / "runs/random-ipc1/1", "--students", 1, "--epochs", 1, "--seed", 1, "--json")
    table = json.loads((out / "table.json").read_text())
    assert judged.json[0]["accuracies"][0] == table["rows"][0]["cells"]["convnet1:width=4"]["accuracies"][1]
    assert cli("report", out / "runs/random-ipc1", "--out", tmp_path / "page.html").code == 0
    assert "Against" not in outcome.out  # one method alone


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--methods", "random,datdam", "--ipc", "1"), ["unknown method or preset 'datdam'. Did you mean 'datadam'?"]),
        (("--methods", "datadam:layers=(1", "--ipc", "1"), ["do not close"]),
        (("--methods", "random", "--ipc", "one"), ["ipc is 'one'; write whole numbers such as 1,10"]),
        (("--methods", "nix:seed=1", "--ipc", "x", "--students", "0", "--device", "gpu"),
         ["unknown method", "give it as --seed", "ipc is 'x'", "students is 0", "device 'gpu'"]),
        (("--methods", "random", "--ipc", "1", "--nets", "resnet8"), ["Did you mean 'resnet18'"]),
        (("--methods", "random", "--ipc", "1", "--protocol", "onest"), ["unknown protocol 'onest'"]),
        (("--methods", "random", "--ipc", "1", "--full", "--students", "3"), ["--full"]),
        (("--methods", "random", "--ipc", "1", "--whole-epochs", "3"), ["ask for it with --whole"]),
        (("--methods", "random", "--ipc", "99"), ["has only 10 training images"]),
        (("--methods", "random", "--ipc", "1", "--repeats", "0"), ["repeats is 0"]),
        (("--methods", "dm", "--ipc", "1", "--memory-limit", "1MB"), ["memory"]),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_refused_before_any_work(
    refused, pictures: Path, tmp_path: Path, options: tuple[str, ...], told: list[str]
) -> None:
    message = refused("compare", pictures, *options, "--out", tmp_path / "out")
    for words in told:
        assert words in message
    assert not (tmp_path / "out").exists()


def test_a_cell_that_fails_gives_1_after_the_table(cli, pictures: Path, tmp_path: Path) -> None:
    options = ("--ipc", 1, "--net", "convnet1:width=4", "--iterations", 5, "--batch-real", 4, "--students", 1, "--epochs", 1)
    outcome = cli("compare", pictures, "--methods", "random,dm:lr_images=1e300", *options, "--out", tmp_path / "out")
    assert outcome.code == 1
    assert "failed [1]" in outcome.out
    assert "RuntimeError: value cannot be converted" in outcome.out
    assert "1 cell of the table failed" in outcome.err
    assert outcome.err.count("datadam: error:") == 1
