"""One process at a time in a run folder: a lock that names its owner.

FOLDER/.lock holds the owner as JSON: process, machine, command and since when. While the owner lives the system holds a lock on
that file, which ends with the process, however it ends; a file that lies there unlocked was left by one that was killed.
A folder may come from somebody else: nothing is written through a symbolic link in it.
"""

import errno
import json
import os
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

from datadam.errors import InvalidInput
from datadam.files.partial import alive, sweep
from datadam.files.whole import require_writable

LOCK = ".lock"
LARGEST = 10_000  # bytes of the file that are read


@dataclass(frozen=True)
class Owner:
    """Who holds a folder: process number, machine, what it was started as, and since when (seconds of the wall clock)."""

    pid: int
    host: str
    command: str
    since: float

    def __str__(self) -> str:
        age = time.time() - self.since
        held = f"for {_words(age)}" if age >= 0 else "since a moment that this clock has yet to reach"
        what = f" ({self.command})" if self.command else ""
        return f"process {self.pid} on {self.host}{what}, {held}"


@contextmanager
def alone_in(folder: Path, command: str = "", *, take_over: bool | None = None) -> Iterator[str]:
    """Make the folder and keep other processes out of it until the block ends, or the process does, however it ends.

    Arguments: `command`, what others are told about us; `take_over`, whether a lock that another machine has left is taken (None:
    no, and the command has no option for it). Gives "" or, where a lock was left and is taken, words that say so; what a killed
    process of this machine had half written is removed. Raises `InvalidInput` when another process is at work there, saying who
    and how to go on; also for the lock of another machine, whose process cannot be looked at from here, and where the folder
    holds symbolic links.
    """
    if folder.exists() and not folder.is_dir():
        raise InvalidInput(f"{folder} is a file; a run needs a folder")
    ours = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        with _held(folder, command, take_over) as words:
            yield words
    finally:
        with suppress(OSError):  # what could not begin leaves nothing behind: of folders, only empty ones can be removed
            for place in ours:
                place.rmdir()


@contextmanager
def _held(folder: Path, command: str, take_over: bool | None) -> Iterator[str]:
    _refuse_links(folder)
    require_writable(folder)
    path = folder / LOCK
    with _locked(path, folder) as file:
        left = _read(file)
        here = socket.gethostname()
        if left and left.host != here and not take_over:
            cure = f"remove {path} and start again" if take_over is None else "add --take-over"
            raise InvalidInput(f"{folder} is held by {left}: another machine. When it is no longer at work there, {cure}")
        if left and left.host == here and _at_work(left) and not _system_locks(file):
            raise InvalidInput(_busy(folder, str(left)))
        ended = "which had ended without giving it back" if left and left.host == here else "another machine, as was asked for"
        words = f"took over the lock of {left}, {ended}" if left else ""
        sweep(folder, deep=True)
        _write(file, Owner(os.getpid(), here, command[:2000], time.time()))
        try:
            yield words
        finally:
            with suppress(OSError):
                path.unlink(missing_ok=True)


def _refuse_links(folder: Path) -> None:
    """Raise `InvalidInput` where something in the folder is a symbolic link: what is written through it would land elsewhere.

    The folder itself may be one: its user has named it.
    """
    for place, folders, files in os.walk(folder):
        if link := next((path for name in (*folders, *files) if (path := Path(place, name)).is_symlink()), None):
            raise InvalidInput(_link(link))


def _link(path: Path) -> str:
    return (
        f"{path} is a symbolic link, through which files elsewhere would be written over; a run folder holds plain files and "
        "folders only: put what it points to in its place, or remove it"
    )


@contextmanager
def _locked(path: Path, folder: Path) -> Iterator[TextIO]:
    """The lock file, open and locked. Raises `InvalidInput` when another process has it."""
    while True:
        with _opened(path) as file:
            try:
                import fcntl

                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                owner = _read(file)
                raise InvalidInput(_busy(folder, str(owner) if owner else "it is just starting")) from None
            except (ImportError, OSError):  # Windows, or a disk without locks: the owner's number must do
                pass
            try:
                same = os.path.samestat(os.fstat(file.fileno()), path.stat())
            except FileNotFoundError:
                same = False
            if not same:
                continue  # who held it has removed it meanwhile
            yield file
            return


def _opened(path: Path) -> TextIO:
    """The lock file, made where it is not there. Raises `InvalidInput` where the name is that of another kind of file."""
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)  # Windows has neither
    try:
        descriptor = os.open(path, flags, 0o666)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK):  # the latter is FreeBSD's word for it
            raise InvalidInput(_link(path)) from None
        raise InvalidInput(f"cannot open {path}: {error.strerror}; remove it and start again") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):  # reading from a pipe would wait for ever
        os.close(descriptor)
        raise InvalidInput(f"{path} is no plain file; remove it and start again")
    return os.fdopen(descriptor, "r+", encoding="utf-8", errors="replace")


def _busy(folder: Path, who: str) -> str:
    return f"another process is at work in {folder}: {who}. Let it finish, stop it, or choose another folder with --out"


def _system_locks(file: TextIO) -> bool:
    """Whether the system's lock is ours: then nobody else is at work, whatever the file says."""
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (ImportError, OSError):
        return False
    return True


def _at_work(owner: Owner) -> bool:
    return owner.pid != os.getpid() and alive(owner.pid)


def _read(file: TextIO) -> Owner | None:
    """Who the file names; None for an empty one, or one that is no owner's."""
    try:
        file.seek(0)
        found = json.loads(file.read(LARGEST))
        owner = Owner(int(found["pid"]), str(found["host"])[:255], str(found["command"])[:2000], float(found["since"]))
        return owner if owner.pid > 0 and abs(owner.since) < 1e12 else None
    except (OSError, KeyError, TypeError, ValueError, ArithmeticError, RecursionError):
        return None


def _write(file: TextIO, owner: Owner) -> None:
    """Not by renaming: the system's lock is on this very file."""
    with suppress(OSError):  # a disk without room: the system's lock still holds
        file.seek(0)
        file.truncate()
        json.dump(asdict(owner), file)
        file.flush()


def _words(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


@contextmanager
def hold(path: Path) -> Iterator[None]:
    """Only one process at a time works on `path`; others wait here. Where the system has no such locks, none waits."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    lock = path.with_name(path.name + ".lock")
    while True:
        with lock.open("a") as file:
            with suppress(OSError):  # some network disks have no locks
                fcntl.flock(file, fcntl.LOCK_EX)
            try:
                same = os.path.samestat(os.fstat(file.fileno()), lock.stat())
            except FileNotFoundError:
                same = False
            if not same:
                continue  # who held it has removed it meanwhile
            try:
                yield
            finally:
                lock.unlink(missing_ok=True)
            return
