"""Independent pieces of work, in this process or in several: `run(task, items)`.

The one file that starts processes. What a piece gives does not depend on where it is done, nor on the pieces beside it.
"""

import signal
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
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
            busy[ours] = process
        for ours, process in busy.items():  # all of them start before the first one must have read
            with _missed(process, workers):
                ours.send(task)
                ours.send(waiting.popleft())
        while busy:
            for connection in wait(list(busy)):
                assert isinstance(connection, Connection)
                with _missed(busy[connection], workers):
                    kind, number, value = connection.recv()
                if kind == "tell":
                    told(number, value)
                    continue
                if kind == "failed":
                    raise value
                results[number] = value
                if waiting:
                    with _missed(busy[connection], workers):
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


@contextmanager
def _missed(process: BaseProcess, workers: int) -> Iterator[None]:
    """Raise `RunFailed` when the other end of a connection is gone, read or unread."""
    try:
        yield
    except (EOFError, OSError):
        process.join()
        killed = (process.exitcode or 0) < 0
        raise RunFailed(
            f"a worker process ended with code {process.exitcode}, perhaps for want of memory; use fewer workers (now {workers})"
            if killed
            else f"a worker process ended with code {process.exitcode}; a program that asks for workers keeps its start behind "
            'if __name__ == "__main__", or does with workers=1'
        ) from None


class _Alone(BaseException):
    """Nobody waits for this worker any more; not an `Exception`, which a task might catch."""


def _serve(connection: Connection) -> None:
    """A worker's life: one task, many items, until the other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the first one decides

    def receive() -> Any:
        try:
            return connection.recv()
        except (EOFError, ConnectionResetError):
            raise _Alone from None

    def send(kind: str, number: int, value: Any) -> None:
        try:
            connection.send((kind, number, value))
        except (BrokenPipeError, ConnectionResetError):
            raise _Alone from None

    number = -1
    with suppress(_Alone):
        try:
            task = receive()
            while True:
                number, item = receive()
                send("done", number, task(item, partial(send, "tell", number)))
        except Exception as error:
            send("failed", number, _sendable(error))
            while True:  # until the other end has read it: a process that ends with words unread takes its own along
                receive()


def _sendable(error: Exception) -> Exception:
    """An error that arrives as it was; one that nobody foresaw keeps its words and its place in the code."""
    if isinstance(error, InvalidInput):
        return InvalidInput(*error.faults)
    if isinstance(error, RunFailed):
        return error
    return RunFailed(f"in a worker process: {''.join(traceback.format_exception(error))}")
