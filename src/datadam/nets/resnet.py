"""ResNet-18 in the field's 32x32 form (He et al., CVPR 2016): 3x3 stem, no max pooling.

N images, C channels, H x W pixels.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from datadam.nets.base import Features, Network
from datadam.nets.layers import norm_layer, refuse_one_pixel

# (channels, stride) of the eight residual blocks, two a stage
LAYERS = ((64, 1), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1))


class Residual(nn.Module):
    """Two 3x3 convolutions beside a shortcut, added before the last ReLU."""

    def __init__(self, before: int, channels: int, stride: int, norm: str) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _conv(before, channels, 3, stride, norm),
            norm_layer(norm, channels),
            nn.ReLU(),
            _conv(channels, channels, 3, 1, norm),
            norm_layer(norm, channels),
        )
        same = stride == 1 and before == channels
        self.shortcut = (
            nn.Identity() if same else nn.Sequential(_conv(before, channels, 1, stride, norm), norm_layer(norm, channels))
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.shortcut(x))


class ResNet18(Network):
    """A stem and eight residual blocks (8 blocks, each after its last ReLU); a head on the 512 means over the last map.

    Convolutions have a bias only without norm layers. Raises InvalidInput where instance norm would see one pixel.
    """

    def __init__(self, shape: tuple[int, int, int], classes: int, norm: str = "instance") -> None:
        super().__init__()
        refuse_one_pixel("resnet18", norm, shape, shrink=8)
        before = 64
        self.stem = nn.Sequential(_conv(shape[0], before, 3, 1, norm), norm_layer(norm, before), nn.ReLU())
        self.body = nn.ModuleList()
        for channels, stride in LAYERS:
            self.body.append(Residual(before, channels, stride, norm))
            before = channels
        self.head = nn.Linear(before, classes)

    def features(self, x: Tensor) -> Features:
        blocks = []
        maps = self.stem(x)
        for block in self.body:
            maps = block(maps)
            blocks.append(maps)
        return Features(tuple(blocks), maps.mean((2, 3)), x)


def _conv(before: int, after: int, kernel: int, stride: int, norm: str) -> nn.Conv2d:
    return nn.Conv2d(before, after, kernel, stride=stride, padding=kernel // 2, bias=norm == "none")
