"""Networks of generators and of their critics, for images whose sides can be halved.

A generator begins with a small map and doubles it until it has the size of the images; a critic goes the other way.
Letters: B images, K classes, C channels, H x W pixels, Z numbers of noise, W width.
"""

from collections.abc import Callable
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from datadam.errors import InvalidInput

Shape = tuple[int, int, int]
SMALLEST = 4  # side of the map that a generator begins with, at least
LARGEST = 16  # and at most: beyond it, what is global would not be looked at
NORMAL = 0.02  # deviation of first weights, as DCGAN and BigGAN on CIFAR have it


def halvings(shape: Shape) -> int:
    """How many times both sides are halved. Raises `InvalidInput` where that leaves too large a map."""
    _, h, w = shape
    count = 0
    while h % 2 == 0 and w % 2 == 0 and min(h, w) > SMALLEST:
        h, w, count = h // 2, w // 2, count + 1
    if count == 0 or max(h, w) > LARGEST:
        raise InvalidInput(
            f"images of {shape[1]} x {shape[2]} pixels cannot be halved to a map of at most {LARGEST}; resize them to a side "
            "such as 28, 32 or 64 (size)"
        )
    return count


N = TypeVar("N", bound=nn.Module)


def seeded(build: Callable[[], N], generator: torch.Generator, std: float | None = NORMAL) -> N:
    """Networks whose first weights come from `generator`; the global one is left as it was.

    Argument: `std`, of the weights of convolutions and products, normal with biases 0 (None: as torch draws them).
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(int(torch.randint(2**62, (), generator=generator)))
        networks = build()
    if std is not None:
        for module in networks.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
                for name, weight in module.named_parameters():  # "weight", or what spectral norm calls it
                    nn.init.zeros_(weight) if name == "bias" else nn.init.normal_(weight, 0.0, std, generator=generator)
    return networks


def with_class(x: Tensor, k: Tensor, classes: int) -> Tensor:
    """Rows [B, Z] or maps [B, C, H, W] with the class one-hot beside, as numbers or as constant maps."""
    known = F.one_hot(k, classes).to(x.dtype)
    return torch.cat([x, known if x.ndim == 2 else known[:, :, None, None].expand(-1, -1, *x.shape[2:])], 1)


class ConvGenerator(nn.Module):
    """DCGAN's: transposed convolutions with batch norm; the class comes with the noise."""

    def __init__(self, shape: Shape, classes: int, noise: int, width: int) -> None:
        super().__init__()
        count = halvings(shape)
        self.classes, top = classes, width * 2 ** (count - 1)
        self.first = (top, shape[1] >> count, shape[2] >> count)
        self.project = nn.Linear(noise + classes, top * self.first[1] * self.first[2])
        layers: list[nn.Module] = [nn.BatchNorm2d(top), nn.ReLU()]
        for number in range(count - 1):
            wide = top >> number
            layers += [nn.ConvTranspose2d(wide, wide // 2, 4, 2, 1), nn.BatchNorm2d(wide // 2), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.ConvTranspose2d(width, shape[0], 4, 2, 1), nn.Tanh())

    def forward(self, z: Tensor, k: Tensor) -> Tensor:
        """Images [B, C, H, W] in [-1, 1] of noise [B, Z] and class numbers [B]."""
        h: Tensor = self.layers(self.project(with_class(z, k, self.classes)).unflatten(1, self.first))
        return h


class ConvCritic(nn.Module):
    """DCGAN's: strided convolutions with batch norm; the class comes as constant maps beside the image."""

    def __init__(self, shape: Shape, classes: int, width: int) -> None:
        super().__init__()
        count = halvings(shape)
        layers: list[nn.Module] = []
        self.classes, channels = classes, shape[0] + classes
        for number in range(count):
            wide = width << number
            layers += [nn.Conv2d(channels, wide, 4, 2, 1), *([nn.BatchNorm2d(wide)] if number else []), nn.LeakyReLU(0.2)]
            channels = wide
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * (shape[1] >> count) * (shape[2] >> count), 1))

    def forward(self, x: Tensor, k: Tensor) -> Tensor:
        """Logits [B] of images being real ones of their classes."""
        logits: Tensor = self.layers(with_class(x, k, self.classes))
        return logits[:, 0]


class ConditionalBatchNorm(nn.Module):
    """Batch norm with scale and shift of the class: scale_k (x - mean) / deviation + shift_k."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.scale, self.shift = nn.Embedding(classes, channels), nn.Embedding(classes, channels)
        nn.init.ones_(self.scale.weight)
        nn.init.zeros_(self.shift.weight)

    def forward(self, x: Tensor, k: Tensor) -> Tensor:
        """Of maps [B, C, H, W] of classes [B]."""
        out: Tensor = self.scale(k)[:, :, None, None] * self.norm(x) + self.shift(k)[:, :, None, None]
        return out


class UpBlock(nn.Module):
    """A residual block that doubles both sides."""

    def __init__(self, width: int, classes: int, wrap: Callable[[nn.Module], nn.Module]) -> None:
        super().__init__()
        self.norms = nn.ModuleList(ConditionalBatchNorm(width, classes) for _ in range(2))
        self.convs = nn.ModuleList(wrap(nn.Conv2d(width, width, 3, padding=1)) for _ in range(2))
        self.skip = wrap(nn.Conv2d(width, width, 1))

    def forward(self, x: Tensor, k: Tensor) -> Tensor:
        """Maps [B, W, 2H, 2W] of maps [B, W, H, W]."""
        h = self.convs[0](F.interpolate(F.relu(self.norms[0](x, k)), scale_factor=2))
        h = self.convs[1](F.relu(self.norms[1](h, k)))
        out: Tensor = h + self.skip(F.interpolate(x, scale_factor=2))
        return out


class ResidualGenerator(nn.Module):
    """BigGAN's at the size of CIFAR: residual blocks with class-conditional batch norm; `spectral`, with spectral norm."""

    def __init__(self, shape: Shape, classes: int, noise: int, width: int, *, spectral: bool) -> None:
        super().__init__()
        wrap: Callable[[nn.Module], nn.Module] = spectral_norm if spectral else lambda module: module
        count = halvings(shape)
        self.first = (width, shape[1] >> count, shape[2] >> count)
        self.project = wrap(nn.Linear(noise, width * self.first[1] * self.first[2]))
        self.blocks = nn.ModuleList(UpBlock(width, classes, wrap) for _ in range(count))
        self.last = nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(), wrap(nn.Conv2d(width, shape[0], 3, padding=1)), nn.Tanh())

    def forward(self, z: Tensor, k: Tensor) -> Tensor:
        """Images [B, C, H, W] in [-1, 1] of noise [B, Z] and class numbers [B]."""
        h = self.project(z).unflatten(1, self.first)
        for block in self.blocks:
            h = block(h, k)
        images: Tensor = self.last(h)
        return images


class DownBlock(nn.Module):
    """A residual block with spectral norm that halves both sides; the `first` reads the image as it is."""

    def __init__(self, channels: int, width: int, *, first: bool, halves: bool) -> None:
        super().__init__()
        self.first, self.halves = first, halves
        self.convs = nn.ModuleList(spectral_norm(nn.Conv2d(c, width, 3, padding=1)) for c in (channels, width))
        self.skip = spectral_norm(nn.Conv2d(channels, width, 1)) if halves or channels != width else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Maps of half the sides, or of the same."""
        h = self.convs[1](F.relu(self.convs[0](x if self.first else F.relu(x))))
        out: Tensor = F.avg_pool2d(h + self.skip(x), 2) if self.halves else h + self.skip(x)
        return out


class Trunk(nn.Module):
    """What critics and encoders share: a block for each halving and one more; features are summed over the map."""

    def __init__(self, shape: Shape, width: int) -> None:
        super().__init__()
        halves = [True] * halvings(shape) + [False]
        self.blocks = nn.ModuleList(
            DownBlock(width if n else shape[0], width, first=n == 0, halves=half) for n, half in enumerate(halves)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Maps [B, W, H/2, W/2] of the first block, and features [B, W]."""
        h = first = self.blocks[0](x)
        for block in self.blocks[1:]:
            h = block(h)
        return first, F.relu(h).sum((2, 3))
