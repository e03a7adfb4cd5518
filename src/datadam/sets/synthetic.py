"""TODO sets.synthetic."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class SyntheticSet:
    """The images being learned: `images` [K*N, C, H, W] in network space, class after class, and their class numbers."""

    images: Tensor
    ipc: int
    classes: tuple[str, ...]

    @property
    def labels(self) -> Tensor:
        """Class numbers [K*N]."""
        return torch.arange(len(self.classes), device=self.images.device).repeat_interleave(self.ipc)

    def of(self, first: int, last: int) -> Tensor:
        """The images [.., C, H, W] of the classes first..last-1, as a view of `images`."""
        return self.images[first * self.ipc : last * self.ipc]
