"""LD as its authors released it (Bohdal, Yang and Hospedales, 2020)."""

from datadam.distillation.presets.kind import CLASSES, Kind, of_each
from datadam.distillation.recipe import Recipe
from datadam.methods import LD

REAL = 1024  # real images of an iteration, of all classes
BATCH = {1: 10, 2: 10, 5: 25}  # of the synthetic images, by ipc, for ten classes; above, 50
ITERATIONS = 400 * 44  # 400 passes over 45 000 real images


def ld(real: Kind, ipc: int) -> Recipe:
    """LD by look-ahead: labels of fixed real images, one step of rate 0.01 on 50 of them, 400 passes over the real set.

    Published, ipc 1 / 10 / 50: MNIST 60.9 / 87.3 / 93.3 %, CIFAR-10 25.7 / 38.3 / 42.5 %, by LeNet and AlexNet without norm.
    """
    inner = CLASSES.get(real.name) or BATCH.get(ipc, 50)
    return Recipe(
        method=LD(inner_batch=inner), ipc=ipc, net="lenet" if real.shape[0] == 1 else "alexnet", iterations=ITERATIONS,
        batch_real=of_each(REAL, real), lr_images=0.001, momentum=0.9, optimizer="adam", augment="none",
        normalisation="field", preset="ld",
    )  # fmt: skip
