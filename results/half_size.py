"""Write a named data set with sides half as long, each pixel the mean of four, as an .npz file that every command reads.

    python results/half_size.py cifar10 --root DATA --out cifar10-16.npz

A search over dozens of networks takes a quarter of the arithmetic on such images; it is another, easier to afford data set.
"""

import argparse
from pathlib import Path

import numpy as np

import datadam
from datadam.data.real import Split


def halved(part: Split) -> np.ndarray:
    """Pixels [N, H/2, W/2, C], uint8, rounded."""
    n, c, h, w = part.pixels.shape
    cells = part.pixels.reshape(n, c, h // 2, 2, w // 2, 2)
    return np.rint(cells.mean((3, 5), dtype=np.float32)).astype(np.uint8).transpose(0, 2, 3, 1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("name")
    parser.add_argument("--root", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    real = datadam.load(asked.name, **({"root": asked.root} if asked.root else {}))
    np.savez(
        asked.out, x_train=halved(real.train), y_train=real.train.labels, x_test=halved(real.test), y_test=real.test.labels,
        class_names=np.array(real.classes),
    )  # fmt: skip
