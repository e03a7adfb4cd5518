"""Several sets as one: more images of the same classes, other classes, and what cannot be one set."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from kinds import LOGITS, set_of_kind

import datadam
from datadam.data import RealData, Transform
from datadam.distillation.recipe import Recipe
from datadam.errors import InvalidInput
from datadam.sets.distilled import DistilledSet

Make = Callable[..., DistilledSet]


@pytest.fixture
def make(real: RealData) -> Make:
    """A set of a kind."""
    return partial(set_of_kind, real)


def of_class(one: DistilledSet, name: str) -> torch.Tensor:
    return one.images[one.numbers == one.classes.index(name)]


def test_more_images_of_the_same_classes(make: Make, real: RealData, tmp_path: Path) -> None:
    a, b = make(), make(counts=(1, 4, 1), images=torch.randn(6, *real.shape), command="datadam distill b")
    merged = DistilledSet.merge([a, b], note="two")
    for name in real.classes:
        assert torch.equal(of_class(merged, name), torch.cat([of_class(a, name), of_class(b, name)]))
    assert merged.counts == (3, 6, 3)
    assert merged.ipc == 6
    merged.save(tmp_path / "run")
    again = DistilledSet.load(tmp_path / "run")
    assert torch.equal(again.images, merged.images)
    assert again.card == merged.card
    told = again.card["merged"]
    assert [part["digest"] for part in told] == [a.card["digest"], b.card["digest"]]
    assert told[1]["command"] == "datadam distill b"
    assert (tmp_path / "run" / "README.md").read_text().count("6 images of") == 2
    assert datadam.evaluate(again, real, students=1, epochs=1, net="convnet1:width=4").classes == real.classes


def test_other_classes_are_the_set_that_was_parted(real: RealData, recipe: Callable[..., Recipe]) -> None:
    """A method that learns each class alone, with draws named by the class: parts of the data give the parts of the set."""
    same = real.transform
    parts = [replace(real.subset(some), transform=same, name=name) for some, name in (([2, 0], "ca"), ([1], "b"))]
    made = [datadam.distill(part, recipe("dm", precision="float64")) for part in parts]
    merged = DistilledSet.merge(made, real)
    whole = datadam.distill(real, recipe("dm", precision="float64"))
    torch.testing.assert_close(merged.images, whole.images, atol=1e-6, rtol=0)
    assert merged.classes == real.classes
    assert merged.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert torch.equal(of_class(merged, real.classes[2]), of_class(made[0], real.classes[2]))
    assert torch.equal(of_class(merged, real.classes[1]), made[1].images)
    assert merged.card["data"]["checksum"] == real.checksum
    assert [part["data"]["name"] for part in merged.card["merged"]] == ["ca", "b"]
    with pytest.raises(InvalidInput, match=r"different data \(ca, b\)"):
        DistilledSet.merge(made)
    with pytest.raises(InvalidInput, match=f"no set has an image: {real.classes[1]}"):
        DistilledSet.merge([made[0], made[0]], real)
    with pytest.raises(InvalidInput, match=f"lack classes of the sets: {real.classes[1]}"):
        DistilledSet.merge(made, parts[0])


def test_soft_labels_follow_the_order_of_classes(make: Make, real: RealData) -> None:
    a = make(logits=LOGITS, temperature=4.0)
    turned = real.subset([2, 0, 1])
    b = set_of_kind(replace(turned, transform=real.transform), logits=LOGITS, temperature=4.0)
    merged = DistilledSet.merge([a, b], real)
    assert merged.temperature == 4.0
    first_of_c = merged.labels[merged.numbers == 2][2]  # behind two of `a`: the first row of `b`, whose class 0 it is
    assert torch.equal(first_of_c, LOGITS[0][[1, 2, 0]])


def test_another_normalisation_of_plain_images_keeps_their_colours(make: Make, real: RealData) -> None:
    other = Transform((0.4,) * 3, (0.2,) * 3)
    a, b = make(), set_of_kind(replace(real, transform=other))
    merged = DistilledSet.merge([a, b])
    assert torch.equal(of_class(merged, real.classes[0])[:2], of_class(a, real.classes[0]))
    torch.testing.assert_close(merged.pixels()[2:4], b.pixels()[:2], atol=1e-5, rtol=0)
    assert torch.equal(DistilledSet.merge([a, a]).images[2:4], a.images[:2])


def test_methods_are_named_together(make: Make) -> None:
    kept = make(
        recipe={"method": {"name": "dm", "seed": 1}, "ipc": 2, "net": "convnet2", "seed": 3}, seconds=2.0, citations=["x"]
    )
    other = make(
        recipe={"method": {"name": "datadam"}, "ipc": 2, "net": "convnet2", "seed": 4}, seconds=3.0, citations=["x", "y"]
    )
    card = DistilledSet.merge([kept, other]).card
    assert card["recipe"] == {"method": {"name": "merged"}, "ipc": 4, "net": "convnet2"}
    assert card["seconds"] == 5.0
    assert card["citations"] == ["x", "y"]
    assert DistilledSet.merge([kept, kept]).card["recipe"] == kept.card["recipe"] | {"ipc": 4}


@pytest.mark.parametrize(
    ("kinds", "words"),
    [
        ([{}, {"logits": LOGITS}], "one kind of labels; soft and hard"),
        ([{"logits": LOGITS}, {"logits": LOGITS, "temperature": 2.0}], "one temperature"),
        ([{}, {"decoder": "grid:2"}], "one decoder; grid:2 and plain"),
        ([{}, {"rate": 0.1}], "learned with set 2"),
        ([{}], "1 set came"),
    ],
)
def test_what_does_not_fit_is_refused(make: Make, kinds: list[dict[str, Any]], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        DistilledSet.merge([make(**kind) for kind in kinds])


def test_other_shapes_and_whitenings_are_refused_together(make: Make, real: RealData) -> None:
    white = replace(real.with_zca("kornia"))
    small = make(images=torch.randn(6, 3, 4, 4))
    small.card["data"] = small.card["data"] | {"shape": [3, 4, 4]}
    with pytest.raises(InvalidInput, match=r"(?s)set 2.*whitened differently.*set 3.*one shape; \[3, 4, 4\]"):
        DistilledSet.merge([make(), set_of_kind(white), small])
    assert DistilledSet.merge([set_of_kind(white), set_of_kind(white)]).transform.zca is not None
    soft = set_of_kind(replace(real, transform=Transform((0.4,) * 3, (0.2,) * 3)), logits=LOGITS)
    with pytest.raises(InvalidInput, match="normalised differently"):
        DistilledSet.merge([make(logits=LOGITS), soft])
