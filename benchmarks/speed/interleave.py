"""Time several ways of doing a thing in turns: each in its own process, one at work at a time, the minimum of many turns.

A shared machine is faster at one moment than at the next; ways that take turns meet the same moments, so that ratios hold where
seconds do not.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from datadam import machine


def serve(prepare: Callable[[], tuple[Callable[[], Any], dict[str, Any]]]) -> None:
    """In the worker: answer each line on standard input with the seconds and the memory of one call.

    `prepare` returns the call and what else is to be told; it is done before the first turn, and warms the call up. A call that
    returns seconds has measured them itself; `wall` are those of the whole call, and `processor` those of all cores that it and
    the processes which it started and ended were at work on.
    """
    before = machine.peak_memory_mb()
    call, facts = prepare()
    warm = round(machine.peak_memory_mb() - before, 1)  # MB above the imports, once all has been done once
    print(json.dumps(facts | {"warm_peak_mb": warm}), flush=True)
    for _ in sys.stdin:
        began, worked = time.perf_counter(), sum(os.times()[:4])
        own = call()
        wall, worked = time.perf_counter() - began, sum(os.times()[:4]) - worked
        seconds = own if isinstance(own, float) else wall
        print(
            json.dumps(
                {
                    "seconds": seconds,
                    "wall": wall,
                    "processor": worked,
                    "peak_mb": machine.peak_memory_mb(),
                    "import_mb": before,
                }
            ),
            flush=True,
        )


class Worker:
    """One way, in its process. `environment` is added to the process's own."""

    def __init__(self, name: str, command: list[str], environment: dict[str, str] | None = None) -> None:
        self.name, self.turns = name, []
        self.process = subprocess.Popen(
            [sys.executable, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | (environment or {}),
        )
        self.facts = self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} ended with code {self.process.wait()}")
        return json.loads(line)

    def turn(self) -> None:
        """One call."""
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        self.turns.append(self._answer())

    def close(self) -> None:
        """No more turns."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()

    def end(self) -> dict[str, Any]:
        """What was measured: the least seconds, all of them, and the peak memory above that of the imports."""
        self.close()
        seconds = [turn["seconds"] for turn in self.turns]
        last = self.turns[-1]
        return {
            "seconds": round(min(seconds), 4),
            "all_seconds": [round(s, 4) for s in seconds],
            "least_wall": round(min(turn["wall"] for turn in self.turns), 3),
            "least_processor": round(min(turn["processor"] for turn in self.turns), 3),
            "peak_mb_above_imports": round(last["peak_mb"] - last["import_mb"], 1),
            **self.facts,
        }


def in_turns(workers: list[Worker], rounds: int) -> dict[str, dict[str, Any]]:
    """All workers, one call each, `rounds` times over; tells the rounds on standard error."""
    for number in range(rounds):
        for worker in workers:
            worker.turn()
        told = ", ".join(f"{worker.name} {worker.turns[-1]['seconds']:.3f}" for worker in workers)
        print(f"round {number + 1} of {rounds}: {told}", file=sys.stderr, flush=True)
    return {worker.name: worker.end() for worker in workers}


def least(call: Callable[[], Any], times: int) -> float:
    """The least seconds of some calls, after one that does not count."""
    call()
    found = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        found.append(time.perf_counter() - began)
    return min(found)


def write(result: dict[str, Any], out: Path | None) -> None:
    """Print the result, and keep it."""
    text = json.dumps(result, indent=1)
    print(text)
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text + "\n")
