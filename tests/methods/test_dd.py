"""DD: its gradient against a plain unroll, its steps, its rate, its networks, what it refuses."""

import itertools
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from small import make_real
from torch.func import functional_call

import datadam
from datadam import nets
from datadam.distillation.loop import Distillation
from datadam.errors import InvalidInput
from datadam.evaluation.snapshots import at
from datadam.methods import DD
from datadam.rng import stream

SMALL = DD(epochs=2, rate=0.1)


@pytest.fixture
def asked(recipe):
    def make(method: DD = SMALL, **settings: object) -> datadam.Recipe:
        tiny = {"init": "default", "lr_images": 0.1} | settings
        return replace(recipe("dd", **({"ipc": 3} | tiny)), method=method)

    return make


def begun(real, asked) -> Distillation:
    run = datadam.begin(real, asked)
    assert isinstance(run, Distillation)
    return run


@pytest.mark.parametrize(
    ("net", "decoder", "per_step"), [("convnet2:width=4", "plain", 1), ("convnet1:norm=batch:width=4", "grid:2", 5)]
)
def test_the_gradient_is_that_of_the_whole_unroll(real, asked, net: str, decoder: str, per_step: int) -> None:
    run = begun(real, asked(replace(SMALL, per_step=per_step), net=net, decoder=decoder))
    draw, rate = run.draws.at(3), run.state.tensors["rate"].clone().requires_grad_()
    found = run.gradient({}, run.synthetic, draw, True)
    stored = run.state.images.clone().requires_grad_()
    images = run.synthetic.decoder(stored).unflatten(0, (3, -1))
    network = nets.build(run.recipe.net, shape=real.shape, classes=3).double()
    nets.initialise(network, stream(0, "network", 3))
    weights = {name: value.clone().requires_grad_() for name, value in network.named_parameters()}
    buffers = {name: value.clone() for name, value in network.named_buffers()}
    for _, first in itertools.product(range(2), range(0, images.shape[1], per_step)):
        chosen = images[:, first : first + per_step]
        labels = torch.arange(3).repeat_interleave(chosen.shape[1])
        loss = F.cross_entropy(functional_call(network, weights | buffers, (chosen.flatten(0, 1),)), labels)
        slopes = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
        weights = {name: w - rate * g for (name, w), g in zip(weights.items(), slopes, strict=True)}
    theirs = torch.cat([draw.real(k) for k in range(3)])
    loss = F.cross_entropy(functional_call(network, weights | buffers, (theirs,)), torch.arange(3).repeat_interleave(5))
    of_images, of_rate = torch.autograd.grad(loss, [stored, rate])
    torch.testing.assert_close(found.terms["loss"], loss.detach()[None], rtol=1e-10, atol=0)
    torch.testing.assert_close(found.images, of_images, rtol=1e-8, atol=1e-10 * float(of_images.abs().max()))
    torch.testing.assert_close(found.of["rate"], of_rate, rtol=1e-9, atol=0)


def test_each_step_has_a_rate_of_its_own_whose_gradient_is_that_of_the_unroll(real, asked) -> None:
    run = begun(real, asked(replace(SMALL, rates="each", per_step=2), net="convnet1:width=4"))
    rates = run.state.tensors["rates"]
    assert rates.tolist() == [0.1] * 4  # 3 images of a class, two and one of them in a step, twice
    rates.copy_(torch.tensor([0.05, 0.2, 0.1, 0.4]))
    draw, own = run.draws.at(3), rates.clone().requires_grad_()
    found = run.gradient({}, run.synthetic, draw, True)
    stored = run.state.images.clone().requires_grad_()
    network = nets.build(run.recipe.net, shape=real.shape, classes=3).double()
    nets.initialise(network, stream(0, "network", 3))
    weights = {name: value.clone().requires_grad_() for name, value in network.named_parameters()}
    for rate, chosen in zip(own, ([0, 1, 3, 4, 6, 7], [2, 5, 8]) * 2, strict=True):
        loss = F.cross_entropy(functional_call(network, weights, (stored[chosen],)), torch.tensor(chosen) // 3)
        slopes = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
        weights = {name: w - rate * g for (name, w), g in zip(weights.items(), slopes, strict=True)}
    theirs = torch.cat([draw.real(k) for k in range(3)])
    loss = F.cross_entropy(functional_call(network, weights, (theirs,)), torch.arange(3).repeat_interleave(5))
    of_images, of_rates = torch.autograd.grad(loss, [stored, own])
    torch.testing.assert_close(found.terms["loss"], loss.detach()[None], rtol=1e-10, atol=0)
    torch.testing.assert_close(found.images, of_images, rtol=1e-8, atol=1e-10 * float(of_images.abs().max()))
    torch.testing.assert_close(found.of["rates"], of_rates, rtol=1e-8, atol=1e-12 * float(of_rates.abs().max()))
    assert len(set(of_rates.tolist())) == 4


def test_rates_are_learned_kept_and_gone_on_with(real, asked, tmp_path) -> None:
    recipe = asked(replace(SMALL, rates="each", lr_rate=0.01), net="convnet1:width=4", iterations=4)
    whole = datadam.distill(real, recipe, out=tmp_path / "whole")
    rates = whole.card["rates"]
    assert len(rates) == 6
    assert len(set(rates)) == 6
    assert float(whole.rate) == whole.card["rate"] == pytest.approx(sum(rates) / 6)
    assert whole.card["rate"] != pytest.approx(0.1, abs=1e-6)
    run = datadam.begin(real, recipe, out=tmp_path / "run")
    for _, _ in zip(range(2), run.steps(), strict=False):
        pass
    run.save()
    again = datadam.resume(tmp_path / "run", real)
    list(again.steps())
    assert again.result().card["rates"] == rates
    assert torch.equal(datadam.DistilledSet.load(tmp_path / "run").images, whole.images)
    judged = at([whole], [tmp_path / "whole"], 2)[0]
    assert 0 < float(judged.rate) != float(whole.rate)


@pytest.mark.parametrize("spec", ["lenet", "alexnet"])
def test_the_papers_networks_can_be_gone_back_through(asked, spec: str) -> None:
    run = begun(make_real(shape=(1, 12, 12)), asked(DD(epochs=2, rate=0.05), net=spec, init="xavier", ipc=1))
    found = run.gradient({}, run.synthetic, run.draws.at(0), False)
    here, way = run.state.images.clone(), torch.randn(3, 1, 12, 12, generator=stream(1)).double()
    ends = []
    for step in (1e-5, -1e-5):
        run.state.images.copy_(here + step * way)
        ends.append(float(run.gradient({}, run.synthetic, run.draws.at(0), False).terms["loss"]))
    assert (ends[0] - ends[1]) / 2e-5 == pytest.approx(float((found.images * way).sum()), rel=1e-4)


def test_each_step_has_images_of_its_own_of_every_class(real, asked) -> None:
    run = begun(real, asked(replace(SMALL, per_step=2)))
    chosen = [step.chosen.tolist() for step in run.recipe.method.steps(run.synthetic)]
    assert chosen == [[0, 1, 3, 4, 6, 7], [2, 5, 8]] * 2


def test_networks_are_drawn_anew_or_known_beforehand(real, asked) -> None:
    fresh, fixed = begun(real, asked()), begun(real, asked(iterations_per_network=4))
    losses = [
        [float(run.gradient({}, run.synthetic, run.draws.at(i), False).terms["loss"]) for i in (0, 1)] for run in (fresh, fixed)
    ]
    weights = [[run.draws.at(i).network().head.weight.clone() for i in (0, 1)] for run in (fresh, fixed)]
    assert losses[0][0] != losses[0][1]
    assert not torch.equal(*weights[0])
    assert torch.equal(*weights[1])


def test_real_images_are_told_apart_better_and_the_rate_is_learned(real, asked) -> None:
    run = begun(real, asked(iterations=20, batch_real=12, lr_images=0.3, net="convnet1:width=4"))
    losses = [step.loss for step in run.steps()]
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])
    made = run.result()
    assert made.rate is not None
    assert float(made.rate) != pytest.approx(0.1)
    assert made.label_kind == "hard"
    held = begun(real, asked(replace(SMALL, lr_rate=1e6)))
    next(held.steps())
    assert float(held.state.tensors["rate"]) in (pytest.approx(0.1 / 100), pytest.approx(0.1 * 100))


def test_what_does_not_fit_is_refused_with_all_faults() -> None:
    with pytest.raises(InvalidInput) as told:
        DD(epochs=0, per_step=0, rate=0.0, lr_rate=-1.0, rates="some")
    assert len(told.value.faults) == 5


def test_the_preset_is_the_released_code(real) -> None:
    digits, colour = (datadam.preset("dd", replace(real, name=name), ipc=10) for name in ("mnist", "cifar10"))
    assert (colour.method, colour.net, colour.start) == (DD(rate=0.001, lr_rate=1e-5), "alexnet", "noise")
    assert (colour.optimizer, colour.momentum, colour.lr_images, colour.batch_real) == ("adam", 0.5, 0.01, 102)
    assert digits.iterations == 19_600
