"""Write the training part of a named data set as an .npz file of its own, of which every tenth image of a class is the test part.

    python results/held_out.py cifar10 --root DATA --out cifar10-held-out.npz

Settings are chosen on it, so that the test part of the named set stays unseen until a number is reported.
"""

import argparse
from pathlib import Path

import numpy as np

import datadam

EVERY = 10


def held_out(labels: np.ndarray) -> np.ndarray:
    """[N] bool: of the images of each class, in their order, every tenth."""
    chosen = np.zeros(len(labels), dtype=bool)
    for k in np.unique(labels):
        chosen[np.flatnonzero(labels == k)[::EVERY]] = True
    return chosen


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("name")
    parser.add_argument("--root", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    real = datadam.load(asked.name, **({"root": asked.root} if asked.root else {}))
    pixels, labels = real.train.pixels.transpose(0, 2, 3, 1), np.asarray(real.train.labels)
    test = held_out(labels)
    np.savez(
        asked.out, x_train=pixels[~test], y_train=labels[~test], x_test=pixels[test], y_test=labels[test],
        class_names=np.array(real.classes),
    )  # fmt: skip
