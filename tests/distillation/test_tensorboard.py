"""Scalars and pictures for TensorBoard, read back with its own reader."""

import json
from contextlib import closing
from importlib import util
from io import BytesIO
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import datadam
from datadam.data import RealData
from datadam.distillation import tensorboard
from datadam.distillation.loop import Distillation
from datadam.distillation.tensorboard import Board, kept_folder
from datadam.errors import ArtifactError, InvalidInput, RunFailed
from datadam.files.whole import read_tensors
from datadam.sets.preview import preview

pytest.importorskip("tensorboard", reason="the extra tensorboard is not installed")


@pytest.fixture(autouse=True)
def files_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorBoard orders files by name, and counts those of one process and second without leading noughts."""
    from tensorboard.summary.writer import event_file_writer

    monkeypatch.setattr(event_file_writer, "_global_uid", event_file_writer.AtomicCounter(0))


def events(folder: Path):
    """What TensorBoard itself finds there."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0})
    found.Reload()
    return found


def follow(run: Distillation, out: Path, folder: Path, steps: int) -> None:
    with closing(board_of(run, out, folder)) as telling, closing(run.steps()) as going:
        for _ in islice(going, steps):
            telling.update()


def board_of(run: Distillation, out: Path, folder: Path) -> Board:
    return Board(
        out, folder, run.frame.real.transform, run.frame.real.classes, run.recipe.counts(run.frame.real), run.state.iteration
    )


def test_every_line_of_metrics_and_every_snapshot_is_there(real: RealData, recipe, tmp_path: Path) -> None:
    run = datadam.begin(real, recipe(iterations=23), out=tmp_path / "run", snapshots=(10, 23))
    follow(run, tmp_path / "run", tmp_path / "events", 23)
    found = events(tmp_path / "events")
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [line["iteration"] for line in lines] == [1, 11, 21, 23]
    assert {"loss", "moved", "seconds", "loss of sam", "gradient norm of mmd"} <= set(found.Tags()["scalars"])
    for tag, value in (("loss", lambda t: t["loss"]), ("loss of sam", lambda t: t["terms"]["sam"]["loss"])):
        told = found.Scalars(tag)
        assert [one.step for one in told] == [1, 11, 21, 23]
        assert np.allclose([one.value for one in told], [value(t) for t in lines], rtol=1e-6)
    pictures = found.Images("images")
    assert [one.step for one in pictures] == [0, 10, 23]
    for one in pictures:
        images = read_tensors(tmp_path / f"run/snapshots/{one.step:08d}.safetensors")[0]["images"].float()
        expected = np.asarray(preview(real.transform.to_pixels(images), real.classes, (2,) * len(real.classes)))
        assert np.array_equal(np.asarray(Image.open(BytesIO(one.encoded_image_string)).convert("RGB")), expected)


def test_a_resumed_run_goes_on_there_and_nothing_is_told_twice(real: RealData, recipe, tmp_path: Path) -> None:
    out, folder = tmp_path / "run", tmp_path / "events"
    whole = datadam.begin(real, recipe(iterations=40), out=tmp_path / "whole", snapshots=(10, 20, 40))
    follow(whole, tmp_path / "whole", tmp_path / "of whole", 40)
    run = datadam.begin(real, recipe(iterations=40), out=out, snapshots=(10, 20, 40))
    follow(run, out, folder, 15)
    saved = (out / "checkpoint/state.safetensors").read_bytes()
    follow(datadam.resume(out, real), out, folder, 12)  # goes on to 27, and the machine fails: the checkpoint is that of 15
    (out / "checkpoint/state.safetensors").write_bytes(saved)
    assert kept_folder(out) == folder.resolve()
    follow(datadam.resume(out, real), out, folder, 100)
    one, other = events(folder), events(tmp_path / "of whole")
    for tag in ("loss", "moved", "loss of mmd"):
        assert [(e.step, e.value) for e in one.Scalars(tag)] == [(e.step, e.value) for e in other.Scalars(tag)]
    assert [e.step for e in one.Images("images")] == [0, 10, 20, 40]


def test_asked_for_late_it_tells_all_from_the_start(real: RealData, recipe, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run = datadam.begin(real, recipe(iterations=22), out=out)
    with closing(run.steps()) as going:
        list(islice(going, 15))
    follow(datadam.resume(out, real), out, out / "tensorboard", 100)
    assert [e.step for e in events(out / "tensorboard").Scalars("loss")] == [1, 11, 21, 22]


def test_the_images_are_the_same_with_it_and_without(real: RealData, recipe, tmp_path: Path) -> None:
    run = datadam.begin(real, recipe(), out=tmp_path / "run")
    follow(run, tmp_path / "run", tmp_path / "events", 4)
    assert run.result().images.equal(datadam.distill(real, recipe()).images)


def test_without_tensorboard_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorboard, "find_spec", lambda name: None if name == "tensorboard" else util.find_spec(name))
    with pytest.raises(InvalidInput, match=r"pip install 'datadam\[tensorboard\]'"):
        tensorboard.require_tensorboard()


def test_a_folder_that_cannot_be_written_is_told(real: RealData, recipe, tmp_path: Path) -> None:
    run = datadam.begin(real, recipe(), out=tmp_path / "run")
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFailed, match="choose another folder"):
        board_of(run, tmp_path / "run", tmp_path / "file" / "events")


def test_a_damaged_note_of_the_place_is_refused(tmp_path: Path) -> None:
    assert kept_folder(tmp_path) is None
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint/tensorboard.json").write_text('{"folder": 3}')
    with pytest.raises(ArtifactError, match="does not say where"):
        kept_folder(tmp_path)
