"""Attention maps laid over images: cold is dark and clear, warm is where a network looks.

Letters: D classes, C channels, H height, W width, h x w positions of a map.
"""

import base64
from collections.abc import Sequence
from io import BytesIO

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch import Tensor

from datadam.sets.preview import as_uint8

LONGER = 84  # pixels of a tile's longer side
QUALITY = 82
# Dark violet to yellow: the order is seen in grey print too, and by those who do not tell red from green.
COLOURS = np.array([(13, 8, 40), (84, 15, 109), (187, 55, 84), (249, 142, 9), (252, 255, 164)], float)
EDGE = 99.5  # per cent of positions below which the scale ends: one hot pixel must not darken all others


def columns_of(images: Sequence[Tensor]) -> tuple[int, int]:
    """Height and width of a tile."""
    height, width = images[0].shape[2:]
    scale = LONGER / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def overlay(images: Sequence[Tensor], maps: Sequence[Tensor] | None) -> str:
    """A sheet of one row a class, with a column for each of `images` [D, C, H, W] in [0, 1], its `maps` [D, h, w] over it.

    The first two columns, class means of real and synthetic images, share one scale in each row; a single image has its own.
    Returns an address that holds a JPEG; each tile has a frame of one pixel around it, its own edge.
    """
    size = columns_of(images)
    tiles = np.stack([_resized(as_uint8(column), size) for column in images], 1)  # [D, columns, H, W, 3]
    if maps is not None:
        for row in range(len(tiles)):
            heats = [column[row].double().numpy() for column in maps]
            together = _ends(np.concatenate([heats[0].ravel(), heats[1].ravel()]))
            for column, heat in enumerate(heats):
                low, high = together if column < 2 else _ends(heat)
                level = ((heat - low) / max(high - low, 1e-12)).clip(0, 1)
                tiles[row, column] = _mixed(tiles[row, column], _enlarged(level, size))
    framed = np.pad(tiles, ((0, 0), (0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    rows, columns, height, width, _ = framed.shape
    picture = Image.fromarray(framed.transpose(0, 2, 1, 3, 4).reshape(rows * height, columns * width, 3))
    file = BytesIO()
    picture.save(file, "JPEG", quality=QUALITY, subsampling=0, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def _ends(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    return float(values.min()), float(np.percentile(values, EDGE))


def _resized(images: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    how = Image.Resampling.NEAREST if images.shape[1] <= size[0] else Image.Resampling.LANCZOS
    return np.stack([np.asarray(Image.fromarray(image).resize(size[::-1], how)) for image in images])


def _enlarged(level: npt.NDArray[np.float64], size: tuple[int, int]) -> npt.NDArray[np.float64]:
    picture = Image.fromarray(level.astype(np.float32)).resize(size[::-1], Image.Resampling.BICUBIC)
    return np.asarray(picture, dtype=np.float64).clip(0, 1)


def _mixed(image: npt.NDArray[np.uint8], level: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
    """An image [H, W, 3] in grey under the colours of a level [H, W] in [0, 1]."""
    place = level * (len(COLOURS) - 1)
    below = np.minimum(place.astype(int), len(COLOURS) - 2)
    part = (place - below)[..., None]
    colours = COLOURS[below] * (1 - part) + COLOURS[below + 1] * part
    grey = image.astype(float).mean(2, keepdims=True)
    mixed: npt.NDArray[np.uint8] = np.rint(0.32 * grey + 0.68 * colours).clip(0, 255).astype(np.uint8)
    return mixed
