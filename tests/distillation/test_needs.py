"""A method that needs trained networks gets them: made once, found again, foreseen, and shared by shards."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from here import Here

import datadam
from datadam import parallel
from datadam.data import RealData
from datadam.distillation import forecast as costs
from datadam.methods import DM
from datadam.methods.catalog import CATALOG
from datadam.parallel.spread import Spread
from datadam.sets.synthetic import SyntheticSet
from datadam.training.needs import Needs
from datadam.training.pool import Bucket
from datadam.training.trainer import Training


@dataclass(frozen=True, kw_only=True)
class Pooled(DM):
    """DM through two networks of a pool that is made on the way."""

    name: ClassVar[str] = "pooled"
    given: ClassVar[list[object]] = []

    @property
    def needs(self) -> Needs:
        return Needs("pool", Training(epochs=2, batch=8), 2)

    def start_values(self, synthetic: SyntheticSet, given: object) -> dict[str, torch.Tensor]:
        self.given.append(given)
        return {}


@pytest.fixture
def asked(real: RealData, recipe, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> datadam.Recipe:
    monkeypatch.setitem(CATALOG, "pooled", Pooled)
    monkeypatch.setenv("DATADAM_CACHE", str(tmp_path / "cache"))
    return replace(recipe("dm", iterations=4), method=Pooled())


def test_a_pool_is_made_once_and_its_networks_are_drawn(real: RealData, recipe, asked, tmp_path: Path) -> None:
    told: list[str] = []
    first = datadam.distill(real, asked, progress=lambda what, done, total: told.append(what))
    assert {"training network 1 of 2", "training network 2 of 2"} <= set(told)
    assert isinstance(Pooled.given[-1], Bucket)  # the method may look at it too
    again: list[str] = []
    second = datadam.distill(real, asked, progress=lambda what, done, total: again.append(what) if "network" in what else None)
    assert again == []  # found
    assert torch.equal(second.images, first.images)
    assert not torch.equal(first.images, datadam.distill(real, recipe("dm", iterations=4)).images)  # other networks


def test_a_run_is_gone_on_with_and_spread_through_the_same_networks(real, asked, tmp_path: Path, monkeypatch) -> None:
    straight = datadam.distill(real, asked)
    steps = datadam.begin(real, asked, out=tmp_path / "run").steps()
    next(steps)
    steps.close()
    run = datadam.resume(tmp_path / "run", real)
    list(run.steps())
    assert torch.equal(run.result().images, straight.images)
    monkeypatch.setattr(parallel, "Processes", Here)
    spread = datadam.begin(real, asked, spread=Spread(workers=1, shards=2))
    list(spread.steps())
    assert torch.equal(spread.result().images, straight.images)


def test_its_trainings_are_foreseen(real: RealData, recipe, asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(costs, "SECONDS_MATTER", 0.0)
    monkeypatch.setattr(costs, "passes_a_second", lambda *what: 10.0)
    more = costs.forecast(real, asked).seconds - costs.forecast(real, recipe("dm", iterations=4)).seconds
    assert more == pytest.approx(2 * 2 * 3 * len(real.train) / 10)


def test_an_interrupted_pool_leaves_no_run_behind_and_is_gone_on_with(real, asked, tmp_path: Path, monkeypatch) -> None:
    def stop(what: str, done: int, total: int | None) -> None:
        if what.startswith("training network 2"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        datadam.distill(real, asked, out=tmp_path / "run", progress=stop)
    assert not (tmp_path / "run" / "card.json").exists()
    trained: list[str] = []
    small = datadam.distill(
        real, asked, out=tmp_path / "run", progress=lambda what, done, total: trained.append(what) if "network" in what else None
    )
    assert set(trained) == {"training network 2 of 2"}
    assert small.card["iterations_done"] == 4
