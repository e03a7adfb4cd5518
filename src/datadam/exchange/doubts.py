"""Numbers that do not look like images under the normalisation that they are believed to have.

Letters: M images, C channels, H rows, W columns.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from datadam.data import Transform
from datadam.errors import ArtifactError

ODD = 0.25  # share of pixel values outside [0, 1] above which the normalisation is doubted aloud
LARGEST = 1e4  # of a pixel, where 1 is white: distilled ones go to 10 at times
NEARLY = 0.98  # share of the numbers that lie in the range of a kind: learned ones leave it a little
SLACK = 0.01  # of the width of a range, for numbers at its ends


class Kind(NamedTuple):
    """A way to write pixels that is no normalisation by a data set's statistics: the range `low` to `high`; what the smallest
    number must be `below`, and the largest size `reach`, to be taken for it; and the `mean` and `std` that say so."""

    low: float
    high: float
    below: float
    reach: float
    mean: float
    std: float


KINDS = (
    Kind(0, 1, 1, 0.05, 0, 1),  # normalised images have numbers below 0: whatever is darker than the mean
    Kind(-1, 1, -0.1, 0.8, 0.5, 0.5),  # and a third of them lies beyond 1
    Kind(0, 255, 255, 20, 0, 1 / 255),
)


def doubts(images: Tensor, transform: Transform, said: str, where: str, *, sure: bool, given: bool) -> list[str]:
    """Notes on images [M, C, H, W] under a normalisation that `said` names; refused when nothing could look like that.

    Arguments: `sure`, whether the normalisation is written down with the set; `given`, whether the user named it. Raises
    `ArtifactError`.
    """
    values = pixels(images, transform)
    if not float(values.abs().max()) < LARGEST:  # also for NaN
        raise ArtifactError(
            f"{where}: pixels of up to {float(values.abs().max()):.3g} come out under the normalisation of {said}, where 1 is "
            "white; no image looks like that: they are damaged, or normalised otherwise (--mean, --std, --zca)"
        )
    if not sure and not given and transform.zca is None and (kind := kind_of(images, transform)) is not None:
        mean, std = (",".join([f"{number:.6g}"] * len(transform.mean)) for number in (kind.mean, kind.std))
        return [
            f"the numbers lie in [{kind.low:g}, {kind.high:g}] (from {float(images.min()):.3g} to {float(images.max()):.3g}), as "
            "those of pixels that were not normalised by mean and deviation; they were read as normalised all the same (by "
            f"{said}), which makes other images of them. If they are such pixels, import again with --mean {mean} --std {std}"
        ]
    share = float(((values < -0.01) | (values > 1.01)).float().mean())
    if sure or share <= ODD:
        return []
    return [
        f"{100 * share:.0f} % of the pixel values lie outside [0, 1] (from {float(values.min()):.2f} to "
        f"{float(values.max()):.2f}) under the normalisation of {said}; if the images were whitened or normalised otherwise, say "
        "so with --zca, --mean, --std"
    ]


def kind_of(images: Tensor, transform: Transform) -> Kind | None:
    """What the numbers are instead of normalised ones, as far as their range tells; None where the normalisation explains it."""
    low, high = float(images.min()), float(images.max())
    for kind in KINDS:
        slack = SLACK * (kind.high - kind.low)
        inside = float(((images >= kind.low - slack) & (images <= kind.high + slack)).float().mean())
        reaches = low < kind.below and max(-low, high) >= kind.reach
        alike = all(
            abs(mean - kind.mean) < SLACK and abs(std / kind.std - 1) < SLACK
            for mean, std in zip(transform.mean, transform.std, strict=True)
        )
        if inside >= NEARLY and reaches:
            return None if alike else kind
    return None


def pixels(images: Tensor, transform: Transform) -> Tensor:
    """The pixels, not clamped, that images [M, C, H, W] in network space are."""
    x = transform.zca.invert(images) if transform.zca is not None else images
    mean, std = (torch.tensor(numbers)[:, None, None] for numbers in (transform.mean, transform.std))
    return x * std + mean
