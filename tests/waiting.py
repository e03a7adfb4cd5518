"""Waiting for other processes: never without a deadline, and no longer than they live."""

import subprocess
import time
from collections.abc import Callable
from typing import Any

PATIENCE = 120.0  # seconds: what is waited for takes a few, where nothing is wrong
spawned: "list[subprocess.Popen[Any]]" = []  # processes that the end of a test may find at work


def until(there: Callable[[], Any], *processes: "subprocess.Popen[Any]", seconds: float = PATIENCE) -> bool:
    """Wait until `there()` is true; False where one of the processes ends before, or the seconds do."""
    deadline = time.monotonic() + seconds
    while not there():
        if any(process.poll() is not None for process in processes):
            return bool(there())  # it may have come with the end
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
