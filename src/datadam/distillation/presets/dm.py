"""DM as its authors released it (Zhao and Bilen, WACV 2023), and pixel-space MMD in its settings."""

from dataclasses import replace

from datadam.augment.siamese import strategy_for
from datadam.distillation.presets.kind import Kind
from datadam.distillation.recipe import Recipe
from datadam.methods import DM, Pixel


def dm(real: Kind, ipc: int) -> Recipe:
    """DM: 20 000 iterations, 256 real images, rate 1 (10 above ipc 50), instance norm, no whitening.

    Published, CIFAR-10 ipc 1 / 10 / 50: 26.0 / 48.9 / 63.0 %.
    """
    return Recipe(
        method=DM(),
        ipc=ipc,
        iterations=20_000,
        lr_images=1.0 if ipc <= 50 else 10.0,
        augment=strategy_for(real.name),
        preset="dm",
    )


def pixel(real: Kind, ipc: int) -> Recipe:
    """Pixel-space linear MMD in DM's settings, but unaugmented: there is only the mean to learn. Its own are not known.

    Published, CIFAR-10 ipc 1 / 10 / 50: 22.7 / 34.9 / 50.9 %.
    """
    return replace(dm(real, ipc), method=Pixel(), augment="none", preset="pixel")
