"""What every network gives: features for matching, logits for judging.

N images, C channels, H x W pixels, K classes, D numbers of the embedding.
"""

from typing import NamedTuple

from torch import Tensor, nn


class Features(NamedTuple):
    """What a network makes of N images.

    `blocks`: every block's output after its activation and before its pooling, first to last, [N, C_l, H_l, W_l] each
    (of a transformer block the tokens on their grid, which are signed);
    `embedding`: the flattened input of the classifier head, [N, D]; `pixels`: the input itself, [N, C, H, W].
    """

    blocks: tuple[Tensor, ...]
    embedding: Tensor
    pixels: Tensor


class Network(nn.Module):
    """A classifier in two parts: `features`, which each architecture writes, and a linear `head` on the embedding."""

    head: nn.Linear

    def features(self, x: Tensor) -> Features:
        """The block outputs and the embedding of images x [N, C, H, W]."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """The logits [N, K] of images x [N, C, H, W]."""
        logits: Tensor = self.head(self.features(x).embedding)
        return logits

    @property
    def couples_images(self) -> bool:
        """Whether, in training mode, an image's output depends on the others of its batch: so with batch norm only."""
        return any(isinstance(module, nn.BatchNorm2d) for module in self.modules())


def headless(network: Network) -> Network:
    """The network without its head, for whoever asks for features alone: a head of many classes costs more to draw than all else.

    Every architecture has its head last, so the weights before it are drawn the same with and without.
    """
    if "head" in dict(network.named_children()):  # a module of somebody else's keeps what it has
        del network.head
    return network
