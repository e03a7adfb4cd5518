"""Files are there whole or not at all; what is read is not trusted."""

import json
import os
import struct
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
import torch

from datadam.errors import ArtifactError, RunFailed
from datadam.files import partial, whole
from datadam.files.whole import read_json, read_slices, read_tensors, replacing, write_json, write_tensors


def test_a_file_is_flushed_then_named_then_its_folder_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def flush(descriptor: int) -> None:
        told.append(f"flush {Path(f'/proc/self/fd/{descriptor}').readlink().name}")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", flush)
    monkeypatch.setattr(Path, "replace", lambda path, to: (told.append(f"rename {path.name} {to.name}"), replace(path, to))[1])
    write_json(tmp_path / "a.json", {"x": 1})
    name = partial.beside(tmp_path / "a.json").name
    assert told == [f"flush {name}", f"rename {name} a.json", f"flush {tmp_path.name}"]


def test_a_folder_that_cannot_be_flushed_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "open", lambda *_: (_ for _ in ()).throw(OSError("not here")))
    write_json(tmp_path / "a.json", {"x": 1})
    assert read_json(tmp_path / "a.json") == {"x": 1}


def test_a_failure_leaves_what_stood_there(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"x": 1})
    with pytest.raises(RunFailed, match="what stood there before is untouched"), replacing(tmp_path / "a.json") as partial:  # noqa: PT012
        partial.write_text("half")
        raise OSError("disk full")
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "a.json") as partial:  # noqa: PT012
        partial.write_text("half")
        raise KeyboardInterrupt
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert read_json(tmp_path / "a.json") == {"x": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


KILLED = """
import os, signal, sys
from pathlib import Path
from datadam.files.whole import replacing
with replacing(Path(sys.argv[1])) as partial:
    partial.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_goes_when_the_file_is_written_again(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", 1)
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "a.json")], check=False)
    assert len(list(tmp_path.iterdir())) == 2
    assert read_json(tmp_path / "a.json") == 1
    write_json(tmp_path / "b.json", 2)  # another file: not its business
    assert len(list(tmp_path.iterdir())) == 3
    write_json(tmp_path / "a.json", 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "b.json"]


def test_names_of_every_length(tmp_path: Path) -> None:
    for length in (1, 199, 200, 201, 250):
        write_json(tmp_path / ("x" * length), length)
        assert read_json(tmp_path / ("x" * length)) == length


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "Expecting value"),
        (b"{", "truncated or not ours"),
        (b"\xff\xfe", "utf-8"),
        (b"[" * 200_000, "recursion"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "recursion"),
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', "the name 'c' stands there twice"),
        (b'{"a": NaN}', "NaN is no number"),
        (b'{"a": -Infinity}', "-Infinity is no number"),
        (b'{"a": ' + b"9" * 100_000 + b"}", "Exceeds the limit"),
    ],
)
def test_hostile_json(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ArtifactError, match=f"a.json cannot be read as JSON.*{told}"):
        read_json(tmp_path / "a.json")


def test_endless_json_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole, "LARGEST_JSON", 10_000_000)
    with (tmp_path / "a.json").open("wb") as file:
        file.truncate(50_000_000_000)  # a hole: no disk is needed
    tracemalloc.start()
    with pytest.raises(ArtifactError, match="larger than 10 MB"):
        read_json(tmp_path / "a.json")
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 50_000_000


def forged(header: object, data: bytes = b"\0" * 16) -> bytes:
    words = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(words)) + words + data


ONE = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
HUGE = 10**12


@pytest.mark.parametrize(
    "content",
    [
        forged({"a": {"dtype": "F32", "shape": [HUGE], "data_offsets": [0, 4 * HUGE]}}),
        forged({"a": {"dtype": "F32", "shape": [HUGE, HUGE, HUGE], "data_offsets": [0, 16]}}),
        forged({"a": {"dtype": "F32", "shape": [2**62, 4], "data_offsets": [0, 16]}}),  # 2 ** 64 numbers are none
        forged({"a": {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}}),
        forged({"a": {"dtype": "F32", "shape": [4], "data_offsets": [8, 24]}}),
        forged({"a": {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]}}),
        forged({"a": ONE, "b": ONE}, b"\0" * 8),  # one over the other
        forged({"a": ONE, "b": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]}}),
        forged({"a": ONE, "b": {"dtype": "F32", "shape": [1], "data_offsets": [12, 16]}}),  # a hole
        forged({"a": {"dtype": "PYOBJECT", "shape": [2], "data_offsets": [0, 8]}}),
        forged({"a": ONE, "__metadata__": {"state": {"deep": 1}}}, b"\0" * 8),
        forged(b'{"a":' * 50_000),
        forged(b"{}" + b" " * 10, b""),
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 90_000_000) + b"{" + b" " * 1000,
        b"PK\x03\x04" + b"\0" * 100,
        b"\x80\x04\x95" + b"\0" * 100,
    ],
    ids=range(17),
)
def test_forged_safetensors(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    tracemalloc.start()
    if content[8:10] != b"{}":  # a file without tensors is one
        with pytest.raises(ArtifactError, match=r"a.safetensors is no whole safetensors file"):
            read_tensors(path)
    with pytest.raises(ArtifactError):
        list(read_slices(path, "a", 1))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 5_000_000


def test_tensors_and_slices_are_read_as_written(tmp_path: Path) -> None:
    images = torch.arange(24.0).reshape(6, 2, 2)
    write_tensors(tmp_path / "a.safetensors", {"images": images.transpose(1, 2), "none": torch.zeros(0, 3)}, {"x": "y"})
    tensors, metadata = read_tensors(tmp_path / "a.safetensors")
    assert torch.equal(tensors["images"], images.transpose(1, 2))
    assert tensors["none"].shape == (0, 3)
    assert metadata == {"x": "y"}
    for rows in (1, 4, 6, 9):
        pieces = list(read_slices(tmp_path / "a.safetensors", "images", rows))
        assert [len(piece) for piece in pieces[:-1]] == [rows] * (len(pieces) - 1)
        assert torch.equal(torch.cat(pieces), images.transpose(1, 2))


@pytest.mark.parametrize("name", ["a", "abcd", "abcdefgh", "x" * 40])
def test_what_is_read_begins_where_what_is_made_does(tmp_path: Path, name: str) -> None:
    """A header of any length lies before the tensors of a file; products of matrices look at where they begin."""
    write_tensors(tmp_path / "t.safetensors", {name: torch.rand(3, 5), f"{name} too": torch.rand(7, dtype=torch.float64)})
    read = [*read_tensors(tmp_path / "t.safetensors")[0].values(), *read_slices(tmp_path / "t.safetensors", name, 2)]
    assert [tensor.data_ptr() % 64 for tensor in read] == [0] * 4
