"""The page of scale says what was measured."""

import subprocess
import sys
from pathlib import Path

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


def test_the_examples_of_clusters_are_closed() -> None:
    folder = ROOT / "docs" / "examples-cluster"
    job = yaml.safe_load((folder / "kuberay.yaml").read_text())
    assert job["spec"]["rayClusterSpec"]["authOptions"] == {"mode": "token"}
    script = (folder / "slurm.sh").read_text()
    assert "RAY_AUTH_MODE=token" in script
    assert subprocess.run(["bash", "-n", folder / "slurm.sh"], check=False).returncode == 0
