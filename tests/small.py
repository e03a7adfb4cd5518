"""Small data that many tests share."""

import numpy as np

import datadam
from datadam.data import RealData


def make_real(
    classes: int = 3, per_class: int | tuple[int, ...] = 12, shape: tuple[int, int, int] = (3, 8, 8), seed: int = 0
) -> RealData:
    """Coloured stripes in noise: each class has its own direction and colour, so that a network can learn it."""
    rng = np.random.default_rng(seed)
    sizes = (per_class,) * classes if isinstance(per_class, int) else per_class
    c, h, w = shape

    def part(sizes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        labels = np.repeat(np.arange(len(sizes)), sizes)
        y, x = np.mgrid[:h, :w]
        waves = np.stack([np.sin(x * (k + 1) * 0.7 + y * (len(sizes) - k) * 0.4) for k in range(len(sizes))])
        tint = np.linspace(0.5, 1.0, c)
        pixels = 110 + 60 * waves[labels][:, None] * tint[None, :, None, None] + rng.normal(0, 25, (len(labels), c, h, w))
        order = rng.permutation(len(labels))
        return pixels.clip(0, 255).astype(np.uint8)[order], labels[order]

    x_train, y_train = part(sizes)
    x_test, y_test = part((6,) * len(sizes))
    return datadam.load((x_train, y_train, x_test, y_test))
