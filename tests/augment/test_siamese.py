"""Siamese augmentation: its formulas, its laws, that one parameter set serves any number of images, and that gradients flow."""

import math

import numpy as np
import pytest
import torch

from datadam.augment.siamese import OPERATIONS, STRATEGY, Augmentation, draw_augmentation, operations, strategy_for
from datadam.errors import InvalidInput, UnknownName


def images(n: int = 4, shape: tuple[int, int, int] = (3, 8, 10), seed: int = 0) -> torch.Tensor:
    return torch.randn(n, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def fixed(operation: str, **parameters: float | list[float]) -> Augmentation:
    return Augmentation(operation, {k: torch.tensor(v, dtype=torch.float64).reshape(-1) for k, v in parameters.items()})


def test_color_follows_the_formulas_in_order() -> None:
    x = images()
    b, s, c = 0.3, 0.9, 0.2
    expected = x.numpy() + (b - 0.5)
    grey = expected.mean(1, keepdims=True)
    expected = grey + (expected - grey) * 2 * s
    level = expected.mean((1, 2, 3), keepdims=True)
    expected = level + (expected - level) * (c + 0.5)
    np.testing.assert_allclose(fixed("color", brightness=b, saturation=s, contrast=c)(x), expected, rtol=1e-12, atol=1e-12)


def test_saturation_leaves_one_channel_alone() -> None:
    x = images(shape=(1, 6, 6))
    np.testing.assert_allclose(fixed("color", brightness=0.5, saturation=0.0, contrast=0.5)(x), x, atol=1e-15)


def test_crop_shifts_and_fills_with_zero() -> None:
    x = images(shape=(2, 16, 16))  # shifts within +-2
    shifted = fixed("crop", y=0.0, x=0.999)(x)  # window from row -2, column +2
    assert torch.equal(shifted[:, :, 2:, :-2], x[:, :, :-2, 2:])
    assert not shifted[:, :, :2].any()
    assert not shifted[:, :, :, -2:].any()


def test_crop_reaches_every_shift_equally() -> None:
    x = torch.zeros(1, 1, 16, 16)
    x[0, 0, 8, 8] = 1
    counts = torch.zeros(16)
    for i in range(1000):
        drawn = draw_augmentation("crop", 0, "t", i)
        assert drawn is not None
        counts += drawn(x)[0, 0].sum(1)
    hit = counts[6:11]
    assert counts.sum() == 1000
    assert hit.min() > 150
    assert hit.max() < 250


def test_cutout_is_a_clipped_square_of_half_the_side() -> None:
    x = torch.ones(1, 1, 8, 8)
    middle = fixed("cutout", y=0.5, x=0.5)(x)
    assert int((middle == 0).sum()) == 16
    corner = fixed("cutout", y=0.0, x=0.0)(x)
    assert int((corner == 0).sum()) == 4
    assert not corner[0, 0, :2, :2].any()


def test_flip_mirrors_columns() -> None:
    x = images()
    assert torch.equal(fixed("flip", flip=0.1)(x), x.flip(3))
    assert torch.equal(fixed("flip", flip=0.6)(x), x)


def test_scale_and_rotate_by_nothing_change_nothing() -> None:
    x = images()
    unit = (1 - 1 / 1.2) / (1.2 - 1 / 1.2)
    np.testing.assert_allclose(fixed("scale", y=unit, x=unit)(x), x, atol=1e-12)
    np.testing.assert_allclose(fixed("rotate", angle=0.5)(x), x, atol=1e-12)


def test_rotation_does_not_shear_wide_images() -> None:
    """A disc off the centre of a wide image stays at its distance from the centre, and turns by 15 degrees."""
    h, w = 40, 80
    y, x = torch.meshgrid(torch.arange(h) - (h - 1) / 2, torch.arange(w) - (w - 1) / 2, indexing="ij")
    disc = torch.exp(-((x - 20) ** 2 + y**2) / 8)[None, None].double()
    turned = fixed("rotate", angle=1.0)(disc)[0, 0]
    cx, cy = float((turned * x).sum() / turned.sum()), float((turned * y).sum() / turned.sum())
    assert math.hypot(cx, cy) == pytest.approx(20, abs=0.05)
    assert abs(math.degrees(math.atan2(cy, cx))) == pytest.approx(15, abs=0.2)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_one_parameter_set_serves_every_image(operation: str) -> None:
    x = images(5)
    drawn = draw_augmentation(operation, 3, "siamese")
    assert drawn is not None
    one_by_one = torch.cat([drawn(x[i : i + 1]) for i in range(5)])
    np.testing.assert_allclose(drawn(x), one_by_one, atol=1e-12)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_own_parameters_equal_one_by_one(operation: str) -> None:
    x = images(5)
    drawn = draw_augmentation(operation, 4, "own", images=5)
    assert drawn is not None
    singles = [Augmentation(operation, {k: v[i : i + 1] for k, v in drawn.parameters.items()})(x[i : i + 1]) for i in range(5)]
    np.testing.assert_allclose(drawn(x), torch.cat(singles), atol=1e-12)
    if operation != "flip":
        assert len({tuple(v.tolist()) for v in torch.stack(list(drawn.parameters.values()), 1)}) == 5


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("count", [1, 2])
def test_gradients_flow(operation: str, count: int) -> None:
    x = images(2, (2, 5, 6)).requires_grad_()
    drawn = draw_augmentation(operation, 5, "grad", images=count)
    assert drawn is not None
    assert torch.autograd.gradcheck(drawn, x)


def test_operations_are_drawn_uniformly_and_by_name() -> None:
    drawn = [draw_augmentation(STRATEGY, 0, "law", i) for i in range(1200)]
    counts = [sum(a is not None and a.operation == name for a in drawn) for name in OPERATIONS]
    assert sum(counts) == 1200
    assert min(counts) > 150
    assert max(counts) < 250
    first, again = (draw_augmentation(STRATEGY, 0, "law", 7) for _ in range(2))
    assert first is not None
    assert again is not None
    assert first.operation == again.operation
    assert all(torch.equal(first.parameters[k], again.parameters[k]) for k in first.parameters)


def test_strategies() -> None:
    assert operations("none") == ()
    assert draw_augmentation("none", 0) is None
    assert operations(strategy_for("cifar10")) == OPERATIONS
    assert "flip" not in operations(strategy_for("mnist"))
    with pytest.raises(UnknownName, match="Did you mean 'rotate'"):
        operations("color_rotat")
    with pytest.raises(InvalidInput, match="twice"):
        operations("flip_flip")
