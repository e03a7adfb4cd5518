"""FRePo as its authors released it (Zhou, Nezhadarya and Ba, NeurIPS 2022)."""

from datadam.distillation.presets.kind import CLASSES, Kind, as_released, of_each, strategy
from datadam.distillation.recipe import Recipe
from datadam.methods import FRePo

REAL = 1024  # real images of an iteration, of all classes


def frepo(real: Kind, ipc: int) -> Recipe:
    """FRePo: 500 000 iterations of LAMB (rate 3e-4) with 1 024 real images, a pool of ten networks with batch norm.

    The released ConvNet doubles its channels with each block, 128, 256, 512. Mirrored copies stand in the kernel except for
    digits and grey images, and for CIFAR-100 and Tiny ImageNet above 1 image per class. Grey images are not whitened; the
    released whitening adds a tenth of the mean variance, ours 0.1.
    Published, CIFAR-10 ipc 1 / 10 / 50: 46.8 / 65.5 / 71.7 %, by squared error on networks without norm.
    """
    grey, mirrors = real.shape[0] == 1, "flip" in strategy(real) and not (real.name in CLASSES and ipc > 1)
    return Recipe(
        method=FRePo(mirror=int(mirrors and not grey)),
        ipc=ipc,
        net=as_released("batch", real, "auto:channels=doubled"),
        iterations=500_000,
        batch_real=of_each(REAL, real),
        lr_images=3e-4,
        momentum=0.9,
        optimizer="lamb",
        augment="none",
        zca="none" if grey else "official",
        preset="frepo",
    )
