"""Files in the making: how they are named beside their place, and how those of killed processes are found again.

A file or folder that is being written lies beside its place as .NAME.HOST-PID.partial. Whoever is killed leaves it behind; on
the same machine the next one to write there, or to take the folder, removes it.
"""

import hashlib
import os
import shutil
import socket
from contextlib import suppress
from functools import cache
from pathlib import Path

END = ".partial"
LONGEST = 200  # bytes of a name that fit beside ours in the 255 bytes of a file name


@cache
def _host() -> str:
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]


def beside(path: Path) -> Path:
    """Where this process writes what shall become `path`."""
    return path.with_name(f".{_cut(path.name)}.{_host()}-{os.getpid()}{END}")


def _cut(name: str) -> str:
    return name.encode()[:LONGEST].decode(errors="ignore")


def sweep(folder: Path, name: str = "", *, deep: bool = False) -> int:
    """Remove what processes of this machine left half written in `folder` when they were killed; returns how many.

    Arguments: `name`, only what should have become this; `deep`, in the folders below too. What a living process writes, or one
    of another machine, stays.
    """
    removed = 0
    with suppress(OSError):  # it is a convenience: another process may sweep as well
        if deep:
            found = list(folder.rglob(f".*{END}"))
        else:  # before each file that is written: no paths are made of all that lies there
            found = [folder / one for one in os.listdir(folder) if one.startswith(".") and one.endswith(END)]  # noqa: PTH208
        for path in found:
            of, _, who = path.name.removeprefix(".").removesuffix(END).rpartition(".")
            host, _, pid = who.partition("-")
            if host != _host() or not pid.isdecimal() or (name and of != _cut(name)) or alive(int(pid)):
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
            removed += 1
    return removed


def alive(pid: int) -> bool:
    """Whether a process of this number is at work on this machine."""
    if pid == os.getpid():
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # somebody else's, which we may not signal: it lives
        return True
    with suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"  # dead, not yet buried
    return True


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk, where the system can do that."""
    with suppress(OSError):  # what was renamed is whole either way: a power cut may bring back the one before
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
