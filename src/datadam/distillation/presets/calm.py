"""Our own method by the time there is: CALM on images that are stored four in one (decoder grid:2)."""

from dataclasses import replace

from datadam.augment.siamese import strategy_for
from datadam.distillation.presets.kind import Kind
from datadam.distillation.recipe import Recipe
from datadam.methods import CALM


def quick(real: Kind, ipc: int) -> Recipe:
    """For minutes."""
    return Recipe(
        method=CALM(), ipc=ipc, iterations=250, batch_real=32, lr_images=2.0, momentum=0.5, decoder="grid:2", start="sure",
        augment=strategy_for(real.name), precision="auto", preset="quick",
    )  # fmt: skip


def calm(real: Kind, ipc: int) -> Recipe:
    """For half an hour."""
    return replace(quick(real, ipc), iterations=1000, preset="calm")
