"""Which real images are looked at: a few of each class, drawn by the seed.

Letters: K classes, n images of a class.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from datadam.data import RealData
from datadam.rng import stream

CLASSES = 100  # at most; of more, every so many
PIXELS = 2000 * 96 * 96  # of all real images that are looked at: larger images are fewer
DRAWS = 5  # sets of random real images, none of which shares an image with another


@dataclass(frozen=True)
class Sample:
    """`classes`: the class numbers looked at; `reference`: for each of them indices of training images; `draws`: sets of as many
    other training images of each class as were asked for, [draws][class] -> indices, none where a class has too few images."""

    classes: list[int]
    reference: list[Tensor]
    draws: list[list[Tensor]]

    @classmethod
    def of(cls, real: RealData, counts: Sequence[int], count: int, seed: int) -> "Sample":
        """About `count` reference images over all classes, and up to `DRAWS` sets of `counts` [K] random ones of each class."""
        every = len(real.classes)
        classes = sorted({round(i * (every - 1) / max(1, min(every, CLASSES) - 1)) for i in range(min(every, CLASSES))})
        each = max(2, min(count, PIXELS // (real.shape[1] * real.shape[2])) // len(classes))
        reference, others = [], []
        for k in classes:
            members = torch.from_numpy(real.by_class[k])
            shuffled = members[torch.randperm(len(members), generator=stream(seed, "inspect", "sample", real.classes[k]))]
            spare = min(len(members) // 2, max(counts[k], min(DRAWS * counts[k], each)))
            reference.append(shuffled[spare : spare + each].sort().values)
            others.append(shuffled[:spare])
        drawn = [(other, counts[k]) for k, other in zip(classes, others, strict=True)]
        draws = min(DRAWS, *(len(other) // some for other, some in drawn))
        return cls(classes, reference, [[other[d * n : (d + 1) * n] for other, n in drawn] for d in range(draws)])
