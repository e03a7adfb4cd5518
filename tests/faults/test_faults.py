"""What a run survives: the quick version of benchmarks/faults/faults.py, whose long one is in results/faults.json."""

import functools
import importlib
import io
import json
import re
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from waiting import until

import datadam
from datadam.cli import app
from datadam.data import RealData, cache, catalog
from datadam.distillation import loop, recorder
from datadam.distillation.checkpoint import Checkpoint
from datadam.distillation.recipe import Recipe
from datadam.errors import ArtifactError, NonFiniteLoss, RunFailed
from datadam.files.whole import read_tensors

ROOT = Path(__file__).resolve().parents[2]
STUCK = """
import time
import datadam.distillation.loop
from datadam.data import cache
from datadam.training.students import StudentTrainer
step, teach, blocks = datadam.distillation.loop.Distillation._step, StudentTrainer._train_student, cache._blocks
def stepping(run):
    if run.state.iteration == {iteration}:
        time.sleep(300)
    return step(run)
def teaching(school, item, *others):
    if item[1] == {student}:
        time.sleep(300)
    return teach(school, item, *others)
def building(*what):
    for number, block in enumerate(blocks(*what)):
        if number == {block}:
            time.sleep(300)
        yield block
datadam.distillation.loop.Distillation._step, StudentTrainer._train_student, cache._blocks = stepping, teaching, building
"""  # a process that comes to one of these points stays there until it is killed: it cannot end before


@pytest.fixture(scope="module")
def cases() -> ModuleType:
    """The cases of the long harness."""
    sys.path.insert(0, str(ROOT / "benchmarks" / "faults"))
    try:
        return importlib.import_module("faults_cases")
    finally:
        sys.path.pop(0)


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Signals stay as they are, and checkpoints come often."""
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(loop, "CHECKPOINT_SHARE", 1e9)
    yield
    signal.signal(signal.SIGTERM, before)


def stuck(driver: str, iteration: int | None = None, student: int | None = None, block: int | None = None) -> str:
    """A driver that stops at some point for good."""
    return STUCK.format(iteration=iteration, student=student, block=block) + driver


def killed(driver: str, arguments: list[str], there: Callable[[], Any], place: Path, environment: dict[str, str]) -> None:
    """Start a process and kill it as soon as something is there."""
    with (place / "said.txt").open("w") as said:
        threads = f"import torch\ntorch.set_num_threads({torch.get_num_threads()})\n"  # as here: others round otherwise
        process = subprocess.Popen(
            [sys.executable, "-c", threads + driver, *arguments], stdout=said, stderr=said, env=environment
        )
    try:
        assert until(there, process), (place / "said.txt").read_text()
        assert process.poll() is None, (place / "said.txt").read_text()
    finally:
        process.kill()
        process.wait()


def driven(driver: str, arguments: list[str], keeping: Path) -> None:
    """Let a driver do its work in this process, and undo what it changes of the library."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["-c", *arguments])
        patch.setenv("DATADAM_CACHE", str(keeping))
        patch.setattr(cache, "BLOCK_IMAGES", cache.BLOCK_IMAGES)
        patch.setitem(catalog.CATALOG, "cifar10", catalog.CATALOG["cifar10"])
        exec(driver, {"__name__": "__main__"})


def bytes_of(files: Iterable[Path]) -> int:
    """The size of files that may be gone at any moment."""
    total = 0
    for file in files:
        with suppress(OSError):
            total += file.stat().st_size
    return total


def test_a_distillation_killed_three_times_is_bit_equal(cases: ModuleType, tmp_path: Path) -> None:
    case, whole, place = cases.CASES[0], tmp_path / "whole", tmp_path / "place"
    for folder in (whole, place):
        folder.mkdir()
        cases.prepare(case, tmp_path, folder)
    assert app.run(case.arguments(whole, None)) == 0
    run = place / "run"
    often = cases.CLI.replace("SECONDS = 0.05", "SECONDS, datadam.distillation.loop.CHECKPOINT_SHARE = 0.0, 1e9")
    moments = {"snapshots/00000000.safetensors": 5, "checkpoint/before.safetensors": 40, "snapshots/00000075.safetensors": 80}
    for moment, last in moments.items():
        driver = stuck(often, iteration=last)
        killed(driver, case.arguments(place, None), (run / moment).exists, place, cases.environment(place))
        assert not (run / "card.json").exists()
    assert app.run(case.arguments(place, None)) == 0
    assert case.outcome(place) == case.outcome(whole)
    assert [path for path in place.rglob("*") if case.is_left_over(path)] == []


def test_an_evaluation_loses_the_student_in_progress_alone(cases: ModuleType, tmp_path: Path, monkeypatch) -> None:
    from datadam.training.students import StudentTrainer

    case, place = next(case for case in cases.CASES if case.name == "evaluate"), tmp_path / "place"
    place.mkdir()
    cases.prepare(cases.CASES[0], tmp_path, place)
    run = place / "run"
    assert app.run(["distill", str((place / "data").resolve()), *cases.TINY, "--iterations", "3", "--out", str(run)]) == 0
    shutil.copytree(run, tmp_path / "whole")
    arguments = case.arguments(place, None)
    second = run / "evaluations/.partial"
    driver = stuck(cases.CLI, student=2)
    killed(driver, arguments, lambda: len(list(second.glob("*/*.safetensors"))) >= 2, place, cases.environment(place))
    kept = {path.name for path in second.glob("*/[!.]*.safetensors")}
    assert kept == {"0-0.safetensors", "0-1.safetensors"}
    taught, teach = [], StudentTrainer._train_student
    monkeypatch.setattr(
        StudentTrainer, "_train_student", lambda school, item, *others: (taught.append(item), teach(school, item, *others))[1]
    )
    torn = next(second.glob("*/0-1.safetensors"))
    torn.write_bytes(torn.read_bytes()[:-3])
    with torch.random.fork_rng():
        assert app.run(arguments) == 0
    assert taught == [(0, 1), (0, 2), (0, 3)]
    assert not second.exists()
    assert app.run([arg if arg != str(run) else str(tmp_path / "whole") for arg in arguments]) == 0
    assert cases.of_evaluations(run / "evaluations") == cases.of_evaluations(tmp_path / "whole" / "evaluations")


def test_a_download_and_a_cache_are_gone_on_with(cases: ModuleType, tmp_path: Path) -> None:
    by_name = {case.name: case for case in cases.CASES}
    with cases.Server() as server:
        for name, there in (("download", "root/downloads/*.part"), ("cache", "cache/pixels/*.part")):
            case, place, whole = by_name[name], tmp_path / name, tmp_path / f"{name}-whole"
            for folder in (place, whole):
                folder.mkdir()
                cases.prepare(case, tmp_path, folder)
            server.go.clear()
            files = functools.partial(place.glob, there)
            driver = stuck(case.driver, block=3)
            environment = cases.environment(place)
            killed(driver, case.arguments(place, server), lambda: bytes_of(files()) > 4096, place, environment)  # noqa: B023
            server.go.set()
            assert bytes_of(place.glob(there)) > 4096
            for folder in (place, whole):
                driven(case.driver, case.arguments(folder, server), folder / "cache")
            assert case.outcome(place) == case.outcome(whole)
            assert [path for path in place.rglob("*") if case.is_left_over(path)] == []


@pytest.fixture
def torn_run(real: RealData, recipe: Callable[..., Recipe], tmp_path: Path) -> Path:
    """A run stopped after five of eight iterations, with two checkpoints and snapshots of every iteration."""
    run = datadam.begin(real, recipe(iterations=8), out=tmp_path / "run", snapshots=tuple(range(9)))
    steps = run.steps()
    for _ in range(5):
        next(steps)
    steps.close()
    return tmp_path / "run"


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped", "gone", "numbers"])
def test_a_torn_checkpoint_gives_way_to_the_one_before(
    torn_run: Path, real: RealData, recipe: Callable[..., Recipe], tmp_path: Path, damage: str
) -> None:
    state, before = (torn_run / "checkpoint" / f"{name}.safetensors" for name in ("state", "before"))
    content, earlier = bytearray(state.read_bytes()), json.loads(read_tensors(before)[1]["state"])["iteration"]
    assert 0 < earlier < 5
    if damage == "cut":
        state.write_bytes(content[: len(content) // 2])
    elif damage == "empty":
        state.write_bytes(b"")
    elif damage == "flipped":  # one bit of one pixel: only a checksum can tell
        content[-1] ^= 1
        state.write_bytes(content)
    elif damage == "gone":
        state.unlink()
    else:
        state.write_bytes(bytes(content).replace(b'iteration\\": 5', b'iteration\\": 4'))
    assert state.stat().st_ino != before.stat().st_ino if state.exists() else True
    run = datadam.resume(torn_run, real)
    assert run.state.iteration == earlier
    assert len(run.remarks) == 1
    assert f"going on from the checkpoint before that, after {earlier} iterations" in run.remarks[0]
    assert "state.safetensors" in run.remarks[0]
    kept = {int(path.stem) for path in (torn_run / "snapshots").iterdir()}
    assert kept == set(range(earlier + 1))  # what came later is made anew
    for _ in run.steps():
        pass
    whole = datadam.distill(real, recipe(iterations=8), out=tmp_path / "whole", snapshots=tuple(range(9)))
    assert torch.equal(run.result().images, whole.images)
    assert {p.name for p in (torn_run / "snapshots").iterdir()} == {p.name for p in (tmp_path / "whole/snapshots").iterdir()}


def test_with_both_checkpoints_torn_the_run_is_refused(torn_run: Path, real: RealData) -> None:
    for name in ("state", "before"):
        (torn_run / "checkpoint" / f"{name}.safetensors").write_bytes(b"x" * 50)
    with pytest.raises(ArtifactError, match=r"state.safetensors"):
        datadam.resume(torn_run, real)


def test_a_run_that_never_was_begun_is_no_obstacle(torn_run: Path, real: RealData, recipe: Callable[..., Recipe]) -> None:
    (torn_run / "checkpoint/run.json").unlink()  # killed before its first checkpoint was whole
    assert not Checkpoint(torn_run).exists()
    small = datadam.distill(real, recipe(iterations=2), out=torn_run)
    assert small.card["iterations_done"] == 2


def test_a_snapshot_that_could_not_be_written_is_made_when_the_run_goes_on(
    real: RealData, recipe: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, write = datadam.begin(real, recipe(iterations=6), out=tmp_path / "run", snapshots=(3, 5)), recorder.write_tensors

    def full(path: Path, tensors: dict[str, torch.Tensor]) -> None:
        raise RunFailed(f"no room for {path}")

    monkeypatch.setattr(recorder, "write_tensors", full)
    with pytest.raises(RunFailed, match=r"no room for .*00000003"):
        list(run.steps())
    monkeypatch.setattr(recorder, "write_tensors", write)
    again = datadam.resume(tmp_path / "run", real)
    assert again.state.iteration < 3
    list(again.steps())
    assert {path.stem for path in (tmp_path / "run/snapshots").iterdir()} == {"00000000", "00000003", "00000005"}


def test_what_a_download_left_that_was_killed_at_its_end_is_removed(cases: ModuleType, tmp_path: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(cases.archive())) as tar:
        tar.extractall(tmp_path, filter="data")
    place = tmp_path / "downloads"
    (place / "cifar-10-binary.tar.gz.unpacked").mkdir(parents=True)
    for name in ("cifar-10-binary.tar.gz", "cifar-10-batches-bin.lock", "mine.tar.gz"):
        (place / name).touch()
    assert len(datadam.load("cifar10", root=tmp_path).train) == 1000
    assert [path.name for path in place.iterdir()] == ["mine.tar.gz"]


def test_not_a_number_leaves_the_last_good_checkpoint(real: RealData, recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    with pytest.raises(NonFiniteLoss, match=r"the last good checkpoint is in .*Lower lr_images"):
        datadam.distill(real, recipe(iterations=50, lr_images=1e200, net="convnet2:norm=none:width=6"), out=tmp_path / "run")
    tensors, _ = read_tensors(tmp_path / "run/checkpoint/state.safetensors")
    assert all(tensor.isfinite().all() for tensor in tensors.values())
    assert not (tmp_path / "run/card.json").exists()
    assert not (tmp_path / "run/.lock").exists()


def test_the_page_says_what_was_measured() -> None:
    found, page = json.loads((ROOT / "results/faults.json").read_text()), (ROOT / "docs/faults.md").read_text()
    names = {
        "distill": "a distillation",
        "sharded": "a run with two workers",
        "evaluate": "an evaluation",
        "compare": "a grid",
        "download": "a download",
        "cache": "a cache",
    }
    for case, words in names.items():
        row = found["summary"][case]
        assert re.search(rf"\| SIGKILL of {words} .*\| {row['survived']} of {row['kills']} \|", page), words
        assert row["survived"] == row["kills"] >= (100 if case == "distill" else 25)
    assert all(other["survived"] for other in found["others"].values())
    assert {"SIGTERM", "Ctrl-C", "full disk", "read-only folder", "clock that jumps", "two processes", "NaN"} == set(
        found["others"]
    )
