"""Training images kept ready where a run computes, so that no image is whitened, or carried to a GPU, twice.

Letters: M training images, C channels, H rows, W columns.
"""

import torch
from torch import Tensor

from datadam.data.real import RealData
from datadam.rng import carry

WHITENED_TOGETHER = 512


def keep(real: RealData, form: str, device: torch.device) -> Tensor:
    """The training images [M, C, H, W] on `device`: bytes as they are ("uint8"), or in network space ("float32", "float16")."""
    kept = torch.empty(len(real.train), *real.shape, dtype=getattr(torch, form), device=device)
    for part in torch.arange(len(kept)).split(WHITENED_TOGETHER):
        first, last = int(part[0]), int(part[-1]) + 1
        if form == "uint8":
            kept[first:last] = torch.tensor(real.train.pixels[first:last])
        else:
            kept[first:last] = real.images(part, device=device)
    return kept


def take(kept: Tensor, chosen: Tensor, real: RealData, dtype: torch.dtype) -> Tensor:
    """The images [n, C, H, W] of some training indices [n] in network space, rounded as they are kept."""
    images = kept[carry(chosen, kept.device)]
    return real.transform.bytes_to_network(images, dtype) if images.dtype == torch.uint8 else images.to(dtype)
