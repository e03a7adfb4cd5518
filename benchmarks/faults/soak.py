"""Half an hour of everything at once: does anything grow? Writes results/soak.json.

    python benchmarks/faults/soak.py [--minutes 30] [--out results/soak.json]

Three processes of the real command line: a distillation with a snapshot every 200 iterations (and checkpoints, metrics and
TensorBoard events), an evaluation of many students, and `datadam watch` on the run. Resident memory and open files of each are
sampled every five seconds. After the first fifth of the time (what is loaded once) a line is fitted to each; its slope is told
with a 95 % interval from the means of twelve blocks, since neighbouring samples are alike.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from faults_cases import CASES, prepare
from faults_others import CLI

from datadam import machine

EVERY, WARM, BLOCKS = 5.0, 0.2, 12
T95 = 2.228  # Student's t, 97.5 %, 10 degrees of freedom
GROWTH_MB, GROWTH_FILES = 20.0, 1.0  # an hour, more than which is called growth when the interval does not hold 0


def sample(pid: int) -> tuple[float, int] | None:
    """Resident MB and open files of a process; None when it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        rss = next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmRSS:"))
        return rss, len(list(Path(f"/proc/{pid}/fd").iterdir()))
    except (OSError, StopIteration):
        return None


def slope(times: list[float], values: list[float]) -> dict[str, float]:
    """Growth an hour, with half of its 95 % interval, over the means of blocks."""
    x, y = (np.array([part.mean() for part in np.array_split(np.array(v), BLOCKS)]) for v in (times, values))
    x = x / 3600
    centred = x - x.mean()
    found = float((centred * y).sum() / (centred**2).sum())
    rest = y - y.mean() - found * centred
    error = float(np.sqrt((rest**2).sum() / (BLOCKS - 2) / (centred**2).sum()))
    return {"an_hour": round(found, 3), "half": round(T95 * error, 3)}


def judged(samples: list[tuple[float, float, int]], total: float) -> dict[str, Any]:
    """What the samples (seconds, MB, files) of one process say."""
    late = [one for one in samples if one[0] >= WARM * total]
    times, memory, files = (list(map(float, column)) for column in zip(*late, strict=True))
    mb, fd = slope(times, memory), slope(times, files)
    grows = (mb["an_hour"] - mb["half"] > 0 and mb["an_hour"] > GROWTH_MB) or (
        fd["an_hour"] - fd["half"] > 0 and fd["an_hour"] > GROWTH_FILES
    )
    return {
        "samples": len(late),
        "memory_mb": {"first": round(memory[0], 1), "last": round(memory[-1], 1), "most": round(max(memory), 1)},
        "memory_slope_mb": mb, "open_files": {"first": int(files[0]), "last": int(files[-1]), "most": int(max(files))},
        "open_files_slope": fd, "grows": grows,
    }  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """The soak; 0 when nothing grew."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--out", type=Path, default=Path("results/soak.json"))
    given = parser.parse_args(arguments)
    total = given.minutes * 60
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        place = Path(folder)
        case = next(case for case in CASES if case.name == "evaluate")
        (place / "inputs").mkdir()
        prepare(case, place / "inputs", place)
        run, data = place / "long", str((place / "data").resolve())
        snapshots = ",".join(str(i) for i in range(0, 400_001, 200))
        (place / "soak.yaml").write_text(f'snapshots: "{snapshots}"\n')
        work = {
            "distill": ["distill", data, "--ipc", "5", "--net", "convnet2:width=16", "--batch-real", "20",
                        "--iterations", "400000",
                        "--config", str(place / "soak.yaml"), "--tensorboard", "--out", str(run)],
            "evaluate": ["evaluate", str(place / "run"), "--students", "100000", "--epochs", "100", "--workers", "1"],
            "watch": ["watch", str(run), "--every", "1"],
        }  # fmt: skip
        environment = os.environ | {"OMP_NUM_THREADS": "1", "DATADAM_CACHE": str(place / "cache")}
        processes, samples = {}, {name: [] for name in work}
        for name, arguments_ in work.items():
            with (place / f"{name}.txt").open("wb") as said:
                processes[name] = subprocess.Popen(
                    [sys.executable, "-c", CLI, *arguments_], stdout=said, stderr=said, env=environment
                )
            while name == "distill" and not (run / "metrics.jsonl").exists() and processes[name].poll() is None:
                time.sleep(0.2)
        began = time.monotonic()
        while (now := time.monotonic() - began) < total:
            for name, process in processes.items():
                if (found := sample(process.pid)) is None or process.poll() is not None:
                    raise SystemExit(f"{name} ended by itself: {(place / f'{name}.txt').read_text(errors='replace')[-1500:]}")
                samples[name].append((now, *found))
            time.sleep(EVERY)
        done = {
            "snapshots": len(list((run / "snapshots").iterdir())),
            "iterations": json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])["iteration"],
            "students": len(list((place / "run").glob("evaluations/.partial/*/*.safetensors"))),
            "looks_written": (place / "watch.txt").read_text(errors="replace").count("\n"),
        }
        for process in processes.values():
            process.send_signal(signal.SIGTERM)
        codes = {name: process.wait(120) for name, process in processes.items()}
    found = {name: judged(rows, total) for name, rows in samples.items()}
    given.out.write_text(
        json.dumps(
            {
                "command": f"python benchmarks/faults/soak.py --minutes {given.minutes:g}",
                "minutes": given.minutes, "done": done,
                "exit": codes, "processes": found,
                "samples": {name: rows[:: max(1, len(rows) // 60)] for name, rows in samples.items()},
                "hardware": machine.hardware(torch.device("cpu")), "versions": machine.versions(), "created": machine.now(),
            },
            indent=1,
        )
        + "\n"
    )  # fmt: skip
    for name, one in found.items():
        print(name, one)
    return int(any(one["grows"] for one in found.values()) or set(codes.values()) != {130})


if __name__ == "__main__":
    sys.exit(main())
