"""CALM is class means and a cross-entropy in the networks of a pool: its terms and gradient equal a plain writing of both."""

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

import datadam
from datadam.data import RealData
from datadam.errors import InvalidInput
from datadam.methods import CALM
from datadam.methods.plan import Plan
from datadam.sets.decoders import decoder_named


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DATADAM_CACHE", str(tmp_path / "cache"))


SMALL = {"count": 1, "epochs": 2, "calibration": 0.7, "batch_real": 12, "decoder": "grid:2", "ipc": 2}


@pytest.mark.parametrize("chunk", [100, 5])
def test_its_terms_and_gradient_are_those_of_the_equation(real: RealData, recipe, chunk: int) -> None:
    asked = recipe("calm", **SMALL, augment="none", start="real")
    run = datadam.begin(real, asked, plan=Plan(compiled=False, chunk=chunk, threads=1))
    found = run.recipe.method.gradient({}, run.synthetic, draw := run.draws.at(0), norms=True)
    network, stored = draw.network(), run.state.images.clone().requires_grad_()
    images = decoder_named("grid:2")(stored).unflatten(0, (3, 8))
    mean, crossed = [], []
    for k, members in enumerate(real.by_class):
        ours, theirs = (
            network.features(images[k]).embedding,
            network.features(real.images(members, dtype=torch.float64)).embedding,
        )
        mean.append((theirs.mean(0) - ours.mean(0)).square().sum())
        crossed.append(0.7 * F.cross_entropy(network(images[k]), torch.full((8,), k)))
    torch.testing.assert_close(found.terms["mean"], torch.stack(mean).detach(), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(found.terms["calibration"], torch.stack(crossed).detach(), rtol=1e-10, atol=1e-12)
    gradient = torch.autograd.grad(sum(mean) + sum(crossed), stored, retain_graph=True)[0]
    torch.testing.assert_close(found.images, gradient, rtol=1e-9, atol=1e-12)
    alone = torch.autograd.grad(sum(crossed), stored)[0]
    assert found.norms["calibration"] == pytest.approx(float(alone.norm()), rel=1e-8)


def test_its_networks_are_those_of_its_pool(real: RealData, recipe) -> None:
    run = datadam.begin(real, recipe("calm", **SMALL, weights="states"))
    bucket = run.draws.bucket
    assert bucket is not None
    assert (bucket.pool.about["training"]["epochs"], bucket.pool.networks) == (2, 1)
    drawn = [run.draws.at(i).network().head.weight.clone() for i in range(12)]
    kept = [network.head.weight.double() for network in bucket.networks()]
    assert all(any(torch.equal(one, state) for state in kept) for one in drawn)
    assert run.recipe.networks == bucket.spec


def test_what_it_starts_from_is_what_trained_networks_are_sure_of(real: RealData, recipe) -> None:
    """With a bar that few images pass, those that do come first; with the others the surest."""
    run = datadam.begin(real, recipe("calm", **SMALL, start="sure"))
    bucket, decoder = run.draws.bucket, decoder_named("grid:2")
    assert bucket is not None
    network = next(bucket.networks(bucket.ends)).eval()
    images, count = run.state.images.float().unflatten(0, (3, 2)), 8
    for k, members in enumerate(real.by_class):
        encoded = decoder.encode(real.images(torch.from_numpy(members)))
        with torch.no_grad():
            every = network(decoder(encoded)).softmax(1)[:, k]
            ours = network(decoder(images[k])).softmax(1)[:, k]
        sure = int((every > 0.9).sum())
        assert int((ours > 0.9).sum()) == min(sure, count)
        if sure <= count:  # then these are the surest of all
            torch.testing.assert_close(ours.sort().values, every.sort().values[-count:], rtol=1e-5, atol=1e-6)


def test_a_start_that_asks_trained_networks_needs_some(real: RealData, recipe) -> None:
    with pytest.raises(InvalidInput, match=r"sure.*trained networks.*pool"):
        datadam.begin(real, recipe("dm", start="sure"))


def test_its_settings_are_checked_together() -> None:
    with pytest.raises(InvalidInput) as refused:
        CALM(calibration=-1.0, count=0, epochs=0, weights="points")
    assert len(refused.value.faults) == 4


def test_it_works_with_a_network_that_couples_images(real: RealData, recipe) -> None:
    """All classes go through it at once, and each is asked for its own log-probability."""
    run = datadam.begin(real, recipe("calm", **SMALL, net="convnet2:norm=batch:width=4"))
    list(run.steps())
    assert run.result().images.isfinite().all()


def test_training_its_networks_is_part_of_what_it_took(real: RealData, recipe, tmp_path: Path) -> None:
    """Also where an earlier run had trained them, and after a run has been gone on with; a pool that does not tell counts 0."""
    asked = recipe("calm", **SMALL)
    first = datadam.begin(real, asked, out=tmp_path / "first")
    bucket = first.draws.bucket
    assert bucket is not None
    index = bucket.pool.folder / "index.json"
    written = json.loads(index.read_text())
    assert [0 < seconds < 3600 for seconds in written["seconds"]] == [True]
    index.write_text(json.dumps(written | {"seconds": [1234.5]}))
    second = datadam.begin(real, asked, out=tmp_path / "second")
    assert 1234.5 <= second.state.seconds < 1300
    next(second.steps())
    second = datadam.resume(tmp_path / "second", real)
    list(second.steps())
    card = second.result().card
    assert (card["trained_first_seconds"], 1234.5 <= card["seconds"] < 1300) == (1234.5, True)
    for spoilt in ([], [None], ["x"], [-1.0], 5, [1.0, 2.0]):
        index.write_text(json.dumps(written | {"seconds": spoilt}))
        third = datadam.begin(real, asked)
        assert third.state.seconds < 60
        assert "trained_first_seconds" not in third.facts
