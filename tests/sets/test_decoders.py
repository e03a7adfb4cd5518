"""Decoders against loops and torch's own resizing, part by part; what does not divide is refused with the cure."""

import math
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from datadam.errors import InvalidInput, UnknownName
from datadam.sets.decoders import DCT, DECODERS, PLAIN, Decoder, Grid, decoded, decoder_named

SIDES = [(2, (3, 8, 8)), (2, (1, 4, 6)), (3, (3, 9, 12)), (4, (2, 8, 16))]


def parts_by_hand(stored: Tensor, n: int) -> Tensor:
    """Each part cut out and enlarged alone: image by image, and within it row by row."""
    m, _, h, w = stored.shape
    found = []
    for number, row, column in product(range(m), range(n), range(n)):
        height, width = h // n, w // n
        part = stored[number, :, row * height : (row + 1) * height, column * width : (column + 1) * width]
        found.append(F.interpolate(part[None], size=(h, w), mode="bilinear", align_corners=False)[0])
    return torch.stack(found)


def encoded_by_hand(images: Tensor, n: int) -> Tensor:
    """Means of n x n blocks, number by number."""
    count, c, h, w = images.shape
    stored = torch.empty(count // n**2, c, h, w, dtype=images.dtype)
    for number, channel, y, x in product(range(count // n**2), range(c), range(h), range(w)):
        row, column = y // (h // n), x // (w // n)
        y0, x0 = n * (y % (h // n)), n * (x % (w // n))
        image = images[number * n**2 + row * n + column, channel]
        stored[number, channel, y, x] = image[y0 : y0 + n, x0 : x0 + n].mean()
    return stored


@pytest.mark.parametrize(("n", "shape"), SIDES)
def test_a_grid_decodes_to_its_parts_enlarged(n: int, shape: tuple[int, int, int]) -> None:
    stored = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    grid = Grid(n)
    assert grid.each == n**2
    torch.testing.assert_close(grid(stored), parts_by_hand(stored, n), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("n", "shape"), SIDES)
def test_real_images_are_shrunk_to_the_means_of_their_blocks(n: int, shape: tuple[int, int, int]) -> None:
    images = torch.randn(2 * n**2, *shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    torch.testing.assert_close(Grid(n).encode(images), encoded_by_hand(images, n), rtol=0, atol=1e-12)


def test_parts_keep_their_order() -> None:
    """Image k of those encoded is training image k again: known by its brightness."""
    images = torch.arange(8.0)[:, None, None, None].expand(8, 3, 6, 6)
    grid = Grid(2)
    assert torch.equal(grid.encode(images)[0, 0, ::3, ::3], torch.tensor([[0.0, 1.0], [2.0, 3.0]]))
    torch.testing.assert_close(grid(grid.encode(images)), images, rtol=0, atol=1e-6)


@pytest.mark.parametrize("word", ["plain", "grid:2", "grid:3", "dct:2", "dct:5", "dct:36"])
@pytest.mark.parametrize("value", [0.0, -1.75, 3.5])
def test_a_constant_comes_back(word: str, value: float) -> None:
    decoder = decoder_named(word)
    images = torch.full((2 * decoder.each, 3, 12, 6), value)
    torch.testing.assert_close(decoder(decoder.encode(images)), images, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("word", ["plain", "grid:2", "grid:3", "dct:4"])
def test_the_gradient_is_that_of_differences(word: str) -> None:
    stored = torch.randn(2, 2, 6, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(decoder_named(word), (stored,))


@pytest.mark.parametrize(("n", "shape"), SIDES)
def test_every_number_that_is_stored_is_seen(n: int, shape: tuple[int, int, int]) -> None:
    stored = torch.randn(1, *shape, generator=torch.Generator().manual_seed(3), requires_grad=True)
    Grid(n)(stored).sum().backward()
    assert stored.grad is not None
    assert (stored.grad > 0).all()
    torch.testing.assert_close(stored.grad.sum(), torch.tensor(float(n**2 * stored.numel())))  # as much as is shown


def wave(shape: tuple[int, int, int], u: int, v: int, colour: list[float]) -> Tensor:
    """An image that is one cosine, in this mixture of its channels."""
    _, height, width = shape
    down = torch.tensor([math.cos(math.pi * u * (y + 0.5) / height) for y in range(height)], dtype=torch.float64)
    along = torch.tensor([math.cos(math.pi * v * (x + 0.5) / width) for x in range(width)], dtype=torch.float64)
    return torch.tensor(colour, dtype=torch.float64)[:, None, None] * torch.outer(down, along)


@pytest.mark.parametrize(
    ("e", "shape", "colour", "kept"),
    [  # of 3*16*8/8 = 48 numbers an image 32 are for brightness, 8 for each difference; rows count twice as high here
        (8, (3, 16, 8), [1, 1, 1], {(0, 0), (7, 0), (0, 3), (4, 2)}),
        (8, (3, 16, 8), [1, 0, -1], {(0, 0), (3, 0), (0, 1)}),
        (8, (3, 16, 8), [-1, 2, -1], {(0, 0), (3, 0), (0, 1)}),
        (4, (1, 8, 8), [1], {(0, 0), (3, 0), (2, 2), (0, 4)}),
        (4, (2, 8, 8), [0, 1], {(0, 0), (3, 0), (2, 2), (0, 4)}),
    ],
)
def test_low_frequencies_are_kept_and_high_ones_are_not(
    e: int, shape: tuple[int, int, int], colour: list[float], kept: set[tuple[int, int]]
) -> None:
    decoder = DCT(e)
    for u, v in kept | {(shape[1] - 1, 0), (0, shape[2] - 1), (shape[1] - 2, shape[2] - 2)}:
        image = wave(shape, u, v, colour)
        found = decoder(decoder.encode(image.expand(e, *shape)))
        expected = image if (u, v) in kept else torch.zeros_like(image)
        torch.testing.assert_close(found, expected.expand(e, *shape), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("e", "shape"), [(2, (3, 8, 8)), (5, (3, 9, 7)), (7, (1, 10, 10)), (3, (2, 4, 6)), (32, (3, 32, 32))])
def test_what_is_kept_of_an_image_is_the_nearest_that_can_be(e: int, shape: tuple[int, int, int]) -> None:
    """The rest is at right angles to everything that can be stored, and a step along the gradient goes E times as far."""
    decoder, generator = DCT(e), torch.Generator().manual_seed(7)
    images = torch.randn(2 * e, *shape, generator=generator, dtype=torch.float64)
    stored = decoder.encode(images)
    assert stored.shape == (2, *shape)
    shown = decoder(stored)
    torch.testing.assert_close(decoder.encode(shown), stored, rtol=0, atol=1e-12)
    other = decoder(torch.randn(2, *shape, generator=generator, dtype=torch.float64))
    assert abs(float(((images - shown) * other).sum())) < 1e-9
    moving = stored.clone().requires_grad_()
    (decoder(moving) * other).sum().backward()
    torch.testing.assert_close(decoder(moving.grad), e * other, rtol=0, atol=1e-9)  # type: ignore[arg-type]


def test_images_of_frequencies_keep_their_order() -> None:
    images = torch.arange(10.0)[:, None, None, None].expand(10, 3, 6, 6)
    torch.testing.assert_close(DCT(5)(DCT(5).encode(images)), images, rtol=0, atol=1e-5)


def test_too_many_images_for_the_numbers_of_one_are_refused() -> None:
    DCT(512).require_fit((3, 32, 32))
    with pytest.raises(InvalidInput, match="use dct:512 at most"):
        DCT(513).require_fit((3, 32, 32))
    DCT(64).require_fit((1, 8, 8))
    with pytest.raises(InvalidInput, match="use dct:64 at most"):
        DCT(65).require_fit((1, 8, 8))
    with pytest.raises(InvalidInput, match="use the decoder plain"):
        DCT(4).require_fit((3, 1, 3))
    with pytest.raises(InvalidInput, match="at least 2"):
        DCT(1)


def test_pieces_are_the_whole_and_carry_no_gradient() -> None:
    stored = torch.randn(7, 3, 8, 8, generator=torch.Generator().manual_seed(4), requires_grad=True)
    whole = Grid(2)(stored)
    for at_once in (1, 4, 9, 1000):
        found = decoded(Grid(2), stored, at_once)
        assert torch.equal(found, whole)
        assert not found.requires_grad
    assert torch.equal(decoded(PLAIN, stored), stored)


@pytest.mark.parametrize(
    ("word", "shape", "cure"),
    [
        ("grid:2", (3, 9, 9), "use grid:3, plain"),
        ("grid:3", (3, 32, 32), "use grid:2, grid:4, grid:8, plain"),
        ("grid:2", (1, 8, 7), "use plain"),
        ("grid:999", (3, 8, 8), "cuts both sides of an image into 999, and these are 8 x 8"),
    ],
)
def test_sides_that_do_not_divide_are_refused_with_the_cure(word: str, shape: tuple[int, int, int], cure: str) -> None:
    with pytest.raises(InvalidInput, match=cure):
        decoder_named(word).require_fit(shape)


def test_words() -> None:
    made: list[Decoder] = [decoder_named(word) for word in ("plain", "grid:2", "grid:16")]
    assert [decoder.word for decoder in made] == ["plain", "grid:2", "grid:16"]
    assert made[0] is PLAIN
    assert made[1] == Grid(2)
    assert all(decoder_named(word).word == word for word in DECODERS)
    made[1].require_fit((3, 32, 32))
    PLAIN.require_fit((3, 7, 5))


@pytest.mark.parametrize(
    "word",
    [
        "",
        "grid",
        "grid:",
        "grid:x",
        "grid:-2",
        "grid:2.5",
        "grid:1000",
        "Grid:2",
        "latents:vae",
        "grid:²",
        "dct",
        "dct:-3",
        "dct:10000",
    ],
)
def test_other_words_are_unknown(word: str) -> None:
    with pytest.raises(UnknownName, match="decoder"):
        decoder_named(word)
    with pytest.raises(UnknownName, match="Did you mean 'grid:2'"):
        decoder_named("gird:2")


@pytest.mark.parametrize("number", [0, 1])
def test_a_grid_has_several_parts(number: int) -> None:
    with pytest.raises(InvalidInput, match="at least 2"):
        decoder_named(f"grid:{number}")
