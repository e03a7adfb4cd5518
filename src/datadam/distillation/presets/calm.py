"""Our own method by the time there is: CALM on images that are stored four in one (decoder grid:2).

Times are about, for images of 32x32 on two cores; `--budget` (budget.py) decides by the machine instead.
"""

from dataclasses import replace

from datadam.distillation.presets.kind import Kind, strategy
from datadam.distillation.recipe import Recipe
from datadam.methods import CALM


def calm(real: Kind, ipc: int) -> Recipe:
    """Half an hour: three networks of four epochs, 1 500 iterations of 32 real images of each class."""
    return Recipe(
        method=CALM(count=3, epochs=4),
        ipc=ipc,
        iterations=1500,
        batch_real=32,
        lr_images=2.0,
        decoder="grid:2",
        start="sure",
        augment=strategy(real),
        precision="auto",
        preset="calm",
    )


def quick(real: Kind, ipc: int) -> Recipe:
    """Five minutes: two networks of two epochs, 150 iterations."""
    return replace(calm(real, ipc), method=CALM(count=2, epochs=2), iterations=150, preset="calm-quick")


def long(real: Kind, ipc: int) -> Recipe:
    """Two hours: five networks of ten epochs, 6 000 iterations."""
    return replace(calm(real, ipc), method=CALM(count=5, epochs=10), iterations=6000, preset="calm-long")
