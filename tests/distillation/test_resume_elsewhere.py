"""Going on with a run on another machine than the one it began on."""

from pathlib import Path

import pytest
import torch

import datadam
from datadam import machine
from datadam.methods import matching
from datadam.methods.plan import Plan


def test_a_compiled_run_goes_on_where_there_is_no_compiler(real, recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "compiled", lambda function, device: function)
    asked = recipe(iterations=4)
    run = datadam.begin(real, asked, out=tmp_path / "run", plan=Plan(compiled=True, chunk=64, threads=torch.get_num_threads()))
    steps = run.steps()
    next(steps)
    steps.close()
    monkeypatch.setattr(machine, "can_compile", lambda device: False)
    there = datadam.resume(tmp_path / "run", real)
    assert not there.plan.compiled
    assert any("no compiler works here" in remark for remark in there.remarks)
    list(there.steps())
    assert there.result().card["iterations_done"] == 4
    monkeypatch.setattr(machine, "can_compile", lambda device: True)
    assert datadam.resume(tmp_path / "run", real).remarks == ()
