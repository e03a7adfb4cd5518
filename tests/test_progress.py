"""Progress: who is told, the time left, and what a notebook is shown."""

import io
import sys
import types
from collections.abc import Callable
from typing import Any

import pytest

import datadam
from datadam import progress
from datadam.data import RealData
from datadam.distillation.recipe import Recipe
from datadam.evaluation.panel import protocol_named
from datadam.progress import Pace, shown


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_what_comes_once_is_no_part_of_the_pace() -> None:
    clock = Clock()
    pace = Pace(clock=clock)
    clock.now = 30.0  # compiling
    assert pace.left(1, 1000) is None
    clock.now = 30.5
    assert pace.left(11, 1000) == pytest.approx(989 * 0.05)  # and not hours
    clock.now = 40.0
    assert pace.left(5, 10) is None  # other work, at its own pace
    clock.now = 42.0
    assert pace.left(6, 10) == pytest.approx(8.0)


def test_a_forecast_is_the_answer_until_there_is_a_pace() -> None:
    clock = Clock()
    pace = Pace(100.0, clock)
    clock.now = 40.0
    assert pace.left(1, 50) == 60.0
    clock.now = 41.0
    assert pace.left(2, 50) == 48.0
    assert Pace(0.0, clock).left(0, 5) is None  # a forecast of moments is none


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def work(asked: Any) -> None:
    with shown(asked, "work") as advance:
        for step in range(1, 4):
            advance("some words", step, 3)


def test_a_terminal_shows_a_bar_and_nothing_else_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", plain := io.StringIO())
    work(None)
    assert plain.getvalue() == ""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    work(None)
    assert "some words" in terminal.getvalue()
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    work(False)
    assert terminal.getvalue() == ""
    told: list[Any] = []
    work(lambda *words: told.append(words))
    assert told == [("some words", step, 3) for step in (1, 2, 3)]
    assert terminal.getvalue() == ""


def test_a_notebook_shows_a_bar_that_is_drawn_anew_and_escapes_words(monkeypatch: pytest.MonkeyPatch) -> None:
    pages: list[str] = []

    class Handle:
        def update(self, page: dict[str, str], raw: bool) -> None:
            pages.append(page["text/html"])

    def display(page: dict[str, str], raw: bool, display_id: bool) -> Handle:
        pages.append(page["text/html"])
        return Handle()

    shell = types.SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "IPython.display", types.SimpleNamespace(display=display))
    monkeypatch.setattr(progress, "BETWEEN", 0.0)
    with shown(None, "work") as advance:
        advance("<b>", 1, 2)
        advance("<b>", 2, 2)
    assert pages == ['<progress value="1" max="2"></progress> &lt;b&gt;', '<progress value="2" max="2"></progress> &lt;b&gt;']
    shell.kernel = None  # IPython in a terminal
    assert not progress.in_notebook()


def test_python_tells_of_each_step_and_epoch(real: RealData, recipe: Callable[..., Recipe]) -> None:
    steps: list[tuple[str, int, int]] = []
    small = datadam.distill(real, recipe(), progress=lambda *told: steps.append(told))
    assert [(done, total) for _, done, total in steps] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert steps[0][0].startswith("datadam  loss ")
    epochs: list[Any] = []
    rule = protocol_named("honest", epochs=2)
    datadam.evaluate(small, real, students=2, protocol=rule, progress=epochs.append)
    assert [(p.student, p.epoch) for p in epochs] == [(1, 1), (1, 2), (2, 1), (2, 2)]


def test_a_terminal_sees_distilling_judging_and_comparing(
    real: RealData, recipe: Callable[..., Recipe], tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", screen := Terminal())
    small = datadam.distill(real, recipe())
    assert "loss" in screen.getvalue()
    monkeypatch.setattr(sys, "stderr", screen := Terminal())
    datadam.evaluate(small, real, students=1, epochs=1)
    assert "student 1 of 1" in screen.getvalue()
    monkeypatch.setattr(sys, "stderr", screen := Terminal())
    datadam.compare(real, "random", ipc=1, net="convnet1:width=4", protocol=rule_of(1), students=1, out=tmp_path / "table")
    assert "2 of 2" in screen.getvalue()
    monkeypatch.setattr(sys, "stderr", screen := Terminal())
    datadam.distill(real, recipe(), progress=False)
    datadam.evaluate(small, real, students=1, epochs=1, progress=False)
    assert screen.getvalue() == ""


def rule_of(epochs: int) -> Any:
    return protocol_named("honest", epochs=epochs)
