"""DM as its authors released it (Zhao and Bilen, WACV 2023)."""

from datadam.augment import strategy_for
from datadam.methods import DM
from datadam.presets.kind import Kind
from datadam.recipe import Recipe


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
