"""Work for other processes. They find it by name, which a test module has not; no torch, so that they start at once."""

import os
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from datadam.errors import NonFiniteLoss, UnknownName

Tell = Callable[[Any], None]
PATIENCE = 60.0  # seconds after which a task gives up, so that a test that fails leaves nothing behind


def square(item: int, tell: Tell) -> int:
    """Tells the number and its process, gives its square; small numbers take longer."""
    tell(item)
    tell(os.getpid())
    time.sleep(0.02 * max(0, 5 - item))
    return item * item


def lasting(item: object, tell: Tell) -> None:
    """Tells its process at once, and again and again."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        tell(os.getpid())
        time.sleep(0.02)


def idle(item: object, tell: Tell) -> int:
    """Tells its process and is done, except number 0, which lasts."""
    tell(os.getpid())
    if item == 0:
        lasting(item, tell)
    return os.getpid()


def fate(item: tuple[str, Path], tell: Tell) -> object:
    """Meets the end that `item[0]` names once the file `item[1]` is there."""
    end, signpost = item
    if end == "last":
        return lasting(item, tell)
    deadline = time.monotonic() + PATIENCE
    while not signpost.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    if end == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if end == "quit":
        os._exit(7)
    if end == "value":
        return 5
    if end == "ours":
        raise UnknownName("net", "resnt18", ["resnet18"])
    if end == "broken":
        raise NonFiniteLoss("the loss is nan")
    if end == "truncated":
        raise EOFError("a file of the task's own")
    if end == "unforeseen":
        return {}["a key that is not there"]
    return lambda: "cannot be sent"  # "unsendable"


def lost(connection: Connection) -> None:
    """A worker's life, cut short before it has read anything."""
    os.kill(os.getpid(), signal.SIGKILL)


class Unreadable:
    """A task that another process cannot read, as one of a program that starts without its guard."""

    def __call__(self, item: object, tell: Tell) -> None:
        """Never reached there."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[object, ...]]:
        return _refuse, ()


def _refuse() -> None:
    raise ImportError("no module named 'elsewhere'")
