"""DM as its authors released it (Zhao and Bilen, WACV 2023), and pixel-space MMD in its settings."""

from dataclasses import replace

from datadam.distillation.presets.kind import Kind, as_released, strategy
from datadam.distillation.recipe import Recipe
from datadam.methods import DM, Pixel


def dm(real: Kind, ipc: int) -> Recipe:
    """DM: 20 000 iterations, 256 real images, rate 1 (10 on CIFAR-10 from ipc 100 on), instance norm, no whitening.

    Published, CIFAR-10 ipc 1 / 10 / 50: 26.0 / 48.9 / 63.0 %.
    """
    return Recipe(
        method=DM(),
        ipc=ipc,
        net=as_released("instance", real),
        iterations=20_000,
        lr_images=10.0 if real.name == "cifar10" and ipc >= 100 else 1.0,
        augment=strategy(real),
        normalisation="field",
        preset="dm",
    )


def pixel(real: Kind, ipc: int) -> Recipe:
    """Pixel-space linear MMD in DM's settings, but unaugmented: there is only the mean to learn. Its own are not known.

    Published, CIFAR-10 ipc 1 / 10 / 50: 22.7 / 34.9 / 50.9 %.
    """
    return replace(dm(real, ipc), method=Pixel(), augment="none", preset="pixel")
