"""Pixels as PNG and back. What others encoded is looked at before it is decoded."""

import io
import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from datadam.errors import ArtifactError, InvalidInput
from datadam.exchange.base import Wanted

FORMATS = ("PNG", "JPEG")
MODES = {1: "L", 3: "RGB"}
LARGEST = 50_000_000  # bytes of one encoded image


def check_channels(channels: int, to: str) -> None:
    """Raise `InvalidInput` when pictures cannot hold so many channels."""
    if channels not in MODES:
        raise InvalidInput(f"pictures have 1 or 3 channels and these images {channels}; {to} cannot hold them: export to npz")


def encode(pixels: Tensor) -> bytes:
    """One image [C, H, W], uint8, as PNG."""
    array = pixels.numpy()
    stream = io.BytesIO()
    Image.fromarray(array[0] if len(array) == 1 else array.transpose(1, 2, 0)).save(stream, format="PNG")
    return stream.getvalue()


def decode(source: bytes | Path, wanted: Wanted, what: str) -> Tensor:
    """One image as pixels [C, H, W], uint8. Raises `ArtifactError` for another size or mode, damage, or an attack."""
    channels, height, width = wanted.shape
    try:
        if isinstance(source, Path):
            if source.stat().st_size > LARGEST:
                raise ArtifactError(f"{what} has {source.stat().st_size} bytes; an encoded image has {LARGEST} at most")
            source = source.read_bytes()
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(source), formats=FORMATS) as image:
                if image.size != (width, height):
                    raise ArtifactError(
                        f"{what} is {image.width} x {image.height} pixels, and the data {width} x {height}: it is not decoded. "
                        "Name the --data (and --size) that the set was made from"
                    )
                if image.mode != MODES.get(channels):
                    raise ArtifactError(
                        f"{what} is of Pillow's mode {image.mode}; the data have {channels} channels, which is "
                        f"{MODES.get(channels, 'no picture')}: convert it first"
                    )
                array = np.array(image)
    except ArtifactError:
        raise
    except OSError as error:
        why = error.strerror if error.errno is not None else "it is truncated, damaged or no PNG or JPEG"
        raise ArtifactError(f"{what} cannot be read: {why}") from error
    except Exception as error:  # hostile bytes can make Pillow raise nearly anything
        raise ArtifactError(f"{what} cannot be decoded ({type(error).__name__}: {str(error)[:200]})") from error
    return torch.from_numpy(array[None] if channels == 1 else array.transpose(2, 0, 1).copy())
