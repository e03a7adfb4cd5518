"""DSA: DC where everything is augmented, and nothing else."""

import pytest
import torch

import datadam
from datadam.methods import DC, DSA


def test_without_augmentation_it_is_dc(real, recipe) -> None:
    plain = {"augment": "none", "network_augment": "none", "start": "real", "iterations": 3}
    first, second = (datadam.distill(real, recipe(name, **plain)).images for name in ("dc", "dsa"))
    assert torch.equal(first, second)


def test_augmentation_of_either_kind_changes_the_images(real, recipe) -> None:
    made = [
        datadam.distill(real, recipe("dsa", iterations=4, augment=one, network_augment=other)).images
        for one, other in (("none", "none"), ("scale", "none"), ("none", "scale"))
    ]
    assert not torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])


def test_both_sides_share_the_augmentation(real, recipe) -> None:
    """Real and synthetic alike and augmented alike: nothing to gain, whatever the augmentation."""
    from learned import gradient_of, set_of

    from datadam.methods.plan import Plan

    run = datadam.begin(real, recipe("dsa", ipc=5, augment="crop_cutout_scale_rotate_color"))
    for iteration in range(4):
        draw = run.draws.at(iteration)
        images = torch.cat([draw.real(k) for k in range(3)])
        gradient = gradient_of(DSA(epsilon=1e-300), Plan(compiled=False, chunk=9, threads=1), "float64", "cpu")
        found = gradient({}, set_of(images, 5, real.classes), draw, False)
        assert float(found.terms["gradient"].max()) < 1e-9


def test_it_is_a_dc_with_its_own_name() -> None:
    assert issubclass(DSA, DC)
    assert (DSA.name, DSA.family) == ("dsa", DC.family)
    assert "Siamese" in DSA.citation
    with pytest.raises(datadam.DatadamError, match="epsilon"):
        DSA(epsilon=-1.0)
