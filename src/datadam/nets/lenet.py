"""LeNet-5 (LeCun et al., 1998) in the field's form: ReLU and max pooling. N images, C channels, H x W pixels."""

from torch import Tensor, nn
from torch.nn import functional as F

from datadam.errors import InvalidInput
from datadam.nets.base import Features, Network


class LeNet(Network):
    """5x5 convolutions to 6 and 16 channels, linear layers of 120 and 84 units, and a head on the 84.

    The last map is pooled to 5x5 whatever its size; it is 10x10 for 28x28 and 32x32 images: the classic 2x2 pooling.
    Images under 32x32 are padded by 2 in the first convolution, as MNIST's always were.
    Raises InvalidInput under 10x10 pixels.
    """

    def __init__(self, shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        if min(shape[1:]) < 10:
            size = f"{shape[1]}x{shape[2]}"
            raise InvalidInput(f"lenet needs images of 10x10 pixels or more, and {size} came; use mlp or a ConvNet")
        self.conv1 = nn.Conv2d(shape[0], 6, kernel_size=5, padding=2 if min(shape[1:]) < 32 else 0)
        self.conv2 = nn.Conv2d(6, 16, kernel_size=5)
        self.linear1 = nn.Linear(16 * 5 * 5, 120)
        self.linear2 = nn.Linear(120, 84)
        self.head = nn.Linear(84, classes)

    def features(self, x: Tensor) -> Features:
        first = F.relu(self.conv1(x))
        second = F.relu(self.conv2(F.max_pool2d(first, 2)))
        flat = F.adaptive_max_pool2d(second, 5).flatten(1)
        embedding = F.relu(self.linear2(F.relu(self.linear1(flat))))
        return Features((first, second), embedding, x)
