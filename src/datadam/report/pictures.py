"""Pictures of image sets, with Pillow and numpy only.

Letters: M images, K classes, C channels, H height, W width.
"""

import base64
from io import BytesIO

import numpy as np
import torch
from PIL import Image

from datadam.sets.preview import as_uint8


def sheet(images_01: np.ndarray | torch.Tensor, columns: int, size: tuple[int, int]) -> Image.Image:
    """All images in one picture, `columns` in a row, each resized to `size` (height, width).

    The page cuts its tiles out of this sheet. A frame of one pixel, the image's own edge, keeps a neighbour from
    shining in when a browser rounds.
    """
    tiles = as_uint8(images_01)
    if tiles.shape[1:3] != size:
        smaller = [Image.fromarray(tile).resize(size[::-1], Image.Resampling.LANCZOS) for tile in tiles]
        tiles = np.stack([np.asarray(tile) for tile in smaller])
    tiles = np.pad(tiles, ((0, -len(tiles) % columns), (0, 0), (0, 0), (0, 0)))
    tiles = np.pad(tiles, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    rows, (height, width) = len(tiles) // columns, tiles.shape[1:3]
    grid = tiles.reshape(rows, columns, height, width, 3).transpose(0, 2, 1, 3, 4)
    picture = Image.fromarray(np.ascontiguousarray(grid).reshape(rows * height, columns * width, 3))
    grey = (tiles == tiles[..., :1]).all()
    return picture.convert("L") if grey else picture


def data_uri(picture: Image.Image) -> str:
    """The picture as a PNG inside an address, to be embedded in a page."""
    file = BytesIO()
    picture.save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
