"""How near the synthetic images lie to real training images, against how near real images lie to one another.

Letters: M synthetic images, N training images, Q queries, D numbers of an image, P pairs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from datadam.data import RealData
from datadam.data.nearest import nearest
from datadam.evaluation.statistics import wilson

NEIGHBOURS = 50  # whose mean distance the nearest one is compared with, as Carlini et al. (USENIX Security 2023) do
PIECE = 1 << 28  # bytes of training images, as they are compared, held at once
BLOCK = 1 << 29  # bytes of queries compared at once, for which all training images are gone through
QUANTILES = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
LIMITS = {"1": 0.01, "5": 0.05}  # per cent of unseen real images that lie nearer
HALF_LEVEL = 0.5 / 255  # an image nearer than this a pixel is the same picture in eight bits
CLOSEST = 20  # pairs kept to be shown
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Near:
    """The nearest training image of each query: `distance` [Q], `index` [Q], and `relative` [Q], the distance divided by the mean
    of those of the `NEIGHBOURS` nearest: near 1 for an image among others, near 0 for a copy."""

    distance: Floats
    index: Ints
    relative: Floats


@dataclass(frozen=True)
class Space:
    """What is near in one space: pixels, or a network's features.

    `synthetic` and `start` (None where no start image is kept) among all training images; `train`, a sample of training images
    among the others; `test`, a sample of test images, which nothing has learned from.
    """

    synthetic: Near
    start: Near | None
    train: Near
    test: Near

    def to_json(self) -> dict[str, Any]:
        """Quantiles of all distances, and how many synthetic images lie nearer than most unseen real ones."""
        groups = {"synthetic": self.synthetic, "start": self.start, "train": self.train, "test": self.test}
        return {
            "quantiles": list(QUANTILES),
            "distance": {name: _quantiles(near.distance) if near else None for name, near in groups.items()},
            "relative": {name: _quantiles(near.relative) if near else None for name, near in groups.items()},
            "nearer": {name: _nearer(self.synthetic.distance, self.test.distance, q) for name, q in LIMITS.items()},
            "relatively_nearer": {name: _nearer(self.synthetic.relative, self.test.relative, q) for name, q in LIMITS.items()},
        }


def compare(
    rows: Callable[[Tensor], Tensor],
    count: int,
    width: int,
    *,
    synthetic: Tensor,
    start: Tensor | None,
    train: Ints,
    test: Tensor,
) -> Space:
    """The nearest training images of all that is asked about.

    Arguments: `rows`, the numbers [n, D] of training images by their indices [n]; `count` of them (N) and `width` (D);
    `synthetic` [M, D]; `start` [M, D] or None; `train`, indices of training images; `test`, numbers [.., D] of test images.
    """
    own = rows(torch.from_numpy(train))
    parts = [synthetic, *([start] if start is not None else []), own, test]
    but = torch.full((sum(map(len, parts)),), -1)
    first = len(but) - len(test) - len(own)
    but[first : first + len(own)] = torch.from_numpy(train)
    k = min(NEIGHBOURS, count - 1)
    block = max(1, BLOCK // (8 * width))
    blocks = zip(torch.cat(parts).split(block), but.split(block), strict=True)
    distances, indices = (
        torch.cat(both) for both in zip(*(_merged(q, rows, count, width, k, b) for q, b in blocks), strict=True)
    )
    mean = distances.mean(1)
    relative = torch.where(mean > 0, distances[:, 0] / mean.clamp(min=1e-300), torch.zeros_like(mean))
    found, place = [], 0
    for part in parts:
        here = slice(place, place := place + len(part))
        found.append(Near(distances[here, 0].numpy(), indices[here, 0].numpy(), relative[here].numpy()))
    return Space(found[0], found[1] if start is not None else None, found[-2], found[-1])


def _merged(
    queries: Tensor, rows: Callable[[Tensor], Tensor], count: int, width: int, k: int, but: Tensor
) -> tuple[Tensor, Tensor]:
    """The k nearest of all training images, whose numbers are held piece by piece."""
    pieces = max(1, min(-(-count * width * 4 // PIECE), count // (k + 1)))
    found: list[tuple[Tensor, Tensor]] = []
    for part in torch.arange(count).tensor_split(pieces):
        inside = (but >= part[0]) & (but <= part[-1])
        distances, indices = nearest(queries, rows(part), k, but=torch.where(inside, but - part[0], -1))
        found.append((distances, indices + part[0]))
    distances, indices = (torch.cat(both, 1) for both in zip(*found, strict=True))
    order = distances.sort(dim=1, stable=True).indices[:, :k]
    return distances.gather(1, order), indices.gather(1, order)


def pixels_of(real: RealData) -> Callable[[Tensor], Tensor]:
    """`rows` of `compare` in true colours, [n, C * H * W] in [0, 1]."""
    return lambda chosen: torch.from_numpy(np.array(real.train.pixels[chosen.numpy()])).flatten(1).float() / 255


def located(near: Near, width: int) -> Ints:
    """For each start or synthetic image [M] the training image that it is, to half a grey level a pixel; -1 where it is none."""
    return np.where(near.distance <= HALF_LEVEL * width**0.5, near.index, -1)


def start_report(space: Space, features: Space, synthetic: Tensor, start: Tensor, began_as: Ints) -> dict[str, Any]:
    """How far the images went, and whether the nearest real image is still the one they began with.

    Arguments: `synthetic` and `start` [M, D] in pixels; `began_as` [M], see `located`.
    """
    went = (synthetic.double() - start.double()).norm(dim=1).numpy()
    known = began_as >= 0
    still = {
        name: wilson(int((one.synthetic.index == began_as)[known].sum()), int(known.sum())).to_json() if known.any() else None
        for name, one in (("pixels", space), ("features", features))
    }
    return {"found": int(known.sum()), "images": len(began_as), "went": _quantiles(went), "still_nearest": still}


def closest(space: Space, features: Space, labels: Ints, real_labels: Ints, began_as: Ints) -> list[dict[str, Any]]:
    """The pairs [P] of synthetic and real image that are nearest for their surroundings in pixels, nearest first."""
    near = space.synthetic
    return [
        {
            "image": int(m), "label": int(labels[m]), "real": int(near.index[m]), "real_label": int(real_labels[near.index[m]]),
            "distance": float(near.distance[m]), "relative": float(near.relative[m]),
            "features": {"real": int(features.synthetic.index[m]), "distance": float(features.synthetic.distance[m]),
                         "relative": float(features.synthetic.relative[m])},
            "is_start": bool(began_as[m] == near.index[m]) if began_as[m] >= 0 else None,
        }
        for m in np.lexsort((near.distance, near.relative))[:CLOSEST]
    ]  # fmt: skip


def copies(near: Near, width: int) -> int:
    """How many images are a training image, to half a grey level a pixel."""
    return int((near.distance <= HALF_LEVEL * width**0.5).sum())


def _quantiles(values: Floats) -> list[float]:
    return [float(q) for q in np.quantile(values, QUANTILES)]


def _nearer(values: Floats, unseen: Floats, share: float) -> dict[str, Any]:
    """The share of values below that quantile of what unseen images have, which it would be itself if they were alike."""
    limit = float(np.quantile(unseen, share))
    hits = int((values < limit).sum())
    return wilson(hits, len(values)).to_json() | {"count": hits, "of": len(values), "limit": limit}
