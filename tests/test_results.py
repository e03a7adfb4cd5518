"""The tables of the documents say what results/ holds, and every number there has its evidence."""

import importlib.util
import json
import math
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from datadam.cli.app import app
from datadam.comparison.variants import changed, split, variant
from datadam.data.catalog import CATALOG as DATA
from datadam.distillation.presets import FOR_METHOD, Sketch, preset
from datadam.methods.catalog import CATALOG as METHODS

ROOT = Path(__file__).resolve().parents[1]
CARDS = sorted((ROOT / "results").glob("*/*/card.json"))
COMPARED = sorted((ROOT / "results").glob("*/tables/*/table.json"))


def _program(name: str) -> ModuleType:
    """A program of results/, with those beside it, which it imports as it does when it is run."""
    monkey = pytest.MonkeyPatch()
    monkey.syspath_prepend(ROOT / "results")
    spec = importlib.util.spec_from_file_location(f"results_{name}", ROOT / "results" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where its dataclass looks for itself
    spec.loader.exec_module(module)
    monkey.undo()
    return module


table, evidence, pictures, minutes = (_program(name) for name in ("table", "evidence", "pictures", "minutes"))
BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"


def test_the_documents_are_up_to_date() -> None:
    assert table.main(["--check"]) == 0, "run python results/table.py"


def test_the_pictures_are_up_to_date() -> None:
    assert pictures.main(["--check"]) == 0, "run python results/pictures.py"


def test_pictures_show_what_is_kept() -> None:
    kept = {row.name: row for row in table.rows(ROOT / "results")}
    drawn = pictures.told(pictures.idea(kept))
    for of in ("distilled", "random"):
        e = kept[pictures.IDEA].judged(of)
        assert e is not None
        assert f">{100 * e['mean']:.1f} %<" in drawn
    (ipc, e), *_ = pictures.measured(kept, "cifar10", "distilled")
    assert (ipc, e["mean"]) == (10, kept["cifar10-ipc10-256"].judged("distilled")["mean"])
    assert [ipc for ipc, _ in pictures.measured(kept, "mnist", "random")] == [1, 10]
    assert pictures.published("cifar10", "DataDAM") == [(1, 32.0), (10, 54.2), (50, 67.0)]
    assert f'cy="{44 + 220 * (1 - 0.67):.2f}"' in pictures.accuracy(kept)


@pytest.mark.parametrize("path", CARDS, ids=lambda path: path.parent.name)
def test_every_row_has_its_evidence(path: Path) -> None:
    card = json.loads(path.read_text("utf-8"))
    assert card["command"].startswith("datadam distill ")
    assert type(card["recipe"]["seed"]) is int
    assert card["seconds"] > 0
    assert card["iterations_done"] == card["recipe"]["iterations"]
    assert card["plan"]["threads"] >= 1
    assert card["hardware"]["cpu"]
    assert card["hardware"]["cores"] >= 1
    assert {"datadam", "torch", "python"} <= set(card["versions"])
    assert card["data"]["checksum"].startswith("sha256:")
    assert not card["note"], "a demonstration is no result"
    for file in path.parent.glob("evaluations/*.json"):
        e = json.loads(file.read_text("utf-8"))
        assert e["seconds"] > 0
        assert type(e["seed"]) is int
        assert e["words"].startswith(f"{e['protocol']['name']}: {e['students']} of ")
        assert [len(one) for one in e["accuracies"]] == [e["students"]] * e["sets"]
        assert not e["note"]


@pytest.mark.parametrize("path", COMPARED, ids=lambda path: path.parent.name)
def test_every_comparison_has_its_evidence(path: Path) -> None:
    made = json.loads(path.read_text("utf-8"))
    assert made["command"].startswith("datadam compare ")
    assert made["progress"]["done"] == made["progress"]["parts"]
    assert made["data"]["checksum"].startswith("sha256:")
    assert made["hardware"]["cpu"]
    assert not made["note"], "a demonstration is no result"
    assert path.parent.name in evidence.TABLES
    for row in made["rows"]:
        for cell in row["cells"].values():
            assert cell["status"] == "done", (row["method"], cell["reason"])
            assert [len(one) for one in cell["accuracies"]] == [made["students"]] * made["repeats"]
    assert {file.name for file in path.parent.iterdir()} == set(evidence.TABLE_FILES)


@pytest.mark.parametrize(
    "path",
    [path for folder in CARDS for path in folder.parent.rglob("*.json*")]
    + [path for folder in COMPARED for path in folder.parent.glob("table.*") if path.suffix != ".png"],
    ids=lambda path: f"{path.parent.name}/{path.name}",
)
def test_results_name_no_place_on_one_machine(path: Path) -> None:
    assert not re.findall(r"[\"\s]/(?:home|root|tmp|work|mnt|Users)/", path.read_text("utf-8"))


# --- the table itself, on results that are made up here ---


def card(
    name: str = "cifar10", method: str = "datadam", preset: str = "datadam", zca: bool = True, **recipe: Any
) -> dict[str, Any]:
    inner = {"name": method} | ({"power": 4.0, "scale": 100.0} if method == "datadam" else {})
    settings = {"preset": preset, "method": inner, "ipc": 10, "net": "convnet3", "batch_real": 64, "seed": 0, "start": "real"}
    return {
        "recipe": settings | {"iterations": 1500} | recipe, "iterations_done": 1500, "moved": 0.25, "seconds": 1234.5,
        "plan": {"threads": 2, "compiled": True, "chunk": 128}, "note": "",
        "data": {"name": name, "checksum": f"sha256:{name}", "classes": ["a", "b"], "shape": [3, 4, 4]},
        "transform": {"mean": [0.0], "std": [1.0], "zca": {"variant": "kornia", "eps": 0.1} if zca else None},
        "command": f"datadam distill {name} --root /some/where --ipc 10 --iterations 1500 --batch-real 64 --out x --overwrite",
        "hardware": {"cpu": "A Processor", "cores": 2, "memory_gb": 8, "gpu": None},
        "versions": {"datadam": "0.1.0", "torch": "2.13.0", "python": "3.11.7"}, "commit": "abcdef",
    }  # fmt: skip


def evaluation(of: str, accuracies: list[list[float]], net: str = "convnet3", epochs: int = 1000, **parts: Any) -> dict[str, Any]:
    everything = [a for one in accuracies for a in one]
    mean, many = sum(everything) / len(everything), len(everything) > 1
    interval = {"low": mean - 0.012, "high": mean + 0.012, "over": "students only"} if many else None
    return {
        "of": of, "net": net, "ipc": None if of == "whole" else 10, "iteration": None,
        "protocol": {"name": "honest", "epochs": epochs}, "students": len(accuracies[0]), "sets": len(accuracies),
        "accuracies": accuracies, "mean": mean, "interval": interval, "seconds": 60.0, "seed": 0,
        "words": f"honest: {len(accuracies[0])} of 20 students",
    } | parts  # fmt: skip


@pytest.fixture
def keep(tmp_path: Path) -> Callable[..., Path]:
    """A repository with empty tables, and rows kept in it; gives its root."""
    (tmp_path / "docs" / "methods").mkdir(parents=True)
    (tmp_path / "results").mkdir()
    for place in ("README.md", "results/README.md", "docs/methods/datadam.md", *table.TABLES):
        words = f"before\n{BEGIN}\nold\n{END}\n"
        marks = [f"<!-- {name}:begin -->\nold\n<!-- {name}:end -->\n" for name in table.TABLES.get(place, ())]
        (tmp_path / place).write_text("".join([words, *marks, "after\n"]))
    marks = [f"<!-- {name}:begin -->\n<!-- {name}:end -->\n" for name in minutes.NAMES]
    (tmp_path / "docs" / "minutes.md").write_text("".join(marks))

    def one(name: str, what: dict[str, Any], *evaluations: dict[str, Any], scale: str = "small") -> Path:
        folder = tmp_path / "results" / scale / name
        (folder / "evaluations").mkdir(parents=True)
        (folder / "card.json").write_text(json.dumps(what))
        norms = {"sam": {"grad_norm": 4.0 * 960**0.5}, "mmd": {"grad_norm": 0.5 * 960**0.5}}  # 2 classes x 10 images x 3 x 4 x 4
        lines = [{"iteration": i, "terms": {k: {"grad_norm": v["grad_norm"] * i} for k, v in norms.items()}} for i in (1, 2, 90)]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        for number, e in enumerate(evaluations):
            (folder / "evaluations" / f"{number}.json").write_text(json.dumps(e))
        return tmp_path

    return one


def cells(root: Path, name: str, document: str = "results/README.md") -> list[str]:
    """The cells of a row of the table."""
    line = next(line for line in (root / document).read_text().splitlines() if line.startswith(f"| [{name}]"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_without_results_it_says_so(tmp_path: Path, keep: Callable[..., Path]) -> None:
    assert table.main([], tmp_path) == 0
    assert (tmp_path / "README.md").read_text() == f"before\n{BEGIN}\nNo results yet.\n{END}\nafter\n"
    for place, names in table.TABLES.items():
        for name in names:
            told = (
                f"<!-- {name}:begin -->\nNot measured yet: `python results/evidence.py --data FOLDER --scale small {name}` does."
            )
            assert told in (tmp_path / place).read_text()


def test_a_row_says_everything(keep: Callable[..., Path]) -> None:
    whole = evaluation("whole", [[0.8]], epochs=3)
    root = keep("a", card(), evaluation("distilled", [[0.50, 0.51, 0.49]]), evaluation("random", [[0.30, 0.32]]), whole)
    assert table.main([], root) == 0
    assert cells(root, "a") == [
        "[a](../results/small/a)",
        "CIFAR-10, 10",
        "DataDAM: `datadam`, convnet3, ZCA",
        "1 500 x 64",
        "**50.0 ± 1.2 (3 students)**",
        "31.0 ± 1.2 (2 students), whitened too",
        "80.0 (one student, 3 epochs), whitened too",
        "DataDAM 54.2 ± 0.8 [1]; random 26.0 [1]; whole set 84.8 [1]",
        "1 234 s, 2 threads",
    ]
    text = (root / "results/README.md").read_text()
    assert "`datadam distill cifar10 --ipc 10 --iterations 1500 --batch-real 64`" in text
    assert "/some/where" not in text
    for words in (
        "A Processor, 2 cores, 8 GB, no GPU",
        "at abcdef",
        "seed 0",
        "60 s",
        "not the published one",
        "[1] Sajedi et al.",
    ):
        assert words in text
    assert "(../../results/small/a)" in cells(root, "a", "docs/methods/datadam.md")[0]


def test_the_readme_has_of_each_data_and_ipc_the_longest_run_of_datadam_and_of_ours(keep: Callable[..., Path]) -> None:
    keep("a", card(), evaluation("distilled", [[0.50, 0.51, 0.49]]), evaluation("random", [[0.30, 0.32]]))
    keep("longer", card(batch_real=256), evaluation("distilled", [[0.60, 0.61]]))
    keep("one", card(ipc=1, zca=False), evaluation("distilled", [[0.4, 0.4]]))
    calm = card(method="calm", preset="calm", zca=False)
    keep("calm-plain", calm, evaluation("distilled", [[0.6, 0.62]]))
    for name, decoder, made, mean in (("calm", "grid:4", "2026-02-01", 0.7), ("calm-earlier", "grid:2", "2026-01-01", 0.8)):
        own = card(method="calm", preset="calm", zca=False) | {"created": made}
        own["recipe"]["decoder"] = decoder
        keep(name, own, evaluation("distilled", [[mean, mean + 0.02]]))
        one = own | {"recipe": own["recipe"] | {"ipc": 1}}
        keep(f"{name}-one", one, evaluation("distilled", [[mean - 0.2, mean - 0.18]]))
    further = card(method="mtt", preset="mtt-quick", zca=False)
    further |= {"earlier_seconds": 1000.0, "trained_first_seconds": 200.0, "experts": {"networks": 3, "epochs": 7}}
    further["recipe"] |= {"decoder": "grid:4", "networks": "experts:somewhere"}
    keep("further", further, evaluation("distilled", [[0.75, 0.77]]))
    keep("narrow", further, evaluation("distilled", [[0.9, 0.9]], net="convnet3:width=32"))  # not on its own network
    slower = further | {"seconds": 9000.0}
    keep("short", slower, evaluation("distilled", [[0.85, 0.87]], epochs=250))  # its students were trained for less
    keep("alone", slower, evaluation("distilled", [[0.85]]))  # one student
    half = slower | {"recipe": further["recipe"] | {"net": "convnet3:width=64"}}  # judged on the usual width
    keep("half", half | {"recipe": half["recipe"] | {"decoder": "plain"}}, evaluation("distilled", [[0.65, 0.67]]))
    root = keep("paper", card(preset="paper", batch_real=512), evaluation("distilled", [[0.4, 0.4]]))
    table.main([], root)
    text = (root / "README.md").read_text()
    published = "DataDAM 54.2 ± 0.8 [1]; random 26.0 [1]; whole set 84.8 [1]"
    assert lines_of(text) == [
        ["data, images per class", "`datadam`, %", "ours, %", "random real images, %", "published (its own protocol), %"],
        ["---"] * 5,
        ["CIFAR-10, 1", "[40.0 ± 1.2 (2 students)](results/small/one)",
         "[51.0 ± 1.2 (2 students)](results/small/calm-one), grid:4, `calm`", "–",
         "DataDAM 32.0 ± 1.2 [1]; random 14.4 [1]; whole set 84.8 [1]"],
        ["CIFAR-10, 10", "[60.5 ± 1.2 (2 students)](results/small/longer)",
         "[66.0 ± 1.2 (2 students)](results/small/half), plain, `calm` then `mtt`; "
         "[76.0 ± 1.2 (2 students)](results/small/further), grid:4, `calm` then `mtt`",
         "31.0 ± 1.2 (2 students), whitened too", published],
    ]  # fmt: skip
    assert "**Measured here at a small scale, which is not the published one.**" in text
    told = "1 234 s, 200 of them for 3 experts of 7 epochs, 1 000 for the set that it starts from"
    assert told in (root / "results/README.md").read_text()


def test_gradients_are_medians_per_pixel(keep: Callable[..., Path]) -> None:
    root = keep("a", card())
    table.main([], root)
    assert "| a (small) | 4 | 100 | 8.0e+00 | 1.0e+00 | 0.25 |" in (root / "docs/methods/datadam.md").read_text()


def test_a_baseline_is_shared_under_equal_conditions_only(keep: Callable[..., Path]) -> None:
    random = evaluation("random", [[0.30, 0.32]])
    keep("a", card(), evaluation("distilled", [[0.5, 0.5]]), random)
    keep("b", card(preset="paper"), evaluation("distilled", [[0.4, 0.4]]))
    keep("plain", card(method="dm", preset="dm", zca=False), evaluation("distilled", [[0.4, 0.4]]))
    keep("wide", card(net="convnet3:width=256"))
    keep("one", card(ipc=1))
    root = keep("full", card(), scale="full")
    table.main([], root)
    assert cells(root, "b")[5] == cells(root, "a")[5]
    assert {cells(root, other)[5] for other in ("plain", "wide", "one", "full")} == {table.NONE}
    assert cells(root, "one")[4] == "not judged yet"
    assert cells(root, "plain")[7].startswith("DM 48.9 ± 0.6 [1]; random")


def test_other_networks_and_snapshots_are_not_the_row(keep: Callable[..., Path]) -> None:
    right, other = evaluation("distilled", [[0.5, 0.5], [0.5, 0.5]]), evaluation("distilled", [[0.9, 0.9]], net="mlp")
    root = keep("a", card(), right, other, evaluation("distilled", [[0.8, 0.8]], iteration=100))
    table.main([], root)
    assert cells(root, "a")[4] == "**50.0 ± 1.2 (2 sets)**"


def test_a_set_that_was_judged_on_another_network_alone_says_so(keep: Callable[..., Path]) -> None:
    keep("wide", card(), evaluation("random", [[0.3, 0.3]]))
    root = keep("narrow", card(net="convnet3:width=32"), evaluation("distilled", [[0.5, 0.5]]))
    table.main([], root)
    assert cells(root, "narrow")[4:6] == ["**50.0 ± 1.2 (2 students)** on convnet3", "30.0 ± 1.2 (2 students), whitened too"]


def test_data_without_published_numbers(keep: Callable[..., Path]) -> None:
    root = keep("a", card(name="photos", zca=False))
    table.main([], root)
    assert cells(root, "a")[1] == "photos, 10"
    assert cells(root, "a")[7] == "none"
    assert "Published numbers" not in (root / "results/README.md").read_text()


def test_check_sees_a_change_and_writes_nothing(keep: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    root = keep("a", card())
    before = (root / "README.md").read_text()
    assert table.main(["--check"], root) == 1
    assert "README.md is out of date" in capsys.readouterr().out
    assert (root / "README.md").read_text() == before
    assert table.main([], root) == 0
    assert table.main(["--check"], root) == 0
    (root / "results/README.md").write_text((root / "results/README.md").read_text().replace("1 234 s", "1 s"))
    assert table.main(["--check"], root) == 1


@pytest.mark.parametrize("text", ["none", "<!-- results:end --><!-- results:begin -->", "<!-- results:begin -->"])
def test_markers_must_be_there(text: str) -> None:
    with pytest.raises(ValueError, match="markers"):
        table.rewritten(text, "x")


def test_published_numbers_name_their_source() -> None:
    for data, of_ipc in table.PUBLISHED.items():
        for entries in of_ipc.values():
            for what, number, source in entries:
                assert source in table.SOURCES, (data, what)
                assert re.fullmatch(r"\d+\.\d+( ± \d\.\d)?", number), (data, what)


# --- tables of `datadam compare` ---


def compared(
    *rows: tuple[str, int, list[list[float]] | str, dict[str, Any]], repeats: int = 1, bold: str = "", **parts: Any
) -> dict[str, Any]:
    """A table.json of (method, ipc, accuracies by set or a reason why there are none, more of the row)."""
    made = []
    for method, ipc, sets, more in rows:
        accuracies = [] if isinstance(sets, str) else sets
        flat = [a for one in accuracies for a in one]
        cell = {
            "status": "done" if flat else "refused", "reason": sets if isinstance(sets, str) else "",
            "repeats": list(range(len(accuracies))), "accuracies": accuracies, "bold": method == bold, "against": None,
            "mean": sum(flat) / len(flat) if flat else None, "interval": {"half": 0.0123} if len(flat) > 1 else None,
        }  # fmt: skip
        row = {
            "method": method, "ipc": ipc, "iterations": 1500, "batch_real": 64, "seconds": 61.4, "net": "convnet3", "zca": "none",
            "settings": {}, "cells": {"convnet3": cell},
        }  # fmt: skip
        made.append(row | more)
    return {
        "command": "datadam compare mnist --root /some/where --methods 'a,b' --ipc 1,10 --out x", "rows": made,
        "data": {"name": "mnist"}, "words": "honest: 2 of 20 students", "repeats": repeats, "seeds": list(range(repeats)),
        "nets": ["convnet3"], "notes": [], "progress": {"parts": 4, "done": 4}, "seconds": {"distilling": 1234.5, "judging": 60},
        "hardware": {"cpu": "A Processor", "cores": 2, "memory_gb": 8, "gpu": None}, "commit": "abcdef",
        "versions": {"datadam": "0.1.0", "torch": "2.13.0", "python": "3.11.7"},
    } | parts  # fmt: skip


def written(root: Path, name: str, made: dict[str, Any], document: str, scale: str = "small") -> str:
    """What the document says between the markers of a table."""
    folder = root / "results" / scale / "tables" / name
    folder.mkdir(parents=True)
    (folder / "table.json").write_text(json.dumps(made))
    assert table.main([], root) == 0
    assert table.main(["--check"], root) == 0
    return (root / document).read_text().split(f"<!-- {name}:begin -->")[1].split(f"<!-- {name}:end -->")[0]


def lines_of(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]


def test_a_comparison_shows_each_number_of_images_beside_the_other(keep: Callable[..., Path]) -> None:
    root = keep("a", card())
    chosen = {"iterations": None, "batch_real": None, "seconds": 3.21}
    made = compared(
        ("random", 1, [[0.30, 0.32]], chosen), ("b:x=1", 1, [[0.50]], {}), ("random", 10, [[0.60, 0.62]], chosen),
        ("b:x=1", 10, "too  few images", {"seconds": None}), notes=["b, ipc 1: the images hardly moved"],
    )  # fmt: skip
    text = written(root, "methods-mnist", made, "docs/choose.md")
    head, _, *body = lines_of(text)
    assert head == ["method", *(f"ipc {n}: accuracy" if k == 0 else ("iterations x real", "seconds of a set")[k - 1]
                                for n in (1, 10) for k in range(3))]  # fmt: skip
    assert body == [
        ["`random`", "31.0 ± 1.2", "–", "3.2", "61.0 ± 1.2", "–", "3.2"],
        ["`b:x=1`", "50.0", "1 500 x 64", "61", "refused", "1 500 x 64", "–"],
    ]
    for words in (
        "**MNIST, small scale:**", "(../results/small/tables/methods-mnist/table.md)", "with seed 0, in 1 234 s of distilling",
        "Highest mean on convnet3: `b:x=1` with 50.0 at ipc 1, `random` with 61.0 at ipc 10.", "A Processor, 2 cores, 8 GB",
        "at abcdef", "datadam compare mnist --methods a,b --ipc 1,10 --out runs/methods-mnist\n",
        "nothing is known of another seed",
        "python results/evidence.py --data FOLDER --scale small methods-mnist", "- `b:x=1`: too few images",
        "- b, ipc 1: the images hardly moved",
    ):  # fmt: skip
        assert words in text
    assert "/some/where" not in text
    assert text not in (root / "README.md").read_text()


def test_bold_and_tests_are_those_of_the_comparison(keep: Callable[..., Path]) -> None:
    made = compared(("a", 1, [[0.3], [0.4]], {}), ("b", 1, [[0.5], [0.6]], {}), repeats=2, bold="b",
                    progress={"parts": 4, "done": 3})  # fmt: skip
    made["rows"][1]["cells"]["convnet3"]["against"] = {"mean": 0.2, "low": 0.15, "high": 0.25, "p": 0.0004}
    text = written(keep("a", card()), "precision-mnist", made, "docs/choose.md")
    assert [line[1:3] for line in lines_of(text)[2:]] == [
        ["35.0 ± 1.2", "–"],
        ["**55.0 ± 1.2**", "+20.0 (+15.0 to +25.0), p < 0.001"],
    ]
    assert "3 of 4 parts done" in text
    assert "interval over 2 sets" in text
    assert "with seeds 0 to 1" in text


def test_the_ablation_is_terms_by_networks_and_what_the_maps_add(keep: Callable[..., Path]) -> None:
    both = {"layers": None, "power": 4.0, "task_balance": 0.01}
    alone, mmd = both | {"task_balance": 0.0}, both | {"layers": []}

    def row(name: str, method: dict[str, Any], sets: list[list[float]], **more: Any) -> tuple[str, int, Any, dict[str, Any]]:
        return name, 10, sets, {"settings": {"method": method}} | more

    mixed = {"net": "convnet3:norm=batch", "zca": "kornia"}
    made = compared(
        row("a", both, [[0.30, 0.32], [0.33, 0.35], [0.36, 0.38]]), row("b", alone, [[0.2, 0.2]] * 3),
        row("c", mmd, [[0.30, 0.30], [0.31, 0.31], [0.35, 0.35]]), row("d", mmd, [[0.5, 0.5]] * 3, **mixed), repeats=3,
        notes=["a distilled and judged on whitened images (ZCA), the others not"],
    )  # fmt: skip
    text = written(keep("a", card()), "ablation", made, "docs/methods/datadam.md")
    grid = lines_of(text)
    assert grid[:5] == [
        ["loss", "instance norm, no ZCA", "batch norm, ZCA"], ["---"] * 3,
        ["SAM + MMD, p = 4", "34.0 ± 1.2, 61 s", "–"], ["SAM alone, p = 4", "20.0 ± 1.2, 61 s", "–"],
        ["MMD alone", "32.0 ± 1.2, 61 s", "50.0 ± 1.2, 61 s"],
    ]  # fmt: skip
    differences = [0.01, 0.03, 0.02]  # mean 0.02, standard deviation 0.01, t(2) = 4.30265 at 95 %
    half = 4.30265 * 0.01 / len(differences) ** 0.5
    assert grid[7][1].startswith(f"+2.0 ({100 * (0.02 - half):+.1f} to {100 * (0.02 + half):+.1f}), p = 0.07")
    assert "1 500 x 64, ipc 10" in text
    assert "(ZCA)" not in text


def test_another_number_format_than_float32_is_told(keep: Callable[..., Path]) -> None:
    def row(name: str, *precisions: str) -> tuple[str, int, Any, dict[str, Any]]:
        return name, 10, [[0.3, 0.32]], {"runs": [{"precision": one} for one in precisions], "settings": {"precision": "auto"}}

    root = keep("a", card())
    text = written(root, "methods-mnist", compared(row("a", "float32"), row("b", "bfloat16")), "docs/choose.md")
    assert "Computed in bfloat16 on the real side: `b`." in text
    every = compared(row("a", "bfloat16"), row("b", "bfloat16", "bfloat16"))
    assert "real side: all methods that learn." in written(root, "methods-cifar10", every, "docs/choose.md")
    assert "Computed in" not in written(root, "precision-mnist", compared(row("a", "float32")), "docs/choose.md")


def test_trainings_that_old_tables_count_in_each_cell_are_told(keep: Callable[..., Path]) -> None:
    def chosen(name: str, **method: Any) -> tuple[str, int, Any, dict[str, Any]]:
        return name, 10, [[0.3, 0.32]], {"iterations": None, "batch_real": None, "settings": {"method": {"name": name} | method}}

    root, told = keep("a", card()), "is counted in each cell that rests on it, and as often in the sum"
    assert told in written(root, "methods-mnist", compared(chosen("herding", features="trained", epochs=3)), "docs/choose.md")
    none = compared(chosen("random"), chosen("herding", features="random", epochs=20))
    assert told not in written(root, "methods-cifar10", none, "docs/choose.md")
    newer = compared(
        chosen("el2n", epochs=3), seconds={"distilling": 12.0, "judging": 6, "again": 3.0}, notes=["once in the sum"]
    )
    text = written(root, "precision-mnist", newer, "docs/choose.md")
    assert told not in text
    assert "- once in the sum" in text


def test_check_sees_a_table_that_came(keep: Callable[..., Path]) -> None:
    root = keep("a", card())
    table.main([], root)
    folder = root / "results" / "full" / "tables" / "methods-cifar10"
    folder.mkdir(parents=True)
    (folder / "table.json").write_text(json.dumps(compared(("a", 1, [[0.3]], {}))))
    assert table.main(["--check"], root) == 1
    assert table.main([], root) == 0
    assert "full scale" in (root / "docs/choose.md").read_text()


# --- accuracy against minutes ---


def priced() -> dict[str, Any]:
    """A table of two numbers of images: what is trained first, a kind of its own, and one that was refused."""

    def row(seconds: float | None, first: float, labels: str = "hard") -> dict[str, Any]:
        more = {"labels": labels, "decoder": "plain", "runs": [{"threads": 1}], "trained_first_seconds": first}
        return more | {"seconds": seconds}

    made = compared(
        ("random", 1, [[0.50, 0.52]], row(0.1, 0.0)), ("slow", 1, [[0.49, 0.51]], row(60.0, 0.0)),
        ("dear", 1, [[0.90, 0.94]], row(630.0, 600.0)), ("soft", 1, [[0.70, 0.72]], row(120.0, 0.0, "soft")),
        ("random", 10, [[0.60, 0.62]], row(0.1, 0.0)), ("slow", 10, "too  few images", row(None, 0.0)),
    )  # fmt: skip
    for cell in (cell for one in made["rows"] for cell in one["cells"].values() if cell["interval"]):
        cell["interval"] |= {"low": cell["mean"] - 0.0123, "high": cell["mean"] + 0.0123}
    return made | {"asked": {"protocol": {"name": "honest"}}}


def test_minutes_hold_what_is_trained_first_and_each_kind_has_its_front(keep: Callable[..., Path]) -> None:
    root = keep("a", card())
    folder = root / "results" / "small" / "tables" / "minutes-mnist"
    table.main([], root)
    assert (root / "docs/minutes.md").read_text().count("Not measured yet") == len(minutes.NAMES)
    folder.mkdir(parents=True)
    (folder / "table.json").write_text(json.dumps(priced()))
    assert table.main(["--check"], root) == 1
    assert table.main([], root) == 0
    text = (root / "docs/minutes.md").read_text()
    assert text.count("Not measured yet") == len(minutes.NAMES) - 1
    head, _, *body = lines_of(text.partition("### MNIST, 1 image per class")[2].partition("###")[0])
    assert head == ["", "method", "accuracy, %", "minutes", "of them made first", "labels", "decoder", "on its front"]
    assert body == [
        ["1", "`random`", "51.0 (49.8 to 52.2)", "< 0.05", "–", "hard", "plain", "yes"],
        ["2", "`slow`", "50.0 (48.8 to 51.2)", "1.0", "–", "hard", "plain", ""],
        ["3", "`soft`", "71.0 (69.8 to 72.2)", "2.0", "–", "soft", "plain", "yes"],
        ["4", "`dear`", "92.0 (90.8 to 93.2)", "10.5", "10.0", "hard", "plain", "yes"],
    ]
    for words in (
        "protocol `honest` for every set",
        "- `slow`, ipc 10: too few images",
        "on one core",
        "(images/minutes-mnist.svg)",
    ):
        assert words in text
    assert "/some/where" not in text


def test_the_picture_of_minutes_has_a_marker_and_a_name_for_each_set() -> None:
    drawn = pictures.everything(priced())
    points = minutes.points(priced())
    names = re.findall(r">(\d+)  ([a-z]+)(, soft labels)?: (\d+\.\d) %<", drawn)
    assert [(name, bool(soft), number) for _, name, soft, number in names] == [
        (p.method, p.labels == "soft", f"{100 * p.mean:.1f}") for ipc in (1, 10)
        for _, p in minutes.numbered([point for point in points if point.ipc == ipc])
    ]  # fmt: skip
    assert drawn.count("<circle") == len(points) + 2  # and two in the legend
    x = [float(value) for value in re.findall(r'<circle cx="([\d.]+)"', drawn)][:4]
    assert x == sorted(x)
    assert x[2] - x[1] == pytest.approx(pictures.WIDE * math.log(2) / math.log(pictures.TICKS[-1][0]), abs=0.01)
    assert drawn.count("stroke-dasharray") == 1  # the front of soft labels


def test_the_picture_of_the_readme_has_each_set_of_ten_images_of_cifar10_and_what_to_compare_it_with() -> None:
    kept = {row.name: row for row in table.rows(ROOT / "results")}
    shown = [r for r in kept.values() if (r.card["data"]["name"], r.recipe["ipc"]) == ("cifar10", 10)]
    shown = [row for row in shown if row.tells_all_seconds and row.judged("distilled")]
    drawn = pictures.minutes(kept)
    assert drawn.count("<circle") == len(shown) + 2  # and two in the legend
    random = 100 * kept["cifar10-ipc10-256"].judged("random")["mean"]
    assert f">random real images: {random:.1f}<" in drawn
    assert ">DataDAM, published: 54.2<" in drawn
    best = max(shown, key=lambda row: row.judged("distilled")["mean"])
    assert f": {100 * best.judged('distilled')['mean']:.1f} %<" in drawn


def test_every_method_has_its_minutes() -> None:
    asked = {preset(FOR_METHOD.get(w.base, w.base), Sketch("mnist", (1, 28, 28)), ipc=1).method.name
             for scale in evidence.minutes(1, 3) for w in map(variant, split(scale[0]))}  # fmt: skip
    assert asked == set(METHODS)


# --- making them ---


def test_every_table_asks_for_what_compare_understands() -> None:
    for name, made in evidence.TABLES.items():
        assert any(name in names for names in (*table.TABLES.values(), minutes.NAMES)), name
        for scale, (methods, _) in (("small", made.small), ("full", made.full)):
            asked = evidence.command(made, Path("data"), Path("out"), scale)
            app.parse_args(asked, exit_on_error=False, print_error=False)
            words = [variant(word) for word in split(methods)]
            shape = Sketch(made.data, DATA[made.data].shape)
            recipes = [changed(preset(FOR_METHOD.get(w.base, w.base), shape, ipc=10), w, {}) for w in words]
            assert len({str(recipe.to_card()) for recipe in recipes}) == len(words)
    assert len(split(evidence.TABLES["ablation"].small[0])) == 20


def test_a_tenth_of_each_class_is_held_out() -> None:
    labels = np.array([0, 1] * 10 + [1] * 5 + [2])
    held = _program("held_out").held_out(labels)
    assert [int(held[labels == k].sum()) for k in range(3)] == [1, 2, 1]
    assert np.flatnonzero(held).tolist() == [0, 1, 20, 25]  # the first of each class, and the eleventh


def test_a_table_is_kept_without_the_place_of_its_data(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    for name in evidence.TABLE_FILES:
        (tmp_path / "out" / name).write_bytes(b"\x89PNG" if name.endswith("png") else b"--root /home/me/data --ipc 1")
    evidence.publish_table(tmp_path / "out", tmp_path / "kept", "/home/me/data")
    assert (tmp_path / "kept" / "table.png").read_bytes() == b"\x89PNG"
    assert {(tmp_path / "kept" / name).read_text() for name in evidence.TABLE_FILES[:3]} == {"--root DATA --ipc 1"}
