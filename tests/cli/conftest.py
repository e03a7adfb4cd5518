"""A small folder of images, a finished run, and the command line in this process or in one of its own."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from waiting import spawned

from datadam import machine
from datadam.cli import app

CLASSES = ("cat", "dog", "ship")
TINY = ("--net", "convnet1:width=4", "--iterations", "3", "--batch-real", "4")
QUICK = ("--students", "1", "--epochs", "2")


@dataclass(frozen=True)
class Outcome:
    """What a command line gave: exit code, standard output, standard error."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output, which must be JSON and nothing else."""
        return json.loads(self.out)


Command = Callable[..., Outcome]


def write_pictures(folder: Path, train: int = 10, test: int = 4, side: int = 8) -> Path:
    """train/CLASS/*.png and test/CLASS/*.png: three shades in noise."""
    rng = np.random.default_rng(0)
    for part, count in (("train", train), ("test", test)):
        for k, name in enumerate(CLASSES):
            (folder / part / name).mkdir(parents=True)
            for i in range(count):
                pixels = (50 + 60 * k + rng.normal(0, 25, (side, side, 3))).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / part / name / f"{i:02d}.png")
    return folder


@pytest.fixture(autouse=True)
def untouched_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keep this process's allocator and signals as they are, and leave no other process behind."""
    monkeypatch.setattr(machine, "tune_allocator", lambda: True)
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)
    while spawned:
        process = spawned.pop()
        process.kill()
        process.communicate()


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Command:
    """Run `datadam` with these arguments in this process."""

    def call(*arguments: object) -> Outcome:
        capsys.readouterr()
        code = app.run([str(argument) for argument in arguments])
        return Outcome(code, *capsys.readouterr())

    return call


@pytest.fixture
def refused(cli: Command) -> Callable[..., str]:
    """Run a command line that must be refused with code 2 and one message, and give the message."""

    def call(*arguments: object) -> str:
        outcome = cli(*arguments)
        assert outcome.code == 2, outcome
        assert outcome.out == ""
        assert outcome.err.count("datadam: error:") == 1
        assert "Traceback" not in outcome.err
        return outcome.err.partition("datadam: error:")[2].strip()

    return call


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of ten 3x8x8 images, four each for testing. Not to be changed."""
    return write_pictures(tmp_path_factory.mktemp("data") / "pictures")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Path:
    """A finished run with ipc 2 of three iterations. Not to be changed."""
    out = tmp_path_factory.mktemp("runs") / "run"
    assert app.run(["distill", str(pictures), "--ipc", "2", *TINY, "--snapshots", "1,2,3", "--out", str(out)]) == 0
    return out


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run, to do with what one likes."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


def spawn(code_or_arguments: list[str], **options: Any) -> "subprocess.Popen[str]":
    """`datadam ...` in a process of its own, with one thread and with the signals of a terminal's foreground; killed when the
    test ends."""

    def default_signals() -> None:  # a shell's background jobs ignore Ctrl-C, and so would we
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(
        [sys.executable, *code_or_arguments], text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}, preexec_fn=default_signals,
        **pipes | options,
    )  # fmt: skip
    spawned.append(process)
    return process
