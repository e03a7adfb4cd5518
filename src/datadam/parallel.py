"""Independent pieces of work, in this process or in several: `run(task, items)`.

The one file that starts processes. What a piece gives does not depend on where it is done, nor on the pieces beside it.
"""

import signal
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from typing import Any

from datadam.errors import InvalidInput, RunFailed

Tell = Callable[[Any], None]
Task = Callable[[Any, Tell], Any]
Report = Callable[[int, Any], None]


def run(task: Task, items: Sequence[Any], *, workers: int = 1, report: Report | None = None) -> list[Any]:
    """`[task(item, tell) for item in items]`: the results in the order of the items, whoever makes them.

    Arguments: `task`, for several workers a function of a module, or an object, that can be sent to another process;
    `workers`, processes (1: this one); `report(number, value)`, called here whenever the task on item `number` calls
    `tell(value)`. What a task raises is raised here and stops the others. A program that asks for several workers keeps its own
    start behind `if __name__ == "__main__"`, as Python's multiprocessing wants. Raises `RunFailed` when a worker dies.
    """
    told = report or _silent
    if workers <= 1 or len(items) <= 1:
        return [task(item, partial(told, number)) for number, item in enumerate(items)]
    context = get_context("spawn")  # a fork would inherit threads that do not run in it
    waiting, results, busy = deque(enumerate(items)), [None] * len(items), {}
    processes = []
    try:
        for _ in range(min(workers, len(items))):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs,), daemon=True)
            process.start()
            theirs.close()
            processes.append(process)
            ours.send(task)
            busy[ours] = process
            ours.send(waiting.popleft())
        while busy:
            for connection in wait(list(busy)):
                assert isinstance(connection, Connection)
                try:
                    kind, number, value = connection.recv()
                except EOFError:
                    busy[connection].join()
                    raise RunFailed(
                        f"a worker process ended with code {busy[connection].exitcode}, perhaps for want of memory; "
                        f"use fewer workers (now {workers})"
                    ) from None
                if kind == "tell":
                    told(number, value)
                    continue
                if kind == "failed":
                    raise value
                results[number] = value
                if waiting:
                    connection.send(waiting.popleft())
                else:
                    del busy[connection]
                    connection.close()
    finally:
        for process in processes:
            process.terminate()
            process.join()
    return results


def _silent(number: int, value: Any) -> None:
    """What is told to nobody."""


def _serve(connection: Connection) -> None:
    """A worker's life: one task, many items, until the other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the first one decides
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):  # nobody waits for us any more
        task = connection.recv()
        while True:
            number, item = connection.recv()
            try:
                result = task(item, lambda value, number=number: connection.send(("tell", number, value)))
            except (BrokenPipeError, ConnectionResetError):
                raise
            except Exception as error:
                connection.send(("failed", number, _sendable(error)))
                return
            connection.send(("done", number, result))


def _sendable(error: Exception) -> Exception:
    """An error that arrives as it was; one that nobody foresaw keeps its words and its place in the code."""
    if isinstance(error, InvalidInput):
        return InvalidInput(*error.faults)
    if isinstance(error, RunFailed):
        return error
    return RunFailed(f"in a worker process: {''.join(traceback.format_exception(error))}")
