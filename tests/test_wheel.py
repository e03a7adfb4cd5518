"""What is given away: a source archive, the wheel built from it, and the wheel at work where nothing of the source tree lies."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "datadam"
TINY = ["--ipc", "1", "--iterations", "2", "--batch-real", "2", "--net", "convnet1:width=4", "--out", "run"]

pytestmark = pytest.mark.slow


def python(folder: Path, *arguments: str, **environment: str) -> str:
    """What a program of this Python prints; it must end well."""
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=os.environ | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The archive of the source, and the wheel that is built from it; without the network."""
    place = tmp_path_factory.mktemp("dist")
    python(place, "-m", "build", "--no-isolation", "--outdir", str(place), str(ROOT))
    (archive,), (wheel,) = place.glob("*.tar.gz"), place.glob("*.whl")
    return archive, wheel


@pytest.fixture(scope="module")
def installed(built: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel in it; its dependencies are those of this Python."""
    place = tmp_path_factory.mktemp("installed")
    pip = ("-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--disable-pip-version-check")
    python(place, *pip, "--target", str(place), str(built[1]))
    return place


def test_the_wheel_holds_every_file_of_the_package_and_no_other(built: tuple[Path, Path]) -> None:
    here = {path.relative_to(SOURCE.parent).as_posix() for path in SOURCE.rglob("*") if path.is_file()}
    here = {path for path in here if "__pycache__" not in path}
    with zipfile.ZipFile(built[1]) as wheel:
        there = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert there == here
    for end in ("py.typed", "page.html.j2", ".css", ".js", "t10k-labels-idx1-ubyte.gz"):
        assert any(name.endswith(end) for name in there), end


def test_the_archive_holds_what_a_packager_needs(built: tuple[Path, Path]) -> None:
    with tarfile.open(built[0]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "tests/test_wheel.py", "docs/site.py"} <= names
    assert not [name for name in names if name.startswith((".venv", "site/", "runs/")) or "__pycache__" in name]


def test_the_wheel_distils_and_reports(installed: Path, tmp_path: Path) -> None:
    found = python(tmp_path, "-c", "import datadam; print(datadam.__file__)", PYTHONPATH=str(installed))
    assert Path(found.strip()).is_relative_to(installed)
    command = str(installed / "bin" / "datadam")
    python(tmp_path, command, "distill", "mnist", *TINY, PYTHONPATH=str(installed), OMP_NUM_THREADS="1")
    assert (tmp_path / "run" / "distilled.safetensors").exists()
    python(tmp_path, command, "report", "run", "--no-data", PYTHONPATH=str(installed), OMP_NUM_THREADS="1")
    page = (tmp_path / "run" / "report.html").read_text("utf-8")
    assert "<style" in page
    assert "<script" in page
