"""AlexNet in the field's 32x32 form (Krizhevsky et al., 2012; Zhao et al., ICLR 2021).

N images, C channels, H x W pixels.
"""

from torch import Tensor, nn

from datadam.nets.base import Features, Network
from datadam.nets.layers import norm_layer, refuse_one_pixel, widening

# (channels, kernel, whether a max pooling follows)
LAYERS = ((128, 5, True), (192, 5, True), (256, 3, False), (192, 3, False), (192, 3, True))


class AlexNet(Network):
    """Five convolutions (5 blocks) and a head on 4x4 averages, which at 32x32 are the maps themselves.

    There is no norm layer by default. Pooling rounds up, so that small images keep a pixel; at 32x32 it rounds nothing.
    Raises InvalidInput where instance norm would see one pixel.
    """

    def __init__(self, shape: tuple[int, int, int], classes: int, norm: str = "none", widen: str = "28") -> None:
        super().__init__()
        refuse_one_pixel("alexnet", norm, shape, shrink=4)
        self.body = nn.ModuleList()
        self.pools = nn.ModuleList()
        before = shape[0]
        for index, (channels, kernel, pool) in enumerate(LAYERS):
            padding = kernel // 2 + (widening(shape, widen) if index == 0 else 0)
            conv = nn.Conv2d(before, channels, kernel, padding=padding)
            self.body.append(nn.Sequential(conv, norm_layer(norm, channels), nn.ReLU()))
            self.pools.append(nn.MaxPool2d(2, ceil_mode=True) if pool else nn.Identity())
            before = channels
        self.last = nn.AdaptiveAvgPool2d(4)
        self.head = nn.Linear(before * 4 * 4, classes)

    def features(self, x: Tensor) -> Features:
        blocks = []
        maps = x
        for block, pool in zip(self.body, self.pools, strict=True):
            blocks.append(block(maps))
            maps = pool(blocks[-1])
        return Features(tuple(blocks), self.last(maps).flatten(1), x)
