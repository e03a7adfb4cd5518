"""The pages of applications say what results/applications/ holds."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def program() -> ModuleType:
    spec = importlib.util.spec_from_file_location("results_applications", ROOT / "results" / "applications.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "results")  # as when it is run
        spec.loader.exec_module(module)
    return module


def test_pages_are_up_to_date(program: ModuleType) -> None:
    assert program.main(["--check"]) == 0, "run python results/applications.py"


@pytest.mark.parametrize("name", ["search", "lossless", "continual", "federated", "nested"])
def test_a_page_has_the_numbers_and_the_command(program: ModuleType, name: str) -> None:
    file = ROOT / "results" / "applications" / name / f"{name}.json"
    if not file.exists():
        pytest.skip("nothing is measured yet")
    found = json.loads(file.read_text("utf-8"))
    text = program.page(name, found)[1]
    assert found["command"] in text
    assert all(row[0] in text for row in program.PAGES[name].text(found)[1])
    assert program.drawn(name, found).count("<svg") >= 2
