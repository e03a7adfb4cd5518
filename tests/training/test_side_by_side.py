"""Networks of a folder, trained by several processes, or for as long as there is time: the same bits as by one at once."""

import time
from pathlib import Path

import pytest
import torch
from small import make_real

from datadam.data import RealData
from datadam.errors import InvalidInput, RunFailed
from datadam.files.seen import NAME, Sign
from datadam.parallel import Event
from datadam.training import maker
from datadam.training.curriculum import Curriculum
from datadam.training.experts import Experts
from datadam.training.flat import Flat
from datadam.training.make_experts import make_experts
from datadam.training.maker import TimeIsUp, Until
from datadam.training.pool import Pool
from datadam.training.pretrain import pretrain
from datadam.training.trainer import Training

NET = "convnet1:width=4"
PLAIN = Training(epochs=3, batch=16, lr=0.1, momentum=0.0, weight_decay=0.0, drop_after=3, augment="dsa")
HOW = {"flat": Flat(rho=0.02), "curriculum": Curriculum(whole=1, drops=((1, 0.3),), averaged=1, looked=1)}


@pytest.fixture(scope="module")
def real() -> RealData:
    return make_real(per_class=12).with_zca("kornia")


def made(real: RealData, folder: Path, count: int = 3, **options: object) -> Experts:
    return make_experts(real, folder, NET, PLAIN, count, 0, **(HOW | options))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def alone(real: RealData, one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Experts:
    """Three experts of one process. Not to be changed."""
    return made(real, tmp_path_factory.mktemp("alone") / "experts")


def test_two_processes_make_the_same_experts(real: RealData, alone: Experts, tmp_path: Path) -> None:
    told: list[tuple[int, int, int]] = []
    experts = made(real, tmp_path / "experts", workers=2, after_step=lambda *step: told.append(step))
    assert experts.digests == alone.digests
    assert Experts.read(tmp_path / "experts") == experts
    steps = told[0][2]
    assert sorted(told) == [(number, done, steps) for number in range(3) for done in range(1, steps + 1)]
    assert {path.name for path in experts.folder.iterdir()} == {"index.json", "states"}


def test_two_processes_make_the_same_pool(one_thread: None, tmp_path: Path) -> None:
    more = make_real(per_class=40)
    one, two = (
        pretrain(more, tmp_path / str(workers), net=NET, count=2, epochs=2, augment="none", workers=workers) for workers in (1, 2)
    )
    assert two.states == one.states
    assert Pool.read(two.folder) == two


def test_what_was_made_out_of_order_and_a_part_of_one_are_gone_on_with(
    real: RealData, alone: Experts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a process leaves them that is killed while two of its workers are at the first two of three."""
    folder, trained = tmp_path / "experts", []

    def stop(number: int, done: int, steps: int) -> None:
        if (number, done) == (0, 4):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made(real, folder, after_step=stop)
    own = maker.Maker.train

    def train(self, number, after_step, until):  # type: ignore[no-untyped-def]
        if number == 0 and not trained:
            trained.append(0)
            watcher, seconds = own(self, 1, after_step, until)
            self.keep(1, watcher, seconds)
            raise RuntimeError("killed")
        trained.append(number)
        return own(self, number, after_step, until)

    monkeypatch.setattr(maker.Maker, "train", train)
    with pytest.raises(RuntimeError, match="killed"):
        made(real, folder)
    assert (folder / "network-00001.safetensors").exists()
    assert not (folder / "index.json").exists()
    assert made(real, folder).digests == alone.digests
    assert trained == [0, 0, 2]
    assert {path.name for path in folder.iterdir()} == {"index.json", "states"}


def test_a_limit_of_time_stops_between_two_steps(
    real: RealData, alone: Experts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[int, int]] = []

    def check(self: Until) -> None:
        if len(told) == 5:
            raise TimeIsUp

    monkeypatch.setattr(Until, "check", check)
    assert made(real, tmp_path / "experts", after_step=lambda number, done, steps: told.append((number, done))).networks == 0
    monkeypatch.undo()
    whole = made(real, tmp_path / "experts", after_step=lambda number, done, steps: told.append((number, done)))
    assert whole.digests == alone.digests
    assert told[4:6] == [(0, 5), (0, 6)]  # nothing was done twice


def test_no_step_begins_that_would_end_too_late(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    until, never = Until(10.0), Until()
    until.begin()
    now[0] = 104.0
    until.check()  # the step took 4 s, and 6 s are left: just enough for one of 6 s
    assert until.left == 6.0
    now[0] = 108.0
    with pytest.raises(TimeIsUp):
        until.check()
    until.begin()  # 2 s are left
    now[0] = 110.5
    with pytest.raises(TimeIsUp):
        until.begin()
    never.check()
    assert never.left is None


def test_time_that_is_over_leaves_a_folder_to_go_on_with(real: RealData, alone: Experts, tmp_path: Path) -> None:
    assert made(real, tmp_path / "experts", time_limit=1e-9).networks == 0
    assert made(real, tmp_path / "experts", 1).digests == alone.digests[:1]


def test_a_worker_begins_nothing_when_the_time_is_over(real: RealData, tmp_path: Path) -> None:
    seen: list[object] = []

    def spread(task, items, make, **options):  # type: ignore[no-untyped-def]
        for number in range(items):
            seen.append(task(make(number), seen.append))
            yield Event(number, "done", seen[-1])

    with pytest.MonkeyPatch.context() as monkey:
        monkey.setattr("datadam.parallel.stream", spread)
        experts = made(real, tmp_path / "experts", workers=2, curriculum=None, time_limit=1e-9)
    assert (experts.networks, seen) == (0, [False] * 3)
    assert not (experts.folder / NAME).exists()


def test_a_worker_that_does_not_see_the_folder_says_so(tmp_path: Path) -> None:
    sign = Sign.left(tmp_path, "these words")
    assert sign.require() == tmp_path.resolve()
    Sign.left(tmp_path, "others")
    with pytest.raises(RunFailed, match=r"a worker does not see the folder .*; choose one with out that all machines share"):
        sign.require()


def test_networks_of_this_process_alone_are_not_trained_by_others(real: RealData, tmp_path: Path) -> None:
    class Own(torch.nn.Module):
        def __init__(self, shape: tuple[int, int, int], classes: int) -> None:
            super().__init__()
            self.head = torch.nn.Linear(shape[0] * shape[1] * shape[2], classes)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(x.flatten(1))

    from datadam import nets

    spec = nets.spelled(Own, shape=real.shape, classes=len(real.classes))
    with pytest.raises(InvalidInput, match="known in this process alone"):
        make_experts(real, tmp_path / "experts", spec, PLAIN, 2, 0, workers=2)
