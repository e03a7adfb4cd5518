"""What a notebook shows of images: a small grid with a line below it.

Letters: K classes, n images of each, C channels, H x W pixels.
"""

import base64
import io
from collections.abc import Sequence
from html import escape

import numpy as np
import numpy.typing as npt
from PIL import Image

SIDE = 56  # pixels of an image in the grid, about
GAP = 2


def grid(rows: Sequence[npt.NDArray[np.uint8]]) -> Image.Image:
    """One row of images [n, C, H, W] a class, small ones enlarged by whole factors; other channels than 1 and 3 as their mean."""
    height, width = rows[0].shape[2:]
    scale = max(1, SIDE // max(height, width))
    tall, wide = height * scale + GAP, width * scale + GAP
    canvas = Image.new("RGB", (wide * max(map(len, rows)) - GAP, tall * len(rows) - GAP), (255, 255, 255))
    for row, images in enumerate(rows):
        for column, image in enumerate(images):
            plain = image if image.shape[0] in (1, 3) else image.mean(0, keepdims=True).astype(np.uint8)
            colours = np.ascontiguousarray(np.broadcast_to(plain, (3, height, width)).transpose(1, 2, 0))
            tile = Image.fromarray(colours).resize((width * scale, height * scale), Image.Resampling.NEAREST)
            canvas.paste(tile, (column * wide, row * tall))
    return canvas


def html(picture: Image.Image, words: str) -> str:
    """A picture and a line about it as HTML that needs nothing beside it."""
    file = io.BytesIO()
    picture.save(file, "PNG")
    data = base64.b64encode(file.getvalue()).decode()
    line = escape(words)
    return (
        f'<figure style="margin:0"><img src="data:image/png;base64,{data}" alt="{line}"><figcaption>{line}</figcaption></figure>'
    )
