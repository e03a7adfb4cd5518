"""Sets to export, and what the readers of each format do in their own programs."""

from collections.abc import Callable
from pathlib import Path

import pytest
from small import make_real

import datadam
from datadam.data import RealData
from datadam.sets.distilled import DistilledSet

CLASSES = ("cat", "a dog", 'the "bird"')


@pytest.fixture(scope="session")
def animals() -> RealData:
    """Three classes with names, of 3 x 8 x 8."""
    import dataclasses

    return dataclasses.replace(make_real(), name="animals", classes=CLASSES)


@pytest.fixture(scope="session")
def make_set(animals: RealData) -> Callable[..., DistilledSet]:
    """A distilled set: two iterations, so that its pixels are no real ones and some leave [0, 1]."""

    def make(zca: str = "none", ipc: int = 2, method: str = "datadam", real: RealData = animals) -> DistilledSet:
        recipe = datadam.preset(method, real, ipc=ipc)
        settings = {"net": "convnet2:width=6", "zca": zca}
        learned = {"iterations": 2, "batch_real": 5} if method == "datadam" else {}
        return datadam.distill(real, recipe.change(settings | learned))

    return make


@pytest.fixture(scope="session")
def small(make_set: Callable[..., DistilledSet]) -> DistilledSet:
    """Two images for each of the three classes."""
    return make_set()


@pytest.fixture
def bare(tmp_path: Path) -> Callable[[DistilledSet, str], Path]:
    """An export as one gets it from others: without our note. The path of its first file, or the folder of pictures."""

    def make(one: DistilledSet, to: str) -> Path:
        from datadam.exchange import export

        done = export(one, to, tmp_path / f"bare-{to}")
        (done.folder / "datadam.json").unlink()
        (done.folder / "README.md").unlink()
        return done.folder if to == "folder" else done.files[0]

    return make
