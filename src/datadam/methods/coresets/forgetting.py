"""Forgetting events (Toneva et al., ICLR 2019): the images that a network in training keeps unlearning.

    forgotten(x) = number of times that x, when it came in a batch, was wrong after it had been right the time before

An image that was never right counts as forgotten infinitely often. The most forgotten are taken; of equally forgotten ones the
first (see `Insight.members`). Departure: none known; like the paper's, a look at an image is its turn in the batches, before the
step, and so costs nothing beside the training.
Letters: N images, B images of a batch.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from datadam.methods.coresets.base import EPOCHS, Coreset, require_count
from datadam.settings import refuse
from datadam.training.insight import TRAINING, Insight, Requirement, trained

DESCRIPTION = "real images that a network in training forgets most often"
CITATION = """@inproceedings{toneva2019empirical,
  title={An Empirical Study of Example Forgetting during Deep Neural Network Learning},
  author={Toneva, Mariya and Sordoni, Alessandro and Tachet des Combes, Remi and Trischler, Adam and Bengio, Yoshua
          and Gordon, Geoffrey J.}, booktitle={ICLR}, year={2019}}"""


def most_forgotten(forgotten: Tensor, learned: Tensor, count: int) -> Tensor:
    """Row numbers [count] by falling number of forgetting events; never learned is infinitely often, and ties keep the order."""
    times = torch.where(learned, forgotten.double(), torch.inf)
    return times.argsort(descending=True, stable=True)[:count]


@dataclass(frozen=True, kw_only=True)
class Forgetting(Coreset):
    """The most often forgotten images. `epochs` of the training that is watched. Raises `InvalidInput`."""

    epochs: int = EPOCHS

    name: ClassVar[str] = "forgetting"
    description: ClassVar[str] = DESCRIPTION
    citation: ClassVar[str] = CITATION

    def __post_init__(self) -> None:
        faults: list[str] = []
        require_count("epochs", self.epochs, faults)
        refuse(faults)

    @property
    def behind(self) -> tuple[Requirement, ...]:
        return (Requirement(TRAINING, 0, trained(self.epochs)),)

    def rows(self, insight: Insight, k: int, count: int) -> Tensor:
        return most_forgotten(*insight.forgetting(k, self.epochs), count)
