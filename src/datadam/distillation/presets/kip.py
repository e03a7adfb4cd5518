"""KIP as its authors released it (Nguyen, Chen and Lee, ICLR 2021)."""

from datadam.distillation.presets.kind import Kind, of_each
from datadam.distillation.recipe import Recipe
from datadam.methods import KIP

REAL = 5000  # real images of an iteration, of all classes


def kip(real: Kind, ipc: int) -> Recipe:
    """KIP by the tangent kernel of one hidden layer: Adam (rate 0.04) from real images, 5 000 of the real ones, class numbers
    stay.

    The released notebook shows 300 iterations. Published for the convolutional kernels of the second paper, with learned labels
    and students of 1 024 channels, CIFAR-10 ipc 1 / 10 / 50: 49.9 / 62.7 / 68.6 %; with students of 128: 29.8 / 46.1 / 53.2 %.
    """
    return Recipe(
        method=KIP(), ipc=ipc, iterations=300, batch_real=of_each(REAL, real), lr_images=0.04,
        momentum=0.9, optimizer="adam", augment="none", preset="kip",
    )  # fmt: skip
