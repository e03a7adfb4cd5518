"""cGAN: generator and discriminator that both know the class (Mirza and Osindero, 2014).

    L_D = E softplus(−D(x, k)) + E softplus(D(G(z, k), k))        that is, −log σ(D(x, k)) − log(1 − σ(D(G(z, k), k)))
    L_G = E softplus(−D(G(z, k), k))                              the form that does not saturate (Goodfellow et al., 2014)

z is standard normal, k the class of the real image beside.

Departures. The paper's networks are maxout layers trained by SGD on MNIST alone; here they are convolutional, with the layers,
batch norm and Adam of DCGAN (Radford et al., ICLR 2016: rate 2e-4, beta_1 0.5, batch 128, weights of deviation 0.02). DataDAM,
which ran it on CIFAR-10 (Table 11), does not say which it took. The class comes one-hot beside the noise and, in
the discriminator, as constant maps beside the image. Number of epochs: not published; 200.

Letters: B images of a batch, Z numbers of noise.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from datadam.methods.generators.base import Generator
from datadam.methods.generators.networks import ConvCritic, ConvGenerator, Shape
from datadam.training.generators import Adam, Turn

CITATION = """@article{mirza2014conditional,
  title={Conditional Generative Adversarial Nets},
  author={Mirza, Mehdi and Osindero, Simon}, journal={arXiv preprint arXiv:1411.1784}, year={2014}}"""


def loss_of_critic(real: Tensor, fake: Tensor) -> Tensor:
    """L_D, of logits [B] of real images and of samples."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def loss_of_generator(fake: Tensor) -> Tensor:
    """L_G, of logits [B] of samples."""
    return F.softplus(-fake).mean()


@dataclass(frozen=True, kw_only=True)
class CGAN(Generator):
    """Settings of DCGAN."""

    epochs: int = 200
    batch: int = 128
    lr: float = 2e-4
    noise: int = 100
    width: int = 64

    name: ClassVar[str] = "cgan"
    description: ClassVar[str] = "samples of a conditional adversarial generator"
    citation: ClassVar[str] = CITATION

    def maker(self, shape: Shape, classes: int) -> nn.Module:
        return ConvGenerator(shape, classes, self.noise, self.width)

    def networks(self, shape: Shape, classes: int) -> nn.ModuleDict:
        return nn.ModuleDict({"generator": self.maker(shape, classes), "critic": ConvCritic(shape, classes, self.width)})

    def rules(self) -> Mapping[str, Adam]:
        return dict.fromkeys(("generator", "critic"), Adam(self.lr, 0.5, 0.999))

    def turn(self, turn: Turn, classes: int) -> None:
        generator, critic, y = turn.networks["generator"], turn.networks["critic"], turn.y
        samples = generator(turn.noise(len(y), self.noise), y)
        turn.descend(loss_of_critic(critic(turn.x, y), critic(samples.detach(), y)), "critic")
        turn.descend(loss_of_generator(critic(samples, y)), "generator")
