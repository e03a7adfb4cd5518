"""Nested sets: which prefix an iteration sees, what it leaves alone, resuming and shards, prefixes as sets, what is refused."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import datadam
from datadam.data import RealData
from datadam.distillation.begin import begin, resume
from datadam.distillation.forecast import forecast
from datadam.distillation.nested import drawn, usual_ladder
from datadam.distillation.recipe import Recipe
from datadam.errors import InvalidInput
from datadam.sets.distilled import DistilledSet
from datadam.sets.synthetic import SyntheticSet

Make = Callable[..., Recipe]


def test_the_usual_ladder() -> None:
    assert usual_ladder(10) == (1, 2, 5, 10)
    assert usual_ladder(50) == (1, 2, 5, 10, 20, 50)
    assert usual_ladder(7) == (1, 2, 5, 7)
    assert usual_ladder(1) == (1,)


def test_prefixes_are_drawn_evenly_and_by_name() -> None:
    counts = [drawn((1, 2, 5, 10), 3, i) for i in range(2000)]
    assert counts == [drawn((1, 2, 5, 10), 3, i) for i in range(2000)]
    assert counts != [drawn((1, 2, 5, 10), 4, i) for i in range(2000)]
    for step in (1, 2, 5, None):
        assert 420 < counts.count(step) < 580  # four standard deviations
    assert drawn((), 0, 0) is None
    assert drawn((10,), 0, 0) is None


def test_a_prefix_of_what_is_learned() -> None:
    tensors = {"images": torch.arange(7.0).view(7, 1, 1, 1), "labels": torch.arange(14.0).view(7, 2), "rate": torch.tensor(0.1)}
    part = SyntheticSet(tensors, ("a", "b"), (4, 3)).prefix(2)
    assert part.stored.flatten().tolist() == [0, 1, 4, 5]
    assert part.labels()[:, 0].tolist() == [0, 2, 8, 10]
    assert part.counts == (2, 2)
    assert float(part.tensors["rate"]) == pytest.approx(0.1)


def test_a_step_of_a_prefix_is_that_of_a_smaller_set(real: RealData, recipe: Make) -> None:
    """One iteration: its images as in a run of that many, the others as at the start."""
    asked = recipe("dm", ipc=3, nested="1,2,3", iterations=1, momentum=0.0)
    for seed in range(20):
        if (count := drawn((1, 2, 3), seed, 0)) is None:
            continue
        start = datadam.distill(real, replace(asked, seed=seed, iterations=0)).images.unflatten(0, (3, 3))
        made = datadam.distill(real, replace(asked, seed=seed)).images.unflatten(0, (3, 3))
        alone = datadam.distill(
            real, replace(asked, seed=seed, ipc=count, nested=()), earlier=start[:, :count].flatten(0, 1)
        ).images.unflatten(0, (3, count))
        assert torch.equal(made[:, :count], alone)
        assert torch.equal(made[:, count:], start[:, count:])
        assert not torch.equal(made[:, :count], start[:, :count])
    assert {drawn((1, 2, 3), seed, 0) for seed in range(20)} == {1, 2, None}


@pytest.mark.parametrize("method", ["dm", "dc", "cafe", "frepo", "ld", "kip"])
def test_methods_of_every_kind_resume_bit_equal(method: str, real: RealData, recipe: Make, tmp_path: Path) -> None:
    lr = {"lr_images": 0.01} if method in ("kip", "ld", "frepo") else {}
    asked = recipe(method, ipc=2, nested="auto", iterations=5, **lr)
    whole = datadam.distill(real, asked)
    assert whole.images.isfinite().all()
    run = begin(real, asked, out=tmp_path / "run", device="cpu")
    steps = run.steps()
    next(steps)
    next(steps)
    steps.close()
    again = resume(tmp_path / "run", real)
    for _ in again.steps():
        pass
    assert torch.equal(again.result().images, whole.images)
    assert torch.equal(again.result().labels, whole.labels)


def test_a_class_alone_gives_the_same_images(real: RealData, recipe: Make) -> None:
    asked = recipe("dm", ipc=2, nested="auto", iterations=4)
    alone = datadam.distill(real.subset([1]), asked)
    assert torch.equal(alone.images, datadam.distill(real, asked).images[2:4])


def test_a_prefix_is_a_set_like_any_other(real: RealData, recipe: Make, tmp_path: Path) -> None:
    made = datadam.distill(real, recipe("dm", ipc=3, nested="1,3"))
    small = made.prefix(2)
    assert made.nested
    assert small.images.tolist() == made.images.unflatten(0, (3, 3))[:, :2].flatten(0, 1).tolist()
    assert small.labels.tolist() == [0, 0, 1, 1, 2, 2]
    small.save(tmp_path / "small")
    again = DistilledSet.load(tmp_path / "small")
    assert (again.ipc, again.counts) == (2, (2, 2, 2))
    assert Recipe.from_card(again.card["recipe"]).ladder == (1, 2)
    assert again.card["prefix"] == {"of": 3, "digest": made.card["digest"]}
    assert made.prefix(3) is made
    uneven = DistilledSet.merge([made, small])
    assert uneven.counts == (5, 5, 5)
    assert uneven.prefix(1).images.tolist() == made.prefix(1).images.tolist()
    for count in (0, 4):
        with pytest.raises(InvalidInput, match=f"ipc is {count}, and the set has 3 images of each class; ask for 1 to 3"):
            made.prefix(count)


def test_a_recipe_keeps_its_ladder(recipe: Make) -> None:
    for text, ladder in (("auto", (1, 2, 5, 6)), ("1,3,6", (1, 3, 6)), ("none", ())):
        asked = recipe("dm", ipc=6, nested=text)
        assert asked.ladder == ladder
        assert Recipe.from_card(asked.to_card()) == asked
    assert replace(recipe("dm", ipc=6, nested="auto"), ipc=2).ladder == (1, 2)


def test_what_cannot_be_nested_is_refused(recipe: Make) -> None:
    for settings, words in (
        ({"nested": "1,2"}, "nested is 1, 2; write numbers from 1 on that rise up to ipc, 6"),
        ({"nested": "0,6"}, "nested is 0, 6"),
        ({"nested": "3,1,6"}, "nested is 3, 1, 6"),
        ({"nested": "all"}, "nested is 'all'"),
    ):
        with pytest.raises(InvalidInput, match=words):
            recipe("dm", ipc=6, **settings)
    with pytest.raises(InvalidInput, match="mtt learns one rate of students for the whole set"):
        recipe("mtt", nested="auto")


def test_compiling_must_pay_for_every_size(real: RealData, recipe: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datadam.distillation.forecast.can_compile", lambda device: True)
    plain, nested = (replace(recipe("dm", ipc=5, precision="float32"), nested=ladder) for ladder in ((), (1, 2, 5)))
    monkeypatch.setattr("datadam.distillation.forecast.COMPILING_PAYS", 50 * forecast(real, plain).flops)
    least = []
    for asked in (plain, nested):
        never, always = 0, 1024  # iterations for which it does not pay, and does
        while always - never > 1:
            middle = (never + always) // 2
            pays = forecast(real, replace(asked, iterations=middle)).plan.compiled
            never, always = (never, middle) if pays else (middle, always)
        least.append(always)
    assert 3 * (least[0] - 1) <= least[1] <= 3 * least[0]
    assert 1 < least[0] < least[1] < 1024
