"""DATM: the window that widens, the first labels by hand, steps that are not taken, and what it starts from."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from small import make_real
from torch.nn.utils import vector_to_parameters

import datadam
from datadam import nets
from datadam.data import RealData
from datadam.distillation.loop import Distillation
from datadam.distillation.optimisers import Optimisers
from datadam.distillation.recipe import Recipe
from datadam.distillation.start import right
from datadam.errors import InvalidInput
from datadam.methods import DATM, MTT
from datadam.methods.base import Group
from datadam.methods.coresets import random
from datadam.methods.datm import first_labels
from datadam.sets.decoders import PLAIN, Grid
from datadam.sets.synthetic import SyntheticSet
from datadam.training.experts import Experts
from datadam.training.make_experts import make_experts
from datadam.training.trainer import Training

NET = "convnet2:width=6"
SMALL = DATM(steps=3, expert_epochs=2, max_start=3, first_max=1, widens_by=4, epochs=6, count=3, rate=0.05, threshold=1e9)
TRAINING = Training(epochs=6, batch=8, lr=0.1, momentum=0.0, weight_decay=0.0, drop_after=6)


@pytest.fixture
def real() -> RealData:
    return make_real(per_class=12)


@pytest.fixture
def experts(real: RealData, tmp_path: Path) -> Experts:
    return make_experts(real, tmp_path / "experts", NET, TRAINING, 3, 0)


@pytest.fixture
def asked(experts: Experts, recipe) -> Recipe:
    return replace(recipe("datm", lr_images=1.0, networks=f"experts:{experts.folder}", zca="none"), method=SMALL)


def begun(real: RealData, asked: Recipe, **options: object) -> Distillation:
    run = datadam.begin(real, asked, **options)  # type: ignore[arg-type]
    assert isinstance(run, Distillation)
    return run


def test_the_window_widens_and_stays() -> None:
    method = DATM(min_start=2, first_max=5, max_start=9, widens_by=8)
    assert [method.starts(i) for i in (0, 1, 2, 3, 4, 8, 1000)] == [(2, 4), (2, 4), (2, 5), (2, 5), (2, 6), (2, 8), (2, 8)]
    assert DATM(first_max=0, min_start=3).starts(0) == (3, 19)


@pytest.mark.parametrize("decoder", [PLAIN, Grid(2)])
def test_first_labels_are_the_mean_of_those_that_are_right(real: RealData, experts: Experts, decoder) -> None:
    """Each expert's answers by hand; an image that nobody knows has the mean of all."""
    stored = torch.cat([real.images(members[:2]) for members in real.by_class])
    stored[0] = torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(0)) * 9
    synthetic = SyntheticSet({"images": stored}, real.classes, (2, 2, 2), decoder)
    answers = []
    for expert in range(3):
        network = nets.build(NET, shape=real.shape, classes=3)
        vector_to_parameters(load_file(experts.file(expert))["epochs"][-1], network.parameters())
        answers.append(network(decoder(stored)).detach().unflatten(0, (6, decoder.each)))
    found = first_labels(synthetic, experts)
    nobody = 0
    for m in range(6):
        of_image = torch.cat([answer[m] for answer in answers])
        knows = of_image.argmax(1) == m // 2
        nobody += not knows.any()
        torch.testing.assert_close(found[m], of_image[knows].mean(0) if knows.any() else of_image.mean(0), rtol=1e-5, atol=1e-6)
    assert nobody < 6
    assert found.isfinite().all()


def test_labels_images_and_rate_are_learned_and_kept(real: RealData, asked: Recipe, tmp_path: Path) -> None:
    run = begun(real, asked, out=tmp_path / "run")
    first = {name: tensor.clone() for name, tensor in run.state.tensors.items()}
    steps = run.steps()
    next(steps), next(steps)
    steps.close()
    again = datadam.resume(tmp_path / "run", real)
    list(again.steps())
    straight = begun(real, asked)
    list(straight.steps())
    for name, tensor in straight.state.tensors.items():
        assert torch.equal(again.state.tensors[name], tensor), name
        assert not torch.equal(first[name], tensor), name
    again.result()
    made = datadam.DistilledSet.load(tmp_path / "run")
    assert made.soft
    assert made.rate is not None


def test_no_step_is_taken_above_the_threshold(real: RealData, asked: Recipe) -> None:
    run = begun(real, replace(asked, method=replace(SMALL, threshold=1e-9)))
    first = {name: tensor.clone() for name, tensor in run.state.tensors.items()}
    losses = [step.loss for step in run.steps()]
    assert len(losses) == asked.iterations
    assert min(losses) > 1e-9
    assert all(torch.equal(tensor, first[name]) for name, tensor in run.state.tensors.items())


def test_a_step_that_is_not_taken_is_counted_where_steps_are() -> None:
    x, g = torch.ones(2), torch.tensor([1.0, -2.0])
    group = Group(tensors=("images",), rule="adam", lr=0.1, momentum=0.5)
    one = Optimisers([group], {"images": x.clone()}, {})
    one.skip()
    one.step({"images": g})
    again = Optimisers([group], {"images": x.clone()}, {}, done=1)  # as a resumed run makes it
    again.step({"images": g})
    assert torch.equal(one.tensors["images"], again.tensors["images"])
    assert not torch.equal(one.tensors["images"], x)


def test_its_first_images_are_those_that_an_expert_gets_right(real: RealData, experts: Experts, asked: Recipe) -> None:
    networks = list(experts.finished())
    chosen = right(real, 3, 0, PLAIN, networks)
    for k, (members, order) in enumerate(zip(chosen, random.select(real, 12, 0), strict=True)):
        knows = [networks[0](real.images(order[i : i + 1])).argmax() == k for i in range(12)]
        expected = [int(order[i]) for i in range(12) if knows[i]][:3]
        assert members.tolist()[: len(expected)] == expected
        assert len(set(members.tolist())) == 3
    images = begun(real, asked).state.images.float()
    assert torch.equal(images, torch.cat([real.images(c) for c in right(real, 2, 0, PLAIN, networks)]))
    for network in networks:  # one that takes all for one class: the others of a class are filled up
        with torch.no_grad():
            network.head.bias.copy_(torch.tensor([1e6, 0.0, 0.0]))
    assert [len(set(c.tolist())) for c in right(real, 5, 0, PLAIN, networks)] == [5, 5, 5]
    with pytest.raises(InvalidInput, match="start 'right' asks trained networks"):
        right(real, 1, 0, PLAIN, [])


def test_the_loss_of_soft_labels_is_that_of_their_softmax(real: RealData, asked: Recipe) -> None:
    """With labels that are nearly one-hot, the distance is that of MTT."""
    run = begun(real, replace(asked, augment="none"))
    hard = F.one_hot(torch.arange(3).repeat_interleave(2), 3).double() * 60
    run.state.tensors["labels"].copy_(hard)
    soft = run.gradient(run.state.method, run.synthetic, run.draws.at(0), False).terms["distance"]
    mtt = replace(asked, method=MTT(steps=3, expert_epochs=2, max_start=1, rate=0.05), augment="none", start="real")
    plain = begun(real, mtt, earlier=run.state.images)
    torch.testing.assert_close(
        soft, plain.gradient(plain.state.method, plain.synthetic, plain.draws.at(0), False).terms["distance"], rtol=1e-9, atol=0
    )


def test_wrong_settings_are_refused_together() -> None:
    with pytest.raises(InvalidInput, match=r"must rise") as told:
        DATM(min_start=10, first_max=5, epochs=3)
    assert "starts reach to epoch 21" in str(told.value)
    with pytest.raises(InvalidInput) as told:
        DATM(lr_labels=0.0, threshold=float("nan"), widens_by=0)
    assert len(told.value.faults) == 3


def test_the_preset_is_the_published_table(real: RealData) -> None:
    asked = datadam.preset("datm", replace(real, name="cifar10"), ipc=10)
    assert asked.method == DATM(widens_by=1000)
    assert (asked.lr_images, asked.start, asked.zca, asked.iterations) == (100.0, "right", "kornia", 10_001)
    for name in ("cifar10", "cifar100", "own"):
        for ipc in (1, 10, 50, 500, 1000):
            datadam.preset("datm", replace(real, name=name), ipc=ipc)
