"""Sets of several decoders in one comparison: all are listed, none is ranked across kinds, and each says what it stores."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from small import make_real

import datadam
from datadam.comparison.grid import MethodRow
from datadam.comparison.table import Comparison, _compare
from datadam.data import RealData
from datadam.errors import InvalidInput
from datadam.evaluation.panel import protocol_named
from datadam.files.whole import read_json
from datadam.sets.distilled import DistilledSet
from datadam.sets.kind import Kind

NET = "convnet1:width=4"
METHODS = ["random", "dm:decoder=grid:2", "dm:start=noise", "random:decoder=grid:2"]


@pytest.fixture(scope="module")
def real() -> RealData:
    """Three classes of twelve 3x8x8 images."""
    return make_real()


@pytest.fixture(scope="module")
def made(real: RealData, tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """Two methods of each kind, two repeats, two numbers of images, the whole set. Not to be changed."""
    return datadam.compare(
        real, METHODS, ipc=[1, 2], nets=NET, repeats=2, iterations=2, batch_real=3, students=2, whole=True, whole_epochs=1,
        protocol=protocol_named("honest", epochs=2), out=tmp_path_factory.mktemp("made") / "out",
    )  # fmt: skip


def test_kinds_stand_in_groups_of_their_own(made: Comparison) -> None:
    rows = [(row["method"], row["ipc"], row["decoder"], row["labels"], row["reference"]) for row in made.table["rows"]]
    assert rows == [
        (name, ipc, decoder, "hard", first)
        for ipc in (1, 2)
        for name, decoder, first in (
            ("random", "plain", "random"),
            ("dm:start=noise", "plain", "random"),
            ("dm:decoder=grid:2", "grid:2", "dm:decoder=grid:2"),
            ("random:decoder=grid:2", "grid:2", "dm:decoder=grid:2"),
        )
    ] + [("whole set", None, "plain", "hard", None)]


def test_differences_stay_within_a_kind(made: Comparison) -> None:
    means = {m: np.mean(made.cell(m, 1, NET)["accuracies"], axis=1) for m in METHODS}
    against = {m: made.cell(m, 1, NET)["against"] for m in METHODS}
    assert against["random"] is None
    assert against["dm:decoder=grid:2"] is None
    for method, first in (("dm:start=noise", "random"), ("random:decoder=grid:2", "dm:decoder=grid:2")):
        assert against[method]["mean"] == pytest.approx((means[method] - means[first]).mean(), abs=1e-12)


def row(method: str, mean: float, **more: object) -> dict[str, object]:
    cell = {
        "status": "done", "repeats": [0, 1, 2], "accuracies": [[mean + d] for d in (-0.01, 0.0, 0.012)], "bold": False,
        "against": None,
    }  # fmt: skip
    return {"method": method, "ipc": 1, "decoder": "plain", "labels": "hard", "reference": "a", "cells": {NET: cell}} | more


def test_nobody_wins_across_kinds() -> None:
    grid, soft = {"decoder": "grid:2", "reference": "c"}, {"labels": "soft", "reference": "e"}
    rows = [row("a", 0.3), row("b", 0.4), row("c", 0.8, **grid), row("d", 0.7, **grid), row("e", 0.9, **soft)]
    for one, shift in zip(rows, (0.0, 0.001, 0.003, 0.001, 0.0), strict=True):
        one["cells"][NET]["accuracies"][0][0] += shift  # type: ignore[index]
    _compare(rows, NET)
    cells = [one["cells"][NET] for one in rows]  # type: ignore[index]
    assert [cell["bold"] for cell in cells] == [False, True, True, False, False]
    assert [cell["against"] is None for cell in cells] == [True, False, True, False, True]


def test_tables_say_the_kind_and_what_is_stored(made: Comparison, real: RealData) -> None:
    markdown, text = made.to_markdown(), str(made)
    assert "| method | ipc | images | kind | stored | iterations x real |" in markdown
    assert "| `dm:decoder=grid:2` | 1 | 3 | grid:2 | 2.3\u202fkB |" in markdown
    assert "| `random` | 2 | 6 | plain | 4.7\u202fkB |" in markdown
    assert "| `whole set` | – | 36 | plain | – |" in markdown
    for one in (markdown, text):
        assert "Against random: difference in points" in one
        assert "Against dm:decoder=grid:2: difference in points" in one
        assert "at the same ipc and of the same kind: each" in one
        assert "rows of another decoder or label kind stand below" in one
    lines = list(csv.DictReader(io.StringIO(made.to_csv())))
    told = {(line["method"], line["ipc"]): line for line in lines}
    assert told["dm:decoder=grid:2", "2"]["decoder"] == "grid:2"
    assert told["dm:decoder=grid:2", "2"]["stored_bytes"] == str(6 * (4 * 3 * 8 * 8 + 8))
    assert told["random:decoder=grid:2", "1"]["against"] == "dm:decoder=grid:2"
    assert told["dm:start=noise", "1"]["against"] == "random"


def test_evaluations_of_repeats_keep_the_kind(made: Comparison) -> None:
    run = made.out / "runs" / "dm-decoder=grid-2-ipc2"
    found = next(run.parent.glob("dm-decoder=grid-2*-ipc2"))
    small = DistilledSet.load(found / "0")
    (together,) = (found / "evaluations").glob("*.json")
    e = read_json(together)
    assert (e["decoder"], e["labels"], e["stored_bytes"]) == ("grid:2", "hard", small.stored_bytes)
    assert Kind.of_evaluation(e) == small.kind


def test_a_table_of_one_kind_says_only_what_is_stored(real: RealData, tmp_path: Path) -> None:
    plain = datadam.compare(
        real, "random", ipc=1, nets=NET, students=1, protocol=protocol_named("honest", epochs=1), out=tmp_path / "out"
    )
    assert "| method | ipc | images | stored | iterations x real |" in plain.to_markdown()
    assert "kind" not in plain.to_markdown()


def test_a_decoder_in_a_word() -> None:
    from datadam.comparison.variants import variant

    assert variant("dm : decoder = grid:2 : power=1").settings == (("decoder", "grid:2"), ("power", "1"))
    assert variant("dm:decoder=plain").settings == (("decoder", "plain"),)
    for word, told in (
        ("dm:power=1:2", "'2' of"),
        ("dm:2", "'2' of"),
        ("dm:decoder=grid:2:3", "'3' of"),
        ("dm:decoder=:2", "'2' of"),
    ):
        with pytest.raises(InvalidInput, match=f"{told} .* is no assignment"):
            variant(word)


def test_a_row_that_is_refused_has_no_kind_of_its_own(real: RealData) -> None:
    from datadam.comparison.variants import variant

    assert MethodRow(variant("dm"), 1, None, refused="why").kind == Kind()
