"""One process at a time in a run folder: a lock that names its owner.

FOLDER/.lock holds the owner as JSON: process, machine, command and since when. While the owner lives the system holds a lock on
that file, which ends with the process, however it ends; a file that lies there unlocked was left by one that was killed.
A folder may come from somebody else: nothing is written through a symbolic link in it.

The system's lock itself, on Unix and Windows, is filelock's `lock_descriptor`. Its `FileLock` opens files in its own way and
knows no owner, and its earlier versions empty the file that names one: so the file is opened, read and removed here.
"""

import errno
import json
import os
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

from filelock import lock_descriptor

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
    with ExitStack() as stack:
        try:
            file, locked = stack.enter_context(_locked(path, wait=False))
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.EMLINK):  # the latter is FreeBSD's word for it
                raise InvalidInput(_link(path)) from None
            raise InvalidInput(f"cannot open {path}: {error.strerror}; remove it and start again") from error
        left = _read(file)
        if locked is False:
            raise InvalidInput(_busy(folder, str(left) if left else "it is just starting"))
        here = socket.gethostname()
        if left and left.host != here and not take_over:
            cure = f"remove {path} and start again" if take_over is None else "add --take-over"
            raise InvalidInput(f"{folder} is held by {left}: another machine. When it is no longer at work there, {cure}")
        if left and left.host == here and _at_work(left) and not locked:
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
def _locked(path: Path, *, wait: bool) -> Iterator[tuple[TextIO, bool | None]]:
    """The lock file, open, and whether the system's lock on it is ours: False, another process has it (never where we `wait`);
    None, on a disk without such locks. Raises `OSError` as `_opened`."""
    while True:
        with _opened(path) as file:
            locked: bool | None
            try:
                locked = lock_descriptor(file.fileno(), blocking=wait)
            except OSError:
                locked = None
            try:
                same = os.path.samestat(os.fstat(file.fileno()), path.stat())
            except FileNotFoundError:
                same = False
            if same or locked is False:
                yield file, locked
                return
        # who held it has removed it meanwhile: another one may hold the file that lies there now


def _opened(path: Path) -> TextIO:
    """The lock file, made where it is not there. Raises `OSError`, also for a link (ELOOP) and any file that is not plain."""
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)  # Windows has neither
    descriptor = os.open(path, flags, 0o666)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):  # reading from a pipe would wait for ever
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no plain file")
    return os.fdopen(descriptor, "r+", encoding="utf-8", errors="replace")


def _busy(folder: Path, who: str) -> str:
    return f"another process is at work in {folder}: {who}. Let it finish, stop it, or choose another folder with --out"


def _at_work(owner: Owner) -> bool:
    return owner.pid != os.getpid() and alive(owner.pid)


def _read(file: TextIO) -> Owner | None:
    """Who the file names; None for an empty one, or one that is no owner's."""
    try:
        file.seek(0)
        fields = json.loads(file.read(LARGEST))
        owner = Owner(int(fields["pid"]), str(fields["host"])[:255], str(fields["command"])[:2000], float(fields["since"]))
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
    """Only one process, and one thread of it, at a time works on `path`; others wait here. On a disk without locks none waits.

    Raises `OSError` where PATH.lock cannot be made, is a symbolic link or no plain file.
    """
    lock = path.with_name(path.name + ".lock")
    with _locked(lock, wait=True):
        try:
            yield
        finally:
            with suppress(OSError):  # Windows removes no file that is open: it stays, and is taken again
                lock.unlink(missing_ok=True)
