"""Independent pieces of work, in this process, in several, or on many machines: `run(task, items)`.

The one part that starts processes and knows the distributed engine. What a piece gives does not depend on where it is done, nor
on the pieces beside it, nor on how often it had to be begun.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from typing import Any

from datadam.errors import RunFailed
from datadam.parallel.local import Processes
from datadam.parallel.on_ray import Ray
from datadam.parallel.protocol import Crew, Event, Make, Report, Task, Tell, in_worker
from datadam.parallel.schedule import LOSSES, Schedule

__all__ = ["Event", "Ray", "Report", "Task", "Tell", "in_worker", "run", "stream"]

PATIENCE = 1.0  # seconds to listen at a time


def run(
    task: Task,
    items: Sequence[Any],
    *,
    workers: int = 1,
    report: Report | None = None,
    engine: Ray | None = None,
    threads: int = 1,
    note: Callable[[dict[str, Any]], None] | None = None,
) -> list[Any]:
    """`[task(item, tell) for item in items]`: the results in the order of the items, whoever makes them.

    Arguments: `task`, for several workers a function of a module, or an object, that can be sent to another process;
    `workers`, how many at once (1 without an engine: this process); `report(number, value)`, called here whenever the task on
    item `number` calls `tell(value)`; `engine`, a Ray cluster (None: processes of this machine) on which a worker has `threads`
    CPU cores; `note(event)`, called when a worker begins or is lost. What a task raises is raised here and stops the others.
    A program that asks for several workers keeps its own start behind `if __name__ == "__main__"`, as Python's multiprocessing
    wants. Raises `RunFailed` when a process dies; on Ray another worker takes its item, from the beginning.
    """
    told = report or _silent
    if engine is None and (workers <= 1 or len(items) <= 1):
        return [task(item, partial(told, number)) for number, item in enumerate(items)]
    results: list[Any] = [None] * len(items)
    losses = 0 if engine is None else LOSSES
    for number, kind, value in stream(
        task, len(items), items.__getitem__, workers=workers, engine=engine, threads=threads, losses=losses
    ):
        if kind == "tell":
            told(number, value)
        elif kind == "done":
            results[number] = value
        elif note is not None:
            note(value)
    return results


def stream(
    task: Task,
    items: int,
    make: Make,
    *,
    workers: int,
    engine: Ray | None = None,
    threads: int = 1,
    losses: int = LOSSES,
    saved: Callable[[int, Any], bool] | None = None,
) -> Generator[Event, None, None]:
    """What happens while workers do the task on each of so many items: "tell", "done" and "note" events by the item's number.

    Arguments: `make(number)`, the item, asked for each time one is begun, so that one whose worker was lost goes on where it
    stood; `losses`, of workers of one item in a row before `RunFailed` is raised (0: the first);
    `saved(number, value)`, whether what was told means that the item, begun again, is further than before: the row ends;
    `copies`, whether one that takes much longer than others is begun a second time, and the first to end counts; the others as
    `run`.
    Closing the iterator ends the workers.
    """
    plan = Schedule(items, losses=losses)
    if not items:
        return
    crew: Crew = engine.crew(task, threads) if engine else Processes(task, min(workers, items))
    try:
        while not plan.finished:
            while plan.running() < workers and (taken := plan.take()):
                attempt, number = taken
                crew.start(attempt, make(number))
            for event in crew.hear(PATIENCE):
                yield from _follow(plan, crew, event, saved)
    finally:
        crew.close()


def _follow(plan: Schedule, crew: Crew, event: Event, saved: Callable[[int, Any], bool] | None) -> Iterator[Event]:
    """What one event of an attempt means for its item."""
    attempt, kind, value = event
    if kind == "failed":
        raise value
    if attempt not in plan.attempts:  # of one that was given up
        return
    if kind == "lost":
        number, given_up = plan.lost(attempt)
        yield Event(number, "note", {"event": "lost", "item": number, "attempt": attempt, "why": value})
        if given_up:
            raise RunFailed(value)
        return
    if kind == "note":
        number = plan.attempts[attempt]
        yield Event(number, kind, value | {"item": number, "attempt": attempt})
        return
    number = plan.attempts[attempt]
    if kind == "tell" and saved and saved(number, value):
        plan.saved(attempt)
    if kind == "done":
        plan.done(attempt)
    yield Event(number, kind, value)


def _silent(number: int, value: Any) -> None:
    """What is told to nobody."""
