"""The picture of a set in its folder, with Pillow and numpy only.

Letters: M images, K classes, C channels, H height, W width.
"""

from collections.abc import Sequence
from itertools import accumulate
from unicodedata import combining, normalize

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from datadam.errors import DataError
from datadam.sets.decoders import Shown
from datadam.wording import plural, shorten

PAPER, INK, QUIET = (255, 255, 255), (32, 33, 36), (110, 114, 120)


def as_uint8(images: np.ndarray | torch.Tensor) -> np.ndarray:
    """Images [M, C, H, W] in [0, 1] as uint8 [M, H, W, 3].

    One channel becomes grey, three are red, green and blue; any other number is shown as the grey of its mean.
    Raises DataError for another shape, no pixels, or numbers that are not finite.
    """
    pixels = images.detach().cpu().float().numpy() if isinstance(images, torch.Tensor) else np.asarray(images)
    if pixels.ndim != 4 or 0 in pixels.shape:
        raise DataError(f"images of shape {list(pixels.shape)}: [M, C, H, W] is needed, with no empty side.")
    if not np.isfinite(pixels).all():
        raise DataError("images hold NaN or infinite pixels: they cannot be shown.")
    if pixels.shape[1] not in (1, 3):
        pixels = pixels.mean(axis=1, keepdims=True)
    levels = np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(levels, (len(levels), 3, *levels.shape[2:])).transpose(0, 2, 3, 1))


def preview(
    images_01: np.ndarray | torch.Tensor | Shown,
    classes: Sequence[str],
    counts: Sequence[int],
    *,
    max_classes: int = 20,
    max_images: int = 10,
) -> Image.Image:
    """One row a class, with its name: the picture that tells at a glance what was distilled.

    Arguments: `images_01` [M, C, H, W] in [0, 1], class after class; `classes`, the K names; `counts`, images of
    each class; `max_classes` and `max_images` (of a class), how many are shown at most; a last line says what was
    left out.
    Small images are enlarged by a whole factor without smoothing, so that each pixel can be seen.
    Raises DataError when the numbers do not fit together.
    """
    if min(counts, default=0) < 1 or max_classes < 1 or max_images < 1:
        raise DataError(f"counts {[*counts]}, max_classes {max_classes}, max_images {max_images}: each must be at least 1.")
    if len(images_01) != sum(counts) or len(classes) != len(counts):
        raise DataError(f"{len(images_01)} images, but {len(classes)} classes of {[*counts]} images: they must agree.")
    rows, columns = min(len(classes), max_classes), min(max(counts), max_images)
    first = [0, *accumulate(counts)]
    places = [(row, column) for row in range(rows) for column in range(min(columns, counts[row]))]
    shown = as_uint8(images_01[[first[row] + column for row, column in places]])
    height, width = shown.shape[1:3]
    scale = max(1, 100 // max(height, width))
    height, width, gap, edge = height * scale, width * scale, 4, 20

    font, small = ImageFont.load_default(15), ImageFont.load_default(12)
    names = [_drawable(name) or f"class {number}" for number, name in enumerate(classes[:rows])]
    label = max(int(font.getlength(name)) for name in names) + 18
    left_out = _left_out(rows, len(classes), columns, counts)
    note = int(small.getlength(left_out)) if left_out else 0
    grid = (columns * (width + gap) - gap, rows * (height + gap) - gap)
    canvas = Image.new("RGB", (2 * edge + max(label + grid[0], note), 2 * edge + grid[1] + (26 if left_out else 0)), PAPER)
    draw = ImageDraw.Draw(canvas)
    for row, name in enumerate(names):
        top = edge + row * (height + gap)
        draw.text((edge, top + height / 2), name, fill=INK, font=font, anchor="lm")
    for (row, column), image in zip(places, shown, strict=True):
        tile = Image.fromarray(image).resize((width, height), Image.Resampling.NEAREST)
        canvas.paste(tile, (edge + label + column * (width + gap), edge + row * (height + gap)))
    if left_out:
        draw.text((edge, edge + grid[1] + 14), left_out, fill=QUIET, font=small)
    return canvas


def _drawable(name: str) -> str:
    """A name in the letters that Pillow's own font has: without accents; "" when nothing would be left of it."""
    plain = "".join(letter for letter in normalize("NFKD", name) if not combining(letter))
    return shorten(plain, 24) if any("!" <= letter <= "~" for letter in plain) else ""


def _left_out(rows: int, classes: int, columns: int, counts: Sequence[int]) -> str:
    """What a preview does not show, in words; "" when it shows everything."""
    parts = [f"the first {rows} of {plural(classes, 'class', 'classes')}"] if rows < classes else []
    of_each = f"{counts[0]} images of each class" if len(set(counts)) == 1 else f"up to {max(counts)} images of a class"
    parts += [f"the first {columns} of {of_each}"] if columns < max(counts) else []
    return "Shown: " + ", ".join(parts) if parts else ""
