"""ConvNet-D, the network of dataset distillation (Gidaris and Komodakis, CVPR 2018; Zhao et al., ICLR 2021).

D blocks of 3x3 convolution, normalisation, activation and pooling, then one linear layer.
N images, C channels, H x W pixels, K classes.
"""

from math import prod

from torch import Tensor, nn

from datadam.errors import InvalidInput
from datadam.nets.base import Features, Network
from datadam.nets.layers import activation, norm_layer, pool_layer, pooled, sees_one_value, widening


class ConvNet(Network):
    """D = `depth` blocks of `width` channels; the embedding is the flattened output of the last pooling.

    For 32x32 images, depth 3 and width 128 the blocks are [N, 128, 32, 32], [N, 128, 16, 16] and [N, 128, 8, 8], the
    embedding is [N, 2048]. One-channel 28x28 images are padded to 32x32 by the first convolution, with `widen` "grey" one-channel
    images of any size by as much. With `channels` "doubled" each block has twice the channels of the one before.
    Raises InvalidInput where the images are too small for the depth.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        classes: int,
        depth: int = 3,
        width: int = 128,
        norm: str = "instance",
        act: str = "relu",
        pool: str = "avg",
        widen: str = "28",
        channels: str = "same",
    ) -> None:
        super().__init__()
        sizes = map_sizes(shape, depth, width, norm, pool, widen)
        self.body = nn.ModuleList()
        before = shape[0]
        for index, size in enumerate(sizes[:-1]):
            padding, after = 1 + widening(shape, widen) * (index == 0), width * 2**index if channels == "doubled" else width
            conv = nn.Conv2d(before, after, kernel_size=3, padding=padding)
            self.body.append(nn.Sequential(conv, norm_layer(norm, after, size), activation(act)))
            before = after
        self.pool = pool_layer(pool)
        self.head = nn.Linear(before * prod(sizes[-1]), classes)

    def features(self, x: Tensor) -> Features:
        blocks = []
        maps = x
        for block in self.body:
            blocks.append(block(maps))
            maps = self.pool(blocks[-1])
        return Features(tuple(blocks), maps.flatten(1), x)


def map_sizes(shape: tuple[int, int, int], depth: int, width: int, norm: str, pool: str, widen: str) -> list[tuple[int, int]]:
    """H and W of every block's output, and after the last pooling; refuses images of which a block would keep no pixel or
    normalise a single one."""
    height, breadth = (side + 2 * widening(shape, widen) for side in shape[1:])
    sizes = [(height, breadth)]
    for block in range(depth):
        after = pooled(height, pool), pooled(breadth, pool)
        if min(after) < 1 or sees_one_value(norm, width, height * breadth):
            cure = f"the deepest that works is convnet{block}" if block else "none works, the images must be larger"
            raise InvalidInput(
                f"convnet{depth} with norm={norm} and pool={pool} is too deep for {shape[1]}x{shape[2]} images "
                f"(block {block + 1} would see {height}x{breadth} pixels): {cure}"
            )
        height, breadth = after
        sizes.append(after)
    return sizes
