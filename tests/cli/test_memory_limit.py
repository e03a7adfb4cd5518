"""A run keeps under the memory it was allowed, or is refused with the smallest limit that does: measured on real processes."""

import re
import subprocess
import time
from pathlib import Path

import pytest
import torch
from cli.conftest import TINY, spawn, write_pictures

from datadam.data import load
from datadam.distillation.forecast import students_within
from datadam.errors import InvalidInput
from datadam.parallel.spread import require_limit

LINUX = Path("/proc/self/status").exists()


def peak_of(process: "subprocess.Popen[str]") -> float:
    """The most memory (MB) that a process was seen to hold until it ended."""
    most = 0.0
    while process.poll() is None:
        most = max(most, megabytes(process.pid, "status", "VmHWM:"))
        time.sleep(0.05)
    return most


def peak_of_all(process: "subprocess.Popen[str]") -> tuple[float, int]:
    """The most memory (MB) that a process and those it started were seen to hold together, pages they share counted once; and
    how many computed."""
    most, seen = 0.0, set()
    while process.poll() is None:
        sizes = {pid: megabytes(pid, "smaps_rollup", "Pss:") for pid in family(process.pid)}
        most = max(most, sum(sizes.values()))
        seen |= {pid for pid, size in sizes.items() if size > 100}  # not what watches over shared memory
        time.sleep(0.05)
    return most, len(seen)


def family(pid: int) -> list[int]:
    """A process and all that came of it."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return [pid]
    return [pid, *(one for child in children for one in family(int(child)))]


def megabytes(pid: int, name: str, word: str) -> float:
    """A number that Linux tells of a process; 0.0 for one that has ended."""
    try:
        lines = Path(f"/proc/{pid}/{name}").read_text().splitlines()
    except OSError:
        return 0.0
    return max((int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(word)), default=0.0)


@pytest.mark.skipif(not LINUX, reason="the peak of another process is read as Linux tells it")
@pytest.mark.parametrize(
    ("more", "processes"),
    [((), 1), (("--zca", "--size", "20"), 1), (("--workers", "2"), 3)],
    ids=["plain", "whitened", "two workers"],
)
def test_the_smallest_limit_does_and_a_smaller_one_is_refused(
    refused, tmp_path: Path, more: tuple[str, ...], processes: int
) -> None:
    data = write_pictures(tmp_path / "pictures", train=40, test=20, side=32)
    options = ["distill", str(data), "--ipc", "2", "--net", "convnet3:width=32", "--batch-real", "32", "--iterations", "3", *more]
    told = refused(*options, "--memory-limit", "1MB", "--out", tmp_path / "refused")
    found = re.search(r"raise --memory-limit \((\d+)MB is the smallest that does\)", told)
    assert found is not None, told
    least = int(found[1])
    assert f"({least}MB is the smallest" in refused(*options, "--memory-limit", f"{least - 1}MB", "--out", tmp_path / "refused")
    assert not (tmp_path / "refused").exists()
    out = tmp_path / "run"
    process = spawn(["-m", "datadam.cli", *options, "--memory-limit", f"{least}MB", "--out", str(out)])
    most, seen = (peak_of(process), 1) if processes == 1 else peak_of_all(process)
    _, complained = process.communicate()
    assert process.returncode == 0, complained
    assert 100 * processes < most <= least
    assert seen >= processes  # a helper that is about to become another program may still look like one
    assert (out / "card.json").exists()


def test_workers_count_and_fewer_of_them_help(refused, tmp_path: Path) -> None:
    data = write_pictures(tmp_path / "pictures")
    options = ["distill", str(data), "--ipc", "1", *TINY, "--memory-limit", "1MB", "--out", tmp_path / "run"]
    told = [refused(*options, *more) for more in ((), ("--workers", "1"), ("--workers", "3"))]
    least = [int(found[1]) for text in told if (found := re.search(r"\((\d+)MB is the smallest", text))]
    assert least[1] > least[0] + 400  # a process more, which computes nothing
    assert least[2] > least[1] + 800
    assert "use fewer --workers (now 3)" in told[2]
    assert "--workers" not in told[0]


@pytest.mark.parametrize(("workers", "limit", "most"), [(4, "3GB", 2), (2, "2GB", 1)])
def test_students_of_a_comparison_count(
    refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int, limit: str, most: int
) -> None:
    data = write_pictures(tmp_path / "pictures")
    options = ["compare", str(data), "--methods", "random,dm", "--ipc", "1", "--workers", workers, "--out", tmp_path / "out"]
    told = refused(*options, "--memory-limit", limit)
    assert f"{workers} workers, each of which trains a student, need about" in told
    assert f"use fewer --workers ({most} at most)" in told
    found = re.search(r"raise --memory-limit \((\d+)MB is the smallest that does\)", told)
    assert found is not None
    real = load(str(data))
    for limit_, expected in ((int(found[1]) * 10**6, workers), (10**9, 1)):
        assert students_within(expected, real, limit_) == expected
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    assert students_within(None, real, 10**12) is None  # as many as pay
    assert students_within(None, real, 10**9) == 1


def test_a_limit_that_nobody_could_keep_is_refused(tmp_path: Path) -> None:
    class Started:
        address = ""

    class Cluster:
        address = "10.0.0.1:6379"

    with pytest.raises(InvalidInput, match=r"cannot be kept with Ray that is started on this machine.*leave out engine ray"):
        require_limit(Started(), 10**9)
    for engine, limit in ((Started(), None), (Cluster(), 10**9), (None, 10**9)):
        require_limit(engine, limit)
