"""Generators with the settings that their authors published, as far as they did. DataDAM, which names them as rivals (Table 11),
does not say how it trained them."""

from datadam.distillation.presets.kind import Kind
from datadam.distillation.recipe import Recipe
from datadam.methods import CGAN, DCVAE, GMMN, BigGAN
from datadam.methods.generators.base import Generator


def gmmn(real: Kind, ipc: int) -> Recipe:
    """GMMN: 667 epochs in batches of 1 000 (40 000 steps on MNIST), 10 numbers of noise; rate of Adam ours.

    Published by DataDAM, CIFAR-10 ipc 1 / 10 / 50: 16.1 / 32.2 / 45.3 %.
    """
    return _of(GMMN(), ipc)


def cgan(real: Kind, ipc: int) -> Recipe:
    """cGAN with the networks and Adam of DCGAN: rate 2e-4, beta_1 0.5, batch 128; 200 epochs are ours.

    Published by DataDAM, CIFAR-10 ipc 1 / 10 / 50: 16.3 / 27.9 / 43.8 %.
    """
    return _of(CGAN(), ipc)


def biggan(real: Kind, ipc: int) -> Recipe:
    """BigGAN's settings for CIFAR: 500 epochs in batches of 50, rate 2e-4, 4 steps of the critic to one of the generator.

    Published by DataDAM, CIFAR-10 ipc 1 / 10 / 50: 15.8 / 31.0 / 46.2 %.
    """
    return _of(BigGAN(), ipc)


def dcvae(real: Kind, ipc: int) -> Recipe:
    """DC-VAE's settings for CIFAR-10: 800 epochs in batches of 128, rate 2e-4, 256 numbers of noise.

    Published by DataDAM, CIFAR-10 ipc 1 / 10 / 50: 15.7 / 29.8 / 44.0 %.
    """
    return _of(DCVAE(), ipc)


def _of(method: Generator, ipc: int) -> Recipe:
    return Recipe(method=method, ipc=ipc, iterations=0, augment="none", preset=method.name)
