"""The house: which part may import which, what is public, and what an import costs."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import datadam

SOURCE = Path(datadam.__file__).parent
LAYERS = [
    {"errors", "rng"},
    {"plugins"},
    {"files", "machine", "parallel", "settings", "wording"},
    {"arithmetic", "data", "progress", "where"},
    {"augment", "nets"},
    {"sets", "training"},
    {"methods", "evaluation"},
    {"distillation"},
    {"report"},
    {"comparison", "exchange", "inspection", "privacy", "testing"},
    {"applications"},
    {"cli"},
]
RANK = {part: rank for rank, layer in enumerate(LAYERS) for part in layer}


def imports(path: Path) -> set[str]:
    """Parts of the package that a file imports, wherever in it the import stands."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "datadam":
            inner = node.module.split(".")[1:]
            found |= {inner[0]} if inner else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("datadam.")}
    return found


FILES = {
    path: path.relative_to(SOURCE).parts[0].removesuffix(".py") for path in SOURCE.rglob("*.py") if path.name != "__main__.py"
}


def test_every_part_has_a_place() -> None:
    assert set(FILES.values()) - {"__init__"} == set(RANK)


@pytest.mark.parametrize("path", [p for p, part in FILES.items() if part != "__init__"], ids=lambda p: str(p.relative_to(SOURCE)))
def test_arrows_point_one_way(path: Path) -> None:
    part = FILES[path]
    allowed = {other for other, rank in RANK.items() if rank < RANK[part]} | {part}
    assert imports(path) - allowed == set()


def test_the_map_of_the_house_is_true() -> None:
    """Each wing and each loose file stands in it exactly once, in the order of the layers."""
    text = (SOURCE.parents[1] / "CONTRIBUTING.md").read_text("utf-8").partition("| part | what it is |")[2]
    cells = [line.split("|")[1] for line in text.partition("\n\n")[0].splitlines()[2:]]
    words = [word for cell in cells for word in re.findall("`([^`]+)`", cell)]
    named = [word.removesuffix(".py").removesuffix("/") for word in words]
    assert sorted(named) == sorted(RANK)
    assert [RANK[part] for part in named] == sorted(RANK[part] for part in named)
    assert all((SOURCE / word).is_dir() if word.endswith("/") else (SOURCE / word).is_file() for word in words)


def test_a_set_from_anywhere_can_be_judged() -> None:
    for part in ("evaluation", "training", "report"):
        for path in (SOURCE / part).glob("*.py"):
            assert not imports(path) & {"methods", "distillation"}, path


def test_only_the_command_line_prints_or_exits() -> None:
    for path, part in FILES.items():
        if part == "cli":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                assert name not in {"print", "exit", "sys.exit", "quit", "eval", "exec"}, f"{path}:{node.lineno} {name}"
                assert not name.endswith(".print"), f"{path}:{node.lineno} {name}"
            assert not (isinstance(node, ast.Attribute) and ast.unparse(node) == "sys.argv"), path


def test_public_names() -> None:
    assert datadam.__all__ == sorted(datadam.__all__, key=lambda n: (not n[0].isupper(), n != "DM", n))
    assert set(datadam.__all__) == set(datadam._HOME)
    assert len(datadam.__all__) <= 30
    assert all(getattr(datadam, name).__doc__ for name in datadam.__all__)
    assert dir(datadam) == sorted(datadam.__all__)
    with pytest.raises(AttributeError, match="no attribute 'distil'"):
        _ = datadam.distil


def fresh(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def test_distilling_needs_only_torch_numpy_safetensors_and_pillow() -> None:
    heavy = ["scipy", "sklearn", "matplotlib", "jinja2", "pyarrow", "cyclopts", "yaml", "rich", "datasets", "ray", "torchvision"]
    code = f"""
import sys
import datadam, numpy as np
from datadam.evaluation.panel import protocol_named
for name in datadam.__all__: getattr(datadam, name)
x, y = np.zeros((8, 8, 8, 3), np.uint8), np.arange(8) % 2
real = datadam.load((x, y, x, y))
recipe = datadam.preset("dm", real, ipc=1).change({{"net": "convnet1:width=4", "iterations": 1, "batch_real": 2}})
small = datadam.distill(real, recipe)
datadam.evaluate(small, real, students=1, protocol=protocol_named("honest", epochs=1))
print([m for m in {heavy} if m in sys.modules])
"""
    assert fresh(code) == "[]"


def test_importing_the_package_does_not_import_torch() -> None:
    assert fresh("import sys, datadam, datadam.cli.app; print('torch' in sys.modules)") == "False"
