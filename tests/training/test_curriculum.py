"""What experts see and how they step: shares of a class by hand, GSAM by its formula, and both within a training."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from small import make_real
from torch import nn
from torch.func import functional_call, grad

from datadam.data import RealData
from datadam.errors import InvalidInput
from datadam.training.curriculum import Curriculum
from datadam.training.experts import Experts
from datadam.training.flat import Flat
from datadam.training.insight import Insight
from datadam.training.make_experts import images_of, make_experts
from datadam.training.needs import PASSES, Needs, cost
from datadam.training.trainer import Trainer, Training

NET = "convnet1:width=4"
QUICK = Curriculum(first=0.5, whole=2, drops=((2, 0.25), (3, 0.5)), averaged=1, looked=1)


def training(epochs: int) -> Training:
    return Training(epochs=epochs, batch=7, lr=0.1, momentum=0.0, weight_decay=0.0, drop_after=epochs)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATADAM_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def real() -> RealData:
    return make_real(per_class=(12, 9, 3))


def test_the_published_shares_of_a_class() -> None:
    rows = Curriculum().rows
    assert [rows(epoch, 5000) for epoch in (0, 10, 20, 40, 41, 60, 61, 99)] == [
        range(3750), range(4375), range(5000), range(5000), range(500, 5000), range(500, 5000), range(1000, 5000),
        range(1000, 5000),
    ]  # fmt: skip
    assert rows(70, 500) == range(100, 500)  # of a class of CIFAR-100, where the released code has none left
    assert all(len(rows(epoch, n)) >= 1 for epoch in range(99) for n in range(1, 6))
    assert Curriculum(whole=0, drops=()).rows(0, 10) == range(10)


def test_each_epoch_trains_on_its_share_from_easy_to_hard(real: RealData) -> None:
    insight = Insight(real, 0, NET)
    ranked = QUICK.ranked(insight)
    for k, members in enumerate(ranked):
        scores = dict(zip(insight.members(k).tolist(), insight.difficulty(k, "el2n", 1, 1).tolist(), strict=True))
        assert [scores[i] for i in members.tolist()] == sorted(scores.values())
    for epoch, (low, high) in enumerate([(0.0, 0.5), (0.0, 0.75), (0.0, 1.0), (0.25, 1.0), (0.5, 1.0)]):
        expected = [members[int(low * len(members)) : int(high * len(members))] for members in ranked]
        assert torch.equal(QUICK.lesson(epoch, ranked), torch.cat(expected))
        assert len(torch.cat(expected)) == images_of(real, 5, QUICK)[epoch]


def test_a_training_by_lessons_keeps_the_weights_after_each_epoch_and_goes_on(real: RealData, tmp_path: Path) -> None:
    def made(name: str, after_step=None) -> Experts:
        return make_experts(real, tmp_path / name, NET, training(5), 1, 0, curriculum=QUICK, flat=Flat(), after_step=after_step)

    steps: list[int] = []
    whole = made("whole", lambda number, done, of: steps.append(of))
    assert (whole.epochs, steps[-1]) == (5, sum(-(-images // 7) for images in images_of(real, 5, QUICK)))
    assert len({float(stamp.sum()) for stamp in whole.weights(0, *range(6))}) == 6

    def stop(number: int, done: int, of: int) -> None:
        if done == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made("parts", stop)
    assert made("parts").digests == whole.digests
    for other in ({}, {"curriculum": Curriculum(first=0.6, whole=2, drops=())}):
        with pytest.raises(InvalidInput, match=r"made with another .*curriculum"):
            make_experts(real, tmp_path / "whole", NET, training(5), 1, 0, flat=Flat(), **other)
    with pytest.raises(InvalidInput, match="made with another optimizer"):
        make_experts(real, tmp_path / "whole", NET, training(5), 1, 0, curriculum=QUICK)


def test_the_trainer_sees_what_a_lesson_says(real: RealData) -> None:
    seen: list[set[int]] = [set() for _ in range(3)]
    lessons = [torch.tensor([0, 1, 2]), torch.arange(10), torch.tensor([5])]
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 3))

    def images(chosen: torch.Tensor) -> torch.Tensor:
        seen[trainer.epoch].update(chosen.tolist())
        return real.images(chosen)

    trainer = Trainer(
        network, images, torch.from_numpy(real.train.labels), Training(epochs=3, batch=4), 0, "x", lesson=lessons.__getitem__  # type: ignore[arg-type]
    )  # fmt: skip
    assert (trainer.ends, trainer.steps) == ([1, 4, 5], 5)
    ends = []
    for _ in range(5):
        trainer.step()
        ends.append(trainer.ends_epoch)
    assert seen == [set(lesson.tolist()) for lesson in lessons]
    assert ends == [True, False, False, True, True]


def test_gsam_is_its_formula() -> None:
    """By torch.func on the same batch, whole vectors at once."""
    network = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)).double()
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(6, 5, generator=generator, dtype=torch.float64), torch.arange(6) % 3
    start = {name: p.detach().clone() for name, p in network.named_parameters()}

    def slope(weights: dict[str, torch.Tensor]) -> torch.Tensor:
        found = grad(lambda w: F.cross_entropy(functional_call(network, w, (x,)), y))(weights)
        return torch.cat([found[name].flatten() for name in start])

    w, g = torch.cat([p.flatten() for p in start.values()]), slope(start)
    climbed = w + 0.3 * w**2 * g / (w.abs() * g).norm()
    parts = climbed.split([p.numel() for p in start.values()])
    high = slope({name: part.view_as(p) for (name, p), part in zip(start.items(), parts, strict=True)})
    across = g - (g @ high) / (high @ high) * high

    def again() -> None:
        F.cross_entropy(network(x), y).backward()

    again()
    Flat(rho=0.3, alpha=0.4).turn(network.parameters(), again)
    found = torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])
    torch.testing.assert_close(found, high - 0.4 * across, rtol=1e-9, atol=1e-12)
    assert all(torch.equal(p, start[name]) for name, p in network.named_parameters())
    assert abs(float(across @ high)) < 1e-12


def test_what_they_cost_is_counted() -> None:
    plain = Needs("experts", training(4), 3)
    flat, ordered = Needs("experts", training(4), 3, Flat()), Needs("experts", training(4), 3, curriculum=QUICK)
    assert cost(flat, 100) == 2 * cost(plain, 100)
    assert cost(ordered, 100) == PASSES * 3 * (50 + 75 + 100 + 75) + (PASSES + 1) * 100
    with pytest.raises(InvalidInput, match="experts alone"):
        Needs("random", flat=Flat())


def test_wrong_settings_are_refused_together() -> None:
    with pytest.raises(InvalidInput) as told:
        Curriculum(by="size", first=0.0, whole=-1, averaged=0, drops=((40, 0.2), (30, 0.1)))
    assert len(told.value.faults) == 5
    with pytest.raises(InvalidInput, match="from whole=20 on"):
        Curriculum(drops=((10, 0.1),))
    with pytest.raises(InvalidInput) as told:
        Flat(rho=0.0, alpha=float("nan"))
    assert len(told.value.faults) == 2
