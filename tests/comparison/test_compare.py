"""A grid on tiny data: what is made and what is not made again, refused, failed, extended; the numbers against their sources."""

import csv
import io
import itertools
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats
from small import make_real

import datadam
from datadam.comparison import making
from datadam.comparison.making import GridProgress
from datadam.comparison.table import Comparison, _correct
from datadam.data import RealData
from datadam.errors import InvalidInput, NonFiniteLoss, NotEnoughMemory, UnknownName
from datadam.evaluation.panel import protocol_named
from datadam.evaluation.statistics import holm
from datadam.evaluation.told import around, better
from datadam.files.lock import alone_in
from datadam.files.whole import read_json

NET = "convnet1:width=4"
METHODS = "random,dm:start=noise,datadam:power=1"


@pytest.fixture(scope="module")
def real() -> RealData:
    """Three classes of twelve 3x8x8 images."""
    return make_real()


def tiny(real: RealData, out: Path, methods: object = METHODS, **options: object) -> Comparison:
    """A comparison in moments."""
    settings = {
        "ipc": [1], "net": NET, "repeats": 2, "iterations": 2, "batch_real": 3, "students": 2,
        "protocol": protocol_named("honest", epochs=2), "out": out,
    }  # fmt: skip
    return datadam.compare(real, methods, **(settings | options))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Collecting garbage takes a third of a second for each run."""
    monkeypatch.setattr("gc.collect", lambda: 0)


@pytest.fixture(scope="module")
def made(real: RealData, tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """Three methods, two networks, two repeats, the whole set. Not to be changed."""
    return tiny(real, tmp_path_factory.mktemp("made") / "out", nets=f"{NET},mlp[width=6]", whole=True, whole_epochs=1, note="toy")


@pytest.fixture
def worked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is made and judged from now on."""
    done: list[str] = []
    for name in ("_make", "_judge", "_judge_whole"):
        own = getattr(making.Making, name)
        monkeypatch.setattr(making.Making, name, lambda self, part, own=own: done.append(part.doing) or own(self, part))
    return done


def accuracies(comparison: Comparison) -> dict[tuple[str, object, str], list[list[float]]]:
    rows = comparison.table["rows"]
    return {(row["method"], row["ipc"], net): cell["accuracies"] for row in rows for net, cell in row["cells"].items()}


def test_a_cell_is_an_ordinary_run_judged_as_ever(real: RealData, made: Comparison) -> None:
    """Repeat 1 of DM is what `distill` and `evaluate` give with seed 1."""
    recipe = datadam.preset("dm", real, ipc=1).change({"net": NET, "iterations": 2, "batch_real": 3, "start": "noise", "seed": 1})
    alone = datadam.distill(real, recipe)
    kept = datadam.DistilledSet.load(made.out / "runs/dm-start=noise-ipc1/1")
    assert torch.equal(kept.images, alone.images)
    judged = datadam.evaluate(alone, real, net="mlp:width=6", protocol=protocol_named("honest", epochs=2), students=2, seed=1)
    cell = made.cell("dm:start=noise", 1, "mlp:width=6")
    assert cell["accuracies"][1] == list(judged.accuracies[0])
    assert cell["status"] == "done"
    file = json.loads((made.out / cell["files"][1]).read_text())
    assert file["accuracies"] == [list(judged.accuracies[0])]


def test_the_interval_is_over_sets_and_the_difference_paired(made: Comparison) -> None:
    for net in made.table["nets"]:
        means = {m: np.mean(made.cell(m, 1, net)["accuracies"], axis=1) for m in METHODS.split(",")}
        for method, values in means.items():
            cell = made.cell(method, 1, net)
            assert cell["mean"] == pytest.approx(values.mean())
            half = stats.t.ppf(0.975, 1) * values.std(ddof=1) / math.sqrt(2)
            assert cell["interval"]["half"] == pytest.approx(half, rel=1e-3, abs=1e-12)
            assert cell["interval"]["over"] == "sets"
            if method == "random":
                assert cell["against"] is None
            else:
                assert cell["against"]["mean"] == pytest.approx((values - means["random"]).mean(), abs=1e-12)
                assert cell["against"]["pairs"] == 2


def test_the_whole_set_is_the_last_row(real: RealData, made: Comparison) -> None:
    row = made.table["rows"][-1]
    assert (row["method"], row["ipc"], row["images"], row["epochs"]) == ("whole set", None, 36, 1)
    rule = protocol_named("honest", epochs=2).whole_set().with_epochs(1)
    assert row["cells"][NET]["accuracies"] == [list(datadam.evaluate_whole(real, net=NET, protocol=rule).accuracies[0])]


def test_the_files_say_the_same_and_where_it_came_from(real: RealData, made: Comparison) -> None:
    table = json.loads((made.out / "table.json").read_text())
    assert table == made.to_json()
    assert table["data"]["checksum"] == real.checksum
    assert (table["seeds"], table["reference"], table["note"]) == ([0, 1], "random", "toy")
    assert table["progress"] == {"parts": 20, "done": 20, "seconds_left": 0.0}
    assert {"hardware", "versions", "commit", "created", "command", "asked"} <= set(table)
    for row in table["rows"][:-1]:
        for run in row["runs"]:
            card = json.loads((made.out / run["folder"] / "card.json").read_text())
            assert (card["recipe"]["seed"], card["digest"]) == (run["seed"], run["digest"])
            settled = {"seed": run["seed"], "precision": run["precision"]}
            assert datadam.Recipe.from_card(row["settings"]).change(settled) == datadam.Recipe.from_card(card["recipe"])
    lines = list(csv.DictReader(io.StringIO((made.out / "table.csv").read_text())))
    assert len(lines) == 4 * 2
    for line in lines:
        cell = made.cell(line["method"], int(line["ipc"]) if line["ipc"] else None, line["net"])
        assert float(line["mean"]) == cell["mean"]
    markdown = (made.out / "table.md").read_text()
    assert markdown == made.to_markdown()
    for cell in (made.cell("datadam:power=1", 1, NET), made.cell("random", 1, "mlp:width=6")):
        assert f" {around(cell['mean'], cell['interval'])} " in markdown
    assert "Note: toy." in markdown
    with Image.open(made.out / "table.png") as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > 200
    together = read_json(next((made.out / "runs/datadam-power=1-ipc1/evaluations").glob("*convnet1*sets2.json")))
    assert together["accuracies"] == made.cell("datadam:power=1", 1, NET)["accuracies"]


def test_every_form_of_the_table_is_written(made: Comparison) -> None:
    names = {path.name for path in made.out.iterdir() if path.name.startswith("table.")}
    assert names == {"table.json", "table.md", "table.tex", "table.csv", "table.png", "table.svg", "table.pdf"}
    assert (made.out / "table.tex").read_text() == made.to_latex()


def test_p_values_are_corrected_for_all_tests_of_the_table() -> None:
    """Those of all rows and networks together; what could not be tested counts for none."""
    ps = [[0.01, 0.04], [0.03, None], [0.005, None]]
    rows = [{"cells": {net: {"against": {"p": p}} for net, p in zip("ab", row, strict=True)}} for row in ps]
    rows[2]["cells"]["b"]["against"] = None  # type: ignore[assignment]
    _correct(rows)
    told = [cell["against"].get("p_holm") for row in rows for cell in row["cells"].values() if cell["against"]]
    assert told == [*holm([0.01, 0.04, 0.03, 0.005])[:3], None, holm([0.01, 0.04, 0.03, 0.005])[3]]


def test_methods_that_are_not_better_than_random_images_are_named(made: Comparison) -> None:
    told = [note for note in made.table["notes"] if note.endswith(("random real images", NET, "mlp:width=6"))]
    wrong = [
        (row["method"], net)
        for row in made.table["rows"] if row["ipc"] is not None and row["method"] != "random"
        for net, cell in row["cells"].items()
        if not better(cell["accuracies"], made.cell("random", row["ipc"], net)["accuracies"])
    ]  # fmt: skip
    assert wrong  # of two iterations
    for method, net in wrong:
        assert any(
            note.startswith(f"{method}, ipc 1 is not better than random real images for ") and net in note for note in told
        )
    assert not any(note.startswith(("random", "whole set")) for note in told)


def test_finished_work_is_not_done_again_and_longer_lists_add_to_it(
    real: RealData, made: Comparison, tmp_path: Path, worked: list[str]
) -> None:
    from shutil import copytree

    out = copytree(made.out, tmp_path / "out")
    again = tiny(real, out, nets=f"{NET},mlp[width=6]", whole=True, whole_epochs=1, note="toy")
    assert worked == []
    assert accuracies(again) == accuracies(made)

    longer = tiny(real, out, "random,dm:start=noise,datadam:power=1,dm", ipc=[1, 2], nets=NET, repeats=3)
    assert len(worked) == 2 * (4 * 3 * 2 - 3 * 2)  # to make and to judge
    assert not any(
        ", ipc 1, repeat 0" in doing or ", ipc 1, repeat 1" in doing for doing in worked if not doing.startswith("dm, ")
    )
    for key, sets in accuracies(longer).items():
        if key in accuracies(made):
            assert sets[:2] == accuracies(made)[key]
    rows = [(row["method"], row["ipc"]) for row in longer.table["rows"]]
    assert rows == [(m, ipc) for ipc in (1, 2) for m in ("random", "dm:start=noise", "datadam:power=1", "dm")]

    worked.clear()
    other = tiny(real, out, nets=NET, students=1, protocol=protocol_named("honest", epochs=1))  # judged otherwise: same sets
    assert len(worked) == 6
    assert all(", judged by " in doing for doing in worked)
    assert other.table["students"] == 1
    worked.clear()
    assert accuracies(tiny(real, out, nets=NET)) == {k: v for k, v in accuracies(made).items() if k[2] == NET and k[1]}
    assert worked == []


def test_other_settings_for_what_is_there_are_refused_with_the_cure(real: RealData, made: Comparison, worked: list[str]) -> None:
    for options, told in (
        ({"iterations": 3}, "iterations was 2 and is 3 now"),
        ({"batch_real": 4}, "batch_real was 3 and is 4 now"),
        ({"precision": "float64"}, "precision was 'float32' and is 'float64' now"),
        ({"seed": 5}, "seed was 0 and is 5 now"),
        ({"net": "convnet1:width=5"}, "net was 'convnet1:width=4'"),
    ):
        before = (made.out / "table.json").read_bytes()
        with pytest.raises(InvalidInput, match="choose another folder with out") as refusal:
            tiny(real, made.out, **options)
        assert told in str(refusal.value)
        assert (made.out / "table.json").read_bytes() == before
    with pytest.raises(InvalidInput, match="made from other data"):
        tiny(make_real(seed=1), made.out)
    assert worked == []


def test_impossible_cells_are_refused_with_the_reason_and_the_rest_is_made(real: RealData, tmp_path: Path) -> None:
    found = tiny(
        real, tmp_path / "out", "random,dm:start=noise,datadam:layers=(3)", ipc=[2, 13], nets=[NET, "vgg11"], repeats=1,
    )  # fmt: skip
    status = {(row["method"], row["ipc"]): [cell["status"] for cell in row["cells"].values()] for row in found.table["rows"]}
    assert status == {
        ("random", 2): ["done", "refused"], ("dm:start=noise", 2): ["done", "refused"],
        ("datadam:layers=(3)", 2): ["refused", "refused"],
        ("random", 13): ["refused", "refused"], ("dm:start=noise", 13): ["done", "refused"],
        ("datadam:layers=(3)", 13): ["refused", "refused"],
    }  # fmt: skip
    assert "has only 12 training images" in found.cell("random", 13, NET)["reason"]
    assert "name blocks from 1 to 1" in found.cell("datadam:layers=(3)", 2, NET)["reason"]
    assert "8x8" in found.cell("random", 2, "vgg11")["reason"]
    assert found.failed == 0
    for words in (found.to_markdown(), str(found), found.to_csv()):
        assert "has only 12 training images" in words
        assert "refused" in words
    assert not any(found.cell(m, 2, NET)["bold"] for m in ("random", "dm:start=noise"))
    assert "no difference is tested" in found.to_markdown()
    assert not (tmp_path / "out/runs/random-ipc13").exists()


def test_what_breaks_off_is_failed_and_tried_again(
    real: RealData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, worked: list[str]
) -> None:
    broken = {("dm", 1): NonFiniteLoss("the loss is nan"), ("datadam", 0): NotEnoughMemory("too large after all")}
    broken |= {("dm", 0): RuntimeError("no\nmemory")}
    step = datadam.Distillation._step

    def breaks(run: datadam.Distillation) -> float:
        if error := broken.get((run.recipe.method.name, run.recipe.seed)):
            raise error
        return step(run)

    monkeypatch.setattr(datadam.Distillation, "_step", breaks)
    found = tiny(real, tmp_path / "out")
    cells = {method: found.cell(method, 1, NET) for method in METHODS.split(",")}
    assert [cell["status"] for cell in cells.values()] == ["done", "failed", "refused"]
    assert cells["dm:start=noise"]["reason"] == "repeat 0: RuntimeError: no memory; repeat 1: the loss is nan"
    assert cells["datadam:power=1"]["reason"] == "too large after all"
    assert found.failed == 2
    assert [doing for doing in worked if "datadam" in doing] == ["datadam:power=1, ipc 1, repeat 0"]  # no more of a refused row

    del broken["dm", 0]
    part = tiny(real, tmp_path / "out").cell("dm:start=noise", 1, NET)
    assert (part["status"], part["reason"], part["against"]) == ("part", "repeat 1: the loss is nan", None)
    assert len(part["accuracies"]) == 1
    broken.clear()
    worked.clear()
    mended = tiny(real, tmp_path / "out")
    assert sorted(worked) == sorted(
        doing
        for name in ("dm:start=noise, ipc 1, repeat 1", "datadam:power=1, ipc 1, repeat 0", "datadam:power=1, ipc 1, repeat 1")
        for doing in (name, f"{name}, judged by {NET}")
    )
    assert mended.failed == 0
    assert {cell["status"] for row in mended.table["rows"] for cell in row["cells"].values()} == {"done"}


def test_faults_of_the_whole_command_are_refused_at_once_and_leave_nothing(real: RealData, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as refusal:
        tiny(
            real, tmp_path / "out", "random,datdam,dm:powr=2,datadam:power=0.5", ipc=[1, 0], nets="convnet1,resnet9", repeats=0,
            whole_epochs=3,
        )  # fmt: skip
    told = str(refusal.value)
    for words in ("'datdam'. Did you mean", "ipc is 0", "resnet9", "repeats is 0", "whole_epochs is of the row"):
        assert words in told
    with pytest.raises(InvalidInput) as refusal:
        tiny(real, tmp_path / "out", "random,dm:powr=2,datadam:power=0.5,dm,dm:momentum=0.5")
    for words in ("unknown setting 'powr'", "power (p) is 0.5", "'dm' and 'dm:momentum=0.5' are the same settings"):
        assert words in str(refusal.value)
    with pytest.raises(InvalidInput, match="random, ipc 13: ipc is 13"):
        tiny(real, tmp_path / "out", "random,dm", ipc=[13])
    with pytest.raises(InvalidInput, match="unknown protocol 'onest'"):
        tiny(real, tmp_path / "out", protocol="onest")
    for options in ({"nets": ""}, {"ipc": []}, {"methods": []}, {"nets": f"{NET}@colour"}, {"iterations": -1}):
        with pytest.raises(InvalidInput):
            tiny(real, tmp_path / "out", **options)
    assert list(tmp_path.iterdir()) == []


def test_only_its_own_folder_and_one_process_at_a_time(real: RealData, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other/thesis.txt").write_text("mine")
    with pytest.raises(InvalidInput, match="holds files that are no comparison"):
        tiny(real, tmp_path / "other")
    with pytest.raises(InvalidInput, match="is a file"):
        tiny(real, tmp_path / "other/thesis.txt")
    with alone_in(tmp_path / "held"), pytest.raises(InvalidInput, match="another process is at work"):
        tiny(real, tmp_path / "held")
    assert not (tmp_path / "held").exists()
    holder = """
import pathlib, sys
from datadam.files.lock import alone_in
with alone_in(pathlib.Path(sys.argv[1])):
    print(1, flush=True)
    input()
"""
    with subprocess.Popen(
        [sys.executable, "-c", holder, str(tmp_path / "held")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(InvalidInput, match="another process is at work"):
            tiny(real, tmp_path / "held")
        process.kill()
    with alone_in(tmp_path / "held"):  # a killed process holds nothing
        pass


def test_a_preset_s_network_and_whitening_are_those_of_the_comparison(real: RealData, tmp_path: Path) -> None:
    found = tiny(
        real, tmp_path / "out", "official,dm,dm:zca=none:net=convnet1[width=3],random", zca=True, repeats=1, students=1,
    )  # fmt: skip
    rows = {row["method"]: row for row in found.table["rows"]}
    assert {m: (row["net"], row["zca"]) for m, row in rows.items()} == {
        "official": ("convnet1:norm=batch:width=4", "official"), "dm": (NET, "kornia"),
        "dm:zca=none:net=convnet1[width=3]": ("convnet1:width=3", "none"), "random": (NET, "kornia"),
    }  # fmt: skip
    assert any("whitened" in note and "the others not" in note for note in found.table["notes"])
    assert found.table["nets"] == [NET]


def test_a_column_may_have_its_own_augmentation(real: RealData, tmp_path: Path) -> None:
    found = tiny(real, tmp_path / "out", "random", nets=f"{NET},{NET}@none,{NET}@dsa", repeats=1)
    assert found.table["nets"] == [NET, f"{NET}@none", f"{NET}@dsa"]
    one, plain, same = (found.cell("random", 1, net) for net in found.table["nets"])
    assert json.loads((tmp_path / "out" / plain["files"][0]).read_text())["protocol"]["augment"] == "none"
    assert same["accuracies"] == one["accuracies"]
    assert any("NET@AUGMENT" in note for note in found.table["notes"])


def test_progress_counts_to_the_end_and_tells_the_time_left(real: RealData, tmp_path: Path) -> None:
    told: list[GridProgress] = []
    tiny(real, tmp_path / "out", "random,dm", repeats=1, progress=told.append)
    assert told[0].remark.startswith("4 parts, sets to make and to judge; 0 are done")
    assert all(a.done <= b.done for a, b in itertools.pairwise(told))
    assert (told[-1].done, told[-1].parts, told[-1].left) == (4, 4, 0.0)
    assert all(0 <= p.share <= 1 for p in told)
    assert all(p.left is not None and p.left >= 0 for p in told if p.done >= 2)
    assert any(f"dm, ipc 1, judged by {NET}: " in p.remark for p in told)


def test_a_damaged_evaluation_is_judged_again_and_a_half_begun_run_begun_again(
    real: RealData, tmp_path: Path, worked: list[str]
) -> None:
    out = tmp_path / "out"
    first = tiny(real, out, "random", repeats=1)
    file = out / first.cell("random", 1, NET)["files"][0]
    whole = json.loads(file.read_text())
    for damage in ("", "{", json.dumps(whole | {"accuracies": [[2.0, 0.1]]}), json.dumps(whole | {"seed": 4}), "[]"):
        worked.clear()
        file.write_text(damage)
        assert accuracies(tiny(real, out, "random", repeats=1)) == accuracies(first)
        assert worked == [f"random, ipc 1, judged by {NET}"]
    run = out / "runs/random-ipc1/0"
    for name in ("card.json", "checkpoint/run.json", "checkpoint/state.safetensors"):
        (run / name).unlink()
    worked.clear()
    assert accuracies(tiny(real, out, "random", repeats=1)) == accuracies(first)
    assert len(worked) == 2


PEAKS = """
import mmap
from datadam import machine
if machine.forget_peak():
    print(machine.peak_memory_mb())
    with mmap.mmap(-1, 300_000_000) as large:
        for at in range(0, len(large), mmap.PAGESIZE):
            large[at] = 1
        print(machine.peak_memory_mb())
    print(machine.peak_memory_mb())  # what was given back is remembered
    machine.forget_peak()
    print(machine.peak_memory_mb())
"""


def test_the_peak_of_memory_can_begin_anew() -> None:
    """In a process of its own, where nothing else is given back meanwhile, by pages that go back when they are let go."""
    done = subprocess.run([sys.executable, "-c", PEAKS], capture_output=True, text=True, check=True, timeout=120)
    if not done.stdout:
        pytest.skip("this system cannot")
    before, with_it, after, anew = map(float, done.stdout.split())
    assert with_it > before + 200  # not all of it where the machine is so short of memory that it swaps
    assert after > with_it - 10  # the system counts pages roughly
    assert anew < before + 100


def test_unknown_cells(made: Comparison) -> None:
    with pytest.raises(UnknownName, match="random, 1"):
        made.cell("random", 7, NET)
    with pytest.raises(UnknownName, match="column"):
        made.cell("random", 1, "mlp")


def test_what_another_comparison_has_made_is_taken_over(
    real: RealData, made: Comparison, tmp_path: Path, worked: list[str]
) -> None:
    """Runs of the same recipe by another word and name too, with students and the whole set; what differs is made."""
    damaged = tmp_path / "damaged/runs/random-ipc1/0"
    damaged.mkdir(parents=True)
    (damaged / "card.json").write_text("[]")
    words = "datadam:power=1:augment=" + made.table["rows"][2]["settings"]["augment"] + ",random,dm:start=noise:lr_images=2"
    found = tiny(real, tmp_path / "out", words, whole=True, whole_epochs=1, earlier=[tmp_path / "damaged", made.out])
    assert worked
    assert [doing for doing in worked if "lr_images=2" not in doing] == []
    then, now = accuracies(made), accuracies(found)
    assert now[words.split(",")[0], 1, NET] == then["datadam:power=1", 1, NET]
    assert now["random", 1, NET] == then["random", 1, NET]
    assert now["whole set", None, NET] == then["whole set", None, NET]
    for run in found.table["rows"][1]["runs"]:
        assert (made.out / run["folder"] / "card.json").read_bytes() == (found.out / run["folder"] / "card.json").read_bytes()


def test_runs_of_other_data_are_not_taken(made: Comparison, tmp_path: Path, worked: list[str]) -> None:
    tiny(make_real(per_class=13), tmp_path / "out", "random", repeats=1, earlier=[made.out])
    assert [doing for doing in worked if "judged" not in doing] == ["random, ipc 1"]
    with pytest.raises(InvalidInput, match="nowhere of earlier comparisons holds no runs"):
        tiny(make_real(), tmp_path / "other", "random", earlier=[tmp_path / "nowhere"])
    assert not (tmp_path / "other").exists()


def test_a_comparison_goes_on_whose_runs_had_networks_trained(real: RealData, tmp_path: Path, worked: list[str]) -> None:
    """The card of such a run names the trajectories that it found or made; asked for again, they are no other settings."""
    words = "mtt:count=1:steps=1:expert_epochs=1:max_start=1"
    tiny(real, tmp_path / "out", words, repeats=1)
    assert worked
    worked.clear()
    tiny(real, tmp_path / "out", words, repeats=1)
    tiny(real, tmp_path / "other", words, repeats=1, earlier=[tmp_path / "out"])
    assert worked == []
    card = read_json(tmp_path / "other/runs/mtt-count=1-steps=1-expert_epochs=1-max_start=1-ipc1/0/card.json")
    assert card["recipe"]["networks"].startswith("experts:")
