"""The multi-layer perceptron of dataset distillation: three linear layers on the pixels. N images, C x H x W pixels."""

import math

from torch import Tensor, nn

from datadam.nets.base import Features, Network


class MLP(Network):
    """Two hidden layers of `width` ReLU units and a head; no blocks, since there are no maps; embedding [N, width]."""

    def __init__(self, shape: tuple[int, int, int], classes: int, width: int = 128) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.head = nn.Linear(width, classes)

    def features(self, x: Tensor) -> Features:
        return Features((), self.body(x), x)
