"""PAD: which weights are matched, by hand; what its experts see; its settings and preset."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small import make_real

import datadam
from datadam import nets
from datadam.data import RealData
from datadam.distillation.loop import Distillation
from datadam.errors import InvalidInput
from datadam.methods import DATM, PAD
from datadam.methods.pad import below, largest
from datadam.methods.student import Student
from datadam.training.curriculum import Curriculum
from datadam.training.experts import Experts
from datadam.training.flat import Flat
from datadam.training.make_experts import make_experts
from datadam.training.trainer import Training

NET = "convnet3:width=4"
SMALL = {
    "steps": 3,
    "expert_epochs": 2,
    "max_start": 3,
    "first_max": 1,
    "widens_by": 4,
    "epochs": 4,
    "count": 2,
    "threshold": 1e9,
}


@pytest.fixture
def real() -> RealData:
    return make_real(per_class=12)


def numbers(count: int, seed: int) -> torch.Tensor:
    return torch.randn(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(("share", "out"), [(0.0, 0), (0.24, 0), (0.25, 1), (0.5, 2), (0.9, 3)])
def test_by_depth_the_first_layers_are_left_out_with_their_norms(share: float, out: int) -> None:
    """A block of this network is a convolution and a norm, four parameters; the last layer is the classifier."""
    sizes = [parameter.numel() for parameter in nets.build(NET, shape=(3, 8, 8), classes=3).parameters()]
    assert len(sizes) == 3 * 4 + 2
    first = sum(sizes[: 4 * out])
    found = below([parameter.shape for parameter in nets.build(NET, shape=(3, 8, 8), classes=3).parameters()], share)
    assert found.tolist() == [False] * first + [True] * (sum(sizes) - first)


def test_by_loss_the_smallest_gaps_are_left_out_of_both_distances() -> None:
    """By sorting in plain Python."""
    start, target, weights = (numbers(40, seed) for seed in range(3))
    network = nets.build("mlp:width=2", shape=(1, 2, 2), classes=3)
    method = PAD(share=0.35, left_out="loss")
    gaps = [(float(w - t) ** 2, i) for i, (w, t) in enumerate(zip(weights, target, strict=True))]
    kept = [i for _, i in sorted(gaps)[14:]]
    terms, gradient = method.compare(Student(network), start, target)(weights)
    whole = sum(float(start[i] - target[i]) ** 2 for i in kept)
    assert float(terms["distance"]) == pytest.approx(sum(gaps[i][0] for i in kept) / whole)
    expected = torch.zeros(40, dtype=torch.float64)
    expected[kept] = 2 * (weights - target)[kept] / whole
    torch.testing.assert_close(gradient, expected)
    assert int(largest(torch.ones(7), 0.5).sum()) == 4


@pytest.mark.parametrize("left_out", ["depth", "loss"])
def test_with_nothing_left_out_it_is_datm(real: RealData, recipe, tmp_path: Path, left_out: str) -> None:
    training = Training(epochs=4, batch=8, lr=0.1, momentum=0.0, weight_decay=0.0, drop_after=4)
    experts = make_experts(real, tmp_path / "experts", "convnet2:width=6", training, 2, 0)
    asked = recipe("datm", lr_images=1.0, networks=f"experts:{experts.folder}", zca="none", start="real")
    found = {}
    for method in (DATM(**SMALL), PAD(**SMALL, share=0.0, left_out=left_out), PAD(**SMALL, share=0.5, left_out=left_out)):
        run = datadam.begin(real, replace(asked, method=method))
        assert isinstance(run, Distillation)
        gradient = run.gradient(run.state.method, run.synthetic, run.draws.at(0), False)
        found[method.name, getattr(method, "share", 0.0)] = gradient.of
    assert all(torch.equal(found["datm", 0.0][name], found["pad", 0.0][name]) for name in ("images", "labels", "rate"))
    assert not torch.allclose(found["pad", 0.5]["images"], found["pad", 0.0]["images"], rtol=1e-3)


def test_its_own_experts_have_a_curriculum_and_flat_minima(real: RealData, recipe, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("DATADAM_CACHE", str(tmp_path))
    needs = PAD(**SMALL).needs
    assert (needs.flat, needs.curriculum) == (Flat(), Curriculum(by="el2n"))
    assert PAD(**SMALL, curriculum="none", expert_optimizer="sgd").needs == DATM(**SMALL, expert_optimizer="sgd").needs
    asked = replace(recipe("pad", ipc=1, lr_images=1.0, zca="none", start="real"), method=PAD(**SMALL, curriculum="grand"))
    experts = datadam.begin(real, asked).draws.given  # type: ignore[attr-defined]
    assert isinstance(experts, Experts)
    assert experts.about["optimizer"] == "gsam:rho=0.01:alpha=0.3"
    assert experts.about["curriculum"]["by"] == "grand"


def test_wrong_settings_are_refused_together() -> None:
    with pytest.raises(InvalidInput) as told:
        PAD(share=1.0, left_out="width", curriculum="size", threshold=-1.0)
    assert len(told.value.faults) == 4


def test_the_preset_is_the_released_table(real: RealData) -> None:
    fifty = datadam.preset("pad", replace(real, name="cifar10"), ipc=50)
    assert fifty.method == PAD(
        steps=80, expert_epochs=3, max_start=40, first_max=20, widens_by=2000, batch=1000, share=0.25, left_out="loss",
        curriculum="grand",
    )  # fmt: skip
    assert (fifty.lr_images, fifty.iterations, fifty.zca, fifty.preset) == (1000.0, 10_001, "kornia", "pad")
    for name in ("cifar10", "cifar100", "tiny-imagenet", "mnist"):
        for ipc in (1, 10, 50, 100, 500, 1000):
            datadam.preset("pad", replace(real, name=name), ipc=ipc)
