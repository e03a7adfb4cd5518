"""AutoAugment and RandAugment: the operations against Pillow's, the laws of the draws, and the way through network space."""

from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from small import make_real
from torch import Tensor

import datadam
from datadam.augment import policies
from datadam.augment.policies import CIFAR10, OPERATIONS, POLICIES, RAND, Policy, Step, student_augmentation
from datadam.augment.siamese import FOR_STUDENTS
from datadam.data import Transform
from datadam.errors import InvalidInput, UnknownName
from datadam.evaluation.evaluate import evaluate_whole
from datadam.evaluation.panel import protocol_named
from datadam.training.trainer import Training, train

STRENGTHS = torch.tensor([0.7, -0.4, 0.3, 1.0, -1.0])
BLACK = torch.zeros(1, 1, 1, 1)


def levels(shape: tuple[int, int, int] = (3, 24, 32), count: int = len(STRENGTHS)) -> Tensor:
    """Smooth images that leave out the darkest and brightest levels, with one flat image among them."""
    rough = torch.rand(count, shape[0], 6, 8, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.interpolate(rough, shape[1:], mode="bilinear")
    smooth[1:2] = 0.5
    return (20 + 200 * smooth).round()


def pillow(image: Tensor) -> Image.Image:
    pixels = image.permute(1, 2, 0).numpy().astype(np.uint8)
    return Image.fromarray(pixels if image.shape[0] == 3 else pixels[..., 0])


def tensor(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).reshape(image.height, image.width, -1).permute(2, 0, 1).float()


def affine(image: Image.Image, *matrix: float) -> Image.Image:
    return image.transform(image.size, Image.Transform.AFFINE, matrix)


POINTS = {
    "identity": lambda i, s: i,
    "autocontrast": lambda i, s: ImageOps.autocontrast(i),
    "equalize": lambda i, s: ImageOps.equalize(i),
    "invert": lambda i, s: ImageOps.invert(i),
    "posterize": lambda i, s: ImageOps.posterize(i, 8 - round(4 * abs(s))),
    "solarize": lambda i, s: ImageOps.solarize(i, 256 * (1 - abs(s))),
    "color": lambda i, s: ImageEnhance.Color(i).enhance(1 + 0.9 * s),
    "brightness": lambda i, s: ImageEnhance.Brightness(i).enhance(1 + 0.9 * s),
    "contrast": lambda i, s: ImageEnhance.Contrast(i).enhance(1 + 0.9 * s),
    "sharpness": lambda i, s: ImageEnhance.Sharpness(i).enhance(1 + 0.9 * s),
    "translate_x": lambda i, s: affine(i, 1, 0, 150 / 331 * s * i.width, 0, 1, 0),
    "translate_y": lambda i, s: affine(i, 1, 0, 0, 0, 1, 150 / 331 * s * i.height),
}
WARPS = {
    "shear_x": lambda i, s: affine(i, 1, 0.3 * s, 0, 0, 1, 0),
    "shear_y": lambda i, s: affine(i, 1, 0, 0, 0.3 * s, 1, 0),
    "rotate": lambda i, s: i.rotate(30 * s),
}


@pytest.mark.parametrize("shape", [(3, 24, 32), (1, 28, 28)])
@pytest.mark.parametrize("name", POINTS)
def test_an_operation_is_pillows(name: str, shape: tuple[int, int, int]) -> None:
    x = levels(shape)
    ours = OPERATIONS[name](x.clone(), STRENGTHS, BLACK)
    expected = torch.stack([tensor(POINTS[name](pillow(one), float(s))) for one, s in zip(x, STRENGTHS, strict=True)])
    assert torch.equal(ours, expected)


@pytest.mark.parametrize("name", WARPS)
def test_a_warp_is_pillows(name: str) -> None:
    """But for pixels on the border of two, since Pillow counts in 1 / 65536."""
    x = levels()
    ours = OPERATIONS[name](x, STRENGTHS, BLACK)
    expected = torch.stack([tensor(WARPS[name](pillow(one), float(s))) for one, s in zip(x, STRENGTHS, strict=True)])
    assert (ours == expected).float().mean() > 0.98
    assert torch.equal(OPERATIONS[name](x, torch.zeros(5), BLACK), x)


def test_every_operation_is_compared() -> None:
    assert set(OPERATIONS) == {*POINTS, *WARPS}
    assert set(POLICIES) == set(FOR_STUDENTS)


def test_autocontrast_at_every_range() -> None:
    for low in range(0, 256, 15):
        for high in range(low + 1, 256, 4):
            ramp = torch.arange(low, high + 1.0)
            expected = ImageOps.autocontrast(Image.fromarray(ramp.numpy().astype(np.uint8)[None]))
            assert torch.equal(OPERATIONS["autocontrast"](ramp[None, None, None], STRENGTHS[:1], BLACK)[0], tensor(expected))


def test_color_of_other_channel_counts_goes_to_the_mean() -> None:
    x = levels((2, 8, 8))
    grey = OPERATIONS["color"](x, torch.full((5,), -1 / 0.9), BLACK)  # factor 0
    assert torch.equal(grey, x.mean(1, keepdim=True).round().expand_as(x))


@pytest.mark.parametrize("shape", [(3, 1, 1), (2, 2, 5), (1, 3, 3)])
def test_tiny_images_pass_every_operation(shape: tuple[int, int, int]) -> None:
    x = torch.arange(5.0 * np.prod(shape)).reshape(5, *shape)
    for name, operation in OPERATIONS.items():
        changed = operation(x, STRENGTHS, BLACK)
        assert changed.shape == x.shape, name
        assert torch.equal(changed, changed.round().clamp(0, 255)), name


def test_the_pairs_are_used_with_their_probabilities() -> None:
    """Over many images each operation happens as often as the table says, within five standard deviations."""
    assert len(CIFAR10) == 25
    n = 20_000
    steps = POLICIES["autoaugment"](n, 0, "law")
    for half, step in enumerate(steps):
        chances = Counter()
        for pair in CIFAR10:
            name, chance, magnitude = pair[half]
            assert name in OPERATIONS
            assert 0 <= chance <= 1
            assert 0 <= magnitude <= 9
            chances[name] += chance / 25
        told = Counter(step.names)
        for name, chance in chances.items():
            assert abs(told[name] / n - chance) < 5 * (chance * (1 - chance) / n) ** 0.5 + 1e-12, name
    named = [(name, round(9 * float(s.abs()))) for name, s in zip(steps[0].names, steps[0].strengths, strict=True)]
    assert {magnitude for name, magnitude in named if name == "translate_y"} == {3, 9}
    assert {s > 0 for name, s in zip(steps[0].names, steps[0].strengths.tolist(), strict=True) if name == "rotate"} == {
        True,
        False,
    }


def test_operations_of_randaugment_are_uniform() -> None:
    n = 14_000
    (step,) = POLICIES["randaugment"](n, 0, "law")
    told = Counter(step.names)
    assert set(told) == set(RAND) == set(OPERATIONS) - {"invert"}
    assert all(850 < count < 1150 for count in told.values())
    assert torch.equal(step.strengths.abs(), torch.full((n,), 0.3))
    assert abs(step.strengths.sign().mean()) < 0.05


def test_an_image_does_not_depend_on_its_neighbours() -> None:
    transform = Transform((0.5, 0.4, 0.3), (0.2, 0.3, 0.25))
    x = transform.to_network(levels(count=len(OPERATIONS)) / 255)
    step = Step(tuple(OPERATIONS), 0.5 * torch.ones(len(OPERATIONS)))
    together = Policy(transform, (step, step))(x)
    for i, name in enumerate(OPERATIONS):
        one = Step((name,), torch.tensor([0.5]))
        assert torch.equal(Policy(transform, (one, one))(x[i : i + 1]), together[i : i + 1])


@pytest.mark.parametrize("zca", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_images_come_back_as_8_bit_pixels(zca: bool, dtype: torch.dtype) -> None:
    """An image within range that nothing happens to returns as it was; one beyond is clipped."""
    real = make_real(per_class=40)
    real = real.with_zca("kornia") if zca else real
    x = real.images(range(6), dtype=dtype)
    nothing = Policy(real.transform, (Step(("identity",) * 6, torch.zeros(6)),))
    torch.testing.assert_close(nothing(x), x, rtol=0, atol=2e-4)
    assert nothing(x).dtype == dtype
    far = real.transform.to_network(torch.full((6, *real.shape), 1.3, dtype=dtype))
    white = real.transform.to_network(torch.ones(6, *real.shape, dtype=dtype))
    torch.testing.assert_close(nothing(far), white, rtol=0, atol=2e-4)


def test_what_a_shift_uncovers_is_zero_in_network_space() -> None:
    transform = Transform((102 / 255, 51 / 255), (0.2, 0.3))
    x = transform.to_network(levels((2, 8, 16), 1) / 255)
    moved = Policy(transform, (Step(("translate_x",), torch.tensor([1.0])),))(x)
    assert moved[..., 9:].abs().max() < 1e-6
    assert torch.equal(moved[..., :8], x[..., 7:15])  # 150 / 331 of 16 columns are 7.25


def test_the_input_is_left_alone_and_the_name_decides() -> None:
    transform = Transform((0.5,) * 3, (0.25,) * 3)
    x = transform.to_network(levels() / 255)
    before = x.clone()

    def draw(*what: str | int) -> Tensor:
        drawn = student_augmentation("autoaugment", 7, *what, images=5, transform=transform)
        assert drawn is not None
        return drawn(x)

    assert torch.equal(draw("t", 1), draw("t", 1))
    assert not torch.equal(draw("t", 1), draw("t", 2))
    assert torch.equal(x, before)


def test_other_words_are_those_of_dsa() -> None:
    from datadam.augment.siamese import draw_augmentation

    x = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    ours = student_augmentation("color_crop", 1, "t", images=4, transform=None)
    theirs = draw_augmentation("color_crop", 1, "t", images=4)
    assert ours is not None
    assert theirs is not None
    assert torch.equal(ours(x), theirs(x))
    assert student_augmentation("none", 1, "t", images=4, transform=None) is None


@pytest.mark.parametrize("augment", POLICIES)
def test_students_are_trained_with_them(augment: str) -> None:
    real = make_real()
    protocol = protocol_named("honest", epochs=20, augment=augment)
    e = evaluate_whole(real, net="convnet2:width=8", protocol=protocol)
    assert f"augmentation {augment}" in e.words
    assert e.mean > 0.5
    assert e.accuracies == evaluate_whole(real, net="convnet2:width=8", protocol=protocol).accuracies


def test_refusals(real, recipe) -> None:
    images, labels = real.images(range(36)), torch.from_numpy(real.train.labels)
    network = datadam.evaluate.__globals__["nets"].build("mlp:width=8", shape=real.shape, classes=3)
    with pytest.raises(InvalidInput, match="transform"):
        next(train(network, images.__getitem__, labels, Training(epochs=1, augment="randaugment"), 0, "t"))
    with pytest.raises(InvalidInput, match=r"no gradient.*--augment randaugment"):
        recipe(augment="randaugment")
    with pytest.raises(UnknownName, match="autoaugment, randaugment or dsa, alone"):
        protocol_named("honest", augment="color_autoaugment")
    policies.check_words("autoaugment")
    policies.check_words("none")
