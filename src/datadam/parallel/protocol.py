"""What both engines and the scheduler speak of: tasks, what they tell, and what becomes of them."""

import os
import socket
import traceback
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Protocol

from datadam.errors import InvalidInput, RunFailed

Tell = Callable[[Any], None]
Task = Callable[[Any, Tell], Any]
Report = Callable[[int, Any], None]
Make = Callable[[int], Any]
Kind = Literal["tell", "done", "failed", "lost", "note"]


class Event(NamedTuple):
    """What was heard: `number` of the item (of the attempt, between an engine and the scheduler), `kind` and `value`.

    "tell": what the task told; "done": its result; "failed": what it raised; "lost": why its worker is gone; "note": a dict for
    the log of a run.
    """

    number: int
    kind: Kind
    value: Any


class Crew(Protocol):
    """The workers of one piece of work; each does one attempt at a time."""

    def start(self, attempt: int, item: Any) -> None:
        """Begin the task on an item; there is a free worker, or there will be one."""

    def hear(self, timeout: float) -> list[Event]:
        """What has happened since, numbered by attempts; waits up to `timeout` seconds for something."""

    def close(self) -> None:
        """End all of them."""


class _Place:
    """Where this process stands."""

    worker = False


def in_worker() -> bool:
    """Whether this process was started to work on items, and may therefore be set up as they like."""
    return _Place.worker


def enter_worker() -> str:
    """Say that this process is a worker. Returns its name: "host:process"."""
    _Place.worker = True
    return f"{socket.gethostname()}:{os.getpid()}"


def sendable(error: Exception) -> Exception:
    """An error that arrives as it was; one that nobody foresaw keeps its words and its place in the code."""
    if isinstance(error, InvalidInput):
        return InvalidInput(*error.faults)
    if isinstance(error, RunFailed):
        return error
    return RunFailed(f"in a worker process: {''.join(traceback.format_exception(error))}")
