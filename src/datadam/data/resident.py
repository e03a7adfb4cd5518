"""Training images kept ready where a run computes, so that no image is whitened, or carried to a GPU, twice.

A GPU keeps them in its memory. Beside a CPU those in network space lie in a file: the system holds it in memory while there is
room, and reading an image from there takes no longer than copying it would, but that memory is the system's to take back.

Letters: M training images, C channels, H rows, W columns.
"""

import os
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import suppress

import numpy as np
import torch
from torch import Tensor

from datadam.data.real import RealData
from datadam.files.kept import default_folder
from datadam.rng import carry

WHITENED_TOGETHER = 128  # images; more take more memory and no less time


class InFile:
    """Images [M, C, H, W] of one number format in a file without a name, which vanishes with the process.

    Arguments: `parts`, the images, some after another; `shape`, (C, H, W). Raises `OSError` where the cache folder has no room.
    """

    device = torch.device("cpu")

    def __init__(self, parts: Iterator[Tensor], shape: tuple[int, int, int]) -> None:
        folder = default_folder()
        folder.mkdir(parents=True, exist_ok=True)
        self._shape, file = shape, tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  # open for as long as this is there
        self._place = file.fileno()
        weakref.finalize(self, file.close)
        for part in parts:
            self.dtype = part.dtype
            file.write(part.numpy().data)
        file.flush()

    def __getitem__(self, chosen: Tensor) -> Tensor:
        """The images [n, C, H, W] of some indices [n], in memory of their own."""
        found = torch.empty(len(chosen), *self._shape, dtype=self.dtype)
        rows = found.view(len(chosen), -1).view(torch.uint8).numpy()
        place, size, read = self._place, rows.shape[1], os.preadv  # of thousands of images an iteration, each look-up tells
        for row, i in zip(rows, chosen.tolist(), strict=True):
            if read(place, (row,), i * size) < size:
                raise IndexError(f"image {i} is not among those that are kept")
        return found


def keep(real: RealData, form: str, device: torch.device) -> Tensor | InFile:
    """The training images [M, C, H, W] on `device`: bytes as they are ("uint8"), or in network space ("float32", "float16")."""
    if form != "uint8" and device.type == "cpu":
        with suppress(OSError):  # no room on that disk: the memory must do
            return InFile(_parts(real, form, device), real.shape)
    kept = torch.empty(len(real.train), *real.shape, dtype=getattr(torch, form), device=device)
    for part, into in zip(_parts(real, form, device), kept.split(WHITENED_TOGETHER), strict=True):
        into.copy_(part)
    return kept


def take(kept: Tensor | InFile, chosen: Tensor, real: RealData, dtype: torch.dtype) -> Tensor:
    """The images [n, C, H, W] of some training indices [n] in network space, rounded as they are kept."""
    images = kept[carry(chosen, kept.device)]
    return real.transform.bytes_to_network(images, dtype) if images.dtype == torch.uint8 else images.to(dtype)


def _parts(real: RealData, form: str, device: torch.device) -> Iterator[Tensor]:
    for part in torch.arange(len(real.train)).split(WHITENED_TOGETHER):
        if form == "uint8":
            yield torch.from_numpy(np.array(real.train.pixels[int(part[0]) : int(part[-1]) + 1]))
        else:
            yield real.images(part, device=device).to(getattr(torch, form))
