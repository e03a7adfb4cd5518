"""FRePo: its loss and gradient written out, its pool, its labels, what it refuses, what it publishes."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import datadam
from datadam.distillation.loop import Distillation
from datadam.distillation.presets import Sketch
from datadam.errors import CannotDo, InvalidInput
from datadam.methods import FRePo, online, ridge
from datadam.nets import Network
from datadam.rng import stream
from datadam.sets.kind import Kind

SMALL = FRePo(pool=3, most_steps=4, lr_labels=0.02, lr_network=0.01)


@pytest.fixture
def asked(recipe):
    def make(method: FRePo = SMALL, **settings: object) -> datadam.Recipe:
        return replace(recipe("frepo", **({"optimizer": "adam", "lr_images": 0.05} | settings)), method=method)

    return make


def begun(real, asked) -> Distillation:
    run = datadam.begin(real, asked)
    assert isinstance(run, Distillation)
    return run


@pytest.mark.parametrize("mirror", [0, 1])
@pytest.mark.parametrize("net", ["convnet2:width=6", "convnet2:norm=batch:width=6"])
def test_loss_and_gradient_are_those_of_the_paper(real, asked, mirror: int, net: str) -> None:
    run = begun(real, asked(replace(SMALL, mirror=mirror), net=net, iterations=9))
    steps = run.steps()
    for _ in range(5):  # by which networks have trained
        next(steps)
    draw = run.draws.at(run.state.iteration)
    *_, state = run.recipe.method.between(run.state.method, run.synthetic, draw)
    run.state.tensors["labels"] += 0.02 * torch.arange(18.0).view(6, 3).sin()  # margins on either side of 1 / K
    found = run.gradient(state, run.synthetic, draw, True)
    slot = int(torch.randint(3, (), generator=stream(0, "slot", draw.iteration)))
    network = online.network(state, draw, slot).eval()
    x, y = (run.state.tensors[name].clone().requires_grad_() for name in ("images", "labels"))
    scaled = y / (3 / 10) ** 0.5
    both, targets = (torch.cat([x, x.flip(3)]), torch.cat([scaled, scaled])) if mirror else (x, scaled)
    phi = network.features(both).embedding
    theirs = network.features(torch.cat([draw.real(k) for k in range(3)])).embedding.detach()
    kernel = phi @ phi.T
    inverse = torch.linalg.inv(kernel + 1e-6 * kernel.trace() / len(both) * torch.eye(len(both)).double())
    wanted = torch.eye(3).double().repeat_interleave(5, 0) - 1 / 3
    regression = ((theirs @ phi.T @ inverse @ targets - wanted) ** 2).sum(1).mean() / 2
    best = scaled.sort(1, descending=True).values
    margin = -torch.minimum(best[:, 0] - best[:, 1], torch.tensor(1 / 3, dtype=torch.float64)).mean()
    of_x, of_y = torch.autograd.grad(regression + margin, [x, y])
    network.train()
    torch.testing.assert_close(found.terms["regression"], regression.detach()[None], rtol=1e-7, atol=0)
    torch.testing.assert_close(found.terms["margin"], margin.detach()[None], rtol=1e-12, atol=0)
    torch.testing.assert_close(found.images, of_x, rtol=1e-5, atol=1e-6 * float(of_x.abs().max()))
    torch.testing.assert_close(found.of["labels"], of_y, rtol=1e-5, atol=1e-6 * float(of_y.abs().max()))


def test_the_synthetic_images_are_told_their_labels() -> None:
    """With hardly a ridge, regression goes through the points that it rests on."""
    x, y = torch.randn(6, 9, generator=stream(0)).double(), torch.randn(6, 3, generator=stream(1)).double()
    kernel = x @ x.T
    torch.testing.assert_close(kernel @ ridge.weights(kernel, y, 1e-14), y, rtol=1e-8, atol=1e-10)


def weights(network: Network) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


def test_the_pool_trains_by_adam_on_the_squared_error_and_is_renewed(real, asked) -> None:
    run = begun(real, asked(iterations=40))
    method, ages = run.recipe.method, [online.age(run.state.method, slot) for slot in range(3)]
    assert ages == [0, 1, 2]  # most_steps // pool apart
    renewed = 0
    for _ in run.steps():
        draw, state = run.draws.at(run.state.iteration), dict(run.state.method)
        slot = method.slot(run.draws.at(run.state.iteration - 1))
        network = online.network(state, draw, slot)
        before, age = weights(network), online.age(state, slot)
        images, targets = run.synthetic.images().detach(), method.labels(run.synthetic).detach()
        fresh = f"online/{slot}/done" not in state
        network.requires_grad_(True)
        slopes = torch.autograd.grad(0.5 * (network(images) - targets).square().sum(1).mean(), list(network.parameters()))
        network.requires_grad_(False)
        *_, after = method.between(state, run.synthetic, draw)
        assert all(torch.equal(after[n], state[n]) for n in state if isinstance(state[n], Tensor) and f"/{slot}/" not in n)
        if age > 4:
            assert online.age(after, slot) == 0
            assert f"online/{slot}/average/head.weight" not in after
            renewed += 1
        elif fresh:  # the first step of Adam goes as far as its rate, against the slope
            slope = torch.cat([part.flatten() for part in slopes])
            expected = before - 0.01 * slope / (slope.abs() + 1e-8)
            torch.testing.assert_close(weights(online.network(after, draw, slot)), expected, rtol=1e-9, atol=1e-9)
            assert online.age(after, slot) == age + 1
    assert renewed > 3


def test_labels_are_learned_and_told_to_students_at_a_temperature(real, asked, tmp_path: Path) -> None:
    made = datadam.distill(real, asked(), out=tmp_path / "run")
    first = torch.eye(3).repeat_interleave(2, 0) - 1 / 3
    assert made.soft
    assert 0 < float((made.labels - first).abs().max()) < 0.2
    assert datadam.DistilledSet.load(tmp_path / "run").temperature == 0.2
    hard = datadam.distill(real, asked(replace(SMALL, lr_labels=0.0)))
    assert not hard.soft
    assert "temperature" not in hard.card
    assert Kind.of_card(made.card) != Kind.of_card(hard.card)


def test_the_number_format_is_that_of_the_run(real, asked) -> None:
    coarse, fine = (begun(real, asked(precision=precision)) for precision in ("bfloat16", "float32"))
    one, other = (run.gradient(run.state.method, run.synthetic, run.draws.at(0), False) for run in (coarse, fine))
    assert one.images.dtype == torch.float32
    assert not torch.equal(one.images, other.images)
    assert float(F.cosine_similarity(one.images.flatten(), other.images.flatten(), dim=0)) > 0.9


def test_what_does_not_fit_is_refused_with_all_faults(recipe) -> None:
    with pytest.raises(InvalidInput) as told:
        FRePo(pool=0, most_steps=0, lr_network=0.0, lr_labels=-1.0, ridge=0.0, mirror=2, temperature=float("nan"))
    assert len(told.value.faults) == 7
    with pytest.raises(CannotDo, match="decides itself how long it trains a network"):
        recipe("frepo", network_epochs=2)


def test_the_preset_is_the_released_script(real) -> None:
    ten, hundred = (datadam.preset("frepo", replace(real, name=name), ipc=10) for name in ("cifar10", "cifar100"))
    assert (ten.optimizer, ten.lr_images, ten.iterations, ten.batch_real, ten.zca) == ("lamb", 3e-4, 500_000, 102, "official")
    assert ten.method == FRePo()
    assert ten.net == "auto:channels=doubled:norm=batch"
    assert (hundred.method, hundred.batch_real) == (FRePo(mirror=0), 10)
    digits = datadam.preset("frepo", Sketch("mnist", (1, 28, 28)), ipc=1)
    assert (digits.method, digits.zca) == (FRePo(mirror=0), "none")
