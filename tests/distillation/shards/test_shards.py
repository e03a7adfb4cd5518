"""A run whose classes are spread over workers: the same images, files and refusals whatever the number of shards, and whatever
stops them. Most tests do the workers' part in this process, one shard after another; two start real processes."""

import json
import os
import signal
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from blocking import Waits
from here import Here, assert_same, state, stopped, tiny
from small import make_real

import datadam
from datadam import parallel
from datadam.cli.app import run as cli
from datadam.data import RealData
from datadam.data.sending import ClassData, Mapped, SentData
from datadam.distillation import loop
from datadam.distillation.begin import begin, resume
from datadam.distillation.shards import run as shards
from datadam.errors import InvalidInput, RunFailed
from datadam.methods.plan import Plan
from datadam.parallel.spread import Spread, cut


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> type[Here]:
    monkeypatch.setattr(parallel, "Processes", Here)
    monkeypatch.setattr(Here, "fails", 0)
    return Here


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shard tells after each iteration where it stands."""
    monkeypatch.setattr(shards, "LEAST_PAUSE", 0.0)
    monkeypatch.setattr(shards, "BYTES_A_SECOND", float("inf"))
    monkeypatch.setattr(loop, "CHECKPOINT_SHARE", float("inf"))


@pytest.mark.parametrize(("augment", "part"), [("none", 0), ("color_crop_cutout_flip_scale_rotate", 1)])
def test_any_number_of_shards_gives_the_same_run(here: type[Here], tmp_path: Path, augment: str, part: int) -> None:
    real = make_real(classes=10, per_class=(12,) * 9 + (4,))
    recipe = tiny(real, augment=augment, iterations=11, batch_synthetic=part)
    datadam.distill(real, recipe, out=tmp_path / "plain")
    for count in (1, 2, 3, 10):
        made = datadam.distill(real, recipe, out=tmp_path / str(count), spread=Spread(workers=2, shards=count))
        assert_same(tmp_path / str(count), tmp_path / "plain")
        assert made.card["spread"] == {
            "engine": "processes",
            "workers": min(2, count),
            "shards": count,
            "lost": 0,
        }
    log = [json.loads(line) for line in (tmp_path / "3" / "workers.jsonl").read_text().splitlines()]
    assert [event["classes"] for event in log if event["event"] == "done"] == [[0, 3], [3, 6], [6, 10]]


@pytest.mark.parametrize("preset", ["dm", "pixel"])
def test_every_separable_family(here: type[Here], tmp_path: Path, preset: str) -> None:
    real = make_real(classes=4)
    recipe = tiny(real, preset, iterations=3) if preset != "pixel" else datadam.preset("pixel", real, ipc=2).change(
        {"iterations": 3, "batch_real": 5, "precision": "float64"}
    )  # fmt: skip
    datadam.distill(real, recipe, out=tmp_path / "plain")
    datadam.distill(real, recipe, out=tmp_path / "spread", spread=Spread(workers=1, shards=3))
    assert_same(tmp_path / "spread", tmp_path / "plain")


def test_a_thousand_classes(here: type[Here]) -> None:
    real = make_real(classes=1000, per_class=2, shape=(1, 8, 8))
    recipe = tiny(real, iterations=2, net="convnet1:width=4").change({"batch_real": 2})
    plain = datadam.distill(real, recipe)
    spread = datadam.distill(real, recipe, spread=Spread(workers=3, shards=7))
    assert len(spread.labels) == 2000
    assert torch.equal(spread.images, plain.images)
    assert spread.card["moved"] == plain.card["moved"] > 0


def test_other_thread_counts_are_close(here: type[Here]) -> None:
    real = make_real(classes=4, shape=(3, 16, 16))
    recipe = tiny(real, net="convnet3:width=16", iterations=6)
    one, two = (
        begin(real, recipe, plan=Plan(False, 64, threads), spread=Spread(workers=1, shards=shards_))
        for threads, shards_ in ((1, 3), (2, 2))
    )
    for run in (one, two):
        assert len(list(run.steps())) >= 1
    torch.testing.assert_close(one.state.images, two.state.images, rtol=1e-10, atol=1e-10)


def test_whitened_data_and_a_head_of_all_classes(here: type[Here], tmp_path: Path) -> None:
    """The matching networks are those of the whole run, whatever their last layer draws."""
    real = make_real(classes=5)
    for net in ("convnet2:width=4", "mlp"):
        recipe = tiny(real, "dm", iterations=2, zca="kornia", net=net)
        plain = datadam.distill(real, recipe)
        spread = datadam.distill(real, recipe, spread=Spread(workers=2, shards=4))
        assert torch.equal(spread.images, plain.images)


def test_lost_workers_change_nothing(here: type[Here], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = make_real(classes=6)
    datadam.distill(real, tiny(real), out=tmp_path / "plain")
    monkeypatch.setattr(Here, "fails", 2)
    made = datadam.distill(real, tiny(real), out=tmp_path / "spread", spread=Spread(workers=1, shards=3))
    assert_same(tmp_path / "spread", tmp_path / "plain")
    assert made.card["spread"]["lost"] >= 2
    log = [json.loads(line) for line in (tmp_path / "spread" / "workers.jsonl").read_text().splitlines()]
    assert [event["why"] for event in log if event["event"] == "lost"] == ["gone"] * made.card["spread"]["lost"]
    restarts = [e["iteration"] for e in log if e["event"] == "start" and e["attempt"] > 1 and e["iteration"] > 0]
    assert restarts  # from where the lost one stood


@pytest.mark.parametrize(("after", "again"), [(1, None), (7, 1), (13, 2), (20, None), (20, 5), (32, 2), (35, None)])
def test_resume_with_another_number_of_shards(
    here: type[Here], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int, again: int | None
) -> None:
    real = make_real(classes=5, shape=(1, 8, 8))
    recipe = tiny(real, net="convnet1:width=4")
    datadam.distill(real, recipe, out=tmp_path / "plain")
    stopped(real, recipe, tmp_path / "run", 3, monkeypatch, after)
    assert not (tmp_path / "run" / "card.json").exists()
    run = resume(tmp_path / "run", real, spread=again and Spread(workers=1, shards=again))
    far = [step.iteration for step in run.steps()]
    assert far == sorted(far)
    assert run.result().card["iterations_done"] == recipe.iterations
    assert_same(tmp_path / "run", tmp_path / "plain")


def test_a_damaged_shard_goes_on_from_the_one_before(here: type[Here], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = make_real(classes=4)
    datadam.distill(real, tiny(real), out=tmp_path / "plain")
    stopped(real, tiny(real), tmp_path / "run", 2, monkeypatch, 9)
    kept = tmp_path / "run" / "checkpoint" / "shards"
    torn = kept / "000000-000002.safetensors"
    torn.write_bytes(torn.read_bytes()[:-9] + b"x" * 9)
    assert (kept / "earlier-000000-000002.safetensors").exists()
    run = resume(tmp_path / "run", real)
    assert run.at == [8, 8, 0, 0]
    assert list(run.steps())
    run.result()
    assert_same(tmp_path / "run", tmp_path / "plain")


def test_forged_shards_do_not_count(here: type[Here], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = make_real(classes=4)
    datadam.distill(real, tiny(real), out=tmp_path / "plain")
    stopped(real, tiny(real), tmp_path / "run", 2, monkeypatch, 3)
    kept = tmp_path / "run" / "checkpoint" / "shards"
    (kept / "000002-000009.safetensors").write_bytes((kept / "000000-000002.safetensors").read_bytes())
    (kept / "000001-000002.safetensors").write_bytes((kept / "000000-000002.safetensors").read_bytes())  # of another shape
    (kept / "000003-000004.safetensors").write_text("no tensors")
    with (kept / "lines.jsonl").open("a") as file:
        file.write('{"not": "a line"}\n[1, 2')
    run = resume(tmp_path / "run", real)
    assert run.at == [3, 3, 0, 0]
    assert list(run.steps())
    run.result()
    assert_same(tmp_path / "run", tmp_path / "plain")


def test_the_time_limit_leaves_a_complete_set(here: type[Here], tmp_path: Path) -> None:
    real = make_real(classes=4)
    run = begin(real, tiny(real), out=tmp_path / "run", spread=Spread(workers=2))
    assert [step.iteration for step in run.steps(time_limit=-1.0)] == [0]
    made = run.result()
    assert "stopped after 0 of 12 iterations" in made.card["warnings"]
    again = resume(tmp_path / "run", real, spread=Spread(workers=2))
    assert [step.iteration for step in again.steps()][-1] == 12


def test_shards_that_stand_apart_are_told(here: type[Here], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = make_real(classes=4)
    stopped(real, tiny(real), tmp_path / "run", 2, monkeypatch, 9)
    made = resume(tmp_path / "run", real).result()
    assert "stopped after 0 to 9 of 12 iterations, by class" in made.card["warnings"]


def refused(real: RealData, words: str, preset: str = "datadam", **settings: Any) -> None:
    recipe = datadam.preset(preset, real, ipc=2).change(settings)
    with pytest.raises(InvalidInput, match=words):
        begin(real, recipe, spread=Spread(workers=2))


@pytest.mark.parametrize(
    ("preset", "settings", "words"),
    [
        ("datadam", {"net": "convnet2:norm=batch"}, r"batch norm.*net convnet2:norm=instance"),
        ("dc", {}, "dc looks at all classes together.*leave out workers"),
        ("dsa", {}, "dsa looks at all classes together"),
        ("cafe", {}, "cafe looks at all classes together"),
        ("random", {}, "random chooses real images and learns nothing"),
        ("herding", {}, "herding chooses real images and learns nothing"),
        ("datadam", {"network_steps": 3}, "network_steps and network_epochs train .* set both to 0"),
    ],
)
def test_what_couples_classes_is_refused(real: RealData, preset: str, settings: dict[str, Any], words: str) -> None:
    refused(real, words, preset, **settings)


def test_numbers_that_make_no_sense(real: RealData) -> None:
    for name in ("workers", "shards"):
        with pytest.raises(InvalidInput, match=f"{name} is 0; it must be at least 1"):
            Spread(**{name: 0})
    with pytest.raises(InvalidInput, match="shards is 4, and there are 3 classes"):
        begin(real, tiny(real), spread=Spread(shards=4))
    assert Spread(workers=50).settle(3).workers == 3


def test_cuts_are_even() -> None:
    for classes in (1, 7, 10, 1000):
        for count in range(1, min(classes, 40) + 1):
            ranges = cut(classes, count)
            sizes = [last - first for first, last in ranges]
            assert [first for first, _ in ranges] == [0, *(last for _, last in ranges[:-1])]
            assert ranges[-1][1] == classes
            assert max(sizes) - min(sizes) <= 1


def test_workers_hold_only_their_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies in a file of the cache is mapped there again; what lies in memory is sent, one shard's part of it."""
    monkeypatch.setenv("DATADAM_CACHE", str(tmp_path))
    real = make_real(classes=4, per_class=(3, 5, 4, 6))
    order = np.argsort(real.train.labels, kind="stable")
    file = tmp_path / "cache.bin"
    file.write_bytes(b"\0" * 4096 + real.train.pixels[order].tobytes())
    whole = np.memmap(file, np.uint8, "r", 4096, real.train.pixels.shape)
    part = datadam.data.real.Split
    sorted_ = datadam.data.real.replace(real, train=part(whole, real.train.labels[order]))
    shuffled = datadam.data.real.replace(real, train=part(whole, real.train.labels[order][::-1].copy()))
    for data, mapped in ((real, False), (sorted_, True), (shuffled, True)):
        parcel = ClassData.of(data, 1, 3)
        assert isinstance(parcel.pixels, Mapped) == mapped
        opened, subset = parcel.open(real.transform), data.subset([1, 2])
        assert opened.classes == subset.classes == data.classes[1:3]
        assert np.array_equal(opened.train.pixels, subset.train.pixels)
        assert np.array_equal(opened.train.labels, subset.train.labels)
        assert len(opened.test) == 0
        if not mapped:
            assert len(parcel.pixels) == len(opened.train)
    assert isinstance(ClassData.of(sorted_, 1, 3).open(real.transform).train.pixels, np.memmap)  # still on the disk
    sent = SentData.of(sorted_)
    assert isinstance(sent.parts[0][0], Mapped)
    assert np.array_equal(sent.open().train.pixels, sorted_.train.pixels)
    assert sent.open().checksum == sorted_.checksum
    view = Mapped.of(whole[3:8][1:])
    assert view is not None
    assert np.array_equal(view.open(), whole[4:8])
    file.unlink()
    with pytest.raises(RunFailed, match="DATADAM_CACHE to a folder that all machines share"):
        ClassData.of(sorted_, 1, 3).open(real.transform)


def test_processes_one_of_which_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Real ones, on data from the command line, the cache and ZCA included. They wait for each other and for the kill."""
    real, signpost = make_real(classes=4), tmp_path / "signpost"
    recipe = tiny(real, zca="kornia")
    datadam.distill(real, recipe, out=tmp_path / "plain")
    monkeypatch.setattr(shards, "ShardTask", partial(Waits, signpost=str(signpost)))
    run = begin(real, recipe, out=tmp_path / "run", spread=Spread(workers=2))
    for _ in run.steps():
        if not signpost.exists() and min(run.at) > 0:  # both have told where they stand
            starts = [json.loads(line) for line in (tmp_path / "run" / "workers.jsonl").read_text().splitlines()]
            os.kill(int(starts[-1]["worker"].rpartition(":")[2]), signal.SIGKILL)
            signpost.touch()
    made = run.result()
    assert signpost.exists()
    assert_same(tmp_path / "run", tmp_path / "plain")
    assert made.card["spread"] == {"engine": "processes", "workers": 2, "shards": 2, "lost": 1}


def test_the_command_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    small = ["--ipc", "1", "--iterations", "3", "--batch-real", "4", "--net", "convnet2:width=4", "--precision", "float64"]
    assert cli(["distill", "mnist", *small, "--out", str(tmp_path / "plain")]) == 0
    assert cli(["distill", "mnist", *small, "--workers", "2", "--out", str(tmp_path / "run")]) == 0
    assert torch.equal(state(tmp_path / "run")["images"], state(tmp_path / "plain")["images"])
    assert "Warning" not in capfd.readouterr().err  # of the workers too


def test_a_refusal_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli(["distill", "mnist", "--ipc", "1", "--method", "dc", "--workers", "2", "--out", str(tmp_path / "none")]) == 2
    assert "dc looks at all classes together" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--address", "auto"], "--address are for Ray; add --engine ray"),
        (["--gpus-per-worker", "1"], "--gpus-per-worker are for Ray"),
        (["--workers", "0"], "workers is 0; it must be at least 1"),
        (["--engine", "dask"], "dask"),
    ],
)
def test_wrong_options(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli(["distill", "mnist", "--ipc", "1", *words]) == 2
    assert said in capsys.readouterr().err


def test_a_missing_engine_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel.on_ray, "find_spec", lambda name: None)
    with pytest.raises(InvalidInput, match=r"pip install 'datadam\[ray\]'"):
        parallel.Ray()
