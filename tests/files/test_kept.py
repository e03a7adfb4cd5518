"""What is kept: made once, found whole or not at all, and never in anybody's way."""

from pathlib import Path
from threading import Thread

import pytest
import torch
from safetensors.torch import save_file

from datadam.files.kept import Entry, Record, Store, cache_folder
from datadam.files.whole import read_tensors

MADE = Record(
    {
        "plain": torch.arange(6.0).reshape(2, 3), "last": torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last),
        "half": torch.ones(3, dtype=torch.bfloat16), "right": torch.tensor([True, False]), "one": torch.tensor(7),
        "none": torch.zeros(0, 4, dtype=torch.float64),
    },
    2.5,
)  # fmt: skip


@pytest.fixture
def entry(tmp_path: Path) -> Entry:
    """Where a record may be kept."""
    return Store(tmp_path / "store", "test/1").entry({"seed": 0})


def equal(one: Record | None, other: Record) -> bool:
    return (
        one is not None
        and one.seconds == other.seconds
        and one.tensors.keys() == other.tensors.keys()
        and all(torch.equal(tensor, other.tensors[name]) for name, tensor in one.tensors.items())
    )


def test_a_record_comes_back_bit_by_bit_and_is_made_once(entry: Entry) -> None:
    made: list[int] = []

    def make() -> Record:
        made.append(1)
        return MADE

    assert entry.read() is None
    for found in (False, True, True):
        record, was_there = entry.once(make, like=MADE.tensors)
        assert equal(record, MADE)
        assert was_there == found
    assert len(made) == 1
    assert [path.name for path in entry.file.parent.iterdir()] == [f"{entry.name}.safetensors"]
    entry.remove()
    entry.remove()
    assert entry.read() is None


def test_other_keys_formats_and_names_do_not_meet(tmp_path: Path) -> None:
    store = Store(tmp_path, "test/1")
    keys = [{"seed": 0}, {"seed": 1}, {"seed": "0"}, {"seed": 0, "more": None}]
    entries = [*map(store.entry, keys), Store(tmp_path, "test/2").entry(keys[0]), store.entry(keys[0]).unfinished]
    assert len({entry.file for entry in entries}) == len(entries)
    assert store.entry({"a": 1, "b": 2}) == store.entry({"b": 2, "a": 1})
    entries[0].write(MADE)
    for other in entries[1:]:
        other.file.write_bytes(entries[0].file.read_bytes())  # renamed by somebody
        assert other.read() is None
    named = store.entry(keys[0], "0-1")
    assert named.file == tmp_path / "0-1.safetensors"
    named.write(MADE)
    assert equal(named.read(), MADE)
    assert store.entry(keys[1], "0-1").read() is None


@pytest.mark.parametrize(
    "harm", ["torn", "empty", "foreign", "number", "name", "seconds", "words", "missing", "unsaid", "folder"]
)
def test_what_is_not_whole_is_not_found_and_made_anew(entry: Entry, harm: str) -> None:
    entry.write(MADE)
    tensors, about = read_tensors(entry.file)
    content = entry.file.read_bytes()
    if harm == "torn":
        entry.file.write_bytes(content[:-1])
    elif harm == "empty":
        entry.file.write_bytes(b"")
    elif harm == "foreign":
        entry.file.write_bytes(b"\x80\x04a pickle is never opened")
    elif harm == "folder":
        entry.file.unlink()
        entry.file.mkdir()
    else:
        if harm == "number":
            tensors["plain"] += 1e-6
        elif harm == "name":
            tensors["other"] = tensors.pop("plain")
        elif harm == "missing":
            del tensors["none"]
        elif harm == "unsaid":
            del about["checksum"]
        else:
            about |= {"seconds": {"seconds": "1.0"}, "words": {"key": about["key"].replace("0", "1")}}[harm]
        save_file(tensors, entry.file, about)
    assert entry.read() is None
    record, found = entry.once(lambda: MADE)
    assert equal(record, MADE)
    assert not found
    assert equal(entry.read(), MADE) == (harm != "folder")


@pytest.mark.parametrize(
    "other",
    [torch.zeros(3, 2), torch.zeros(2, 3, dtype=torch.float64), torch.zeros(6), torch.full((2, 3), torch.nan)],
    ids=["shape", "type", "axes", "no number"],
)
def test_what_is_not_as_expected_is_not_found(entry: Entry, other: torch.Tensor) -> None:
    entry.write(Record({"plain": other}, 0.0))
    assert entry.read() is not None
    assert entry.read(like={"plain": MADE.tensors["plain"]}) is None
    assert entry.read(like={"absent": other}) is None


def test_two_that_want_the_same_make_it_once(entry: Entry) -> None:
    made: list[int] = []
    records: list[Record] = []
    others: list[Thread] = []

    def make() -> Record:
        made.append(1)
        if len(made) == 1:  # a second one comes while the first is at work
            others.append(Thread(target=lambda: records.append(entry.once(make)[0])))
            others[0].start()
            others[0].join(0.2)
        return MADE

    records.append(entry.once(make)[0])
    others[0].join()
    assert len(made) == 1
    assert all(equal(record, MADE) for record in records)
    assert [path.suffix for path in entry.file.parent.iterdir()] == [".safetensors"]  # and no lock


def test_a_folder_that_cannot_be_written_costs_time_alone(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    entry = Store(tmp_path / "file" / "in", "test/1").entry({})
    assert not entry.write(MADE)
    for _ in range(2):
        record, found = entry.once(lambda: MADE)
        assert equal(record, MADE)
        assert not found
    entry.remove()
    Store(tmp_path / "file" / "in", "test/1").clear()


def test_what_broke_off_leaves_nothing(entry: Entry) -> None:
    def make() -> Record:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        entry.once(make)
    assert list(entry.file.parent.iterdir()) == []


def test_a_store_is_emptied_and_goes(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", "test/1")
    store.entry({"a": 1}).write(MADE)
    store.entry({"a": 2}).unfinished.write(MADE)
    store.clear()
    assert list(tmp_path.iterdir()) == []


def test_where_caches_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATADAM_CACHE", str(tmp_path))
    assert cache_folder("pools") == tmp_path / "pools"
    monkeypatch.delenv("DATADAM_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder("pools") == tmp_path / ".cache" / "datadam" / "pools"
