"""Kill, fill, lock, jump: what a run survives. Writes results/faults.json; goes on where an earlier call was stopped.

    python benchmarks/faults/faults.py [--kills 100] [--others 25] [--seed 0] [--out results/faults.json]

Each trial starts the real command line in a process of its own, kills it (SIGKILL), starts it again as a user would, kills that
too, up to three times, then lets it end and compares what is there, bit for bit, with what an undisturbed process makes;
anything left over counts as a failure. Four of five kills wait for the first sign of work on the disk (a line of metrics, a
student) and hit at a moment drawn over the rest of the process's life, one at a moment drawn over all of it. Every fifth trial
starts Python anew ("cold"); the others are forked from a process that has imported PyTorch. Checkpoints are written every
twentieth of a second (the product's 30 s would let most of these short runs begin anew).
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from faults_cases import CASES, Case, Server, environment, outcome_of, prepare
from faults_others import OTHERS
from faults_process import Cold, Nursery, Process

from datadam import machine

CHAIN = 3  # kills of one trial at most
COLD = 5  # every so many trials starts Python anew
AT_WORK = 0.8  # of the kills wait until the process shows that it works
LOOK = 0.005  # seconds between two looks for that
PATIENCE = 3600.0  # seconds after which an undisturbed process is given up


@dataclass
class Life:
    """How long an undisturbed process of a case takes, as it was last seen, and how long after its first sign of work."""

    seconds: float = 0.0
    work: float = 0.0

    def saw(self, seconds: float, work: float) -> None:
        """One more process came to its end undisturbed."""
        self.work = work if not self.seconds else 0.5 * self.work + 0.5 * work
        self.seconds = seconds if not self.seconds else 0.5 * self.seconds + 0.5 * seconds


@dataclass
class Trial:
    """What became of one trial: `kills`, with moment (seconds since its start or, `at_work`, since its first sign of work), its
    share of the time that was expected from there, and what was there; `equal`, whether the end is that of an undisturbed
    process; `left`, files that should not be there; `said`, the last words of a process that failed."""

    number: int
    cold: bool = False
    kills: list[dict[str, Any]] = field(default_factory=list)
    equal: bool = False
    left: list[str] = field(default_factory=list)
    said: str = ""
    seconds: float = 0.0

    @property
    def survived(self) -> bool:
        """Whether all is as it should be."""
        return self.equal and not self.left


Kind = type[Cold] | Nursery


def start(kind: Kind, case: Case, place: Path, server: Server) -> Process:
    """A process that begins, or goes on with, the work of a case in a folder."""
    return kind(case.driver, case.arguments(place, server), environment(place), place / "said.txt")


def undisturbed(kind: Kind, case: Case, place: Path, server: Server, life: Life) -> int:
    """Let a process come to its end; returns its exit code."""
    began, before = time.monotonic(), case.sign(place)
    process = start(kind, case, place, server)
    code = to_work(process, case, place, before)
    at_work = time.monotonic()
    code = process.wait(PATIENCE) if code is None else code
    life.saw(time.monotonic() - began, time.monotonic() - at_work)
    return code


def to_work(process: Process, case: Case, place: Path, before: object) -> int | None:
    """Wait for the first sign of work; the exit code of a process that ends without one."""
    deadline = time.monotonic() + PATIENCE
    while case.sign(place) == before and time.monotonic() < deadline:
        try:
            return process.wait(LOOK)
        except subprocess.TimeoutExpired:
            continue
    return None


def attempt(kind: Kind, case: Case, number: int, seed: int, inputs: Path, reference: str, server: Server, life: Life) -> Trial:
    """One trial: kills at moments drawn by seed and number, then an end to compare."""
    draw, began = random.Random(f"{seed} {case.name} {number}"), time.monotonic()
    trial = Trial(number, kind is Cold)
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        place = Path(folder)
        prepare(case, inputs, place)
        ended = False
        while len(trial.kills) < CHAIN and not ended:
            at_work, share, before = draw.random() < AT_WORK, draw.random(), case.sign(place)
            moment = share * (life.work if at_work else life.seconds)
            process = start(kind, case, place, server)
            try:
                code = to_work(process, case, place, before) if at_work else None
                ended = (process.wait(moment) if code is None else code) == 0
                if not ended:
                    break  # it failed: the end below will show it
            except subprocess.TimeoutExpired:
                process.kill()
                told = {"at_work": at_work, "moment": round(moment, 3), "share": round(share, 3), "there": case.there(place)}
                trial.kills.append(told)
        code = 0 if ended else undisturbed(kind, case, place, server, life)
        trial.equal = code == 0 and outcome_of(case, place) == reference
        trial.left = sorted(str(path.relative_to(place)) for path in place.rglob("*") if case.is_left_over(path))
        if not trial.survived:
            trial.said = (place / "said.txt").read_text(errors="replace")[-2000:]
    trial.seconds = round(time.monotonic() - began, 2)
    return trial


def run_case(case: Case, kills: int, seed: int, known: dict[str, Any], save: Any, server: Server, inputs: Path) -> None:
    """Trials of a case until so many kills are done; `known` is what an earlier call has found, and grows."""
    known.setdefault("trials", [])
    lives: dict[bool, Life] = {True: Life(), False: Life()}
    reference = ""
    with Nursery() as nursery:
        while sum(len(trial["kills"]) for trial in known["trials"]) < kills:
            number = len(known["trials"])
            cold = number % COLD == COLD - 1
            kind: Kind = Cold if cold else nursery
            if not lives[cold].seconds:
                first_life(kind, case, inputs, server, Life())  # the first one of all finds the disk's cache empty
                found = first_life(kind, case, inputs, server, lives[cold])
                assert reference in ("", found), f"{case.name} is not the same twice"
                reference = found
            trial = attempt(kind, case, number, seed, inputs, reference, server, lives[cold])
            known["trials"].append(vars(trial) | {"survived": trial.survived, "life": round(lives[cold].seconds, 2)})
            save()
            words = "" if trial.survived else f" FAILED {trial.left} {trial.said[-500:]}"
            print(f"{case.name} {number}: {len(trial.kills)} kills, {trial.seconds:.1f} s{words}", flush=True)


def first_life(kind: Kind, case: Case, inputs: Path, server: Server, life: Life) -> str:
    """What an undisturbed process makes."""
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        place = Path(folder)
        prepare(case, inputs, place)
        if undisturbed(kind, case, place, server, life):
            raise SystemExit(f"{case.name} fails undisturbed: {(place / 'said.txt').read_text()[-2000:]}")
        return outcome_of(case, place)


def summary(found: dict[str, Any]) -> dict[str, Any]:
    """Kills, trials, survivors and seconds of each case."""
    rows = {}
    for name, case in found["cases"].items():
        trials = case.get("trials", [])
        kills = [kill for trial in trials for kill in trial["kills"]]
        rows[name] = {
            "kills": len(kills),
            "survived": sum(len(trial["kills"]) for trial in trials if trial["survived"]),
            "trials": len(trials),
            "trials_survived": sum(trial["survived"] for trial in trials),
            "at_work": sum(kill["at_work"] for kill in kills),
            "there": {word: sum(kill["there"] == word for kill in kills) for word in sorted({kill["there"] for kill in kills})},
            "seconds": round(sum(trial["seconds"] for trial in trials), 1),
        }
    return rows


def main(arguments: list[str] | None = None) -> int:
    """The whole harness; 0 when everything was survived."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100, help="of a distillation")
    parser.add_argument("--others", type=int, default=25, help="of each other case")
    parser.add_argument(
        "--only", default="", help="such as distill,evaluate: these alone; the file keeps what it holds of others"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("results/faults.json"))
    given = parser.parse_args(arguments)
    only = [name for name in given.only.split(",") if name]
    found: dict[str, Any] = {"cases": {}, "others": {}}
    if given.out.exists():
        found = json.loads(given.out.read_text())
        if found["seed"] != given.seed:
            raise SystemExit(f"{given.out} is of seed {found['seed']}; remove it, or give that seed")
    found |= {
        "command": f"python benchmarks/faults/faults.py --kills {given.kills} --others {given.others} --seed {given.seed}",
        "seed": given.seed, "chain": CHAIN, "hardware": machine.hardware(torch.device("cpu")), "versions": machine.versions(),
        "commit": machine.commit(),
    }  # fmt: skip

    def save() -> None:
        whole = {"summary": summary(found)} | {key: value for key, value in found.items() if key != "summary"}
        partial = given.out.with_suffix(".partial")
        partial.write_text(json.dumps(whole, indent=1) + "\n")
        partial.replace(given.out)

    given.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="faults-") as folder, Server() as server:
        inputs = Path(folder)
        for case in CASES:
            if only and case.name not in only:
                continue
            kills = given.kills if case.name == "distill" else given.others
            run_case(case, kills, given.seed, found["cases"].setdefault(case.name, {}), save, server, inputs)
        for name, check in OTHERS.items():
            if (not only or name in only) and not found["others"].get(name, {}).get("survived"):
                began = time.monotonic()
                told = check(inputs)
                found["others"][name] = told | {"seconds": round(time.monotonic() - began, 1)}
                save()
                print(name, told, flush=True)
    rows = summary(found).values()
    return (
        0 if all(row["kills"] == row["survived"] for row in rows) and all(o["survived"] for o in found["others"].values()) else 1
    )


if __name__ == "__main__":
    sys.exit(main())
