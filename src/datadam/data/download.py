"""Fetch a file over HTTP and unpack archives: resumed after a cut, checked before it gets its name."""

import errno
import hashlib
import http.client
import lzma
import os
import shutil
import stat
import tarfile
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
import zlib
from collections.abc import Callable
from email.message import Message
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from datadam.errors import DownloadError
from datadam.files.lock import hold
from datadam.files.partial import beside, sweep, sync_folder

Progress = Callable[[str, int, int | None], None]

CHUNK = 1 << 18
TIMEOUT = 30.0  # seconds without a byte
ATTEMPTS = 5  # in a row that bring nothing
LARGEST = 4_000_000_000  # bytes of a file, unless told otherwise: no set that is fetched is half as large
LARGEST_UNPACKED, MOST_FILES = 20_000_000_000, 3_000_000  # of an archive: one of ImageNet's size has half as many
FLUSHED_SINGLY = 1000  # files of an archive
OURSELVES = ("localhost", "127.0.0.1", "::1")  # the only hosts that may do without https
WORTH_ANOTHER_TRY = (408, 416, 425, 429, 500, 502, 503, 504)


def fetch(
    url: str, to: Path, *, checksum: str | None = None, largest: int = LARGEST, progress: Progress | None = None,
    pause: float = 1.0,
) -> Path:  # fmt: skip
    """Fetch `url` into the file `to`. A file that is there already stays as it is, if its checksum is right.

    Arguments: `checksum`, "md5:<hex>" or "sha256:<hex>" of the whole file; `largest`, bytes that are taken at most;
    `progress(what, done, total)`, in bytes; `pause`, seconds before the second attempt, doubled before each further one.
    Only https is spoken, also where the server sends us on; http with this machine alone.
    What has come lies in `to` with ".part" behind its name, where the next attempt, or the next call, goes on.
    Raises DownloadError when the server refuses, when it stays silent, or when the file is not the expected one (which
    is then removed). Returns `to`.
    """
    _require_safe(url)
    if to.exists():
        _check(to, checksum, str(to), cure="Remove it to have it fetched again.", keep=True)
        return to
    part = to.with_name(to.name + ".part")
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        part.touch()
    except OSError as error:
        raise DownloadError(f"{to.parent} cannot be written: {error}. Choose another folder.") from error
    with hold(to):
        if not to.exists():  # else another process was at it, and has just finished
            with part.open("a+b") as file:
                _receive(url, file, to.name, largest, progress, pause)
                os.fsync(file.fileno())
            _check(part, checksum, f"what {url} sent", cure="Try again; if it stays so, the file has changed there.")
            part.replace(to)
            sync_folder(to.parent)
        part.unlink(missing_ok=True)
    return to


def unpack(archive: Path, into: Path) -> Path:
    """Unpack a tar (plain, gz, bz2, xz) or zip archive as the folder `into`, which is there whole or not at all.

    A folder that is there already stays as it is. Raises DownloadError for a damaged archive, and for one with members
    that would leave the folder. Returns `into`.
    """
    if into.exists():
        return into
    into.parent.mkdir(parents=True, exist_ok=True)
    sweep(into.parent, into.name)
    made = beside(into)
    try:
        made.mkdir()
        if zipfile.is_zipfile(archive):
            _unzip(archive, made)
        else:
            _untar(archive, made)
        _flush(made)
        if not into.exists():  # else another process was faster
            made.rename(into)
            sync_folder(into.parent)
    except tarfile.FilterError as error:
        raise DownloadError(f"{archive} is refused: {error}.") from error
    except (*_DAMAGE, OSError) as error:
        if getattr(error, "errno", None) == errno.ENOSPC:
            raise DownloadError(f"the disk of {into.parent} is full: {archive} was not unpacked. Make room.") from error
        raise DownloadError(f"{archive} cannot be unpacked: {error}. Remove it to have it fetched again.") from error
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return into


_DAMAGE = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, ValueError, NotImplementedError)


def _require_safe(url: str) -> None:
    """Raises DownloadError unless nobody on the way can change what comes from there."""
    try:
        parts = urllib.parse.urlsplit(url)
        safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in OURSELVES)
    except ValueError:
        safe = False
    if not safe:
        raise DownloadError(f"{url} cannot be fetched: only https:// addresses can (http:// of this machine alone).")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows where the way stays safe."""

    def redirect_request(self, request: Any, answer: Any, code: int, words: str, headers: Any, url: str) -> Any:
        """The request for the new address. Raises DownloadError where the server sends us elsewhere than it may."""
        if urllib.parse.urlsplit(request.full_url).scheme == "https" and not url.startswith("https://"):
            raise DownloadError(f"{request.full_url} sends us on to {url}, which is not https; it was not followed.")
        _require_safe(url)
        return super().redirect_request(request, answer, code, words, headers, url)


def _receive(url: str, file: BinaryIO, name: str, largest: int, progress: Progress | None, pause: float) -> None:
    """Append to `file` until it is whole."""
    fruitless = 0
    while True:
        before = file.seek(0, 2)
        try:
            _attempt(url, file, name, largest, progress)
            return
        except urllib.error.HTTPError as error:
            error.close()
            if error.code not in WORTH_ANOTHER_TRY:
                raise DownloadError(f"{url} cannot be fetched: the server says {error.code} {error.reason}.") from error
            fault: Exception = error
        except (OSError, http.client.HTTPException) as error:
            if getattr(error, "errno", None) == errno.ENOSPC:
                raise DownloadError(f"the disk is full: {name} stays incomplete. Make room and start again.") from error
            fault = error
        fruitless = 0 if file.seek(0, 2) > before else fruitless + 1
        if fruitless == ATTEMPTS:
            reason = getattr(fault, "reason", fault)
            raise DownloadError(
                f"{url} cannot be fetched: {reason} ({ATTEMPTS} attempts). Check the connection and start again: "
                "what has come is kept."
            ) from fault
        time.sleep(pause * 2 ** max(0, fruitless - 1))


def _attempt(url: str, file: BinaryIO, name: str, largest: int, progress: Progress | None) -> None:
    """One request, from where `file` ends. Raises an OSError or HTTPException when the answer is cut off."""
    done = file.seek(0, 2)
    # A compressed answer could not be resumed by bytes.
    request = urllib.request.Request(url, headers={"User-Agent": "datadam", "Accept-Encoding": "identity"})
    if done:
        request.add_header("Range", f"bytes={done}-")
    try:
        answer = urllib.request.build_opener(_Redirects).open(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not done:
            raise
        if error.headers.get("Content-Range") == f"bytes */{done}":  # nothing was missing but the name
            return
        file.truncate(0)  # more than there is: the file has become another one
        raise
    with answer:
        if done and not (answer.status == 206 and _first_byte(answer.headers) == done):
            if answer.status == 206:
                raise DownloadError(f"{url} answers with another range of bytes than the one asked for.")
            done = file.seek(0)
            file.truncate()  # the server knows no ranges and sends all of it
        length = answer.headers.get("Content-Length")
        try:
            total = done + int(length) if length else None
        except ValueError:
            raise DownloadError(f"{url} answers with a length that is no number: {length[:40]!r}.") from None
        if total and total > largest:
            _refuse_size(url, file, f"{total / 1e9:.3g} GB", largest)
        if total and total - done > shutil.disk_usage(Path(file.name).parent).free:
            raise OSError(errno.ENOSPC, "no space left")
        while chunk := answer.read(CHUNK):
            done += len(chunk)
            if done > largest:
                _refuse_size(url, file, "more", largest)
            file.write(chunk)
            if progress:
                progress(f"downloading {name}", done, total)
    if total is not None and done < total:
        raise http.client.IncompleteRead(b"", total - done)


def _refuse_size(url: str, file: BinaryIO, came: str, largest: int) -> NoReturn:
    file.truncate(0)  # nobody shall find the disk full of it
    raise DownloadError(f"{url} sends {came} where {largest / 1e9:.3g} GB are the most; it is not the expected file.")


def _first_byte(headers: Message) -> int | None:
    """The 7 of "Content-Range: bytes 7-99/100"."""
    first = headers.get("Content-Range", "").removeprefix("bytes ").split("-")[0]
    return int(first) if first.isdigit() else None


def _check(path: Path, checksum: str | None, what: str, *, cure: str, keep: bool = False) -> None:
    """Raises DownloadError, and removes the file unless it is to be kept, when its checksum is another one."""
    if checksum is None:
        return
    kind, _, expected = checksum.partition(":")
    assert kind in ("md5", "sha256"), checksum
    with path.open("rb") as file:
        found = hashlib.file_digest(file, kind).hexdigest()
    if found != expected.lower():
        if not keep:
            path.unlink()
        raise DownloadError(f"{what} is not the expected file: its {kind} is {found}, not {expected}. {cure}")


def _flush(folder: Path) -> None:
    """Have all files of a folder on the disk: each by itself or, where they are many, all that the system holds."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    if len(files) > FLUSHED_SINGLY and hasattr(os, "sync"):
        os.sync()
        return
    for path in files:
        with path.open("rb") as file:
            os.fsync(file.fileno())


def _untar(archive: Path, into: Path) -> None:
    files = size = 0

    def within(member: tarfile.TarInfo, path: str) -> tarfile.TarInfo | None:
        nonlocal files, size
        files, size = files + 1, size + max(0, member.size)
        _require_room(archive, files, size)
        return tarfile.data_filter(member, path)

    with tarfile.open(archive) as tar:
        tar.extractall(into, filter=within)
        while tar.fileobj and (rest := tar.fileobj.read(CHUNK)):  # to the end, where the checksum of gz and xz is
            size += len(rest)
            _require_room(archive, files, size)


def _unzip(archive: Path, into: Path) -> None:
    with zipfile.ZipFile(archive) as package:
        members = package.infolist()
        _require_room(archive, len(members), sum(member.file_size for member in members))  # no more than that is written
        for member in members:
            inside = (into / member.filename).resolve().is_relative_to(into.resolve())
            if not inside or stat.S_ISLNK(member.external_attr >> 16):
                raise DownloadError(f"{archive} is refused: {member.filename!r} would leave the folder.")
        package.extractall(into)


def _require_room(archive: Path, files: int, size: int) -> None:
    """Raises DownloadError for an archive that swells beyond reason."""
    if files > MOST_FILES or size > LARGEST_UNPACKED:
        raise DownloadError(
            f"{archive} is refused: unpacked it is more than {MOST_FILES:,} files or {LARGEST_UNPACKED / 1e9:.3g} GB."
        )
