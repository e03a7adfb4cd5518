"""Work in several processes: the same results in the same order, errors that arrive, and no process left behind."""

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import tasks

from datadam import parallel
from datadam.errors import InvalidInput, NonFiniteLoss, RunFailed
from datadam.parallel.schedule import Schedule

PROGRAM = """
import sys, tasks
from datadam.parallel import run
if __name__ == "__main__":
    run(getattr(tasks, sys.argv[1]), range(2), workers=2, report=lambda number, value: print(number, value, flush=True))
"""


def alive(process: int) -> bool:
    """Whether a process still runs; one that ended and that nobody has asked about does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def ended(processes: set[int], patience: float = 20.0) -> bool:
    """Whether all of them end before patience does."""
    deadline = time.monotonic() + patience
    while any(map(alive, processes)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not any(map(alive, processes))


@pytest.mark.parametrize("workers", [1, 3])
def test_results_come_in_the_order_of_the_items(workers: int) -> None:
    items, told = [4, 0, 3, 1, 5, 2], []
    assert parallel.run(tasks.square, items, workers=workers, report=lambda *what: told.append(what)) == [i * i for i in items]
    numbers = {n: [value for number, value in told if number == n] for n in range(6)}
    assert {n: values[0] for n, values in numbers.items()} == dict(enumerate(items))  # each item tells under its own number
    places = {values[1] for values in numbers.values()}
    assert places == {os.getpid()} if workers == 1 else 1 < len(places) <= 3 and os.getpid() not in places
    assert multiprocessing.active_children() == []


def test_no_process_is_started_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel.local, "get_context", None)
    assert parallel.run(tasks.square, [], workers=4) == []
    assert parallel.run(tasks.square, [5], workers=4) == [25]
    assert parallel.run(lambda item, tell: item, [1, 2]) == [1, 2]  # what cannot be sent stays here


def test_no_more_processes_than_items() -> None:
    places = parallel.run(tasks.idle, [1, 2], workers=50)
    assert len(set(places)) == 2


@pytest.mark.parametrize(
    ("end", "kind", "words"),
    [
        ("ours", InvalidInput, r"unknown net 'resnt18'. Did you mean 'resnet18'\? Known: resnet18."),
        ("broken", NonFiniteLoss, "the loss is nan"),
        ("unforeseen", RunFailed, r"(?s)in a worker process: .*tasks.py.*KeyError: 'a key that is not there'"),
        ("truncated", RunFailed, r"(?s)in a worker process: .*EOFError: a file of the task's own"),
        ("unsendable", RunFailed, "(?s)in a worker process: .*<lambda>"),
        ("killed", RunFailed, r"ended with code -9, perhaps for want of memory; use fewer workers \(now 2\)"),
        ("quit", RunFailed, r"ended with code 7; a program .* behind if __name__ == \"__main__\""),
    ],
)
def test_what_ends_one_task_is_told_and_stops_the_others(tmp_path: Path, end: str, kind: type[Exception], words: str) -> None:
    signpost, others = tmp_path / "signpost", set()

    def report(number: int, value: int) -> None:
        others.add(value)
        signpost.touch()  # the other one is at work

    with pytest.raises(kind, match=words) as caught:
        parallel.run(tasks.fate, [("last", signpost), (end, signpost), ("last", signpost)], workers=2, report=report)
    assert isinstance(caught.value, InvalidInput) == (kind is InvalidInput)
    assert len(others) == 1
    assert not any(map(alive, others))
    assert multiprocessing.active_children() == []


def test_an_error_in_this_process_is_the_task_s_own(tmp_path: Path) -> None:
    (tmp_path / "signpost").touch()
    with pytest.raises(KeyError, match="a key that is not there"):
        parallel.run(tasks.fate, [("unforeseen", tmp_path / "signpost")] * 2)


def test_what_the_report_raises_stops_the_work() -> None:
    processes = set()

    def report(number: int, value: int) -> None:
        processes.add(value)
        if len(processes) == 2:
            raise KeyboardInterrupt  # as from a terminal

    with pytest.raises(KeyboardInterrupt):
        parallel.run(tasks.lasting, range(4), workers=2, report=report)
    assert len(processes) == 2
    assert not any(map(alive, processes))


def test_a_task_that_cannot_be_read_there_says_why(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RunFailed, match=r"(?s)in a worker process: .*no module named 'elsewhere'"):
        parallel.run(tasks.Unreadable(), range(3), workers=2)
    assert capfd.readouterr().err == ""


def test_a_task_that_cannot_be_sent_leaves_nobody_waiting() -> None:
    with pytest.raises(Exception, match="pickle"):
        parallel.run(lambda item, tell: item, range(3), workers=2)
    assert multiprocessing.active_children() == []


def test_a_worker_lost_before_it_begins_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed while it imports: what was sent to it was never read, which the system tells in another way than an end."""
    monkeypatch.setattr(parallel.local, "_serve", tasks.lost)
    with pytest.raises(RunFailed, match="ended with code -9"):
        parallel.run(tasks.idle, [b"x" * 1_000_000, b"y"], workers=2)
    assert multiprocessing.active_children() == []


@pytest.fixture
def program() -> Iterator[Callable[[str], tuple["subprocess.Popen[str]", set[int]]]]:
    """A program with two workers on a task, in a session of its own, and its workers; nothing of it outlives a test."""
    started = []

    def start(task: str) -> tuple["subprocess.Popen[str]", set[int]]:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, task], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": str(Path(tasks.__file__).parent)}, start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # background jobs ignore Ctrl-C
        )  # fmt: skip
        started.append(process)
        workers: dict[str, int] = {}
        while len(workers) < 2:
            number, value = process.stdout.readline().split()
            workers[number] = int(value)
        return process, set(workers.values())

    yield start
    for process in started:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.mark.parametrize("task", ["lasting", "idle"])
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_workers_do_not_outlive_the_program(program, task: str, stop: signal.Signals) -> None:
    """Ctrl-C reaches all of them as from a terminal, the others the first process alone: at work, or with nothing left to do."""
    process, workers = program(task)
    assert all(map(alive, workers)) or task == "idle"
    (os.killpg if stop == signal.SIGINT else os.kill)(process.pid, stop)
    said = process.communicate(timeout=30)[1]
    assert process.returncode == -stop
    assert ended(workers)
    if stop == signal.SIGINT:
        assert said.count("Traceback") == said.count("KeyboardInterrupt") == 1  # the first process decides, the others are silent
    else:
        assert said == ""


def test_a_program_without_its_guard_is_told(tmp_path: Path) -> None:
    """Python runs it again in each worker; what it says itself is kept."""
    path = tmp_path / "program.py"
    path.write_text("import tasks\nfrom datadam.parallel import run\nrun(tasks.idle, [1, 2], workers=2)\n")
    environment = os.environ | {"PYTHONPATH": str(Path(tasks.__file__).parent)}
    done = subprocess.run([sys.executable, path], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert 'keeps its start behind if __name__ == "__main__"' in done.stderr.splitlines()[-1]


def test_a_lost_item_is_taken_again_before_all_others() -> None:
    plan = Schedule(4, losses=2)
    assert [plan.take() for _ in range(2)] == [(1, 0), (2, 1)]
    assert plan.lost(1) == (0, False)
    assert plan.take() == (3, 0)
    assert plan.lost(3) == (0, False)
    assert plan.take() == (4, 0)
    assert plan.lost(4) == (0, True)  # a third time without a word: no sense in another


def test_an_item_that_comes_further_is_never_given_up_and_words_alone_do_not_help() -> None:
    plan = Schedule(1, losses=1)
    for attempt in range(1, 20):
        assert plan.take() == (attempt, 0)
        plan.saved(attempt)
        assert plan.lost(attempt) == (0, False)
    assert plan.take() == (20, 0)
    assert plan.lost(20) == (0, True)


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_each_item_is_done_once(seed: int) -> None:
    chance, plan, done = random.Random(seed), Schedule(12, losses=10**6), []
    while not plan.finished:
        while plan.running() < 5 and plan.take():
            pass
        attempt = chance.choice(sorted(plan.attempts))
        number = plan.attempts[attempt]
        assert number not in done
        if chance.random() < 0.4:
            plan.lost(attempt)
        else:
            plan.done(attempt)
            done.append(number)
    assert sorted(done) == list(range(12))


def test_a_process_that_is_lost_is_replaced_where_its_item_stood(tmp_path: Path) -> None:
    """`stream` asks for the item again, which may know what was told meanwhile."""
    signpost, made = tmp_path / "signpost", []
    signpost.touch()

    def make(number: int) -> tuple[str, Path]:
        made.append(number)
        return ("killed" if len(made) == 1 else "value", signpost)

    events = list(parallel.stream(tasks.fate, 2, make, workers=1))
    assert made == [0, 0, 1]
    notes = [event.value["event"] for event in events if event.kind == "note"]
    assert notes == ["start", "lost", "start", "start"]
    assert [(event.number, event.value) for event in events if event.kind == "done"] == [(0, 5), (1, 5)]


def test_a_process_that_is_lost_each_time_ends_the_work(tmp_path: Path) -> None:
    (tmp_path / "signpost").touch()
    made = []
    with pytest.raises(RunFailed, match="ended with code -9"):
        list(parallel.stream(tasks.fate, 1, lambda n: made.append(n) or ("killed", tmp_path / "signpost"), workers=1, losses=1))
    assert made == [0, 0]
    assert multiprocessing.active_children() == []
