"""LD: its gradients against literal writings, its network, that images stay, what it refuses."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch.func import functional_call

import datadam
from datadam.distillation.loop import Distillation
from datadam.errors import InvalidInput
from datadam.methods import LD, ld, online
from datadam.methods.networks import numbers
from datadam.rng import stream

SMALL = LD(inner_batch=4, inner_lr=0.5, lr_labels=0.2, patience=3)


@pytest.fixture
def asked(recipe):
    def make(method: LD = SMALL, **settings: object) -> datadam.Recipe:
        return replace(recipe("ld", **({"lr_images": 0.05} | settings)), method=method)

    return make


def begun(real, asked) -> Distillation:
    run = datadam.begin(real, asked)
    assert isinstance(run, Distillation)
    return run


def trained(run: Distillation) -> tuple[dict, object]:
    """State and draw of an iteration before which labels, images and network have moved."""
    steps = run.steps()
    for _ in range(3):
        next(steps)
    draw = run.draws.at(3)
    *_, state = run.recipe.method.between(run.state.method, run.synthetic, draw)
    return state, draw


@pytest.mark.parametrize("learn", ["labels", "images", "both"])
def test_the_look_ahead_is_that_of_the_paper(real, asked, learn: str) -> None:
    run = begun(real, asked(replace(SMALL, learn=learn)))
    state, draw = trained(run)
    found = run.gradient(state, run.synthetic, draw, True)
    network = online.network(state, draw, 0)
    tensors = {name: value.clone().requires_grad_() for name, value in run.state.tensors.items()}
    labels = tensors["labels"].softmax(1) if "labels" in tensors else torch.eye(3).double().repeat_interleave(2, 0)
    chosen = torch.randperm(6, generator=stream(0, "inner", 3))[:4]
    weights = {name: value.clone().requires_grad_() for name, value in network.named_parameters()}
    loss = -(labels[chosen] * functional_call(network, weights, (tensors["images"][chosen],)).log_softmax(1)).sum(1).mean()
    slopes = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
    ahead = {name: w - 0.5 * g for (name, w), g in zip(weights.items(), slopes, strict=True)}
    theirs = functional_call(network, ahead, (torch.cat([draw.real(k) for k in range(3)]),))
    outcome = F.cross_entropy(theirs, torch.arange(3).repeat_interleave(5))
    names = sorted(run.recipe.method.learns)
    for name, gradient in zip(names, torch.autograd.grad(outcome, [tensors[name] for name in names]), strict=True):
        torch.testing.assert_close(found.of[name], gradient, rtol=1e-7, atol=1e-9 * float(gradient.abs().max()))
    torch.testing.assert_close(found.terms["loss"], outcome.detach()[None], rtol=1e-10, atol=0)
    assert found.of.keys() == run.recipe.method.learns


@pytest.mark.parametrize("learn", ["labels", "both"])
def test_ridge_regression_is_that_of_the_paper(real, asked, learn: str) -> None:
    """In its other form, which inverts a matrix of features and not of images."""
    run = begun(real, asked(replace(SMALL, way="ridge", learn=learn, scale=7.0, ridge=0.3)))
    state, draw = trained(run)
    found = run.gradient(state, run.synthetic, draw, True)
    network = online.network(state, draw, 0)
    tensors = {name: value.clone().requires_grad_() for name, value in run.state.tensors.items()}
    chosen = torch.randperm(6, generator=stream(0, "inner", 3))[:4]
    phi = network.features(tensors["images"][chosen]).embedding
    x, theirs = F.pad(phi, (0, 1), value=1.0), network.features(torch.cat([draw.real(k) for k in range(3)])).embedding
    head = torch.linalg.inv(x.T @ x + 0.3 * torch.eye(x.shape[1]).double()) @ x.T @ tensors["labels"].softmax(1)[chosen]
    outcome = F.cross_entropy(7.0 * F.pad(theirs, (0, 1), value=1.0) @ head, torch.arange(3).repeat_interleave(5))
    torch.testing.assert_close(found.terms["loss"], outcome.detach()[None], rtol=1e-8, atol=0)
    for name in run.recipe.method.learns:
        gradient = torch.autograd.grad(outcome, tensors[name], retain_graph=True)[0]
        torch.testing.assert_close(found.of[name], gradient, rtol=1e-6, atol=1e-7 * float(gradient.abs().max()))


def test_labels_are_learned_and_images_stay_real(real, asked, tmp_path: Path) -> None:
    run = datadam.begin(real, asked(iterations=12), out=tmp_path / "run")
    start = run.state.images.clone()
    losses = [step.loss for step in run.steps()]
    made = run.result()
    assert torch.equal(run.state.images, start)
    assert made.soft
    assert made.card.get("temperature", 1) == 1
    assert not any("hardly moved" in words for words in made.card["warnings"])
    assert float(made.labels.abs().max()) > 0.5  # they began at zero
    assert sum(losses[-3:]) < sum(losses[:3])
    again = datadam.DistilledSet.load(tmp_path / "run")
    assert torch.equal(again.labels, made.labels)


def test_a_network_whose_accuracy_has_stopped_rising_is_drawn_anew(real, asked, monkeypatch: pytest.MonkeyPatch) -> None:
    rising = iter([*range(8), *[7] * 20])
    monkeypatch.setattr(ld, "accuracy", lambda *what: next(rising) / 100)
    run = begun(real, asked(iterations=16))
    drawn = []
    for _ in run.steps():
        drawn.append(int(run.state.method["online/0/number"]))
    assert drawn == sorted(drawn)
    first, second, *_ = sorted(set(drawn))
    assert (first, second) == (0, 13)  # the best three stand from the 10th on, and three more bring nothing
    assert len(numbers(run.state.method, "seen")) <= 6
    assert online.age(run.state.method, 0) == 15 - 13


def test_what_does_not_fit_is_refused_with_all_faults() -> None:
    with pytest.raises(InvalidInput) as told:
        LD(learn="all", way="root", inner_batch=0, patience=0, inner_lr=0.0, lr_labels=0.0, lr_network=0.0, ridge=0.0, scale=0.0)
    assert len(told.value.faults) == 9


def test_the_preset_is_the_released_configuration(real) -> None:
    few, ten, hundred = (
        datadam.preset("ld", replace(real, name=name), ipc=ipc)
        for name, ipc in (("cifar10", 1), ("cifar10", 10), ("cifar100", 1))
    )
    assert (ten.method, ten.net, ten.batch_real, ten.iterations) == (LD(), "alexnet", 102, 17_600)
    assert few.method == LD(inner_batch=10)
    assert (hundred.method, hundred.batch_real) == (LD(inner_batch=100), 10)
