"""Our own method by the time there is: CALM on images that are stored many in one (decoders dct:32 to dct:4, and grid:4 or
grid:2 of grey ones).

Times are about, for images of 32x32 on two cores; `--budget` (budget.py) decides by the machine instead.
"""

import math
from dataclasses import replace

from datadam.distillation.presets.kind import Kind, strategy
from datadam.distillation.recipe import Recipe
from datadam.methods import CALM
from datadam.sets.decoders import COLOURS, PLAIN

RATE = 0.4  # lr_images for each image of a class: the gradient of a class mean is shared out among its images
TOGETHER = 64  # training images of a class that an iteration looks at: of sets with more of them, another draw each time
STORED = ((1, 32), (5, 16), (10, 8))  # up to so many images per class, so many in one: fewer where there are many; above, REST
REST = 4
NUMBERS = 96  # that each image keeps at least where frequencies are stored
FEW = 10  # images per class up to which sixteen small images say more than four larger ones, where parts are stored
SMALLEST = 7  # pixels of a side that a part keeps, at least


def calm(real: Kind, ipc: int) -> Recipe:
    """Half an hour for ten images per class: three networks of four epochs, then 600 iterations of 128 real images a class."""
    return Recipe(
        method=CALM(count=3, epochs=4),
        ipc=ipc,
        iterations=600 if ipc > 1 else 2000,
        batch_real=128,
        lr_images=round(RATE * ipc, 6),
        decoder=fitting(real, ipc),
        batch_synthetic=TOGETHER,
        start="sure",
        augment=strategy(real),
        precision="auto",
        preset="calm",
    )


def quick(real: Kind, ipc: int) -> Recipe:
    """Minutes: two networks of two epochs, 150 iterations, and four parts in each of several grey images."""
    recipe = calm(real, ipc)
    return replace(recipe, method=CALM(count=2, epochs=2), iterations=150, decoder=coarser(real, ipc), preset="calm-quick")


def long(real: Kind, ipc: int) -> Recipe:
    """Hours: five networks of ten epochs, four times the iterations."""
    recipe = calm(real, ipc)
    return replace(recipe, method=CALM(count=5, epochs=10), iterations=4 * recipe.iterations, preset="calm-long")


def coarser(real: Kind, ipc: int) -> str:
    """The decoder for minutes: that of `fitting`, but four parts in each of several grey images."""
    decoder = fitting(real, ipc)
    return "grid:2" if decoder == "grid:4" and ipc > 1 else decoder


def fitting(real: Kind, ipc: int) -> str:
    """The decoder for so many images per class: of colour images the frequencies of 32 in a single one, of fewer in each of
    more; of grey ones grid:4 for few and grid:2 for many; plain where none can be.

    A stored image begins with a real one for each of its parts, so the smallest class decides too.
    """
    shape, members = real.shape, real.members
    if shape[0] == len(COLOURS):
        most = next((images for up_to, images in STORED if ipc <= up_to), REST)
        images = min(most, math.prod(shape) // NUMBERS, most if members is None else members // ipc)
        return f"dct:{images}" if images > 1 else PLAIN.word
    for parts in (4, 2) if ipc <= FEW else (2,):
        enough = members is None or ipc * parts**2 <= members
        if enough and all(side % parts == 0 and side // parts >= SMALLEST for side in shape[1:]):
            return f"grid:{parts}"
    return PLAIN.word
