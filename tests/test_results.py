"""The tables of the documents say what results/ holds, and every number there has its evidence."""

import importlib.util
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
CARDS = sorted((ROOT / "results").glob("*/*/card.json"))


def _table() -> ModuleType:
    spec = importlib.util.spec_from_file_location("results_table", ROOT / "results" / "table.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where its dataclass looks for itself
    spec.loader.exec_module(module)
    return module


table = _table()


def test_the_documents_are_up_to_date() -> None:
    assert table.main(["--check"]) == 0, "run python results/table.py"


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


@pytest.mark.parametrize(
    "path", [path for folder in CARDS for path in folder.parent.rglob("*.json*")], ids=lambda path: path.name
)
def test_results_name_no_place_on_one_machine(path: Path) -> None:
    assert not re.findall(r"[\"\s]/(?:home|root|tmp|work|mnt|Users)/", path.read_text("utf-8"))


# --- the table itself, on results that are made up here ---


def card(
    name: str = "cifar10", method: str = "datadam", preset: str = "datadam", zca: bool = True, **recipe: Any
) -> dict[str, Any]:
    inner = {"name": "dm"} if method == "dm" else {"name": "datadam", "power": 4.0, "scale": 100.0}
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
    for place in (tmp_path / "README.md", tmp_path / "docs" / "methods" / "datadam.md"):
        place.write_text(f"before\n{table.BEGIN}\nold\n{table.END}\nafter\n")

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


def cells(root: Path, name: str, document: str = "README.md") -> list[str]:
    """The cells of a row of the table."""
    line = next(line for line in (root / document).read_text().splitlines() if line.startswith(f"| [{name}]"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_without_results_it_says_so(tmp_path: Path, keep: Callable[..., Path]) -> None:
    assert table.main([], tmp_path) == 0
    assert (tmp_path / "README.md").read_text() == f"before\n{table.BEGIN}\nNo results yet.\n{table.END}\nafter\n"


def test_a_row_says_everything(keep: Callable[..., Path]) -> None:
    whole = evaluation("whole", [[0.8]], epochs=3)
    root = keep("a", card(), evaluation("distilled", [[0.50, 0.51, 0.49]]), evaluation("random", [[0.30, 0.32]]), whole)
    assert table.main([], root) == 0
    assert cells(root, "a") == [
        "[a](results/small/a)",
        "CIFAR-10, 10",
        "DataDAM: `datadam`, convnet3, ZCA",
        "1 500 x 64",
        "**50.0 ± 1.2 (3 students)**",
        "31.0 ± 1.2 (2 students), whitened too",
        "80.0 (one student, 3 epochs), whitened too",
        "DataDAM 54.2 ± 0.8 [1]; random 26.0 [1]; whole set 84.8 [1]",
        "1 234 s, 2 threads",
    ]
    text = (root / "README.md").read_text()
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


def test_data_without_published_numbers(keep: Callable[..., Path]) -> None:
    root = keep("a", card(name="photos", zca=False))
    table.main([], root)
    assert cells(root, "a")[1] == "photos, 10"
    assert cells(root, "a")[7] == "none"
    assert "Published numbers" not in (root / "README.md").read_text()


def test_check_sees_a_change_and_writes_nothing(keep: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    root = keep("a", card())
    before = (root / "README.md").read_text()
    assert table.main(["--check"], root) == 1
    assert "README.md is out of date" in capsys.readouterr().out
    assert (root / "README.md").read_text() == before
    assert table.main([], root) == 0
    assert table.main(["--check"], root) == 0
    (root / "README.md").write_text((root / "README.md").read_text().replace("1 234 s", "1 s"))
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
