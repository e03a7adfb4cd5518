"""Processes of this machine, spawned anew: a fork would inherit threads that do not run in it."""

import signal
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from datadam.parallel.protocol import Event, Kind, Task, enter_worker, sendable


class Processes:
    """A crew of processes, at most `workers` at once; one that is lost is replaced when there is work for it."""

    def __init__(self, task: Task, workers: int) -> None:
        self.task, self.workers = task, workers
        self.context = get_context("spawn")
        self.free: list[Connection] = []
        self.busy: dict[Connection, int] = {}  # -> attempt
        self.processes: dict[Connection, BaseProcess] = {}
        self.untaught: set[Connection] = set()  # who has not got the task yet
        self.untold: deque[Event] = deque()
        try:
            for _ in range(workers):  # all of them start before the first one must have read
                self._hire()
        except BaseException:
            self.close()
            raise

    def _hire(self) -> None:
        ours, theirs = self.context.Pipe()
        process = self.context.Process(target=_serve, args=(theirs,), daemon=True)
        process.start()
        theirs.close()
        self.processes[ours] = process
        self.untaught.add(ours)
        self.free.append(ours)

    def start(self, attempt: int, item: Any) -> None:
        """Begin the task on an item."""
        if not self.free:
            self._hire()
        connection = self.free.pop(0)
        self.busy[connection] = attempt
        with self._missed(connection):
            connection.send((attempt, self.task if connection in self.untaught else None, item))
            self.untaught.discard(connection)

    def hear(self, timeout: float) -> list[Event]:
        """What has happened since; the processes that ended an attempt are free."""
        if not self.untold:
            for connection in wait(list(self.busy), timeout):
                assert isinstance(connection, Connection)
                with self._missed(connection):
                    attempt, kind, value = connection.recv()
                    self.untold.append(Event(attempt, kind, value))
                    if kind == "done":
                        del self.busy[connection]
                        self.free.append(connection)
        events = list(self.untold)
        self.untold.clear()
        return events

    @contextmanager
    def _missed(self, connection: Connection) -> Iterator[None]:
        """Note an attempt as lost when the other end of its connection is gone, read or unread."""
        try:
            yield
        except (EOFError, OSError):
            process = self.processes[connection]
            process.join(5)  # it is ended below where it still lives
            attempt = self.busy[connection]
            self._dismiss(connection)
            self.untold.append(Event(attempt, "lost", _why(process.exitcode or 0, self.workers)))

    def _dismiss(self, connection: Connection) -> None:
        process = self.processes.pop(connection)
        process.terminate()
        process.join()
        connection.close()
        self.busy.pop(connection, None)
        self.untaught.discard(connection)
        if connection in self.free:
            self.free.remove(connection)

    def close(self) -> None:
        """End all processes."""
        for process in self.processes.values():
            process.terminate()
        for connection in list(self.processes):
            self._dismiss(connection)


def _why(code: int, workers: int) -> str:
    if code < 0:
        return f"a worker process ended with code {code}, perhaps for want of memory; use fewer workers (now {workers})"
    return (
        f"a worker process ended with code {code}; a program that asks for workers keeps its start behind "
        'if __name__ == "__main__", or does with workers=1'
    )


class _Alone(BaseException):
    """Nobody waits for this worker any more; not an `Exception`, which a task might catch."""


def _serve(connection: Connection) -> None:
    """A worker's life: one task, many items, until the other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the first one decides
    name = enter_worker()
    receive, send = _ends(connection)
    attempt = -1
    task: Task = _nothing
    with suppress(_Alone):
        try:
            while True:
                attempt, first, item = receive()
                task = task if first is None else first
                send("note", attempt, {"event": "start", "worker": name})
                send("done", attempt, task(item, partial(send, "tell", attempt)))
        except Exception as error:
            send("failed", attempt, sendable(error))
            while True:  # until the other end has read it: a process that ends with words unread takes its own along
                receive()


def _nothing(item: Any, tell: Any) -> None:
    """The task before one came."""


def _ends(connection: Connection) -> tuple[Callable[[], Any], Callable[[Kind, int, Any], None]]:
    """How a worker receives and sends, until nobody is there."""

    def receive() -> Any:
        try:
            return connection.recv()
        except (EOFError, ConnectionResetError):
            raise _Alone from None

    def send(kind: Kind, attempt: int, value: Any) -> None:
        try:
            connection.send((attempt, kind, value))
        except (BrokenPipeError, ConnectionResetError):
            raise _Alone from None

    return receive, send
