"""BigGAN at the size of CIFAR (Brock et al., ICLR 2019), with differentiable augmentation (Zhao et al., NeurIPS 2020).

    L_D = E max(0, 1 − D(T(x), k)) + E max(0, 1 + D(T'(G(z, k)), k))
    L_G = − E D(T''(G(z, k)), k)
    D(x, k) = w · f(x) + ⟨v_k, f(x)⟩                              projection of the class (Miyato and Koyama, ICLR 2018)

G and D are residual networks with spectral norm on every layer; G has batch norm with scale and shift of the class. T are
colour, shift and cutout, each image's own, with gradient. D takes `critic_steps` steps to one of G, and samples come from a
running mean of G's weights.

Departures. Attention, orthogonal regularisation and noise fed to every block are left out, as the authors' own settings for
CIFAR leave the first two; D halves the map in all its blocks but the last, where theirs stays at 8 x 8 for two of four, and the
image is not read wider than W. T are the operations of DSA, whose strengths are the same.
Settings for CIFAR as in the authors' PyTorch code, which DiffAugment builds on: 500 epochs, batch 50, rate 2e-4, betas 0 and
0.999, 4 steps of D, mean with 0.9999, 64 channels: G has 4 · 64 = 256 there, which is `width` here.

Letters: B images of a batch, Z numbers of noise, W width.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from datadam.augment.siamese import draw_augmentation
from datadam.methods.generators.base import AVERAGE, Generator
from datadam.methods.generators.networks import ResidualGenerator, Shape, Trunk
from datadam.settings import finite, require
from datadam.training.generators import Adam, Turn

AUGMENTATION = ("color", "crop", "cutout")
CITATION = """@inproceedings{brock2019large,
  title={Large Scale {GAN} Training for High Fidelity Natural Image Synthesis},
  author={Brock, Andrew and Donahue, Jeff and Simonyan, Karen}, booktitle={ICLR}, year={2019}}
@inproceedings{zhao2020differentiable,
  title={Differentiable Augmentation for Data-Efficient {GAN} Training},
  author={Zhao, Shengyu and Liu, Zhijian and Lin, Ji and Zhu, Jun-Yan and Han, Song}, booktitle={NeurIPS}, year={2020}}"""


def hinge(real: Tensor, fake: Tensor) -> Tensor:
    """L_D, of the critic's numbers [B] for real images and for samples."""
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def augmented(images: Tensor, seed: int) -> Tensor:
    """T: all three operations, one after the other, each image with its own parameters."""
    for word in AUGMENTATION:
        augmentation = draw_augmentation(word, seed, word, images=len(images))
        images = augmentation(images) if augmentation else images
    return images


class Projection(nn.Module):
    """D."""

    def __init__(self, shape: Shape, classes: int, width: int) -> None:
        super().__init__()
        self.trunk = Trunk(shape, width)
        self.real = spectral_norm(nn.Linear(width, 1))
        self.of_class = spectral_norm(nn.Embedding(classes, width))

    def forward(self, x: Tensor, k: Tensor) -> Tensor:
        """Numbers [B] of images and class numbers."""
        _, features = self.trunk(x)
        numbers: Tensor = self.real(features)[:, 0] + (self.of_class(k) * features).sum(1)
        return numbers


@torch.no_grad()
def follow(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Move a running mean of weights on; statistics are taken as they are."""
    for mean, now in zip(average.parameters(), network.parameters(), strict=True):
        mean.lerp_(now, 1 - decay)
    for kept, new in zip(average.buffers(), network.buffers(), strict=True):
        kept.copy_(new)


@dataclass(frozen=True, kw_only=True)
class BigGAN(Generator):
    """Arguments beside those of all: `critic_steps`, steps of D to one of G; `average`, decay of the running mean of G (in the
    first turns a smaller one, so that first weights are forgotten)."""

    epochs: int = 500
    batch: int = 50
    lr: float = 2e-4
    noise: int = 128
    width: int = 256
    critic_steps: int = 4
    average: float = 0.9999

    name: ClassVar[str] = "biggan"
    description: ClassVar[str] = "samples of a residual class-conditional GAN with differentiable augmentation"
    citation: ClassVar[str] = CITATION

    def faults(self) -> list[str]:
        faults, steps = super().faults(), self.critic_steps
        require(type(steps) is int and steps >= 1, f"critic_steps is {steps!r}; it must be a whole number >= 1", faults)
        require(finite(self.average) and 0 <= self.average < 1, f"average is {self.average!r}; it must lie in [0, 1)", faults)
        return faults

    @property
    def turns(self) -> int:
        return self.critic_steps

    def maker(self, shape: Shape, classes: int) -> nn.Module:
        return ResidualGenerator(shape, classes, self.noise, self.width, spectral=True)

    def networks(self, shape: Shape, classes: int) -> nn.ModuleDict:
        generator, critic = self.maker(shape, classes), Projection(shape, classes, self.width)
        return nn.ModuleDict({"generator": generator, "critic": critic, AVERAGE: copy.deepcopy(generator)})

    def rules(self) -> Mapping[str, Adam]:
        return dict.fromkeys(("generator", "critic"), Adam(self.lr, 0.0, 0.999))

    def turn(self, turn: Turn, classes: int) -> None:
        generator, critic, y = turn.networks["generator"], turn.networks["critic"], turn.y

        def judged(images: Tensor) -> Tensor:
            numbers: Tensor = critic(augmented(images, int(torch.randint(2**31, (), generator=turn.draw))), y)
            return numbers

        plays = turn.number % self.critic_steps == self.critic_steps - 1
        with torch.set_grad_enabled(plays):
            samples = generator(turn.noise(len(y), self.noise), y)
        turn.descend(hinge(judged(turn.x), judged(samples.detach())), "critic")
        if plays:
            turn.descend(-judged(samples).mean(), "generator")
            done = (turn.number + 1) // self.critic_steps
            follow(turn.networks[AVERAGE], generator, min(self.average, 1 - 10 / (done + 10)))
