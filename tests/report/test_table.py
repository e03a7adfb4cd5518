"""The table in words and as a picture: hostile words, every state of a cell, what is said of one repeat and of several."""

import copy
import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from datadam.report.latex import latex
from datadam.report.table import csv_text, markdown, picture, text

Json = dict[str, Any]


def cell(status: str = "done", *means: float, **more: Any) -> Json:
    mean = sum(means) / len(means) if means else None
    interval = {"low": mean - 0.02, "high": mean + 0.02, "half": 0.02, "over": "sets"} if mean is not None else None
    return {
        "status": status, "reason": "", "repeats": list(range(len(means))), "files": [], "failed": 0, "against": None,
        "bold": False, "mean": mean, "std": 0.01, "interval": interval, "accuracies": [[m, m] for m in means],
        "seconds_per_student": 1.0,
    } | more  # fmt: skip


def row(method: str, *cells: Json, **more: Any) -> Json:
    nets = ("convnet3", "mlp:width=8")
    return {
        "method": method, "ipc": 10, "images": 1000, "iterations": 1500, "batch_real": 64, "zca": "none", "net": "convnet3",
        "seconds": 125.0, "peak_memory_mb": 812.5, "settings": {}, "runs": [{"folder": f"runs/{method}/0"}],
        "cells": dict(zip(nets, cells, strict=True)),
    } | more  # fmt: skip


@pytest.fixture
def table() -> Json:
    """Two repeats; one bold cell, one refused, one failed, one waiting, and a method of hostile letters."""
    against = {"mean": 0.123, "low": 0.1, "high": 0.146, "p": 0.0123, "pairs": 2}
    none = {"mean": 0.0, "low": None, "high": None, "p": None, "pairs": 2}
    rows = [
        row("random", cell("done", 0.3, 0.32), cell("waiting"), iterations=None, batch_real=None),
        row("dm:net=convnet3[width=8]", cell("done", 0.5, 0.52, against=against, bold=True),
            cell("failed", reason="loss | is *nan*", failed=1)),
        row("a`b|c_<script>[bold]", cell("part", 0.4, reason="repeat 1: [red]disk full[/red]", failed=1, against=none),
            cell("refused", reason="8x8 is\ntoo small")),
        row("whole set", cell("done", 0.9, interval=None), cell("waiting", 0.8), ipc=None, seconds=None, peak_memory_mb=None,
            iterations=None, epochs=3, runs=[]),
    ]  # fmt: skip
    return {
        "command": "datadam compare x", "note": "", "data": {"name": "my $data$ | set"}, "words": "honest: 2 of 20 students",
        "reference": "random", "repeats": 2, "students": 2, "nets": ["convnet3", "mlp:width=8"], "rows": rows,
        "notes": ["a [note]"], "progress": {"parts": 9, "done": 7, "seconds_left": 4.0},
        "seconds": {"distilling": 250.0, "judging": 10.0},
        "hardware": {"cpu": "a cpu", "cores": 2, "gpu": None}, "versions": {"datadam": "1", "torch": "2"}, "commit": "abc",
    }  # fmt: skip


def test_markdown_has_a_row_for_each_and_breaks_at_no_word(table: Json) -> None:
    lines = markdown(table).splitlines()
    pipes = [line.replace("\\|", "") for line in lines if line.startswith("|")]
    assert len(pipes) == 2 + 4 + 2 + 2  # head, rule and rows of both tables
    assert {line.count("|") for line in pipes[:6]} == {2 + 3 + 2 + 2}
    whole = markdown(table)
    assert "| 10 | 1\u202f000 | 1\u202f500 x 64 | **51.0 ± 2.0** | failed \\[1\\] | 2\u202fmin 5\u202fs | 812\u202fMB |" in whole
    assert "+12.3 (+10.0 to +14.6), p = 0.012" in whole
    assert "+0.0 (no spread, no test)" in whole
    assert "(7 of 9 parts done)" in whole
    assert "\\[1\\] loss \\| is \\*nan\\*" in whole
    assert "\\[3\\] 8x8 is too small" in whole
    assert whole.count("| `` a`b\\|c_<script>[bold] `` |") == whole.count("<script>") == 2  # code, in both tables
    assert whole.rstrip().endswith("```sh\ndatadam compare x\n```")


def test_text_shows_words_as_they_are(table: Json) -> None:
    plain = text(table)
    for words in ("dm:net=convnet3[width=8]", "a`b|c_<script>[bold]", "[red]disk full[/red]", "Note: a [note].", "51.0 ± 2.0 *"):
        assert words in plain
    assert plain.count("*") == 1 + 2  # the bold cell, and the reason's own
    assert "\x1b" not in plain
    assert "\x1b[1m" in text(table, width=120, colour=True)
    narrow = text(table, width=60).splitlines()
    assert all(len(line) <= 60 for line in narrow[narrow.index("honest: 2 of 20 students.") :])


def test_cells_say_their_state(table: Json) -> None:
    plain = text(table).splitlines()
    lines = {name: next(line for line in plain if line.startswith(name)) for name in ("random", "a`b", "whole set")}
    assert "31.0 ± 2.0" in lines["random"]
    assert "…" in lines["random"]
    assert "40.0 ± 2.0, rest failed [2]" in lines["a`b"]
    assert "refused [3]" in lines["a`b"]
    assert "3 epochs" in lines["whole set"]
    assert "80.0 ± 2.0 (sets) …" in lines["whole set"]


def test_one_repeat_claims_nothing(table: Json) -> None:
    table["repeats"] = 1
    assert "no difference is tested and nothing is marked as best" in markdown(table)
    assert "Bold marks" not in markdown(table)
    table["repeats"] = 3
    assert "95 % interval of the mean over 3 sets" in markdown(table)
    assert "not corrected for their number" in markdown(table)


def test_csv_is_plain_numbers(table: Json) -> None:
    lines = list(csv.DictReader(io.StringIO(csv_text(table))))
    assert len(lines) == 8
    assert (
        lines[2] | {"method": "dm:net=convnet3[width=8]", "mean": "0.51", "p": "0.0123", "bold": "1", "against": "random"}
        == lines[2]
    )
    assert lines[4]["method"] == "a`b|c_<script>[bold]"
    assert (lines[5]["status"], lines[5]["mean"], lines[5]["reason"]) == ("refused", "", "8x8 is\ntoo small")


def test_the_picture_shows_each_accuracy(table: Json, tmp_path: Path) -> None:
    def pixels(of: Json) -> np.ndarray:
        picture(of, tmp_path / "t.png")
        with Image.open(tmp_path / "t.png") as image:
            return np.asarray(image.convert("RGB")).astype(int)

    one = pixels(table)
    moved = copy.deepcopy(table)
    moved["rows"][0]["cells"]["convnet3"] = cell("done", 0.35, 0.37)
    assert one.shape == pixels(moved).shape
    assert (one != pixels(moved)).any()
    assert (one == pixels(table)).all()
    blue = (one[..., 2] - one[..., 0]) > 100
    assert blue.any()  # the bold one
    table["rows"][1]["cells"]["convnet3"]["bold"] = False
    assert not ((pixels(table)[..., 2] - pixels(table)[..., 0]) > 100).any()


def test_an_interval_beyond_what_an_accuracy_can_be_is_told_by_its_ends(table: Json) -> None:
    wide = {"low": -0.1, "high": 0.74, "half": 0.42, "over": "sets"}
    table["rows"][1]["cells"]["convnet3"] |= {"mean": 0.32, "interval": wide, "balanced": 0.25}
    assert "**32.0 (0.0 to 74.0), balanced 25.0**" in markdown(table)
    assert "± 42" not in markdown(table) + text(table)


def test_few_test_images_are_told_in_the_heading(table: Json) -> None:
    assert "% of" not in markdown(table).splitlines()[0]
    table["data"]["test"] = 12
    assert "%\u202f" not in markdown(table).splitlines()[0]
    assert "% of 12 test images" in markdown(table).splitlines()[0]


def test_corrected_p_values_are_shown_and_said(table: Json) -> None:
    assert "p = 0.012" in markdown(table)
    table["rows"][1]["cells"]["convnet3"]["against"]["p_holm"] = 0.0369
    table["rows"][1]["cells"]["mlp:width=8"]["against"] = {
        "mean": 0.1, "low": 0.05, "high": 0.15, "p": 0.02, "pairs": 2, "p_holm": 0.0369
    }  # fmt: skip
    shown = markdown(table)
    assert "p = 0.037" in shown
    assert "p = 0.012" not in shown
    assert "the p values of 2 tests are corrected for their number by Holm's way" in shown


def test_latex_says_the_same_and_shows_hostile_letters(table: Json) -> None:
    source = latex(table)
    assert source.count(r"\begin{tabular}{lrrlrrrr}") == 1
    rows = [line for line in source.splitlines() if line.endswith(r"\\")][1:]
    assert len(rows) == 4
    assert all(line.replace(r"\&", "").count("&") == 7 for line in rows)
    assert r"\textbf{51.0 $\pm$ 2.0}" in rows[1]
    assert r"a`b|c\_\textless{}script\textgreater{}[bold]" in rows[2]
    assert r"my \$data\$ | set, \%" in source
    assert source.count(r"\midrule") == 2  # below the head, and before the row of another ipc
    assert r"After $\pm$: half of the 95 \% interval" in source


@pytest.mark.parametrize(("form", "begins"), [("svg", b"<?xml"), ("pdf", b"%PDF"), ("png", b"\x89PNG")])
def test_pictures_of_every_form_are_the_same_each_time(table: Json, tmp_path: Path, form: str, begins: bytes) -> None:
    for name in ("a", "b"):
        picture(table, tmp_path / name, form)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "a").read_bytes().startswith(begins)
    if form == "svg":
        assert ">dm:net=convnet3[width=8], ipc 10<" in (tmp_path / "a").read_text()  # letters, which can be edited
