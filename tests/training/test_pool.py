"""Pools of trained networks and the buckets that runs draw from: their making, going on, exact resume, and what is refused."""

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from small import make_real
from torch import Tensor

import datadam
from datadam import nets
from datadam.data import RealData
from datadam.distillation.recipe import Recipe
from datadam.errors import ArtifactError, InvalidInput
from datadam.rng import stream
from datadam.training.pool import Pool, open_bucket, parse
from datadam.training.pretrain import Progress, pretrain

NET = "convnet2:width=6"
QUICK = {"net": NET, "count": 3, "epochs": 12, "augment": "none"}


def data() -> RealData:
    return make_real(per_class=40)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pool of three networks. Not to be changed."""
    folder = tmp_path_factory.mktemp("pools") / "pool"
    pretrain(data(), folder, **QUICK)
    return folder


@pytest.fixture
def pool(made: Path, tmp_path: Path) -> Path:
    """A copy of the pool, to do with what one likes."""
    return Path(shutil.copytree(made, tmp_path / "pool"))


def fullest(folder: Path) -> str:
    counts = Pool.read(folder).counts()
    return max(counts, key=lambda cut: counts[cut])


def change_index(folder: Path, change: Callable[[dict], object]) -> None:
    index = json.loads((folder / "index.json").read_text())
    change(index)
    (folder / "index.json").write_text(json.dumps(index))


def accuracy(network: nets.Network, real: RealData, part: str) -> float:
    labels = torch.from_numpy(real.part(part).labels)
    with torch.no_grad():
        return float((network.eval()(real.images(range(len(labels)), part)).argmax(1) == labels).double().mean())


# --- making ---


def test_states_have_the_accuracy_they_are_kept_under(made: Path) -> None:
    """The held-out fifth is 8 images of each of 3 classes; an accuracy is a count of 24, and that of the file's own weights."""
    pool, real = Pool.read(made), data()
    network = nets.build(NET, shape=real.shape, classes=3)
    held = _held(real)
    assert {state.network for state in pool.states} == {0, 1, 2}
    for state in pool.states:
        network.load_state_dict(load_file(pool.file(state)))
        assert accuracy(network, held, "test") == pytest.approx(state.accuracy, abs=1e-12)
        assert hashlib.sha256(pool.file(state).read_bytes()).hexdigest() == state.digest
    assert len({int(5 * state.accuracy) for state in pool.states}) > 1


def _held(real: RealData) -> RealData:
    from datadam.training.pretrain import _held_out

    return _held_out(real)


def test_the_test_part_is_never_looked_at(made: Path, tmp_path: Path) -> None:
    real = data()
    held = _held(real)
    assert (len(held.train), len(held.test)) == (96, 24)
    trained = {image.tobytes() for image in held.train.pixels} | {image.tobytes() for image in held.test.pixels}
    assert trained == {image.tobytes() for image in real.train.pixels}
    blind = dataclasses.replace(real, test=dataclasses.replace(real.test, labels=real.test.labels[::-1].copy()))
    pool = pretrain(blind, tmp_path / "pool", **QUICK | {"count": 1})
    kept = [state for state in Pool.read(made).states if state.network == 0]
    assert list(pool.states) == kept


def test_a_network_keeps_the_last_state_of_each_fifth(made: Path) -> None:
    pool = Pool.read(made)
    for number in range(3):
        states = [state for state in pool.states if state.network == number]
        fifths = [min(int(state.accuracy * 5), 4) for state in states]
        assert len(set(fifths)) == len(fifths)
        assert states[-1].step == 12  # the end of training is always the last of its fifth: one step an epoch here
        assert [state.step for state in states] == sorted(state.step for state in states)
    assert sum(pool.counts().values()) == len(pool.states)


def test_a_pool_goes_on_where_it_stopped(made: Path, tmp_path: Path) -> None:
    class Stop(Exception): ...

    def stop(p: Progress) -> None:
        if (p.network, p.epoch) == (2, 3):
            raise Stop

    folder = tmp_path / "pool"
    with pytest.raises(Stop):
        pretrain(data(), folder, **QUICK, progress=stop)
    assert Pool.read(folder).networks == 1
    assert {path.name for path in folder.iterdir()} == {"index.json", "states", "network-00001.unfinished.safetensors"}
    told: list[Progress] = []
    pretrain(data(), folder, **QUICK, progress=told.append)
    assert [(p.network, p.epoch) for p in told] == [(2, epoch) for epoch in range(4, 13)] + [(3, epoch) for epoch in range(1, 13)]
    assert Pool.read(folder) == dataclasses.replace(Pool.read(made), folder=folder)  # by the checksums of all states
    assert {path.name for path in folder.iterdir()} == {"index.json", "states"}
    untouched = (folder / "index.json").read_bytes()
    pretrain(data(), folder, **QUICK)
    assert (folder / "index.json").read_bytes() == untouched


def test_an_interruption_before_the_first_network_leaves_a_usable_folder(tmp_path: Path) -> None:
    (tmp_path / "pool" / "states").mkdir(parents=True)
    (tmp_path / "pool" / "network-00000.unfinished.safetensors").write_bytes(b"torn")
    assert pretrain(data(), tmp_path / "pool", **QUICK | {"count": 1, "epochs": 1}).networks == 1


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"epochs": 5}, "another training"),
        ({"seed": 1}, "another seed"),
        ({"net": "convnet1"}, "another net"),
        ({"augment": "dsa"}, "another training"),
        ({"count": 0}, "count is 0"),
        ({"epochs": 0}, "epochs is 0"),
        ({"augment": "mirror"}, "unknown augmentation"),
        ({"net": "convnt"}, "unknown network"),
    ],
)
def test_making_refuses(made: Path, settings: dict, told: str) -> None:
    before = (made / "index.json").read_bytes()
    with pytest.raises(InvalidInput, match=told):
        pretrain(data(), made, **QUICK | settings)
    assert (made / "index.json").read_bytes() == before


def test_making_refuses_folders_and_data(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(InvalidInput, match="no pool"):
        pretrain(data(), tmp_path, **QUICK)
    with pytest.raises(InvalidInput, match="no class has two training images"):
        pretrain(make_real(per_class=1), tmp_path / "pool", **QUICK)


# --- names ---


def test_names_of_buckets() -> None:
    assert parse("random") is None
    wanted = parse("a@b/pool@20-42.5")
    assert wanted is not None
    assert (str(wanted.folder), wanted.low, wanted.high, wanted.digest) == ("a@b/pool", 20, 42.5, "")
    pinned = parse("pool@0-100#" + 64 * "a")
    assert pinned is not None
    assert pinned.digest == 64 * "a"


@pytest.mark.parametrize("networks", ["", "pool", "pool@", "@20-40", "pool@40-20", "pool@20-20", "pool@0-101", "pool@-5-20",
                                      "pool@20-40#abc", "pool@a-b", "Random"])  # fmt: skip
def test_wrong_names_are_refused(networks: str, recipe: Callable[..., Recipe]) -> None:
    with pytest.raises(InvalidInput, match="pools/mnist@20-40"):
        recipe(networks=networks)


def test_bounds_count_from_the_lower_one(pool: Path) -> None:
    """Accuracies 0, 0.2, 0.4 and 1: each state lies in one bucket."""

    def change(index: dict) -> None:
        line = index["states"][0]
        index["states"] = [line | {"step": i, "accuracy": a} for i, a in enumerate((0.0, 0.2, 0.4, 1.0))]

    change_index(pool, change)
    assert Pool.read(pool).counts() == {"0-20": 1, "20-40": 1, "40-60": 1, "60-80": 0, "80-100": 1}


# --- drawing ---


def test_a_run_draws_the_states_of_its_bucket_by_number(made: Path, recipe: Callable[..., Recipe]) -> None:
    real, spec = data(), f"{made}@{fullest(made)}"
    run = datadam.begin(real, recipe(networks=spec, iterations_per_network=2))
    bucket = open_bucket(spec, real, NET)
    assert bucket is not None
    assert len(bucket.states) > 1
    seen = set()
    for iteration in (0, 1, 7, 2, 1):
        network = run.draws.at(iteration).network()
        number = iteration // 2
        chosen = int(torch.randint(len(bucket.states), (), generator=stream(0, "network", number)))
        expected = load_file(bucket.pool.file(bucket.states[chosen]))
        assert all(torch.equal(value, expected[name].double()) for name, value in network.state_dict().items())
        assert network.training
        assert not any(p.requires_grad for p in network.parameters())
        seen.add(chosen)
    assert len(seen) > 1


def test_the_card_says_which_states_and_the_images_can_be_made_again(made: Path, recipe: Callable[..., Recipe]) -> None:
    real, spec = data(), f"{made}@{fullest(made)}"
    small = datadam.distill(real, recipe(networks=spec))
    pinned = small.card["recipe"]["networks"]
    assert pinned.startswith(f"{made.resolve()}@")
    assert len(pinned.partition("#")[2]) == 64
    again = datadam.distill(real, Recipe.from_card(small.card["recipe"]))
    assert torch.equal(again.images, small.images)
    assert again.card["recipe"]["networks"] == pinned
    assert not torch.equal(datadam.distill(real, recipe()).images, small.images)


def test_resume_is_exact(made: Path, recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    real, settings = data(), recipe(networks=f"{made}@0-100", iterations=5)
    whole = datadam.distill(real, settings).images
    run = datadam.begin(real, settings, out=tmp_path / "run")
    steps = run.steps()
    next(steps)
    next(steps)
    steps.close()
    again = datadam.resume(tmp_path / "run", real)
    assert again.state.iteration == 2
    assert _finish(again).equal(whole)


def _finish(run: datadam.Distillation) -> Tensor:
    for _ in run.steps():
        pass
    return run.result().images


def test_a_bucket_that_has_changed_is_refused_on_resume(pool: Path, recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    """Not so one that was added to elsewhere."""
    real, cut = data(), fullest(pool)
    run = datadam.begin(real, recipe(networks=f"{pool}@{cut}"), out=tmp_path / "run")
    run.save()
    bucket = open_bucket(f"{pool}@{cut}", real, NET)
    assert bucket is not None

    def change(inside: bool) -> Callable[[dict], None]:
        def one(index: dict) -> None:
            line = dict(index["states"][0])
            low = float(cut.split("-")[0]) / 100
            line |= {"network": 7, "accuracy": low + 0.1 if inside else (low + 0.5) % 1, "digest": 64 * "b"}
            index["states"].append(line)
            (pool / "states" / f"00007-{line['step']:08d}.safetensors").touch()

        return one

    change_index(pool, change(inside=False))
    datadam.resume(tmp_path / "run", real)
    change_index(pool, change(inside=True))
    with pytest.raises(ArtifactError, match="has changed since"):
        datadam.resume(tmp_path / "run", real)


def test_running_statistics_are_kept_too(recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    """And training on the synthetic set begins from a trained network."""
    real, net = data(), "convnet2:norm=batch:width=6"
    pretrain(real, tmp_path / "pool", net=net, count=1, epochs=2)
    small = datadam.distill(real, recipe(net=net, networks=f"{tmp_path / 'pool'}@0-100", network_steps=2))
    assert small.card["iterations_done"] == 4
    (state, *_) = Pool.read(tmp_path / "pool").states
    assert any("running_mean" in name for name in load_file(Pool.read(tmp_path / "pool").file(state)))


# --- what does not fit ---


def refused(real: RealData, settings: Recipe, *words: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        datadam.begin(real, settings)
    assert all(word in str(refusal.value) for word in words), str(refusal.value)


def test_an_empty_bucket_is_refused_with_what_there_is(pool: Path, recipe: Callable[..., Recipe]) -> None:
    def worse(index: dict) -> None:
        index["states"] = [line | {"accuracy": 0.3} for line in index["states"]]

    count = len(Pool.read(pool).states)
    change_index(pool, worse)
    refused(data(), recipe(networks=f"{pool}@80-100"), "no state of 80-100 %", f"{count} of 20-40 %", "(count, epochs)")


def test_a_pool_for_another_run_is_refused(made: Path, recipe: Callable[..., Recipe]) -> None:
    spec = f"{made}@0-100"
    refused(data(), recipe(networks=spec, net="convnet1:width=6"), "net convnet2:width=6, this run has convnet1:width=6")
    refused(make_real(per_class=41), recipe(networks=spec), "checksum")
    refused(make_real(classes=4), recipe(networks=spec), "classes")
    refused(make_real(shape=(3, 8, 12)), recipe(networks=spec), "shape [3, 8, 8], this run has [3, 8, 12]")
    refused(data(), recipe(networks=spec, zca="kornia"), "transform", "--zca kornia")
    refused(data(), recipe(networks="nowhere@0-20"), "datadam pretrain DATA --out nowhere")
    with pytest.raises(InvalidInput, match="leave one of them out"):
        recipe(networks=spec, init="he-normal")


def test_a_whitened_pool_serves_whitened_runs(recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    real = data()
    pretrain(real.with_zca("kornia"), tmp_path / "pool", **QUICK | {"count": 1, "epochs": 1})
    spec = f"{tmp_path / 'pool'}@0-100"
    assert datadam.distill(real, recipe(networks=spec, zca="kornia")).card["moved"] > 0
    refused(real, recipe(networks=spec), "transform", "--zca none")


@pytest.mark.parametrize(
    "change",
    [
        lambda index: index.update(format="other/1"),
        lambda index: index.pop("about"),
        lambda index: index["about"].pop("net"),
        lambda index: index["about"].update(shape="3x8x8"),
        lambda index: index["states"][0].pop("digest"),
        lambda index: index["states"][0].update(digest="../../secret"),
        lambda index: index["states"][0].update(accuracy=1.5),
        lambda index: index["states"][0].update(accuracy="high"),
        lambda index: index["states"][0].update(network="../0"),
        lambda index: index.update(states=None),
        lambda index: index.update(networks="3"),
    ],
)
def test_a_damaged_index_is_refused(pool: Path, recipe: Callable[..., Recipe], change: Callable[[dict], object]) -> None:
    change_index(pool, change)
    with pytest.raises(ArtifactError, match=r"index\.json"):
        datadam.begin(data(), recipe(networks=f"{pool}@0-100"))
    (pool / "index.json").write_text("[]")
    with pytest.raises(ArtifactError, match=r"index\.json"):
        Pool.read(pool)


def test_damaged_files_are_refused(pool: Path, recipe: Callable[..., Recipe]) -> None:
    settings = recipe(networks=f"{pool}@0-100")
    files = sorted((pool / "states").iterdir())
    for path in files:
        path.write_bytes(path.read_bytes()[:-4] + b"\0\0\0\1")
    with pytest.raises(ArtifactError, match="not what the index says"):
        next(datadam.begin(data(), settings).steps())
    files[0].unlink()
    with pytest.raises(ArtifactError, match="are gone"):
        datadam.begin(data(), settings)


def test_a_state_of_another_network_is_refused(pool: Path, recipe: Callable[..., Recipe]) -> None:
    from safetensors.torch import save_file

    def forge(index: dict) -> None:
        for line in index["states"]:
            path = pool / "states" / f"{line['network']:05d}-{line['step']:08d}.safetensors"
            save_file({"head.weight": torch.zeros(3)}, path)
            line["digest"] = hashlib.sha256(path.read_bytes()).hexdigest()

    change_index(pool, forge)
    with pytest.raises(ArtifactError, match="does not hold the network"):
        next(datadam.begin(data(), recipe(networks=f"{pool}@0-100")).steps())
