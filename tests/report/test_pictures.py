"""Grids of images: every pixel in its place, in its colour."""

from base64 import b64decode
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from datadam.errors import DataError
from datadam.report.pictures import data_uri, sheet
from datadam.sets.preview import as_uint8, preview


def flat_images(values: list[float], shape: tuple[int, int, int]) -> np.ndarray:
    """One image of one grey for each value."""
    return np.stack([np.full(shape, value, np.float32) for value in values])


def test_colours_keep_their_channel_and_are_rounded() -> None:
    images = np.zeros((1, 3, 1, 2), np.float32)
    images[0, 0, 0, 0], images[0, 2, 0, 1] = 1.0, 0.5
    assert as_uint8(images).tolist() == [[[[255, 0, 0], [0, 0, 128]]]]
    assert as_uint8(torch.from_numpy(images)).tolist() == as_uint8(images).tolist()


def test_values_outside_are_clipped_and_other_channels_are_averaged() -> None:
    assert as_uint8(flat_images([-1.0, 2.0], (1, 1, 1)))[:, 0, 0].tolist() == [[0] * 3, [255] * 3]
    two = np.stack([np.zeros((1, 1)), np.ones((1, 1))])[None]
    assert as_uint8(two)[0, 0, 0].tolist() == [128] * 3


@pytest.mark.parametrize("side", [8, 28, 32, 64, 200])
def test_preview_enlarges_small_images_by_a_whole_factor(side: int) -> None:
    values = [0.1, 0.2, 0.3, 0.7, 0.8, 0.9]
    picture = preview(flat_images(values, (1, side, side)), ("a", "b"), (3, 3))
    shown = np.asarray(picture)
    scale = max(1, 100 // side)
    for value in values:  # every image is there, whole, and nothing is smoothed
        level = round(255 * value)
        assert (shown == level).all(-1).sum() >= (side * scale) ** 2
    row, column = (int(place) for place in np.argwhere((shown == round(255 * 0.7)).all(-1))[0])
    first = np.argwhere((shown == round(255 * 0.1)).all(-1))[0]
    assert row - first[0] == side * scale + 4, "a row a class, with a thin gap"
    assert column == first[1]


def test_preview_of_much_says_what_it_leaves_out() -> None:
    small = preview(flat_images([0.5] * 40, (3, 8, 8)), [f"c{i}" for i in range(20)], [2] * 20)
    much = preview(flat_images([0.5] * 1000, (3, 8, 8)), [f"c{i}" for i in range(50)], [20] * 50, max_classes=20, max_images=2)
    assert much.height == small.height + 26
    assert much.width >= small.width


def test_preview_takes_any_name() -> None:
    names = ("\u65e5\u672c", "na\u00efve\n<b>", "x" * 500)
    picture = preview(flat_images([0.5] * 3, (1, 8, 8)), names, (1,) * len(names))
    assert picture.width < 600


@pytest.mark.parametrize(
    ("shape", "classes", "ipc", "words"),
    [
        ((5, 1, 4, 4), 2, 2, "5 images, but 2 classes of"),
        ((4, 1, 4, 4), 2, 0, "at least 1"),
        ((4, 4, 4), 2, 2, r"\[M, C, H, W\]"),
        ((4, 1, 0, 4), 2, 2, "no empty side"),
    ],
)
def test_preview_refuses_what_does_not_fit(shape: tuple[int, ...], classes: int, ipc: int, words: str) -> None:
    with pytest.raises(DataError, match=words):
        preview(np.zeros(shape, np.float32), [str(k) for k in range(classes)], [ipc] * classes)


def test_pixels_that_are_not_finite_are_refused() -> None:
    with pytest.raises(DataError, match="NaN"):
        as_uint8(np.full((1, 1, 2, 2), np.nan))


def test_a_sheet_holds_each_image_framed_by_its_own_edge() -> None:
    images = np.random.default_rng(0).random((5, 3, 4, 6))
    picture = np.asarray(sheet(images, 3, (4, 6)))
    assert picture.shape == (2 * 6, 3 * 8, 3)
    for number in range(5):
        top, left = 6 * (number // 3), 8 * (number % 3)
        cell, image = picture[top : top + 6, left : left + 8], as_uint8(images)[number]
        assert (cell[1:-1, 1:-1] == image).all()
        assert (cell[0, 1:-1] == image[0]).all()
        assert (cell[1:-1, -1] == image[:, -1]).all()


def test_a_sheet_of_grey_takes_one_channel_and_survives_its_address() -> None:
    picture = sheet(flat_images([0.2, 0.4], (1, 4, 4)), 2, (2, 2))
    back = Image.open(BytesIO(b64decode(data_uri(picture).removeprefix("data:image/png;base64,"))))
    assert (back.mode, back.size) == ("L", (8, 4))
    assert sorted(set(np.asarray(back).ravel().tolist())) == [51, 102]
