"""How long a command takes to end after Ctrl-C, wherever it is: distilling by each method, choosing, training a pool, judging.

    python benchmarks/faults/ctrl_c.py --out results/benchmarks/ctrl_c.json [--rounds 3] [--only cafe]

Each command works on MNIST, at the size of a real run, and is interrupted at moments drawn by a named stream, some while it
starts. What it had done is then gone on with for a moment, so that a folder that could not be resumed would show.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from datadam import machine

LEARN = "--ipc 10 --iterations 2000 --batch-real 256"
COMMANDS = {
    **{name: f"distill mnist --method {name} {LEARN} --out RUN" for name in ("datadam", "dm", "pixel", "dc", "dsa", "cafe")},
    "two workers": f"distill mnist --method dm {LEARN} --workers 2 --out RUN",
    "herding": "distill mnist --method herding --ipc 10 --out RUN",
    "el2n": "distill mnist --method el2n --ipc 10 --out RUN",
    "pool": "pretrain mnist --count 5 --out RUN",
    "students": "evaluate START --students 5",
    "whole set": "baseline mnist --beside START --whole",
}
EARLIEST, LATEST = 6.0, 25.0  # seconds after the start between which a command is interrupted
PATIENCE = 120.0  # seconds after which it is killed, and said to have taken as long


def interrupted(words: list[str], after: float, environment: dict[str, str]) -> tuple[float, int]:
    """Seconds from Ctrl-C to the end of the command, and its exit code."""
    process = subprocess.Popen(
        [sys.executable, "-m", "datadam.cli", *words], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    try:
        process.wait(after)
    except subprocess.TimeoutExpired:
        began = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: every process of the command hears it
        try:
            process.wait(PATIENCE)
            return time.monotonic() - began, process.returncode
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return PATIENCE, -9
    raise SystemExit(f"{' '.join(words)} ended by itself with {process.returncode} before it could be interrupted")


def main() -> None:
    """Interrupt each command some times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only")
    given = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as place:
        top = Path(place)
        environment = os.environ | {"DATADAM_CACHE": str(top / "cache")}
        start = [sys.executable, "-m", "datadam.cli", "distill", "mnist", "--method", "random", "--ipc", "10", "--out"]
        subprocess.run([*start, str(top / "start")], env=environment, check=True, capture_output=True)
        for name, line in COMMANDS.items():
            if given.only and given.only != name:
                continue
            chance, run = random.Random(name), top / name.replace(" ", "-")
            times, codes = [], []
            for number in range(given.rounds):
                words = line.replace("RUN", str(run)).replace("START", str(top / "start")).split()
                if number and line.startswith("distill") and (run / "checkpoint" / "run.json").exists():
                    words = ["distill", "--resume", str(run)]
                seconds, code = interrupted(words, chance.uniform(EARLIEST, LATEST), environment)
                times.append(round(seconds, 2))
                codes.append(code)
            rows.append({"command": name, "seconds": times, "exit": codes})
            print(rows[-1], flush=True)
    result = {
        "command": f"python benchmarks/faults/ctrl_c.py --rounds {given.rounds}", "rows": rows,
        "longest": max(second for row in rows for second in row["seconds"]),
        "hardware": machine.hardware(torch.device("cpu")), "threads": torch.get_num_threads(), "versions": machine.versions(),
        "commit": machine.commit(), "created": machine.now(),
    }  # fmt: skip
    if given.out:
        given.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
