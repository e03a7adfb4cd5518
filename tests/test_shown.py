"""Sets and data as they show themselves: one line, and a small grid in a notebook."""

import base64
import io
import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import datadam
from datadam.data import RealData
from datadam.data.shown import GAP, grid
from datadam.distillation.recipe import Recipe


def picture_of(html: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(re.findall('data:image/png;base64,([^"]+)', html)[0])))


def test_one_line(real: RealData, recipe: Callable[..., Recipe]) -> None:
    small = datadam.distill(real, recipe())
    sizes = f"{len(real.train)} training and {len(real.test)} test images of 3 classes, 3x8x8"
    assert repr(real) == f"<RealData {real.name!r}: {sizes}>"
    assert repr(small) == (
        f"<DistilledSet of {real.name!r}: 2 images for each of 3 classes, 3x8x8, distilled by datadam; "
        f"stored in {small.stored_bytes / 1000:.1f}\u202fkB>"
    )


def test_a_small_grid(real: RealData, recipe: Callable[..., Recipe]) -> None:
    small = datadam.distill(real, recipe())
    for one in (real, small):
        html = one._repr_html_()
        assert html.count("<img ") == 1
        assert max(picture_of(html).size) <= 700
        assert repr(one).replace("<", "&lt;").replace(">", "&gt;").replace("'", "&#x27;") in html
    named = replace(real, name="<script>")
    assert "<script>" not in named._repr_html_()


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_the_grid_shows_each_pixel(channels: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, channels, 4, 5), dtype=np.uint8)
    shown = np.asarray(grid([images, images[:1]]))
    scale = 56 // 5
    assert shown.shape == (2 * (4 * scale + GAP) - GAP, 3 * (5 * scale + GAP) - GAP, 3)
    second = shown[: 4 * scale : scale, 5 * scale + GAP : 10 * scale + GAP : scale]
    plain = images[1] if channels != 2 else images[1].mean(0, keepdims=True).astype(np.uint8)
    assert np.array_equal(second, np.broadcast_to(plain, (3, 4, 5)).transpose(1, 2, 0))
