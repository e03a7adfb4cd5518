"""DC-VAE: a variational autoencoder whose reconstructions are told from others, and from real images, by a critic (Parmar et al.,
CVPR 2021: "Dual Contradistinctive Generative Autoencoder"), here with classes.

    z = μ(x, k) + s(x, k) · ε,   x̂ = G(z, k),   x̃ = G(ε', k),   f_l a head of the critic's layer l in {first block, last}

    L_set  = E max(0, 1 − D(x, k)) + ½ E max(0, 1 + D(x̂, k)) + ½ E max(0, 1 + D(x̃, k))           (the critic's)
    L_inst = ½ Σ_l − E_i log [ exp(⟨f_l(x̂_i), f_l(x_i)⟩ / τ) / Σ_j exp(⟨f_l(x̂_i), f_l(x_j)⟩ / τ) ]    (f of unit length)
    L_KL   = E ½ Σ (μ² + s² − log s² − 1)

    critic: L_set + L_inst          encoder and G: − ½ E D(x̂, k) − ½ E D(x̃, k) + L_inst + β L_KL

Departures. The paper's model knows no classes: here encoder, G (class-conditional batch norm) and critic (projection) are given
them. Its other images j are a queue of 8 192 earlier ones; here those of the batch. Critic, encoder and G are stepped on each
batch. Networks are the residual ones of biggan.py, with spectral norm in critic and encoder alone, as in the authors' code,
and not AutoGAN's cells. Settings as there: rate 2e-4, betas 0 and 0.9, 800 epochs, 256 numbers of noise, heads of 16,
tau 0.07, beta 1e-6; batch 128 (64 for the critic there).

Letters: B images of a batch, Z numbers of noise, W width.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from datadam.methods.generators.base import Generator
from datadam.methods.generators.biggan import Projection
from datadam.methods.generators.networks import ResidualGenerator, Shape, Trunk
from datadam.settings import finite, require
from datadam.training.generators import Adam, Turn

HEAD, TEMPERATURE = 16, 0.07
CITATION = """@inproceedings{parmar2021dual,
  title={Dual Contradistinctive Generative Autoencoder},
  author={Parmar, Gaurav and Li, Dacheng and Lee, Kwonjoon and Tu, Zhuowen}, booktitle={CVPR}, year={2021}}"""


def dual_hinge(real: Tensor, rebuilt: Tensor, samples: Tensor) -> Tensor:
    """L_set, of the critic's numbers [B]."""
    return F.relu(1 - real).mean() + (F.relu(1 + rebuilt).mean() + F.relu(1 + samples).mean()) / 2


def contrast(rebuilt: Tensor, real: Tensor) -> Tensor:
    """One l of L_inst, of heads [B, 16]: row i of one belongs to row i of the other."""
    logits = F.normalize(rebuilt, dim=1) @ F.normalize(real, dim=1).T / TEMPERATURE
    return F.cross_entropy(logits, torch.arange(len(real), device=real.device))


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """L_KL, of μ and log s² [B, Z]."""
    return (mean.square() + log_variance.exp() - log_variance - 1).sum(1).mean() / 2


class Critic(Projection):
    """D, with the heads f."""

    def __init__(self, shape: Shape, classes: int, width: int) -> None:
        super().__init__(shape, classes, width)
        maps = (shape[1] // 2) * (shape[2] // 2)
        self.early = nn.Sequential(nn.Conv2d(width, 1, 1), nn.Flatten(), nn.Linear(maps, HEAD, bias=False))
        self.late = spectral_norm(nn.Linear(width, HEAD, bias=False))

    def heads(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """f of the first block and of the last, [B, 16] each."""
        first, features = self.trunk(x)
        return self.early(first), self.late(features)


class Encoder(nn.Module):
    """μ and log s²."""

    def __init__(self, shape: Shape, classes: int, noise: int, width: int) -> None:
        super().__init__()
        self.trunk, self.last = Trunk(shape, width), spectral_norm(nn.Linear(width, 2 * noise))
        self.of_class = nn.Embedding(classes, 2 * noise)
        nn.init.zeros_(self.of_class.weight)

    def forward(self, x: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """Each [B, Z], of images and class numbers."""
        mean, log_variance = (self.last(self.trunk(x)[1]) + self.of_class(k)).chunk(2, 1)
        return mean, log_variance


@dataclass(frozen=True, kw_only=True)
class DCVAE(Generator):
    """Argument beside those of all: `beta`, the weight of the divergence."""

    epochs: int = 800
    batch: int = 128
    lr: float = 2e-4
    noise: int = 256
    width: int = 128
    beta: float = 1e-6

    name: ClassVar[str] = "dcvae"
    description: ClassVar[str] = "samples of a variational autoencoder with two contradistinctive losses"
    citation: ClassVar[str] = CITATION

    def faults(self) -> list[str]:
        faults = super().faults()
        require(finite(self.beta) and self.beta >= 0, f"beta is {self.beta!r}; it must be a number >= 0", faults)
        return faults

    def maker(self, shape: Shape, classes: int) -> nn.Module:
        return ResidualGenerator(shape, classes, self.noise, self.width, spectral=False)

    def networks(self, shape: Shape, classes: int) -> nn.ModuleDict:
        return nn.ModuleDict({
            "encoder": Encoder(shape, classes, self.noise, self.width),
            "generator": self.maker(shape, classes),
            "critic": Critic(shape, classes, self.width),
        })  # fmt: skip

    def rules(self) -> Mapping[str, Adam]:
        return dict.fromkeys(("encoder", "generator", "critic"), Adam(self.lr, 0.0, 0.9))

    def turn(self, turn: Turn, classes: int) -> None:
        generator, critic, x, y = turn.networks["generator"], turn.networks["critic"], turn.x, turn.y
        mean, log_variance = turn.networks["encoder"](x, y)
        rebuilt = generator(mean + (log_variance / 2).exp() * turn.noise(len(y), self.noise), y)
        samples = generator(turn.noise(len(y), self.noise), y)

        def instance(images: Tensor) -> Tensor:
            assert isinstance(critic, Critic)
            pairs = zip(critic.heads(images), critic.heads(x), strict=True)
            return torch.stack([contrast(ours, real) for ours, real in pairs]).mean()

        fooled = [images.detach() for images in (rebuilt, samples)]
        told = dual_hinge(critic(x, y), *(critic(images, y) for images in fooled))
        turn.descend(told + instance(fooled[0]), "critic")
        played = -(critic(rebuilt, y).mean() + critic(samples, y).mean()) / 2
        loss = played + instance(rebuilt) + self.beta * divergence(mean, log_variance)
        turn.descend(loss, "encoder", "generator")
