"""A run keeps under the memory it was allowed, or is refused with the smallest limit that does: measured on real processes."""

import re
import subprocess
import time
from pathlib import Path

import pytest
from cli.conftest import spawn, write_pictures

LINUX = Path("/proc/self/status").exists()


def peak_of(process: "subprocess.Popen[str]") -> float:
    """The most memory (MB) that a process was seen to hold until it ended."""
    most = 0.0
    while process.poll() is None:
        try:
            lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
            most = max([most, *(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM:"))])
        except OSError:
            break
        time.sleep(0.02)
    return most


@pytest.mark.skipif(not LINUX, reason="the peak of another process is read as Linux tells it")
@pytest.mark.parametrize("more", [(), ("--zca", "--size", "32")], ids=["plain", "whitened"])
def test_the_smallest_limit_does_and_a_smaller_one_is_refused(refused, tmp_path: Path, more: tuple[str, ...]) -> None:
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
    most = peak_of(process)
    _, complained = process.communicate()
    assert process.returncode == 0, complained
    assert 100 < most <= least
    assert (out / "card.json").exists()
