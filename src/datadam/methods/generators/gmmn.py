"""GMMN: a generator whose samples have the moments of real images under a kernel (Li, Swersky and Zemel, ICML 2015).

    L = Σ_k n_k / B · sqrt( MMD²(X_k, G(Z_k, k)) ),   MMD²(X, Y) = mean k(x, x') + mean k(y, y') − 2 mean k(x, y)

    k(x, y) = Σ_σ exp(−‖x − y‖² / 2σ),   σ in {2, 5, 10, 20, 40, 80}, of pixels in [0, 1], means over all pairs

Z is uniform in [-1, 1]^10, G a network of four hidden layers (64, 256, 256, 1024) with rectified units. Nothing plays against it.

Departures. The paper's model knows no classes, and Table 11 of DataDAM does not say how it was given them: here the class is
one-hot beside Z, and the discrepancy is that of each class in a batch, of X_k and as many samples. The released code takes SGD
(rate 2, momentum 0.9, the loss times 1 000, a tenth of the rate after 10 000 of 40 000 steps), which depends on how its
library averages: here Adam. The variant that generates codes of an autoencoder is not here.

Letters: K classes, B images of a batch, n_k of class k, D pixels of an image.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn

from datadam.methods.generators.base import Generator
from datadam.methods.generators.networks import Shape, with_class
from datadam.training.generators import Adam, Turn

SIGMAS = (2.0, 5.0, 10.0, 20.0, 40.0, 80.0)
HIDDEN = (0.25, 1.0, 1.0, 4.0)  # units of the hidden layers, in widths
TINY = 1e-8  # under the root, whose slope at zero has no end
CITATION = """@inproceedings{li2015generative,
  title={Generative Moment Matching Networks},
  author={Li, Yujia and Swersky, Kevin and Zemel, Rich}, booktitle={ICML}, year={2015}}"""


def kernel(x: Tensor, y: Tensor) -> Tensor:
    """k [N, M] of rows [N, D] and [M, D], never below float32, in which differences of near rows would be lost."""
    with torch.autocast(x.device.type, enabled=False):
        x, y = (rows if rows.dtype == torch.float64 else rows.float() for rows in (x, y))
        distances = (x.square().sum(1)[:, None] + y.square().sum(1) - 2 * x @ y.T).clamp(min=0)
        return torch.stack([torch.exp(-distances / (2 * sigma)) for sigma in SIGMAS]).sum(0)


def mmd2(x: Tensor, y: Tensor) -> Tensor:
    """MMD² of two samples [N, D] and [M, D], 0 for equal ones."""
    return kernel(x, x).mean() + kernel(y, y).mean() - 2 * kernel(x, y).mean()


def discrepancy(real: Tensor, samples: Tensor, y: Tensor) -> Tensor:
    """L, of real images and samples [B, C, H, W] in [-1, 1], both of the classes y [B]."""
    real, samples = ((images.flatten(1) + 1) / 2 for images in (real, samples))
    terms = [(y == k).sum() * (mmd2(real[y == k], samples[y == k]).clamp(min=0) + TINY).sqrt() for k in y.unique()]
    return torch.stack(terms).sum() / len(y)


class Layers(nn.Module):
    """G: noise and class to an image."""

    def __init__(self, shape: Shape, classes: int, noise: int, width: int) -> None:
        super().__init__()
        sizes = [noise + classes, *(max(1, round(share * width)) for share in HIDDEN)]
        layers = [part for a, b in pairwise(sizes) for part in (nn.Linear(a, b), nn.ReLU())]
        pixels = shape[0] * shape[1] * shape[2]
        self.layers, self.shape, self.classes = nn.Sequential(*layers, nn.Linear(sizes[-1], pixels)), shape, classes

    def forward(self, z: Tensor, k: Tensor) -> Tensor:
        """Images [B, C, H, W] in [-1, 1] of noise [B, Z] and class numbers [B]."""
        images: Tensor = self.layers(with_class(z, k, self.classes)).sigmoid().unflatten(1, self.shape)
        return 2 * images - 1


@dataclass(frozen=True, kw_only=True)
class GMMN(Generator):
    """Published settings: 40 000 steps of 1 000 images (667 epochs of MNIST), 10 numbers of noise. `width`, units of the second
    and third hidden layer."""

    epochs: int = 667
    batch: int = 1000
    lr: float = 1e-3
    noise: int = 10
    width: int = 256

    name: ClassVar[str] = "gmmn"
    description: ClassVar[str] = "samples of a generator that matches kernel moments (MMD) of the real images"
    citation: ClassVar[str] = CITATION
    first_weights: ClassVar[float | None] = None

    def maker(self, shape: Shape, classes: int) -> nn.Module:
        return Layers(shape, classes, self.noise, self.width)

    def networks(self, shape: Shape, classes: int) -> nn.ModuleDict:
        return nn.ModuleDict({"generator": self.maker(shape, classes)})

    def rules(self) -> Mapping[str, Adam]:
        return {"generator": Adam(self.lr, 0.9, 0.999)}

    def turn(self, turn: Turn, classes: int) -> None:
        samples = turn.networks["generator"](turn.uniform(len(turn.y), self.noise), turn.y)
        turn.descend(discrepancy(turn.x, samples, turn.y), "generator")

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        return torch.rand(count, self.noise, generator=generator) * 2 - 1
