"""Pages of decoded, soft-labelled and unequal sets: what is stored, what students see, and no ranking across kinds."""

import json
import re
from base64 import b64decode
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from kinds import KINDS, set_of_kind
from PIL import Image
from safetensors.torch import save_file

from datadam.data import RealData
from datadam.errors import ArtifactError
from datadam.inspection import Settings, inspect
from datadam.report import page
from datadam.report.folder import read
from datadam.report.judged import accuracy, rival, title
from datadam.sets.distilled import DistilledSet
from datadam.sets.preview import as_uint8, preview

Json = dict[str, Any]
CLASSES = ("0", "1", "2")


def sheets(html: str, key: str) -> list[np.ndarray]:
    """The sheets of a gallery, from start to end, as uint8 [height, width, 3]."""
    own = re.search(rf"#{key}-images {{(.*?)\n}}", html, re.DOTALL)
    assert own, key
    found = re.findall(r"--f\d+: url\(data:image/png;base64,([^)]*)\)", own[1])
    return [np.asarray(Image.open(BytesIO(b64decode(text))).convert("RGB")) for text in found]


def tiles(sheet: np.ndarray, count: int, columns: int, side: int = 8) -> np.ndarray:
    """The images of a sheet without the frame of one pixel around each."""
    rows = sheet.reshape(-1, side + 2, columns, side + 2, 3).transpose(0, 2, 1, 3, 4).reshape(-1, side + 2, side + 2, 3)
    return rows[:count, 1:-1, 1:-1]


def saved(one: DistilledSet, run: Path, made: SimpleNamespace, *judged: Json) -> Path:
    """A run folder with evaluations."""
    one.save(run)
    (run / "evaluations").mkdir()
    for number, evaluation in enumerate(judged):
        (run / f"evaluations/{number}.json").write_text(json.dumps(evaluation))
    return run


def told(made: SimpleNamespace, of: str, about: float, one: DistilledSet | None = None, **changes: Any) -> Json:
    """An evaluation of a set of this kind."""
    kind = {} if one is None else {"labels": one.label_kind, "decoder": one.decoder.word, "stored_bytes": one.stored_bytes}
    return dict(made.evaluation(of, about, CLASSES, net="convnet2:width=6", images=6, **kind) | changes)


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_of_any_kind_is_read_as_it_is(real: RealData, tmp_path: Path, kind: str) -> None:
    one = set_of_kind(real, **KINDS[kind])
    one.save(tmp_path / "run")
    run = read(tmp_path / "run")
    assert run.labels == one.numbers.tolist()
    assert run.training_labels == one.training_numbers.tolist()
    assert (run.kind, run.each) == (one.kind, one.decoder.each)
    assert torch.equal(run.pixels(range(6)), one.stored_pixels())
    some = [5, 0, len(one.training_images) - 1, 5]
    torch.testing.assert_close(run.training_pixels(some), one.pixels()[some], rtol=0, atol=1e-6)
    assert page([tmp_path / "run"])


def test_a_page_shows_what_is_stored_and_what_students_see(real: RealData, made: SimpleNamespace, tmp_path: Path) -> None:
    one = set_of_kind(real, **(KINDS["soft"] | {"decoder": "grid:2", "iterations_done": 9}))
    run = saved(one, tmp_path / "run", made, told(made, "distilled", 0.6, one), told(made, "random", 0.7))
    (run / "snapshots").mkdir()
    save_file({"images": one.images.flip(0).contiguous()}, run / "snapshots/00000000.safetensors")
    html = page([run])
    assert "<h2>The stored images</h2>" in html
    assert "<h2>The training images: what students see</h2>" in html
    assert "<h2>The images</h2>" not in html
    stored, seen = sheets(html, "run0"), sheets(html, "run0-training")
    assert len(stored) == len(seen) == 2
    np.testing.assert_array_equal(tiles(stored[1], 6, 2), as_uint8(one.stored_pixels()))
    np.testing.assert_array_equal(tiles(seen[1], 24, 8), as_uint8(one.pixels()))
    np.testing.assert_array_equal(tiles(stored[0], 6, 2), as_uint8(one.stored_pixels())[::-1])
    for words in (
        "The decoder grid:2 makes 4 training images of each.", "<dt>stored images", "<dt>training images",
        "4 of each stored one, decoded by grid:2", "logits at temperature 4", "<dd>4.7\u202fkB</dd><dt>stored",
        "The set: decoded by grid:2 to 24 training images; soft labels at temperature 4; stored in 4.7\u202fkB.",
        "Distilled images, decoded by grid:2, soft labels",
    ):  # fmt: skip
        assert words in html, words


def test_frequencies_are_shown_by_what_they_decode_to(real: RealData, tmp_path: Path) -> None:
    one = set_of_kind(real, **KINDS["frequencies"])
    one.save(tmp_path / "run")
    html = page([tmp_path / "run"])
    assert "<h2>The training images: what students see</h2>" in html
    assert "<h2>The stored images</h2>" not in html
    assert "as 8-bit pixels" not in html
    np.testing.assert_array_equal(tiles(sheets(html, "run0-training")[0], 36, 10), as_uint8(one.pixels()))
    shown = preview(one.pixels(), one.classes, [12, 12, 12])
    with Image.open(tmp_path / "run" / "preview.png") as kept:
        np.testing.assert_array_equal(np.asarray(kept), np.asarray(shown))
    assert "stored_pixels" not in (tmp_path / "run" / "README.md").read_text()


def test_the_nearest_real_images_stand_beside_training_images(real: RealData, tmp_path: Path) -> None:
    one = set_of_kind(real, **KINDS["grid"])
    one.save(tmp_path / "run")
    inspect(one, real, Settings(samples=24, networks=2)).save(tmp_path / "run")
    html = page([tmp_path / "run"])
    stored, seen = re.findall(r'<section id="run0(?:-training)?-images">.*?</section>', html, re.DOTALL)
    assert "data-near" not in stored
    assert seen.count("data-near") == 24
    assert "8 images per class that are not among these" in html


def test_a_plain_page_says_what_it_said_and_what_is_stored(made: SimpleNamespace, tmp_path: Path) -> None:
    html = page([made.full(tmp_path / "run")])
    assert "<h2>The images</h2>" in html
    assert "<dd>1.2\u202fMB</dd><dt>stored" in html
    for words in ("decoded", "decoder", "soft", "The set: ", "groups of their own"):
        assert words not in html.partition("</style>")[2].partition("<script>")[0]


def test_runs_of_different_kinds_stand_in_tables_of_their_own(real: RealData, made: SimpleNamespace, tmp_path: Path) -> None:
    plain, grid = set_of_kind(real), set_of_kind(real, decoder="grid:2")
    runs = [
        saved(plain, tmp_path / "a", made, told(made, "distilled", 0.6, plain)),
        saved(grid, tmp_path / "b", made, told(made, "distilled", 0.8, grid)),
        saved(plain, tmp_path / "c", made, told(made, "distilled", 0.7, plain)),
    ]
    html = page(runs)
    head = html.partition("All runs, plain")[2].partition("<article")[0]
    first, second = head.split("All runs, grid:2")
    assert [name in first for name in ("#run0-", "#run1-", "#run2-")] == [True, False, True]
    assert "#run1-" in second.partition("</table>")[0]
    assert "Sets of different kinds stand apart" in html
    assert "<h3>grid:2</h3>" in html
    one_kind = page([runs[0], runs[2]])
    assert 'aria-label="All runs"' in one_kind
    assert "stand apart" not in one_kind


def test_charts_and_tables_group_by_kind_and_sort_within(made: SimpleNamespace, real: RealData) -> None:
    grid, soft = set_of_kind(real, decoder="grid:2"), set_of_kind(real, **KINDS["soft"])
    judged = [
        told(made, "random", 0.5), told(made, "distilled", 0.4, grid), told(made, "distilled", 0.9, soft),
        told(made, "random", 0.6, grid), told(made, "whole", 0.95),
    ]  # fmt: skip
    found = accuracy([(e, title(e), e["of"] == "distilled") for e in judged])
    assert found is not None
    assert [(row["title"], row["group"]) for row in found["table"]] == [
        ("Random real images, decoded by grid:2", 0), ("Distilled images, decoded by grid:2", 0),
        ("Distilled images, soft labels", 1), ("Whole training set", 2), ("Random real images", 2),
    ]  # fmt: skip
    assert found["kinds"] == 3
    assert found["wide"].count("stroke-dasharray") >= 2  # lines between the groups
    assert [row["stored"] for row in found["table"]][:2] == ["4.7\u202fkB"] * 2


def test_random_images_of_another_kind_are_no_rivals(made: SimpleNamespace, real: RealData, tmp_path: Path) -> None:
    grid = set_of_kind(real, decoder="grid:2")
    own = told(made, "distilled", 0.6, grid)
    run = read(saved(grid, tmp_path / "run", made, own, told(made, "random", 0.7), told(made, "whole", 0.9)))
    assert rival(run, "random", own) is None
    whole = rival(run, "whole", own)
    assert whole is not None
    assert whole["of"] == "whole"
    other = read(saved(grid, tmp_path / "other", made, own, told(made, "random", 0.7), told(made, "random", 0.5, grid)))
    found = rival(other, "random", own)
    assert found is not None
    assert found["decoder"] == "grid:2"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"decoder": 3}, "decoder is '3'"), ({"labels": "fuzzy"}, "labels is 'fuzzy'"),
        ({"stored_bytes": -1}, "stored_bytes is '-1'"), ({"decoder": "<script>alert(1)</script>"}, ""),
    ],
)  # fmt: skip
def test_forged_kinds_of_evaluations(made: SimpleNamespace, real: RealData, tmp_path: Path, changes: Json, words: str) -> None:
    run = saved(set_of_kind(real), tmp_path / "run", made, told(made, "distilled", 0.5, **changes))
    if words:
        with pytest.raises(ArtifactError, match=words):
            page([run])
    else:
        assert "<script>alert" not in page([run])


def test_forged_cards_are_refused(real: RealData, tmp_path: Path) -> None:
    one = set_of_kind(real, **KINDS["all"])
    one.save(tmp_path / "run")
    card = tmp_path / "run/card.json"
    for change in ({"decoder": "grid:5"}, {"counts": [3, 3, 3]}, {"decoder": "x"}):
        card.write_text(json.dumps(one.card | change))
        with pytest.raises(ArtifactError):
            page([tmp_path / "run"])
