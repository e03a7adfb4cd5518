"""One process at a time in a folder: the second is told who is there, and a dead one's lock is taken over."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from datadam.errors import InvalidInput
from datadam.files import lock, partial
from datadam.files.lock import LOCK, alone_in

HOLDER = """
import pathlib, sys
from datadam.files.lock import alone_in
with alone_in(pathlib.Path(sys.argv[1]), "datadam distill mnist --ipc 10"):
    print(1, flush=True)
    input()
"""
HERE = socket.gethostname()


@contextmanager
def holder(folder: Path) -> "Iterator[subprocess.Popen[bytes]]":
    """Another process that holds the folder."""
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def dead() -> int:
    """The number of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        return process.pid


def left(folder: Path, **changes: object) -> Path:
    """A lock as a process of this machine, long dead, has left it."""
    folder.mkdir(parents=True, exist_ok=True)
    owner = {"pid": dead(), "host": HERE, "command": "datadam distill mnist", "since": time.time() - 7200} | changes
    (folder / LOCK).write_text(json.dumps(owner))
    return folder


def test_the_second_is_told_who_is_there_and_the_third_takes_over(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        with pytest.raises(InvalidInput) as told, alone_in(tmp_path):
            pass
        words = str(told.value)
        assert f"another process is at work in {tmp_path}: process {process.pid} on {HERE}" in words
        assert "(datadam distill mnist --ipc 10), for " in words
        assert "stop it, or choose another folder with out" in words
        process.kill()
        process.wait()
        with alone_in(tmp_path) as words:
            assert words.startswith(f"took over the lock of process {process.pid} on {HERE} (datadam distill mnist --ipc 10)")
            assert "without giving it back" in words
    with alone_in(tmp_path) as words:
        assert words == ""
    assert list(tmp_path.iterdir()) == []


def test_the_owner_is_written_while_it_lives(tmp_path: Path) -> None:
    before = time.time()
    with alone_in(tmp_path / "deep" / "run", "datadam x"):
        owner = json.loads((tmp_path / "deep" / "run" / LOCK).read_text())
        assert (owner["pid"], owner["host"], owner["command"]) == (os.getpid(), HERE, "datadam x")
        assert before <= owner["since"] <= time.time()
        with pytest.raises(InvalidInput, match=f"process {os.getpid()}"), alone_in(tmp_path / "deep" / "run"):
            pass
    assert list(tmp_path.iterdir()) == []  # of a folder in which nothing was made, nothing stays


def test_what_was_made_stays_and_so_does_the_folder(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), alone_in(tmp_path / "run"):  # noqa: PT012
        (tmp_path / "run" / "images").touch()
        raise RuntimeError
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["images"]


def test_another_machine_is_not_believed_dead(tmp_path: Path) -> None:
    left(tmp_path, host="elsewhere", since=time.time() - 3 * 3600)
    with pytest.raises(InvalidInput) as told, alone_in(tmp_path):
        pass
    assert "on elsewhere (datadam distill mnist), for 3.0 h: another machine" in str(told.value)
    assert f"remove {tmp_path / LOCK} and start again" in str(told.value)
    assert (tmp_path / LOCK).exists()
    (tmp_path / LOCK).unlink()
    with alone_in(tmp_path) as words:
        assert words == ""


def test_a_lock_of_another_machine_is_taken_when_that_is_asked_for(tmp_path: Path) -> None:
    """As where a scheduler begins a killed command again on another node: the system holds no lock for the dead one."""
    left(tmp_path, host="pod-1", since=time.time() - 3 * 3600)
    with pytest.raises(InvalidInput, match=r"for 3\.0 h: another machine\. When it is no longer at work there, add take_over"):
        alone_in(tmp_path, take_over=False).__enter__()
    with alone_in(tmp_path, "datadam distill --resume", take_over=True) as words:
        assert words.startswith("took over the lock of process ")
        assert words.endswith("on pod-1 (datadam distill mnist), for 3.0 h, another machine, as was asked for")
        assert json.loads((tmp_path / LOCK).read_text())["host"] == HERE
    assert not (tmp_path / LOCK).exists()


def test_nothing_takes_a_folder_from_a_process_that_is_at_work(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        with pytest.raises(InvalidInput, match=f"process {process.pid} on"), alone_in(tmp_path, take_over=True):
            pass
        owner = json.loads((tmp_path / LOCK).read_text()) | {"host": "pod-1"}  # on a disk whose locks other machines see
        (tmp_path / LOCK).write_text(json.dumps(owner))
        with pytest.raises(InvalidInput, match=f"process {process.pid} on pod-1"), alone_in(tmp_path, take_over=True):
            pass


@pytest.mark.parametrize("searched", [True, False])
def test_a_lock_that_is_a_link_is_refused_and_what_it_points_to_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, searched: bool
) -> None:
    """By the search for links before, and by the system where one comes after that."""
    if not searched:
        monkeypatch.setattr(lock, "_refuse_links", lambda folder: None)
    (tmp_path / "keys").write_text("precious")
    (tmp_path / "run").mkdir()
    for target in (tmp_path / "keys", tmp_path / "absent"):
        (tmp_path / "run" / LOCK).symlink_to(target)
        with pytest.raises(InvalidInput, match=r"\.lock is a symbolic link.*remove it"), alone_in(tmp_path / "run"):
            pass
        (tmp_path / "run" / LOCK).unlink()
    assert (tmp_path / "keys").read_text() == "precious"
    assert not (tmp_path / "absent").exists()


def test_a_lock_that_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / LOCK)
    with pytest.raises(InvalidInput, match="is no plain file; remove it"), alone_in(tmp_path):
        pass
    (tmp_path / LOCK).unlink()
    (tmp_path / LOCK).mkdir()
    with pytest.raises(InvalidInput, match=r"cannot open .*remove it"), alone_in(tmp_path):
        pass


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"\xff\xfe", b"[" * 9000, b'{"pid": -1}', b"9" * 9999,
     b'{"pid": "x", "host": 1, "command": 2, "since": {}}',
     b'{"pid": 1e999, "host": "", "command": "", "since": NaN}'],
)  # fmt: skip
def test_a_lock_that_names_nobody_holds_nobody_off(tmp_path: Path, content: bytes) -> None:
    (tmp_path / LOCK).write_bytes(content)
    with alone_in(tmp_path) as words:
        assert words == ""


def test_a_clock_that_was_set_back_is_no_negative_age(tmp_path: Path) -> None:
    left(tmp_path, since=time.time() + 90_000)
    with alone_in(tmp_path) as words:
        assert "since a moment that this clock has yet to reach" in words


def test_without_the_system_s_locks_a_living_process_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    def none(*_: object) -> None:
        raise OSError("no locks here")

    monkeypatch.setattr(fcntl, "flock", none)
    left(tmp_path, pid=os.getppid())
    with pytest.raises(InvalidInput, match=f"process {os.getppid()} on"), alone_in(tmp_path):
        pass
    left(tmp_path)
    with alone_in(tmp_path) as words:
        assert "took over" in words


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    with pytest.raises(InvalidInput, match="is a file"), alone_in(tmp_path / "x"):
        pass


def test_taking_a_folder_removes_what_the_dead_had_half_written(tmp_path: Path) -> None:
    mine, theirs = partial.beside(tmp_path / "deep" / "a"), partial.beside(tmp_path / "deep" / "b")
    mine.parent.mkdir()
    gone = theirs.with_name(theirs.name.replace(f"-{os.getpid()}.", f"-{dead()}."))
    other = theirs.with_name(f".b.01234567-{dead()}.partial")  # of another machine
    folder = gone.with_name(gone.name.replace(".b.", ".c."))
    for path in (mine, gone, other, tmp_path / "deep" / ".d.partial", tmp_path / "deep" / ".e.x-y.partial"):
        path.touch()
    (folder / "inside").mkdir(parents=True)
    with alone_in(tmp_path):
        assert not gone.exists()
        assert not folder.exists()
        assert {path.name for path in mine.parent.iterdir()} == {mine.name, other.name, ".d.partial", ".e.x-y.partial"}


def test_age_in_words() -> None:
    assert [lock._words(s) for s in (3, 600, 7200)] == ["3 s", "10 min", "2.0 h"]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="Linux tells of the dead that are not yet buried")
def test_who_is_alive(tmp_path: Path) -> None:
    assert partial.alive(os.getpid())
    assert partial.alive(1)  # not ours to signal, perhaps
    assert not partial.alive(dead())
    assert partial.alive(10**30)  # no number of a process: nothing is removed for it
    process = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.read()
    while Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
        time.sleep(0.01)
    assert not partial.alive(process.pid)
    process.wait()
    process.stdout.close()
