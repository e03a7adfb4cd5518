"""A spread run whose workers are this process, and what tests of such runs share."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import datadam
from datadam import parallel
from datadam.data import RealData
from datadam.distillation.begin import begin
from datadam.distillation.recipe import Recipe
from datadam.distillation.shards import run as shards
from datadam.parallel.protocol import Event
from datadam.parallel.spread import Spread


class Here:
    """A crew whose work is done here and at once; every `fails`-th attempt is lost after it has told half of its words."""

    fails = 0

    def __init__(self, task: Any, workers: int) -> None:
        self.task, self.events, self.begun = task, [], 0

    def start(self, attempt: int, item: Any) -> None:
        self.begun += 1
        words: list[Event] = []
        self.task(item, lambda value: words.append(Event(attempt, "tell", value)))
        lost = self.fails and self.begun % self.fails == 0
        self.events += [Event(attempt, "note", {"event": "start", "worker": "here"})]
        self.events += (
            [*words[: len(words) // 2], Event(attempt, "lost", "gone")] if lost else [*words, Event(attempt, "done", None)]
        )

    def hear(self, timeout: float) -> list[Event]:
        heard, self.events = self.events, []
        return heard

    def stop(self, attempt: int) -> None:
        """Nothing runs."""

    def close(self) -> None:
        """Nothing runs."""


def tiny(real: RealData, preset: str = "datadam", **settings: Any) -> Recipe:
    small = {"net": "convnet2:width=4", "iterations": 12, "batch_real": 5, "precision": "float64"}
    return datadam.preset(preset, real, ipc=2).change(small | settings)


def state(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / "checkpoint" / "state.safetensors")


def assert_same(out: Path, plain: Path) -> None:
    """Images and momentum bit for bit, the same files, and the same lines of metrics but for rounding and seconds."""
    assert all(torch.equal(state(out)[name], state(plain)[name]) for name in ("images", "buffer/images/momentum_buffer"))
    files = [{str(p.relative_to(run)) for p in run.rglob("*") if p.is_file()} for run in (out, plain)]
    assert files[0] - {"workers.jsonl", ".lock"} == files[1] - {".lock"}
    for name in sorted(files[1]):
        if name.startswith("snapshots"):
            assert (out / name).read_bytes() == (plain / name).read_bytes()
    lines = [[json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()] for run in (out, plain)]
    assert [line["iteration"] for line in lines[0]] == [line["iteration"] for line in lines[1]]
    for ours, theirs in zip(*lines, strict=True):
        assert ours["loss"] == theirs["loss"]
        assert ours["moved"] == pytest.approx(theirs["moved"], rel=1e-12)
        for name, term in theirs["terms"].items():
            assert ours["terms"][name]["loss"] == term["loss"]
            assert ours["terms"][name]["grad_norm"] == pytest.approx(term["grad_norm"], rel=1e-12)


class Gone(BaseException):
    """The driver is lost."""


def stopped(
    real: RealData, recipe: Recipe, out: Path, shards_: int, monkeypatch: pytest.MonkeyPatch, after: int,
    kind: type = shards.ShardState, at: int | None = None,
) -> None:  # fmt: skip
    """A run whose driver is lost without a word after so many words of a `kind` (about iteration `at`), the last one heard."""

    class Counting(Here):
        def hear(self, timeout: float) -> list[Event]:
            nonlocal after
            heard = super().hear(timeout)
            for n, event in enumerate(heard):
                after -= isinstance(event.value, kind) and at in (None, event.value.iteration)
                if after == 0:
                    self.events = [Event(-1, "failed", Gone())]
                    return heard[: n + 1]
            return heard

    with monkeypatch.context() as patch:
        patch.setattr(parallel, "Processes", Counting)
        run = begin(real, recipe, out=out, spread=Spread(workers=1, shards=shards_))
        patch.setattr(run, "save", lambda: None)
        with pytest.raises(Gone):
            list(run.steps())
