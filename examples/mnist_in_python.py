"""Distil MNIST from Python and judge the result beside random images: python examples/mnist_in_python.py"""

import argparse

import datadam
from datadam.evaluation.protocols import CATALOG as PROTOCOLS

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--ipc", type=int, default=10, help="images per class")
parser.add_argument("--iterations", type=int, default=200)
parser.add_argument("--batch-real", type=int, default=64, help="real images per class and iteration")
parser.add_argument("--net", default="auto", help="matching network, such as convnet3:width=64")
parser.add_argument("--students", type=int, default=2)
parser.add_argument("--epochs", type=int, default=200, help="of each student; the protocol asks for 1000")
parser.add_argument("--out", default="runs/mnist-in-python")
asked = parser.parse_args()

real = datadam.load("mnist")

# The bar that must be passed: random real images, as many, judged by the same code.
random = datadam.distill(real, datadam.preset("random", real, ipc=asked.ipc).change({"net": asked.net}))

# `datadam.distill(real, recipe, out=...)` does the same in one call; this way the steps can be watched.
settings = {"iterations": asked.iterations, "batch_real": asked.batch_real, "net": asked.net}
recipe = datadam.preset("datadam", real, ipc=asked.ipc).change(settings)
run = datadam.begin(real, recipe, out=asked.out, overwrite=True)
for step in run.steps():
    if step.iteration % 50 == 0 or step.iteration == step.iterations:
        print(f"iteration {step.iteration} of {step.iterations}, loss {step.loss:.3g}, a pixel moved {step.moved:.3f}")
small = run.result()

protocol = PROTOCOLS["honest"].with_epochs(asked.epochs)
for images in (small, random):
    print(datadam.evaluate(images, real, protocol=protocol, students=asked.students))
print(f"The images: {asked.out}/preview.png")
