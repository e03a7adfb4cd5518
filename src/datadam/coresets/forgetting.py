"""Forgetting events (Toneva et al., ICLR 2019): the images that a network in training keeps unlearning.

    forgotten(x) = number of times that x, when it came in a batch, was wrong after it had been right the time before

An image that was never right counts as forgotten infinitely often. The most forgotten are taken; of equally forgotten ones the
first (see `Insight.members`). Departure: none known; like the paper's, a look at an image is its turn in the batches, before the
step, and so costs nothing beside the training.
Letters: N images, B images of a batch.
"""

import torch
from torch import Tensor

DESCRIPTION = "real images that a network in training forgets most often"
CITATION = """@inproceedings{toneva2019empirical,
  title={An Empirical Study of Example Forgetting during Deep Neural Network Learning},
  author={Toneva, Mariya and Sordoni, Alessandro and Tachet des Combes, Remi and Trischler, Adam and Bengio, Yoshua
          and Gordon, Geoffrey J.}, booktitle={ICLR}, year={2019}}"""


class History:
    """Counts as the looks come: `forgotten` int32 [N], and `learned` bool [N], whether an image was ever right."""

    def __init__(self, images: int) -> None:
        self.forgotten = torch.zeros(images, dtype=torch.int32)
        self.learned = torch.zeros(images, dtype=torch.bool)
        self._right = torch.zeros(images, dtype=torch.bool)

    def see(self, images: Tensor, right: Tensor) -> None:
        """Some different images [B] have just been classified, `right` [B] or wrong."""
        self.forgotten[images] += (self._right[images] & ~right).int()
        self.learned[images] |= right
        self._right[images] = right


def most_forgotten(forgotten: Tensor, learned: Tensor, count: int) -> Tensor:
    """Row numbers [count] by falling number of forgetting events; never learned is infinitely often, and ties keep the order."""
    times = torch.where(learned, forgotten.double(), torch.inf)
    return times.argsort(descending=True, stable=True)[:count]
