"""The page of scale says what was measured, and the simulation has the bounds that it must have."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_is_up_to_date() -> None:
    outcome = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "scale" / "scale_table.py", "--check"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stderr


@pytest.fixture(scope="module")
def simulation() -> ModuleType:
    spec = importlib.util.spec_from_file_location("scheduler", ROOT / "benchmarks" / "scale" / "scheduler.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules["scheduler"] = made
    spec.loader.exec_module(made)
    return made


@pytest.mark.parametrize("shards", [64, 256])
def test_without_trouble_the_longest_worker_decides(simulation: ModuleType, shards: int) -> None:
    world = simulation.World(shards, None, 0, True, 0)
    each = shards // 64 * simulation.START
    low, high = (n * simulation.SECONDS_A_CLASS for n in (10_000 / 64, 10_000 / 64 + 2 * shards / 64))
    assert low + each <= world.run() <= high + each
    assert (world.lost, world.copied, world.repeated) == (0, 0, 0.0)


def test_with_trouble_all_is_done_and_copies_help(simulation: ModuleType) -> None:
    world = simulation.World(64, 2.0, 4, True, 3)
    seconds = world.run()
    assert seconds == simulation.World(64, 2.0, 4, True, 3).run()  # a simulated clock
    assert seconds > simulation.ideal(4)
    assert world.lost > 0
    assert world.repeated > 0
    assert world.copied > 0
    slow = [simulation.World(64, None, 4, copies, 0).run() for copies in (True, False)]
    assert slow[0] < 0.9 * slow[1]


def test_the_examples_of_clusters_are_closed() -> None:
    folder = ROOT / "docs" / "examples-cluster"
    job = yaml.safe_load((folder / "kuberay.yaml").read_text())
    assert job["spec"]["rayClusterSpec"]["authOptions"] == {"mode": "token"}
    script = (folder / "slurm.sh").read_text()
    assert "RAY_AUTH_MODE=token" in script
    assert subprocess.run(["bash", "-n", folder / "slurm.sh"], check=False).returncode == 0
