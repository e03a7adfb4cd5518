"""VGG-11 in the field's 32x32 form (Simonyan and Zisserman, 2015; Zhao et al., ICLR 2021).

N images, C channels, H x W pixels.
"""

from torch import Tensor, nn

from datadam.nets.base import Features, Network
from datadam.nets.layers import norm_layer, refuse_one_pixel, widening

# (channels, whether a max pooling follows)
LAYERS = ((64, True), (128, True), (256, False), (256, True), (512, False), (512, True), (512, False), (512, True))


class VGG11(Network):
    """Eight 3x3 convolutions (8 blocks) and a head on the 512 means over the last map, which at 32x32 has one pixel.

    Pooling rounds up, so that small images keep a pixel; at 32x32 it rounds nothing.
    Raises InvalidInput where instance norm would see one pixel.
    """

    def __init__(self, shape: tuple[int, int, int], classes: int, norm: str = "instance", widen: str = "28") -> None:
        super().__init__()
        refuse_one_pixel("vgg11", norm, shape, shrink=16)
        self.body = nn.ModuleList()
        self.pools = nn.ModuleList()
        before = shape[0]
        for index, (channels, pool) in enumerate(LAYERS):
            conv = nn.Conv2d(before, channels, 3, padding=1 + (widening(shape, widen) if index == 0 else 0))
            self.body.append(nn.Sequential(conv, norm_layer(norm, channels), nn.ReLU()))
            self.pools.append(nn.MaxPool2d(2, ceil_mode=True) if pool else nn.Identity())
            before = channels
        self.head = nn.Linear(before, classes)

    def features(self, x: Tensor) -> Features:
        blocks = []
        maps = x
        for block, pool in zip(self.body, self.pools, strict=True):
            blocks.append(block(maps))
            maps = pool(blocks[-1])
        return Features(tuple(blocks), maps.mean((2, 3)), x)
