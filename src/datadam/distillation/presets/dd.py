"""DD as its authors released it (Wang et al., 2018)."""

from datadam.distillation.presets.kind import Kind, of_each
from datadam.distillation.recipe import Recipe
from datadam.methods import DD

REAL = 1024  # real images of an iteration, of all classes
ITERATIONS = 400 * 49  # 400 passes over 50 000 real images


def dd(real: Kind, ipc: int) -> Recipe:
    """DD: a step for each image of a class, three times over, from noise, by Adam (rate 0.01, beta_1 0.5), new weights each time.

    Here one rate is learned for all steps, that a set carries to its students; --set rates=each learns one for each step, as the
    released code does.

    LeNet for one channel and AlexNet without norm for three, with Xavier's weights; the first rate is 0.02, for AlexNet 0.001.
    Published, ipc 10: MNIST 79.5 %, CIFAR-10 36.8 %.
    """
    grey = real.shape[0] == 1
    return Recipe(
        method=DD(rate=0.02 if grey else 0.001, lr_rate=2e-4 if grey else 1e-5), ipc=ipc, net="lenet" if grey else "alexnet",
        iterations=ITERATIONS, batch_real=of_each(REAL, real), lr_images=0.01, momentum=0.5,
        optimizer="adam", start="noise", augment="none", normalisation="field", init="xavier", preset="dd",
    )  # fmt: skip
