"""Files that are not what they say, and disks that are full."""

import errno
import itertools
import json
import os
import pickle
import random
import re
import struct
from pathlib import Path

import pytest
import safetensors.torch
import torch
from cli.conftest import QUICK, TINY

from datadam.distillation.begin import Distillation
from datadam.sets.distilled import DistilledSet

VERBS = (("evaluate", *QUICK), ("train", "--epochs", "1", "--out", "model.safetensors"), ("show",), ("report",))


@pytest.fixture
def every_verb(refused, run: Path, tmp_path: Path, monkeypatch):
    """Every verb that reads a run must refuse it with this word, and write nothing."""
    monkeypatch.chdir(tmp_path)

    def check(told: str, verbs: tuple[tuple[str, ...], ...] = VERBS) -> None:
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        for verb, *options in verbs:
            assert told in refused(verb, run, *options), verb
        assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before

    return check


class Boom:
    """Unpickling it leaves a trace."""

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (Path("hacked"),))


def test_images_that_are_no_safetensors_are_refused(every_verb, run: Path, tmp_path: Path) -> None:
    file = run / "distilled.safetensors"
    whole = file.read_bytes()
    for content in (
        whole[: len(whole) // 2],
        whole[:5],
        b"",
        pickle.dumps({"images": Boom()}),
        struct.pack("<Q", 1 << 62) + whole[8:],  # a header of exabytes
        struct.pack("<Q", 99_000_000) + b"{" * 100,
        b"\xff" * 200,
        whole + b"more",
    ):
        file.write_bytes(content)
        every_verb("distilled.safetensors")
    file.unlink()
    every_verb("distilled.safetensors")
    assert not (tmp_path / "hacked").exists()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"images": None}, "images"),
        ({"labels": None}, "labels"),
        ({"images": torch.zeros(6, 3, 9, 8)}, "images"),
        ({"images": torch.zeros(6, 3, 8)}, "images"),
        ({"images": torch.full((6, 3, 8, 8), torch.nan)}, "NaN"),
        ({"images": torch.zeros(6, 3, 8, 8, dtype=torch.int32)}, "images"),
        ({"labels": torch.tensor([0, 0, 1, 1, 2, 3])}, "labels"),
        ({"labels": torch.tensor([0, 0, 1, 1, 2, -1])}, "labels"),
        ({"labels": torch.zeros(5, dtype=torch.int64)}, "labels"),
        ({"labels": torch.zeros(6)}, "labels"),
    ],
)
def test_forged_tensors_are_refused(every_verb, run: Path, change: dict[str, torch.Tensor | None], told: str) -> None:
    tensors = safetensors.torch.load_file(run / "distilled.safetensors") | change
    safetensors.torch.save_file({name: t for name, t in tensors.items() if t is not None}, run / "distilled.safetensors")
    every_verb(told, VERBS[:2])


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("format", "datadam/9"),
        ("kind", "magic"),
        ("data", None),
        ("data.classes", []),
        ("data.classes", [1, 2, 3]),
        ("data.shape", [3, 8]),
        ("data.shape", [3, 8, 9]),
        ("data.source", None),
        ("data.checksum", 5),
        ("data.options", []),
        ("recipe", []),
        ("recipe.ipc", "2"),
        ("recipe.ipc", 3),
        ("recipe.net", None),
        ("transform", {}),
        ("transform.mean", ["a"]),
        ("transform", {"mean": [0.5], "std": [0.5], "zca": None}),
        ("transform.std", [0, 0, 0]),
        ("transform.zca", {"variant": "kornia", "eps": 0.1}),
    ],
)
def test_forged_cards_are_refused(every_verb, run: Path, path: str, value: object) -> None:
    card = json.loads((run / "card.json").read_text())
    *parents, last = path.split(".")
    part = card
    for name in parents:
        part = part[name]
    part[last] = value
    (run / "card.json").write_text(json.dumps(card))
    every_verb("", VERBS[:2])
    del part[last]
    (run / "card.json").write_text(json.dumps(card))
    every_verb("", VERBS[:2])


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b"x" * 100])
def test_cards_that_are_no_json_object_are_refused(every_verb, run: Path, content: bytes) -> None:
    (run / "card.json").write_bytes(content)
    every_verb("card.json")


@pytest.mark.parametrize(
    ("part", "told"),
    [
        ({"options": {"zap": 1}}, "which data the run was made from"),
        ({"options": {"root": 5}}, "which data the run was made from"),
        ({"source": ""}, "arrays in memory"),
        ({"source": "minst"}, "Did you mean 'mnist'"),
        ({"checksum": "sha256:0"}, "is not what the run was made from"),
        ({"classes": ["cat", "dog", "cow"]}, "other class names"),
    ],
)
def test_a_card_must_lead_to_its_data(every_verb, run: Path, part: dict[str, object], told: str) -> None:
    card = json.loads((run / "card.json").read_text())
    card["data"] |= part
    (run / "card.json").write_text(json.dumps(card))
    every_verb(told, VERBS[:2])


def test_flipped_bytes_are_refused_or_read_but_never_break(cli, run: Path) -> None:
    draw = random.Random(0)
    for name in ("distilled.safetensors", "card.json"):
        whole = (run / name).read_bytes()
        for _ in range(25):
            content = bytearray(whole)
            content[draw.randrange(min(len(content), 600))] = draw.randrange(256)
            (run / name).write_bytes(content)
            assert cli("show", run).code in (0, 2)
        (run / name).write_bytes(whole)
    assert cli("show", run).code == 0


def full_disk(monkeypatch: pytest.MonkeyPatch, after: int = 0) -> None:
    """From the write after `after` others on, nothing reaches the disk any more."""
    left = [after]
    fsync = os.fsync

    def fail(descriptor: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fail)


def test_a_full_disk_ends_a_run_without_half_a_file(cli, pictures: Path, tmp_path: Path, monkeypatch) -> None:
    for after in itertools.count():
        out = tmp_path / str(after)
        with monkeypatch.context() as patch:
            full_disk(patch, after)
            outcome = cli("distill", pictures, "--ipc", 1, *TINY, "--snapshots", "1", "--out", out)
        if outcome.code == 0:
            break
        assert outcome.code == 1, outcome
        assert "No space left on device" in outcome.err
        assert re.search(r"Free space(, then go on with --resume| or choose another folder)", outcome.err)
        assert "Traceback" not in outcome.err
        assert not (out / "card.json").exists()
        assert [path.name for path in out.rglob("*partial*")] == []
        for path in out.rglob("*.safetensors"):
            safetensors.torch.load_file(path)
        for path in out.rglob("*.json"):
            json.loads(path.read_text())
        if (out / "checkpoint/run.json").exists():  # with space again it goes on
            assert cli("distill", "--resume", out).code == 0
            assert DistilledSet.load(out).card["iterations_done"] == 3
    assert after >= 5  # start, checkpoint, images, preview, card at least


def test_a_full_disk_leaves_what_stood_there(cli, run: Path, tmp_path: Path, monkeypatch) -> None:
    model = tmp_path / "model.safetensors"
    evaluate, train = ("evaluate", run, *QUICK), ("train", run, "--epochs", 1, "--out", model, "--overwrite")
    report = ("report", run)
    for command in (evaluate, train, report):
        assert cli(*command).code == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    full_disk(monkeypatch)
    for command in (evaluate, train, report):
        outcome = cli(*command)
        assert outcome.code == 1
        assert "what stood there before is untouched" in outcome.err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_full_disk_while_metrics_are_written(cli, pictures: Path, tmp_path: Path, monkeypatch) -> None:
    out = tmp_path / "run"
    step = Distillation._step

    def blocked(run: Distillation) -> float:
        (out / "metrics.jsonl").mkdir(exist_ok=True)  # it cannot be opened any more
        return step(run)

    monkeypatch.setattr(Distillation, "_step", blocked)
    outcome = cli("distill", pictures, "--ipc", 1, *TINY, "--out", out)
    assert outcome.code == 1
    assert "cannot write" in outcome.err
    assert "metrics.jsonl" in outcome.err
    assert "Traceback" not in outcome.err
