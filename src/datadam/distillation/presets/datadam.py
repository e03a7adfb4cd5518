"""DataDAM's settings: as the paper states them, as the authors released them, ours, and the course report's.

What each has measured stands in docs/methods/datadam.md.
"""

from dataclasses import replace

from datadam.distillation.presets.kind import Kind, as_released, strategy
from datadam.distillation.recipe import Recipe
from datadam.methods import DataDAM

CIFAR = ("cifar10", "cifar100")


def paper(real: Kind, ipc: int) -> Recipe:
    """The paper's Table 10, literally: p = 4, s = 1, instance norm, ZCA on CIFAR. Its loss pulls weakly.

    Published, CIFAR-10 ipc 1 / 10 / 50: 32.0 / 54.2 / 67.0 %.
    """
    large = min(real.shape[1:]) >= 64
    return Recipe(
        method=DataDAM(power=4.0, task_balance=0.02 if large else 0.01, scale=1.0),
        ipc=ipc,
        iterations=8000,
        batch_real=256,
        lr_images=1.0 if ipc <= 50 else 10.0,
        augment=strategy(real),
        zca="kornia" if real.name in CIFAR else "none",
        protocol="paper",
        preset="paper",
    )


def official(real: Kind, ipc: int) -> Recipe:
    """The authors' released code: p = 1, s = 100, batch norm over all classes mixed, 64 real images, 20 000 iterations."""
    return Recipe(
        method=DataDAM(power=1.0, task_balance=0.01, scale=100.0),
        ipc=ipc,
        net=as_released("batch", real, "convnet6" if min(real.shape[1:]) == 128 else "auto"),
        iterations=20_000,
        batch_real=64,
        lr_images=1.0,
        augment=strategy(real),
        normalisation="field",
        protocol="official",
        preset="official",
    )


def datadam(real: Kind, ipc: int) -> Recipe:
    """Our default: the paper's settings with the loss scale of 100 of the released code."""
    return replace(paper(real, ipc).change({"scale": 100.0}), protocol="honest", preset="datadam")


def course_mnist(real: Kind, ipc: int) -> Recipe:
    """The course report on MNIST: 100 networks of 10 iterations each, lr_images 0.1, 256 real images.

    Published, MNIST ipc 10: 88.36 % from real images, 37.87 % from noise.
    """
    return replace(
        datadam(real, ipc),
        method=DataDAM(power=4.0, task_balance=0.01, scale=1.0),
        net="convnet3",
        iterations=1000,
        iterations_per_network=10,
        network_steps=50,
        network_lr=0.01,
        lr_images=0.1,
        batch_real=256,
        zca="none",
        preset="course-mnist",
    )


def course_mhist(real: Kind, ipc: int) -> Recipe:
    """The course report on MHIST (224x224): 200 networks of 10 iterations, batch 128, ConvNet-7 of width 32.

    Published, MHIST ipc 50: 60.69 % from real images, 47.19 % from noise.
    """
    return replace(course_mnist(real, ipc), net="convnet7:width=32", iterations=2000, batch_real=128, preset="course-mhist")
