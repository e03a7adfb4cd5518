"""Downloads from a server on this machine that cuts, lies and refuses; archives that mean harm."""

import hashlib
import http.server
import io
import os
import tarfile
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from datadam.data import download
from datadam.errors import DownloadError

BODY = np.random.default_rng(1).integers(0, 256, 300_000, dtype=np.uint8).tobytes()
MD5 = f"md5:{hashlib.md5(BODY).hexdigest()}"
SHA = f"sha256:{hashlib.sha256(BODY).hexdigest()}"


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves BODY. `cuts` say after how many bytes the answers break off, `codes` which errors come first."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        server = self.server
        wanted = self.headers.get("Range")
        server.asked.append(wanted)
        time.sleep(server.wait)
        self.close_connection = True
        if server.codes:
            self.send_response(server.codes.pop(0))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if self.path == "/missing":
            self.send_error(404, "not here")
            return
        start = int(wanted.removeprefix("bytes=").split("-")[0]) if wanted and server.ranges else 0
        if start >= len(BODY):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(BODY)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        data = BODY[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start + server.shift}-{len(BODY) - 1}/{len(BODY)}")
        if server.length:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[: server.cuts.pop(0)] if server.cuts else data)


@pytest.fixture
def server() -> Iterator[http.server.HTTPServer]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.asked, server.cuts, server.codes, server.ranges, server.length = [], [], [], True, True
        server.shift, server.wait = 0, 0.0
        server.url = f"http://127.0.0.1:{server.server_port}/file"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def fetch(server: http.server.HTTPServer, to: Path, checksum: str | None = SHA, **more: object) -> Path:
    return download.fetch(server.url, to, checksum=checksum, pause=0, **more)


@pytest.mark.parametrize("checksum", [None, MD5, SHA, SHA.upper().replace("SHA256", "sha256")])
def test_a_whole_file(server: http.server.HTTPServer, tmp_path: Path, checksum: str | None) -> None:
    told: list[tuple[str, int, int | None]] = []
    to = fetch(server, tmp_path / "deep" / "er" / "file.bin", checksum, progress=lambda *what: told.append(what))
    assert to.read_bytes() == BODY
    assert names(to.parent) == ["file.bin"]
    assert told[-1] == ("downloading file.bin", len(BODY), len(BODY))
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)


def test_without_a_length(server: http.server.HTTPServer, tmp_path: Path) -> None:
    server.length = False
    told: list[int | None] = []
    to = fetch(server, tmp_path / "f", progress=lambda what, done, total: told.append(total))
    assert to.read_bytes() == BODY
    assert set(told) == {None}


def test_a_cut_connection_is_resumed(server: http.server.HTTPServer, tmp_path: Path) -> None:
    server.cuts = [100_000, 50_000]
    assert fetch(server, tmp_path / "f").read_bytes() == BODY
    assert server.asked == [None, "bytes=100000-", "bytes=150000-"]


def test_a_part_of_an_earlier_call_is_resumed(server: http.server.HTTPServer, tmp_path: Path) -> None:
    (tmp_path / "f.part").write_bytes(BODY[:7])
    assert fetch(server, tmp_path / "f").read_bytes() == BODY
    assert server.asked == ["bytes=7-"]


def test_a_whole_part_only_gets_its_name(server: http.server.HTTPServer, tmp_path: Path) -> None:
    (tmp_path / "f.part").write_bytes(BODY)
    assert fetch(server, tmp_path / "f").read_bytes() == BODY
    assert server.asked == [f"bytes={len(BODY)}-"]
    assert names(tmp_path) == ["f"]


def test_a_part_longer_than_the_file_is_fetched_anew(server: http.server.HTTPServer, tmp_path: Path) -> None:
    (tmp_path / "f.part").write_bytes(BODY + b"x")
    assert fetch(server, tmp_path / "f").read_bytes() == BODY
    assert server.asked == [f"bytes={len(BODY) + 1}-", None]


def test_a_server_without_ranges_starts_again(server: http.server.HTTPServer, tmp_path: Path) -> None:
    server.ranges, server.cuts = False, [100_000]
    assert fetch(server, tmp_path / "f").read_bytes() == BODY
    assert server.asked == [None, "bytes=100000-"]


def test_a_server_that_sends_other_bytes(server: http.server.HTTPServer, tmp_path: Path) -> None:
    server.shift = 1
    (tmp_path / "f.part").write_bytes(BODY[:7])
    with pytest.raises(DownloadError, match="another range"):
        fetch(server, tmp_path / "f")


@pytest.mark.parametrize("start", [b"", b"\0\0\0"])
def test_a_wrong_checksum(server: http.server.HTTPServer, tmp_path: Path, start: bytes) -> None:
    if start:
        (tmp_path / "f.part").write_bytes(start)  # the beginning of another file
        expected, found = SHA, hashlib.sha256(start + BODY[3:]).hexdigest()
    else:
        expected, found = "sha256:" + "0" * 64, SHA.removeprefix("sha256:")
    with pytest.raises(DownloadError) as caught:
        fetch(server, tmp_path / "f", expected)
    assert found in str(caught.value)
    assert expected.removeprefix("sha256:") in str(caught.value)
    assert names(tmp_path) == []


def test_what_is_there_stays(server: http.server.HTTPServer, tmp_path: Path) -> None:
    to = tmp_path / "f"
    to.write_bytes(BODY)
    assert fetch(server, to) == to
    to.write_bytes(b"mine")
    assert fetch(server, to, None).read_bytes() == b"mine"
    with pytest.raises(DownloadError, match="Remove it to have it fetched again"):
        fetch(server, to)
    assert to.read_bytes() == b"mine"
    assert server.asked == []


def test_a_missing_file_is_asked_for_once(server: http.server.HTTPServer, tmp_path: Path) -> None:
    server.url = server.url.replace("/file", "/missing")
    with pytest.raises(DownloadError, match="404 not here"):
        fetch(server, tmp_path / "f")
    assert len(server.asked) == 1


def test_a_busy_server_is_asked_again(server: http.server.HTTPServer, tmp_path: Path) -> None:
    server.codes = [503, 429, 500]
    assert fetch(server, tmp_path / "f").read_bytes() == BODY
    assert len(server.asked) == 4


def test_attempts_that_bring_nothing_are_counted(server: http.server.HTTPServer, tmp_path: Path) -> None:
    server.cuts = [10] * 8  # each brings something: more than ATTEMPTS of them are fine
    assert fetch(server, tmp_path / "f").read_bytes() == BODY
    server.cuts, server.asked = [10, 0, 0, 0, 0, 0], []
    with pytest.raises(DownloadError, match=r"5 attempts.*what has come is kept"):
        fetch(server, tmp_path / "g")
    assert len(server.asked) == 6
    assert (tmp_path / "g.part").read_bytes() == BODY[:10]


def test_nobody_answers(tmp_path: Path, server: http.server.HTTPServer) -> None:
    server.server_close()
    with pytest.raises(DownloadError, match="refused"):
        fetch(server, tmp_path / "f")


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://x/y", "/etc/passwd"])
def test_only_http(tmp_path: Path, url: str) -> None:
    with pytest.raises(DownloadError, match="http"):
        download.fetch(url, tmp_path / "f")


def test_a_full_disk(server: http.server.HTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        free = 1000

    monkeypatch.setattr(download.shutil, "disk_usage", lambda path: Full)
    with pytest.raises(DownloadError, match="disk is full"):
        fetch(server, tmp_path / "f")
    assert len(server.asked) == 1


def test_two_at_once_fetch_once(server: http.server.HTTPServer, tmp_path: Path) -> None:
    server.cuts, server.wait = [200_000], 0.05
    threads = [threading.Thread(target=fetch, args=(server, tmp_path / "f")) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "f").read_bytes() == BODY
    assert server.asked == [None, "bytes=200000-"]
    assert names(tmp_path) == ["f"]


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def tarred(path: Path, mode: str, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, mode) as tar:
        for info, data in members:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "zip"])
def test_unpack(tmp_path: Path, kind: str) -> None:
    archive = tmp_path / f"set.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(archive, "w") as package:
            package.writestr("set/a.bin", b"1")
            package.writestr("set/deep/b.bin", b"2")
    else:
        members = ((tarfile.TarInfo("set/a.bin"), b"1"), (tarfile.TarInfo("set/deep/b.bin"), b"2"))
        tarred(archive, "w:gz" if kind == "tar.gz" else "w", *members)
    into = download.unpack(archive, tmp_path / "out" / "set")
    assert (into / "set/a.bin").read_bytes() == b"1"
    assert (into / "set/deep/b.bin").read_bytes() == b"2"
    assert names(into.parent) == ["set"]
    (into / "set/a.bin").write_bytes(b"mine")
    assert download.unpack(archive, into) == into
    assert (into / "set/a.bin").read_bytes() == b"mine"


def harmful(kind: str) -> tuple[tarfile.TarInfo, bytes]:
    if "evil" in kind:
        return tarfile.TarInfo(kind), b"x"
    info = tarfile.TarInfo("link")
    info.type, info.linkname = tarfile.SYMTYPE, "../../outside"
    if kind == "device":
        info = tarfile.TarInfo("null")
        info.type = tarfile.CHRTYPE
    return info, b""


@pytest.mark.parametrize("kind", ["../evil", "a/../../evil", "link", "device"])
def test_a_tar_that_leaves_its_folder(tmp_path: Path, kind: str) -> None:
    archive = tarred(tmp_path / "a.tar", "w", (tarfile.TarInfo("fine"), b"1"), harmful(kind))
    with pytest.raises(DownloadError, match="refused"):
        download.unpack(archive, tmp_path / "out" / "set")
    assert names(tmp_path / "out") == []
    assert names(tmp_path) == ["a.tar", "out"]


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil", "link"])
def test_a_zip_that_leaves_its_folder(tmp_path: Path, name: str) -> None:
    info = zipfile.ZipInfo(name)
    if name == "link":
        info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as package:
        package.writestr("fine", b"1")
        package.writestr(info, b"../../outside")
    with pytest.raises(DownloadError, match="refused"):
        download.unpack(tmp_path / "a.zip", tmp_path / "out" / "set")
    assert names(tmp_path / "out") == []


@pytest.mark.parametrize(
    "name",
    ["cut.tar.gz", "cut.tar.xz", "end.tar.gz", "end.tar.xz", "a.tar.gz", "a.tar.bz2", "a.tar.xz", "a.zip", "a.bin", "absent"],
)
def test_a_damaged_archive(tmp_path: Path, name: str) -> None:
    archive = tmp_path / name
    body = bytes(byte & 15 for byte in BODY)  # can be compressed, so that damage matters to every kind
    if ".tar." in name:
        tarred(archive, f"w:{archive.suffix[1:]}", (tarfile.TarInfo("x"), body))
    elif name == "a.zip":
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as package:
            package.writestr("x", body)
    elif name == "a.bin":
        archive.write_bytes(BODY)
    if name.startswith("cut"):
        os.truncate(archive, 100_000)
    elif archive.exists():
        data = bytearray(archive.read_bytes())
        data[slice(-8, -4) if name.startswith("end") else slice(1000, 3000)] = b"\xff" * (4 if "end" in name else 2000)
        archive.write_bytes(data)
    with pytest.raises(DownloadError, match="cannot be unpacked"):
        download.unpack(archive, tmp_path / "out" / "set")
    assert names(tmp_path / "out") == []
