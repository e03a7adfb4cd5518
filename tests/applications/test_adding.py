"""Classes that come later: bit for bit those of one run of all classes; going on after a stop; what ties classes together."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import datadam
from datadam.applications.adding import add, plan
from datadam.data import RealData
from datadam.distillation.recipe import Recipe
from datadam.errors import InvalidInput
from datadam.sets.distilled import DistilledSet
from datadam.where import Where

Make = Callable[..., Recipe]
CPU = Where(device="cpu")


def one_run(real: RealData, recipe: Recipe, earlier: DistilledSet) -> DistilledSet:
    """All classes distilled together, in the network space of the earlier run."""
    return datadam.distill(replace(real, transform=earlier.transform), recipe)


@pytest.mark.parametrize(
    ("method", "settings"),
    [("datadam", {}), ("dm", {"momentum": 0.9, "nested": "auto"}), ("dm", {"start": "kcenter", "decoder": "grid:2"})],
)
def test_what_is_added_is_what_one_run_makes(
    method: str, settings: dict[str, object], real: RealData, recipe: Make, tmp_path: Path
) -> None:
    asked = recipe(method, **settings)
    earlier = datadam.distill(real.subset([2, 0]), asked)
    made = plan(earlier, real)
    assert made.names == (real.classes[1],)
    assert made.exact
    whole = add(made, tmp_path / "out", CPU, command="datadam add-class")
    together = one_run(real, asked, earlier)
    assert whole.classes == real.classes
    assert torch.equal(whole.images, together.images)
    assert torch.equal(whole.labels, together.labels)
    again = DistilledSet.load(tmp_path / "out")
    assert torch.equal(again.images, whole.images)
    assert Recipe.from_card(again.card["recipe"]) == Recipe.from_card(earlier.card["recipe"])
    assert [part["counts"] for part in again.card["merged"]] == [[2, 2], [2]]


def test_random_choices_and_a_second_addition(real: RealData, tmp_path: Path) -> None:
    asked = datadam.preset("random", real, ipc=2)
    first = datadam.distill(real.subset([1]), asked)
    second = add(plan(first, real.subset([0, 1])), tmp_path / "two", CPU)
    third = add(plan(second, real), tmp_path / "three", CPU)
    assert torch.equal(third.images, one_run(real, asked, first).images)


def test_it_goes_on_after_a_stop_and_a_stopped_run_is_matched(
    real: RealData, recipe: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = recipe("dm", iterations=6)
    earlier = datadam.distill(real.subset([0, 1]), asked, time_limit=0.0)
    done = earlier.card["iterations_done"]
    assert plan(earlier, real).recipe.iterations == done
    earlier = datadam.distill(real.subset([0, 1]), asked)
    made = plan(earlier, real)

    def stops(words: str, at: int, of: int) -> None:
        if at == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        add(made, tmp_path / "out", CPU, advance=stops)
    assert not (tmp_path / "out" / "card.json").exists()
    seen: list[int] = []
    whole = add(made, tmp_path / "out", CPU, advance=lambda words, at, of: seen.append(at))
    assert seen == [4, 5, 6]
    assert torch.equal(whole.images, one_run(real, asked, earlier).images)


def test_other_images_of_the_old_classes_are_said(real: RealData, recipe: Make) -> None:
    earlier = datadam.distill(real.subset([0, 1]), recipe("dm"))
    train = real.train
    other = replace(real, train=replace(train, pixels=train.pixels[::-1], labels=train.labels[::-1].copy()))
    assert plan(earlier, other).exact  # the order in which files lie is nothing
    pixels = train.pixels.copy()
    pixels[real.by_class[0][0]] = 0
    assert not plan(earlier, replace(real, train=replace(train, pixels=pixels))).exact


@pytest.mark.parametrize(
    ("method", "settings", "words"),
    [
        ("dc", {}, "dc looks at all classes together, so that new ones would have changed the others; distil all classes anew"),
        ("dm", {"net": "convnet2:width=6:norm=batch"}, "couples the images of a batch"),
        ("dm", {"network_steps": 2}, "train the matching networks on the images of all classes"),
        ("dm", {"start": "kmeans"}, "k-means begins with images in an order that goes by class numbers"),
        ("dm", {"zca": "official"}, "whitened the first images of all classes together"),
        ("mtt", {}, "soft labels or a learned rate"),
        ("calm", {}, "looked through networks that were trained on the run's own classes|looks at all classes together"),
    ],
)
def test_tied_classes_are_refused_with_the_cure(
    method: str, settings: dict[str, object], words: str, real: RealData, recipe: Make
) -> None:
    asked = recipe(method, **settings)
    earlier = datadam.distill(real.subset([0, 1]), recipe("dm"))
    learned = {"rate": torch.tensor(0.1)} if "rate" in asked.method.learns else {}
    card = earlier.card | {"recipe": asked.to_card()}
    with pytest.raises(InvalidInput, match=words):
        plan(replace(earlier, card=card, **learned), real)


def test_data_and_runs_that_do_not_fit_are_told_at_once(real: RealData, recipe: Make) -> None:
    earlier = datadam.distill(real.subset([0, 1]), recipe("dm"))
    with pytest.raises(InvalidInput, match="the data have no class that the run lacks"):
        plan(earlier, real.subset([1, 0]))
    with pytest.raises(InvalidInput) as met:
        plan(replace(earlier, card=earlier.card | {"kind": "imported"}), real.subset([2]))
    told = "\n".join(met.value.faults)
    for words in ("the data lack classes that the run has", "datadam merge RUN NEW --data ALL", "images were imported"):
        assert words in told
    uneven = DistilledSet.merge([earlier, datadam.distill(real.subset([2, 0]), recipe("dm"))], real)
    with pytest.raises(InvalidInput, match="2 to 4 images a class"):
        plan(uneven, datadam.load((real.train.pixels, real.train.labels, real.test.pixels, real.test.labels)))
