"""The faults of benchmarks/faults/faults.py beside SIGKILL: stops, full and read-only disks, clocks that jump, two at once, NaN.

Each check starts the real command line and gives {"survived": ..., "told": what the process said, ...}.
"""

import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from faults_cases import CASES, CLI, TINY, environment, of_run, prepare

Told = dict[str, Any]
STOPS = 5  # of each signal
JUMPING = """
import datetime, itertools, time
real, steps = time.time, itertools.cycle([0, 86400, -86400 * 400, 3600, -7])
time.time = lambda: real() + next(steps)
class Jumping(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return datetime.datetime.fromtimestamp(time.time(), tz)
datetime.datetime = Jumping
""" + CLI  # fmt: skip
SLOW = CLI.replace(
    "from datadam.cli import app",
    "import time\nstep = datadam.distillation.loop.Distillation._step\n"
    "datadam.distillation.loop.Distillation._step = lambda run: (time.sleep(0.05), step(run))[1]\nfrom datadam.cli import app",
)


def distill(inputs: Path, out: Path, *more: str, iterations: int = 150) -> list[str]:
    """A command line."""
    data = str((inputs / "data").resolve())
    return ["distill", data, *TINY, "--iterations", str(iterations), "--snapshots", "20,75,140", "--out", str(out), *more]


def run(arguments: list[str], place: Path, driver: str = CLI, **options: Any) -> "subprocess.CompletedProcess[str]":
    """A process that comes to its end."""
    return subprocess.run(
        [sys.executable, "-c", driver, *arguments], capture_output=True, text=True, timeout=600, check=False,
        env=environment(place), **options,
    )  # fmt: skip


def reference(inputs: Path, place: Path) -> dict[str, str]:
    """What an undisturbed run holds."""
    prepare(CASES[0], inputs, place)
    out = place / "reference"
    assert run(distill(inputs, out), place).returncode == 0
    return of_run(out)


@contextmanager
def fresh() -> Iterator[Path]:
    """A folder that vanishes."""
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        yield Path(folder)


def last(text: str) -> str:
    """The last line of what was said, without what is of this very run: folders, process, machine."""
    line = text.strip().splitlines()[-1][:500] if text.strip() else ""
    return re.sub(r"process \d+ on \S+", "process NUMBER on MACHINE", re.sub(r"\S*/faults-\w+", "FOLDER", line))


def stops(inputs: Path, stop: signal.Signals) -> Told:
    """A stop at random moments: the process ends by itself, has saved, and is gone on with."""
    with fresh() as place:
        whole, draw, moments, ended = reference(inputs, place), random.Random(stop.name), [], []
        equal = True
        for number in range(STOPS):
            out = place / str(number)
            process = subprocess.Popen(
                [sys.executable, "-c", SLOW, *distill(inputs, out)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                env=environment(place), preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )  # fmt: skip
            while not (out / "metrics.jsonl").exists() and process.poll() is None:
                time.sleep(0.02)
            moments.append(round(draw.uniform(0, 4), 2))
            time.sleep(moments[-1])
            process.send_signal(stop)
            said = process.communicate(timeout=60)[1]
            ended.append(process.returncode)
            equal &= process.returncode == 130 and "Traceback" not in said and "iterations are saved" in said
            equal &= run(["distill", "--resume", str(out)], place).returncode == 0 and of_run(out) == whole
    return {"survived": equal, "moments": moments, "exit": ended, "told": last(said)}


def full_disk(inputs: Path) -> Told:
    """A disk of a few hundred kilobytes fills up; with room again the run goes on."""
    with fresh() as place:
        whole, disk = reference(inputs, place), place / "disk"
        disk.mkdir()
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=36k", "tmpfs", str(disk)], check=False).returncode == 0
        out = disk / "run"
        try:
            options: dict[str, Any] = {} if mounted else {"preexec_fn": small_files}
            first = run(distill(inputs, out), place, **options)
            told = first.returncode == 1 and "Free space" in first.stderr and "Traceback" not in first.stderr
            if mounted:
                subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
            begun = (out / "checkpoint" / "run.json").exists()
            again = run(["distill", "--resume", str(out)] if begun else distill(inputs, out), place)
            equal = again.returncode == 0 and of_run(out) == whole
            left = [path.name for path in out.rglob("*.partial")]
        finally:
            if mounted:
                subprocess.run(["umount", str(disk)], check=False)
    how = "tmpfs of 36 kB" if mounted else "no file above 24 kB (RLIMIT_FSIZE)"
    return {"survived": told and equal and not left, "how": how, "begun": begun, "told": last(first.stderr)}


def small_files() -> None:
    """In a child: no file may grow beyond 24 kB."""
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (24_000, 24_000))


def read_only(inputs: Path) -> Told:
    """A folder that nobody may write to is refused before any work."""
    with fresh() as place:
        prepare(CASES[0], inputs, place)
        closed = place / "closed"
        closed.mkdir()
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(closed)], check=False).returncode == 0
        if not mounted:
            closed.chmod(0o500)
        try:
            found = run(distill(inputs, closed / "run"), place)
        finally:
            if mounted:
                subprocess.run(["umount", str(closed)], check=False)
    refused = found.returncode == 2 and "cannot write into" in found.stderr and "Traceback" not in found.stderr
    return {"survived": refused, "how": "read-only mount" if mounted else "mode 500", "told": last(found.stderr)}


def jumping_clock(inputs: Path) -> Told:
    """A wall clock that jumps by days at every look changes neither images nor limits nor measured seconds."""
    with fresh() as place:
        whole = reference(inputs, place)
        found = run(distill(inputs, place / "run"), place, JUMPING)
        equal = found.returncode == 0 and of_run(place / "run") == whole
        began = time.monotonic()
        limited = run(distill(inputs, place / "limited", "--time-limit", "20", iterations=10**6), place, JUMPING)
        took = time.monotonic() - began
        import json

        card = json.loads((place / "limited" / "card.json").read_text())
        sane = limited.returncode == 0 and took < 40 and 0 < card["seconds"] < 20 and card["iterations_done"] > 0
    return {"survived": equal and sane, "seconds_of_a_limit_of_20": round(took, 1), "seconds_on_the_card": card["seconds"]}


def two_at_once(inputs: Path) -> Told:
    """The second process in a folder is told who holds it; when that was killed, it takes over and says so."""
    with fresh() as place:
        whole, out = reference(inputs, place), place / "run"
        process = subprocess.Popen(
            [sys.executable, "-c", SLOW.replace("sleep(0.05)", "sleep(2)"), *distill(inputs, out)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env=environment(place),
        )  # fmt: skip
        while not (out / "metrics.jsonl").exists() and process.poll() is None:
            time.sleep(0.02)
        second = run(["distill", "--resume", str(out)], place)
        told = second.returncode == 2 and f"process {process.pid} on {os.uname().nodename}" in second.stderr
        process.kill()
        process.wait()
        third = run(["distill", "--resume", str(out)], place)
        took = third.returncode == 0 and f"took over the lock of process {process.pid}" in third.stderr
        equal = took and of_run(out) == whole and not (out / ".lock").exists()
    return {"survived": told and equal, "told": last(second.stderr)}


def not_a_number(inputs: Path) -> Told:
    """A rate far too high ends the run with the cure; what is kept stays finite."""
    with fresh() as place:
        prepare(CASES[0], inputs, place)
        out = place / "run"
        found = run([word.replace(":", ":norm=none:") for word in distill(inputs, out, "--set", "lr_images=1e30")], place)
        import numpy as np
        from safetensors.numpy import load_file

        kept = load_file(out / "checkpoint" / "state.safetensors")
        finite = all(bool(np.isfinite(array).all()) for array in kept.values())
        told = found.returncode == 1 and "Lower lr_images" in found.stderr and "Traceback" not in found.stderr
    return {"survived": told and finite and not (out / "card.json").exists(), "told": last(found.stderr)}


OTHERS: dict[str, Callable[[Path], Told]] = {
    "SIGTERM": lambda inputs: stops(inputs, signal.SIGTERM),
    "Ctrl-C": lambda inputs: stops(inputs, signal.SIGINT),
    "full disk": full_disk,
    "read-only folder": read_only,
    "clock that jumps": jumping_clock,
    "two processes": two_at_once,
    "NaN": not_a_number,
}
