"""What a spread run keeps on the disk survives whatever stops its driver, at the worst of moments."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from here import Here, assert_same, stopped, tiny
from small import make_real

import datadam
from datadam import parallel
from datadam.distillation import loop
from datadam.distillation.begin import begin, resume
from datadam.distillation.checkpoint import Checkpoint, RunState
from datadam.distillation.shards import run as shards
from datadam.distillation.shards.records import Records
from datadam.distillation.shards.run import Sharded
from datadam.distillation.shards.worker import ShardLine, ShardSnapshot, ShardState
from datadam.errors import RunFailed
from datadam.methods.plan import Plan
from datadam.parallel.spread import Places, Spread


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers in this process, which tell after each iteration where they stand."""
    monkeypatch.setattr(parallel, "Processes", Here)
    monkeypatch.setattr(shards, "LEAST_PAUSE", 0.0)
    monkeypatch.setattr(shards, "BYTES_A_SECOND", float("inf"))
    monkeypatch.setattr(loop, "CHECKPOINT_SHARE", float("inf"))


def standing() -> ShardState:
    """Where two classes may stand after three iterations."""
    zeros = torch.zeros(2, 3, 4, 4).numpy()
    return ShardState(3, {"images": zeros}, {"images/momentum_buffer": zeros.copy()}, 0.0, 0.0)


def go_on(out: Path, real: datadam.RealData, spread: Spread | None = None) -> None:
    """Resume, to the end."""
    run = resume(out, real, spread=spread)
    assert list(run.steps())
    run.result()


@pytest.mark.parametrize("torn", [False, True])
def test_a_snapshot_outlives_a_driver_that_dies_when_it_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torn: bool
) -> None:
    """One shard is past it and will not tell it again, the other stands before it: by its last word, or since that is torn."""
    real = make_real(classes=4)
    datadam.distill(real, tiny(real), out=tmp_path / "plain")
    out = tmp_path / "run"
    if torn:
        stopped(real, tiny(real), out, 2, monkeypatch, 2, at=6)  # both have told that they stand there
        file = out / "checkpoint" / "shards" / "000002-000004.safetensors"
        file.write_bytes(file.read_bytes()[:-9])
    else:
        stopped(real, tiny(real), out, 2, monkeypatch, 2, ShardSnapshot, 6)
    assert (out / "snapshots" / "00000006.safetensors").exists()
    assert resume(out, real).at == [12, 12, 5, 5]
    go_on(out, real, Spread(workers=2, shards=3))
    assert_same(out, tmp_path / "plain")


def test_images_of_shards_are_let_go_of_when_all_stand_behind_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = make_real(classes=4)
    stopped(real, tiny(real), tmp_path / "run", 2, monkeypatch, 2, at=10)
    left = {path.name[:11] for path in (tmp_path / "run" / "checkpoint" / "shards").glob("at-*")}
    assert left == {"at-00000012"}  # of the one that is at its end; 3, 6 and 9 are behind both


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_between_images_and_momentum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals) -> None:
    real = make_real(classes=4)
    datadam.distill(real, tiny(real), out=tmp_path / "plain")
    run = begin(real, tiny(real), out=tmp_path / "run", spread=Spread(workers=1))
    tensor, calls = shards.tensor, []

    def stopping(array: Any) -> torch.Tensor:
        calls.append(array)
        if len(calls) == 4:  # of the second word: the images are there, their momentum is not
            os.kill(os.getpid(), number)
        return tensor(array)

    def usual(*_: object) -> None:
        raise KeyboardInterrupt

    before = [signal.signal(n, usual) for n in (signal.SIGINT, signal.SIGTERM)]
    try:
        with monkeypatch.context() as patch:
            patch.setattr(shards, "tensor", stopping)
            with pytest.raises(KeyboardInterrupt):
                list(run.steps())
    finally:
        for n, handler in zip((signal.SIGINT, signal.SIGTERM), before, strict=True):
            signal.signal(n, handler)
    assert len(calls) == 4
    assert (run.saved, run.at) == (2, [2] * 4)
    go_on(tmp_path / "run", real)
    assert_same(tmp_path / "run", tmp_path / "plain")


def test_what_breaks_between_images_and_momentum_leaves_the_checkpoint_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = make_real(classes=4)
    datadam.distill(real, tiny(real), out=tmp_path / "plain")
    run = begin(real, tiny(real), out=tmp_path / "run", spread=Spread(workers=1))
    tensor, calls = shards.tensor, []

    def full(array: Any) -> torch.Tensor:
        calls.append(array)
        if len(calls) == 4:
            raise MemoryError
        return tensor(array)

    with monkeypatch.context() as patch:
        patch.setattr(shards, "tensor", full)
        with pytest.raises(MemoryError):
            list(run.steps())
    assert resume(tmp_path / "run", real).state.iteration == 1
    go_on(tmp_path / "run", real)
    assert_same(tmp_path / "run", tmp_path / "plain")


@pytest.mark.parametrize("count", [1, 2])
def test_a_kill_between_moving_the_last_word_away_and_writing_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    real = make_real(classes=4)
    datadam.distill(real, tiny(real), out=tmp_path / "plain")
    stopped(real, tiny(real), tmp_path / "run", count, monkeypatch, 7)
    folder = tmp_path / "run" / "checkpoint" / "shards"
    (last,) = folder.glob("0*.safetensors")
    last.replace(folder / f"earlier-{last.name}")
    run = resume(tmp_path / "run", real)
    assert run.at == [7] * 4 if count == 1 else [7, 7, 0, 0]
    go_on(tmp_path / "run", real)
    assert_same(tmp_path / "run", tmp_path / "plain")


def test_images_alone_are_no_place_to_go_on_from(tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    records = Records(folder, 4)
    assert not records
    records.keep(0, 2, ShardSnapshot(3, {"images": torch.zeros(2, 3, 4, 4).numpy()}))
    assert not records
    records.stand(0, 2, standing())
    assert records


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="Linux tells which file is flushed")
def test_lines_are_on_the_disk_before_the_state_that_counts_on_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A power cut may take whatever was not flushed: then the state would go on without lines that are never made again."""
    flushed: list[str] = []
    fsync = os.fsync

    def noting(descriptor: int) -> None:
        flushed.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    real = make_real(classes=4)
    run = begin(real, tiny(real), out=tmp_path / "run")
    monkeypatch.setattr(os, "fsync", noting)
    list(run.steps())
    assert flushed.index("metrics.jsonl") < next(n for n, name in enumerate(flushed) if name.startswith(".state.safetensors"))

    flushed.clear()
    records = Records(tmp_path / "shards", 4)
    records.line(0, 2, ShardLine(3, {"sam": [0.0, 0.0]}, {"sam": 0.0}, 0.0))
    assert flushed == []  # not at every line
    records.stand(0, 2, standing())
    assert flushed.index("lines.jsonl") < next(n for n, name in enumerate(flushed) if name.startswith(".000000-000002"))


def test_lines_that_cannot_be_flushed_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = begin(make_real(), tiny(make_real()), out=tmp_path / "run")
    (tmp_path / "run" / "metrics.jsonl").touch()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunFailed, match=r"cannot write .*metrics\.jsonl: .*No space left .*resume"):
        run.recorder.save(run.state, run.plan)


def test_the_state_before_is_kept_on_a_disk_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", none)
    checkpoint, zeros = Checkpoint(tmp_path), torch.zeros(2, 3, 4, 4)
    for iteration in range(3):
        kept = checkpoint.state.read_bytes() if iteration else b""
        assert checkpoint.write(
            RunState({"images": zeros + iteration}, {"images/momentum_buffer": zeros}, iteration), Plan(False, 4, 1)
        )
        assert not iteration or checkpoint.before.read_bytes() == kept
    assert {path.name for path in checkpoint.folder.iterdir()} == {"state.safetensors", "before.safetensors"}


@pytest.mark.parametrize(("planned", "there", "asked"), [(8, 2, 2), (2, 8, 2)])
def test_a_smaller_cluster_than_the_run_began_on(planned: int, there: int, asked: int) -> None:
    """Its cores are what is asked for, else nobody would ever get them; what computes keeps to the plan."""
    crews: list[tuple[int, int]] = []

    class Cluster:
        address = "10.0.0.1:6379"
        gpus = 0.0

        def settle(self, workers: int | None, items: int) -> tuple[int, int]:
            return 1, there

        def crew(self, task: Any, threads: int) -> Here:
            crews.append((threads, task.plan.threads))
            return Here(task, 1)

    real = make_real()
    run = begin(real, tiny(real, iterations=2), plan=Plan(False, 64, planned), spread=Spread(engine=Cluster()))
    assert isinstance(run, Sharded)
    assert isinstance(run.places, Places)
    list(run.steps())
    assert crews == [(asked, planned)]
