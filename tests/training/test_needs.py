"""What a run needs first: made once, found again, gone on with, and foreseen."""

from pathlib import Path

import pytest
import torch
from small import make_real

from datadam import nets
from datadam.data import RealData
from datadam.errors import ArtifactError, InvalidInput
from datadam.files.whole import read_json
from datadam.rng import stream
from datadam.training import resumable
from datadam.training.insight import Insight
from datadam.training.needs import Needs, cost, prepare
from datadam.training.pool import Bucket
from datadam.training.pretrain import pretrain
from datadam.training.trainer import Trainer, Training

NET = "convnet1:width=4"
POOL = Needs("pool", Training(epochs=3, batch=32), 2)


@pytest.fixture
def pools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where they lie in an empty cache."""
    monkeypatch.setenv("DATADAM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "pools"


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The seeds of the trainings that were begun."""
    begun: list[int] = []

    def counted(trainer: Trainer, *arguments, own=resumable.train_on) -> resumable.Spent:  # type: ignore[no-untyped-def]
        begun.append(trainer.seed)
        return own(trainer, *arguments)

    monkeypatch.setattr("datadam.training.maker.train_on", counted)
    return begun


def data() -> RealData:
    return make_real(per_class=20)


def bucket(needs: Needs = POOL, real: RealData | None = None, net: str = NET, seed: int = 0) -> Bucket:
    made = prepare(needs, real or data(), net=net, seed=seed)
    assert isinstance(made, Bucket)
    return made


def test_a_pool_is_that_of_pretrain_made_once_and_found(pools: Path, trainings: list[int], tmp_path: Path) -> None:
    made = bucket()
    assert trainings == [0, 0]
    again = bucket()
    assert trainings == [0, 0]
    assert again == made
    assert again.spec == made.spec
    assert [path.name for path in pools.iterdir()] == [made.pool.folder.name]  # and no lock
    own = pretrain(data(), tmp_path / "own", net=NET, count=2, epochs=3, augment="none")
    assert own.about["training"] != made.pool.about["training"]  # another batch
    usual = bucket(Needs("pool", Training(epochs=3), 2))
    assert usual.states == own.states  # by the checksums of their files


def test_a_run_can_draw_from_it(pools: Path) -> None:
    made, network = bucket(), nets.build(NET, shape=(3, 8, 8), classes=3)
    made.fill(network, stream(0, "network", 0))
    chosen = int(torch.randint(len(made.states), (), generator=stream(0, "network", 0)))
    expected = list(made.networks())[chosen]
    assert all(torch.equal(a, b) for a, b in zip(network.state_dict().values(), expected.state_dict().values(), strict=True))
    assert len(list(made.networks())) == len(made.states) >= 2


def test_between_two_states_it_is_on_the_line_of_one_training(pools: Path) -> None:
    made, network = bucket(), nets.build(NET, shape=(3, 8, 8), classes=3)

    def row(one: nets.Network) -> torch.Tensor:
        return torch.cat([parameter.detach().double().flatten() for parameter in one.parameters()])

    lines = [
        (row(a), row(b))
        for number in range(made.pool.networks)
        for a in made.networks(tuple(s for s in made.states if s.network == number))
        for b in made.networks(tuple(s for s in made.states if s.network == number))
    ]
    seen = set()
    for number in range(30):
        made.fill_between(network, stream(0, "network", number))
        drawn = row(network)
        found = []
        for a, b in lines:
            place = ((drawn - a) @ (b - a) / (b - a).square().sum().clamp_min(1e-30)).clamp(0, 1)
            found.append(float((drawn - a - place * (b - a)).norm()))
        assert min(found) < 1e-5
        seen.add(round(float(drawn[0]), 6))
    assert len(seen) > len(made.states)  # and not the states alone


def test_all_that_decides_it_is_in_the_key(pools: Path) -> None:
    training = POOL.training
    assert training is not None
    folders = {
        made.pool.folder
        for made in (
            bucket(), bucket(Needs("pool", Training(epochs=2, batch=32), 2)), bucket(Needs("pool", training, 1)), bucket(seed=1),
            bucket(net="convnet1:width=5"), bucket(real=make_real(per_class=21)), bucket(real=data().with_zca("kornia")),
        )
    }  # fmt: skip
    assert len(folders) == len(list(pools.iterdir())) == 7


def test_it_tells_each_step_and_goes_on_within_a_network(pools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, int, int | None]] = []

    def stop(what: str, done: int, total: int | None) -> None:
        told.append((what, done, total))
        if what.startswith("training network 2") and done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(POOL, data(), net=NET, seed=0, progress=stop)
    steps = 2 * 3  # 48 of 60 images, of which a fifth is held out, are two batches
    assert told == [("training network 1 of 2", done, steps) for done in range(1, 7)] + [
        ("training network 2 of 2", done, steps) for done in range(1, 5)
    ]
    told.clear()
    made = prepare(POOL, data(), net=NET, seed=0, progress=lambda *what: told.append(what))
    assert [done for _, done, _ in told] == [5, 6]
    assert isinstance(made, Bucket)
    monkeypatch.setenv("DATADAM_CACHE", str(tmp_path / "another"))
    assert bucket().states == made.states


@pytest.mark.parametrize("harm", ["state", "index", "missing"])
def test_a_damaged_pool_is_made_again(harm: str, pools: Path, trainings: list[int]) -> None:
    made = bucket()
    path = made.pool.folder / "index.json" if harm == "index" else made.pool.file(made.states[-1])
    if harm == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-9])
    assert bucket() == made
    assert len(trainings) == 4
    made.pool.file(made.states[0]).unlink()
    with pytest.raises(ArtifactError):  # after it was handed out nobody mends it
        made.check()


def test_a_cache_that_cannot_be_written_is_told_with_its_cure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("DATADAM_CACHE", str(tmp_path / "file"))
    with pytest.raises(InvalidInput, match="set DATADAM_CACHE to another folder"):
        bucket()


def test_insight_trains_nothing_before_it_is_asked(pools: Path) -> None:
    told: list[object] = []
    made = prepare(Needs("insight"), data(), net=NET, seed=3, progress=lambda *what: told.append(what))
    assert isinstance(made, Insight)
    assert (made.seed, made.net, told) == (3, NET, [])
    assert not pools.parent.exists()
    made.embeddings(0, 2)
    assert len(told) == 2


@pytest.mark.parametrize("networks", ["random", "own", "none"])
def test_others_are_made_by_nobody_here(networks: str, pools: Path) -> None:
    needs = Needs(networks)  # type: ignore[arg-type]
    assert prepare(needs, data(), net=NET, seed=0) is None
    assert not pools.parent.exists()


def test_the_cost_is_three_passes_a_step_of_each_image() -> None:
    assert cost(POOL, 50_000) == 3 * 3 * 50_000 * 2
    assert cost(Needs("experts", Training(epochs=50), 100), 1000) == 3 * 50 * 1000 * 100
    assert {cost(Needs(networks), 1000) for networks in ("random", "own", "insight", "none")} == {0.0}


@pytest.mark.parametrize(
    ("networks", "training", "count", "told"),
    [
        ("pool", None, 0, "say training and count"),
        ("pool", Training(), 0, "say training and count"),
        ("experts", None, 3, "say training and count"),
        ("random", Training(), 3, "leave training and count out"),
        ("insight", None, 3, "leave training and count out"),
        ("pools", None, 0, "Did you mean 'pool'"),
    ],
)
def test_needs_that_say_too_little_or_too_much(networks: str, training: Training | None, count: int, told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        Needs(networks, training, count)  # type: ignore[arg-type]


def test_the_index_of_the_pool_says_how_it_was_made(pools: Path) -> None:
    index = read_json(bucket().pool.folder / "index.json")
    assert index["about"]["training"]["batch"] == 32
    assert index["networks"] == 2
