"""Processes for benchmarks/faults/faults.py: started anew, or forked from one that has imported everything."""

import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Protocol

NURSERY = """
import json, os, sys, traceback
import torch, datadam.distillation.loop, datadam.cli.app, datadam.distill, datadam.compare, datadam.evaluate, datadam.data.catalog
import datadam.data.download, datadam.data.folders, datadam.sets.preview, datadam.sets.readme, datadam.report.table
torch.set_num_threads(1)
for line in sys.stdin:
    asked = json.loads(line)
    if "pid" in asked:
        print(json.dumps(os.waitstatus_to_exitcode(os.waitpid(asked["pid"], 0)[1])), flush=True)
        continue
    pid = os.fork()
    if not pid:
        said = os.open(asked["said"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        null = os.open(os.devnull, os.O_RDONLY)
        for at, descriptor in enumerate((null, said, said)):
            os.dup2(descriptor, at)
        os.environ.clear()
        os.environ.update(asked["environment"])
        sys.argv[1:] = asked["arguments"]
        code = 0
        try:
            exec(compile(asked["driver"], "driver", "exec"), {"__name__": "__main__"})
        except SystemExit as end:
            code = end.code or 0
        except BaseException:
            traceback.print_exc()
            code = 1
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    print(pid, flush=True)
"""


class Process(Protocol):
    """One that does the work of a case."""

    def wait(self, seconds: float) -> int:
        """Its exit code. Raises `subprocess.TimeoutExpired`."""

    def kill(self) -> None:
        """SIGKILL, and wait for its end."""


class Cold:
    """A Python of its own."""

    def __init__(self, driver: str, arguments: list[str], environment: dict[str, str], said: Path) -> None:
        with said.open("ab") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-c", driver, *arguments], stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=environment
            )

    def wait(self, seconds: float) -> int:
        """Its exit code. Raises `subprocess.TimeoutExpired`."""
        return self.process.wait(seconds)

    def kill(self) -> None:
        """SIGKILL, and wait for its end."""
        self.process.kill()
        self.process.wait()


class Nursery:
    """A process that has imported everything, and whose children do the work; called as `Cold` is."""

    def __init__(self) -> None:
        self.mother = subprocess.Popen(
            [sys.executable, "-c", NURSERY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )  # fmt: skip

    def __enter__(self) -> "Nursery":
        return self

    def __exit__(self, *_: object) -> None:
        self.mother.kill()
        self.mother.wait()

    def ask(self, what: dict[str, object]) -> int:
        """One question, one number."""
        assert self.mother.stdin is not None
        assert self.mother.stdout is not None
        self.mother.stdin.write(json.dumps(what) + "\n")
        self.mother.stdin.flush()
        return int(json.loads(self.mother.stdout.readline()))

    def __call__(self, driver: str, arguments: list[str], environment: dict[str, str], said: Path) -> "Child":
        """A child at work."""
        asked = {"driver": driver, "arguments": arguments, "environment": environment, "said": str(said)}
        return Child(self, self.ask(asked))


class Child:
    """A process forked by the nursery."""

    def __init__(self, nursery: Nursery, pid: int) -> None:
        self.nursery, self.pid = nursery, pid
        self.descriptor = os.pidfd_open(pid)

    def wait(self, seconds: float) -> int:
        """Its exit code. Raises `subprocess.TimeoutExpired`."""
        if not select.select([self.descriptor], [], [], seconds)[0]:
            raise subprocess.TimeoutExpired("child", seconds)
        return self._bury()

    def kill(self) -> None:
        """SIGKILL, and wait for its end."""
        signal.pidfd_send_signal(self.descriptor, signal.SIGKILL)
        select.select([self.descriptor], [], [], None)
        self._bury()

    def _bury(self) -> int:
        os.close(self.descriptor)
        return self.nursery.ask({"pid": self.pid})
