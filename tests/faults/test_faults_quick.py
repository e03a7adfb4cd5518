"""A disk that fills up, a folder that nobody may write to, a wall clock that jumps: in this process, in seconds. The long
versions are in benchmarks/faults/faults_others.py."""

import datetime
import itertools
import json
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from small import make_real

from datadam import machine
from datadam.cli import app
from datadam.distillation import loop
from datadam.distillation.loop import Distillation
from datadam.files.whole import read_tensors
from datadam.sets.distilled import DistilledSet
from datadam.training.students import StudentTrainer

TINY = ("--ipc", "2", "--net", "convnet1:width=4", "--batch-real", "4", "--iterations", "40", "--snapshots", "20,30")
QUICK = ("--students", "1", "--epochs", "1", "--workers", "1")
FULL = 15  # the iteration before which there is no more room


@pytest.fixture(autouse=True)
def untouched_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Allocator and signals of this process stay as they are."""
    monkeypatch.setattr(machine, "tune_allocator", lambda: True)
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of small images in a file."""
    real, file = make_real(), tmp_path_factory.mktemp("data") / "data.npz"
    pixels = {f"x_{name}": part.pixels.transpose(0, 2, 3, 1) for name, part in (("train", real.train), ("test", real.test))}
    np.savez(file, **pixels, y_train=real.train.labels, y_test=real.test.labels)
    return file


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undisturbed run. Not to be changed."""
    out = tmp_path_factory.mktemp("whole") / "run"
    assert app.run(["distill", str(data), *TINY, "--out", str(out)]) == 0
    return out


def same(run: Path, whole: Path) -> bool:
    """Whether images, snapshots and the curve are those of an undisturbed run, and nothing is left over."""
    curves = [[json.loads(line)["loss"] for line in (one / "metrics.jsonl").read_text().splitlines()] for one in (run, whole)]
    names = [sorted(path.name for path in (one / "snapshots").iterdir()) for one in (run, whole)]
    images = [[read_tensors(path)[0]["images"] for path in sorted((one / "snapshots").iterdir())] for one in (run, whole)]
    return (
        torch.equal(DistilledSet.load(run).images, DistilledSet.load(whole).images)
        and curves[0] == curves[1] and names[0] == names[1] and all(map(torch.equal, *images))
        and not list(run.rglob("*.partial")) and not (run / ".lock").exists()
    )  # fmt: skip


@contextmanager
def mounted(folder: Path, *options: str) -> Iterator[Path]:
    """A file system of its own, in memory."""
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", *options, "tmpfs", str(folder)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here (root alone may): {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=False)


@contextmanager
def small_disk(folder: Path) -> Iterator[tuple[Path, Callable[[], None], Callable[[], None]]]:
    """A small file system, what fills it to the last byte, and what makes room again."""
    with mounted(folder, "-o", "size=4m") as disk:

        def fill() -> None:
            with (disk / "ballast").open("wb", buffering=0) as file:
                for size in (1 << 16, 1):
                    try:
                        while True:
                            file.write(bytes(size))
                    except OSError:
                        pass

        yield disk, fill, (disk / "ballast").unlink


@contextmanager
def small_files(folder: Path) -> Iterator[tuple[Path, Callable[[], None], Callable[[], None]]]:
    """The same for anybody: no file may grow beyond some bytes."""
    resource = pytest.importorskip("resource", reason="no limits of files on this system")
    folder.mkdir()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    again = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, before)  # noqa: E731
    try:
        yield folder, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (64, before[1])), again
    finally:
        again()


Disk = Callable[[Path], AbstractContextManager[tuple[Path, Callable[[], None], Callable[[], None]]]]


@pytest.mark.parametrize("seconds", [0.0, 1e9], ids=["at a checkpoint", "at a snapshot"])
@pytest.mark.parametrize("kind", [small_disk, small_files])
def test_a_disk_that_fills_up_costs_what_came_since_the_last_checkpoint(
    data: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kind: Disk,
    seconds: float,
) -> None:  # fmt: skip
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", seconds)
    monkeypatch.setattr(loop, "CHECKPOINT_SHARE", 1e9)
    step = Distillation._step
    with kind(tmp_path / "disk") as (disk, fill, free):

        def filling(run: Distillation) -> float:
            if run.state.iteration == FULL:
                fill()
            return step(run)

        with monkeypatch.context() as patch:
            patch.setattr(Distillation, "_step", filling)
            code = app.run(["distill", str(data), *TINY, "--out", str(disk / "run")])
        free()
        said = capsys.readouterr().err
        assert code == 1
        assert "cannot write" in said
        assert "Free space" in said
        assert "Traceback" not in said
        assert not (disk / "run/card.json").exists()
        state = json.loads(read_tensors(disk / "run/checkpoint/state.safetensors")[1]["state"])
        assert FULL <= state["iteration"] <= 20 if seconds == 0 else state["iteration"] == 0  # the last bytes are not exact
        assert app.run(["distill", "--resume", str(disk / "run")]) == 0
        assert same(disk / "run", whole)


@pytest.fixture
def idle(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What was distilled or taught nevertheless."""
    worked: list[object] = []
    for kind, name in ((Distillation, "_step"), (StudentTrainer, "_train_student")):
        monkeypatch.setattr(kind, name, lambda *what: worked.append(what))
    return worked


VERBS = {
    "distill": lambda data, run, out: ["distill", data, *TINY, "--out", out],
    "compare": lambda data, run, out: ["compare", data, "--methods", "random,dm", "--ipc", "1", *QUICK, "--out", out],
    "train": lambda data, run, out: ["train", run, "--epochs", "1", "--out", f"{out}/net.safetensors"],
    "pretrain": lambda data, run, out: ["pretrain", data, "--net", "convnet1:width=4", "--out", out],
    "export": lambda data, run, out: ["export", run, "--to", "npz", "--out", out],
    "report": lambda data, run, out: ["report", run, "--no-data", "--out", f"{out}/page.html"],
}


@pytest.mark.parametrize("verb", VERBS)
def test_a_place_where_nobody_can_write_is_refused_before_any_work(
    data: Path, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], idle: list[object], verb: str
) -> None:
    """Below a file, where root may not write either."""
    (tmp_path / "file").write_text("mine")
    code = app.run([str(word) for word in VERBS[verb](data, whole, tmp_path / "file" / "out")])
    said = capsys.readouterr().err
    assert (code, idle) == (1 if verb == "export" else 2, [])  # which has no other work than to write
    assert "Traceback" not in said
    assert re.search(rf"cannot .*{tmp_path / 'file'}", said)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_folder_that_is_read_only_is_refused_before_any_work(
    data: Path, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    step, stopped = Distillation._step, [20]

    def interrupted(run: Distillation) -> float:
        if run.state.iteration in stopped:
            raise KeyboardInterrupt
        return step(run)

    monkeypatch.setattr(Distillation, "_step", interrupted)
    with mounted(tmp_path / "closed") as closed:
        begun, done = str(closed / "begun"), str(closed / "done")
        assert app.run(["distill", str(data), *TINY, "--out", begun]) == 130
        stopped.clear()
        assert app.run(["distill", str(data), *TINY, "--out", done]) == 0
        subprocess.run(["mount", "-o", "remount,ro", str(closed)], check=True)
        stopped[:] = range(40)  # whatever works on is noticed
        monkeypatch.setattr(StudentTrainer, "_train_student", lambda *what: stopped.append(-1))
        before = {path: path.stat().st_mtime_ns for path in closed.rglob("*")}
        commands = (
            ["distill", str(data), *TINY, "--out", str(closed / "new")], ["distill", "--resume", begun],
            ["evaluate", done, *QUICK], ["audit", done], ["report", done],
        )  # fmt: skip
        for words in commands:
            capsys.readouterr()
            assert app.run(words) == 2, words
            assert "cannot write into" in capsys.readouterr().err
        assert {path: path.stat().st_mtime_ns for path in closed.rglob("*")} == before
        assert -1 not in stopped


def test_a_clock_that_jumps_by_days_changes_nothing(
    data: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really, steps = time.time, itertools.cycle([0, 86_400, -86_400 * 400, 3600, -7])

    class Jumping(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:
            return datetime.datetime.fromtimestamp(time.time(), tz)

    monkeypatch.setattr(time, "time", lambda: really() + next(steps))
    monkeypatch.setattr(machine, "datetime", SimpleNamespace(datetime=Jumping, UTC=datetime.UTC))
    out = tmp_path / "run"
    assert app.run(["distill", str(data), *TINY, "--time-limit", "3600", "--out", str(out)]) == 0
    assert same(out, whole)
    card = json.loads((out / "card.json").read_text())
    assert card["iterations_done"] == 40
    assert 0 <= card["seconds"] < 3600
    assert app.run(["evaluate", str(out), *QUICK]) == 0
    judged = json.loads(next((out / "evaluations").glob("*.json")).read_text())
    assert all(0 <= judged[name] < 3600 for name in ("seconds_per_student", "seconds"))
    assert app.run(["watch", str(out)]) == 0
