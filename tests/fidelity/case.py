"""One small input, the same to the last bit on every machine: what released code, the formulas and datadam are given.

K classes, N synthetic and M real images of a class, B real images of an iteration, C channels, H x W pixels.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

K, N, M, B = 10, 2, 7, 4
SHAPE, WIDTH, DEPTH, STEPS = (3, 32, 32), 8, 3, 3
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
STRATEGY = "color_crop_cutout_flip_scale_rotate"
RATES = {"dm": 1.0, "official": 1.0, "paper": 1.0, "dc": 0.1, "dsa": 0.1, "cafe": 0.1}
EPOCHS = {"dc": 2, "dsa": 2, "cafe": 10}  # that a network trains on the synthetic set between two image steps
NORMS = {"official": "batch"}  # of the others: instance
GOLDEN = Path(__file__).with_name("golden.json")


def golden() -> dict[str, Any]:
    """What released code gave: `python benchmarks/released/beside.py --repos FOLDER --golden` writes it."""
    return json.loads(GOLDEN.read_text())  # type: ignore[no-any-return]


def bits(seed: int, count: int) -> npt.NDArray[np.uint64]:
    """Whole numbers of 64 bits that look random (splitmix64)."""
    with np.errstate(over="ignore"):
        x = (np.arange(1, count + 1, dtype=np.uint64) + np.uint64(seed) * np.uint64(1_000_003)) * np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))


def uniform(seed: int, *shape: int) -> Tensor:
    """Numbers of [0, 1) in float64."""
    return torch.from_numpy((bits(seed, int(np.prod(shape))) >> np.uint64(11)).astype(np.float64) / 2**53).reshape(shape)


def pixels() -> npt.NDArray[np.uint8]:
    """Real images [K*M, C, H, W], class after class."""
    return (bits(1, K * M * int(np.prod(SHAPE))) >> np.uint64(56)).astype(np.uint8).reshape(K * M, *SHAPE)


def real() -> Tensor:
    """The real images in network space, float64."""
    mean, std = (torch.tensor(numbers, dtype=torch.float64)[:, None, None] for numbers in (MEAN, STD))
    return (torch.from_numpy(pixels()).double() / 255 - mean) / std


def start() -> Tensor:
    """The first synthetic images [K*N, C, H, W]."""
    return 4 * uniform(2, K * N, *SHAPE) - 2


def weights(number: int, shapes: list[torch.Size]) -> list[Tensor]:
    """The weights of network `number`, in the order of its parameters; those of norm layers lie away from 1 and 0."""
    drawn = []
    for index, shape in enumerate(shapes):
        u = uniform(100 + 50 * number + index, *shape)
        matrix = len(shape) in (2, 4)
        before = shapes[index - 1] if index else shape
        if matrix:
            drawn.append((2 * u - 1) / (u[0].numel() ** 0.5))
        elif len(before) in (2, 4):  # the bias of a convolution or of the head
            drawn.append((2 * u - 1) / (before[1:].numel() ** 0.5))
        else:
            drawn.append(0.5 + u if len(shapes[index - 2]) in (2, 4) else u - 0.5)
    return drawn


def calls(method: str, step: int) -> int:
    """How many draws of a class's real images come before those of this image step: CAFE draws for its accuracies too."""
    return step * (2 + EPOCHS["cafe"]) if method == "cafe" else step


def chosen(k: int, call: int, count: int) -> npt.NDArray[np.int64]:
    """The rows of class k in draw number `call`."""
    return np.roll(np.arange(k * M, (k + 1) * M), -call)[:count]


def told(x: Tensor) -> list[float]:
    """Sixteen numbers that any change of x moves: its products with fixed vectors."""
    flat = x.detach().double().flatten()
    return (torch.stack([2 * uniform(900 + i, len(flat)) - 1 for i in range(16)]) @ flat).tolist()


def apart(found: list[float], expected: list[float]) -> float:
    """The largest difference, as a share of the largest number."""
    a, b = np.array(found), np.array(expected)
    return float(np.abs(a - b).max() / np.abs(b).max())
