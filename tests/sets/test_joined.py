"""Some classes of a set, and sets of different classes as one."""

from collections.abc import Callable

import pytest
import torch

import datadam
from datadam.data import RealData
from datadam.distillation.recipe import Recipe
from datadam.errors import InvalidInput
from datadam.sets.distilled import DistilledSet
from datadam.sets.joined import joined, of_classes


def test_parts_of_a_set_joined_again_are_the_set(real: RealData, recipe: Callable[..., Recipe], tmp_path) -> None:
    whole = datadam.distill(real, recipe("dm", precision="float32"))
    a, b, c = whole.classes
    parts = [of_classes(whole, [a]), of_classes(whole, [b, c])]
    again = joined(parts)
    assert torch.equal(again.images, whole.images)
    assert torch.equal(again.labels, whole.labels)
    assert again.classes == whole.classes
    turned = of_classes(whole, [c, a])
    assert torch.equal(turned.images, torch.cat([whole.images[4:], whole.images[:2]]))
    assert turned.labels.tolist() == [0, 0, 1, 1]
    turned.save(tmp_path / "run")
    assert torch.equal(DistilledSet.load(tmp_path / "run").images, turned.images)
    assert datadam.evaluate(turned, real.subset([2, 0]), students=1, epochs=1, net="convnet1:width=4").classes == (c, a)


def test_what_belongs_to_all_classes_cannot_be_parted(real: RealData, recipe: Callable[..., Recipe]) -> None:
    whole = datadam.distill(real, recipe("dm", precision="float32"))
    soft = DistilledSet(whole.images, torch.zeros(6, 3), whole.transform, whole.card | {"labels": "soft"})
    white = datadam.distill(real, recipe("dm", precision="float32", zca="kornia"))
    for one, words in ((soft, "soft labels and a learned rate"), (white, "a whitening is fitted on all classes")):
        with pytest.raises(InvalidInput, match=words):
            of_classes(one, whole.classes[:1])
    with pytest.raises(InvalidInput, match="share classes"):
        joined([whole, whole])
    with pytest.raises(InvalidInput, match="has no class 'zebra'"):
        of_classes(whole, ["zebra"])
