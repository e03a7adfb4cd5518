"""CAFE as its authors released it (Wang et al., CVPR 2022), with augmentation as in the published rows."""

from datadam.distillation.presets.kind import Kind, as_released, strategy
from datadam.distillation.recipe import Recipe
from datadam.methods import CAFE


def cafe(real: Kind, ipc: int) -> Recipe:
    """CAFE with Siamese augmentation: 20 000 image steps (rate 0.1) from noise, networks trained as accuracies decide.

    The published 2 000 iterations are networks, each of at least 10 image steps; here an iteration is one image step. Published,
    CIFAR-10 ipc 1 / 10 / 50: 31.6 / 50.9 / 62.3 %.
    """
    words = strategy(real)
    return Recipe(
        method=CAFE(),
        ipc=ipc,
        net=as_released("instance", real),
        iterations=20_000,
        lr_images=0.1,
        start="noise",
        augment=words,
        normalisation="mtt",  # theirs too gives CIFAR-100 the numbers of CIFAR-10
        network_lr=0.01,
        network_momentum=0.0,
        network_decay=0.0,
        network_augment=words,
        preset="cafe",
    )
