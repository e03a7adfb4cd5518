"""What one network sees: features and attention maps of synthetic images, of real ones, and of random real sets of equal count.

Letters: N images looked at, K classes, D of them drawn, G groups (see `LookRow`), E numbers of the embedding.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

import torch
from torch import Tensor

from datadam.data import RealData
from datadam.inspection.attention import Means, maps_of
from datadam.inspection.sample import Sample
from datadam.machine import images_at_once
from datadam.nets import Network
from datadam.sets.distilled import DistilledSet

DRAWN = 10  # classes that pictures show


class LookRow(IntEnum):
    """Groups of images; those above are draws of random real images."""

    REAL = 0
    SYNTHETIC = 1


@dataclass(frozen=True)
class Looked:
    """Of N images the `group`, the `place` of the class in the sample and the `embedding` [N, E]; of every block the class means
    of maps, `means` [G, K, h, w], and `singles` [2, D, h, w], the maps of a class's first real and first synthetic image."""

    group: Tensor
    place: Tensor
    embedding: Tensor
    means: list[Tensor]
    singles: list[Tensor]


class Look:
    """Everything that is looked at, the same through every network.

    Arguments: the set, whose training images are looked at; the data, in the set's network space; the sample; `power`, p of
    attention maps.
    """

    def __init__(self, distilled: DistilledSet, real: RealData, sample: Sample, power: float) -> None:
        self.real, self.sample, self.power = real, sample, power
        self.images, numbers = distilled.training_images, distilled.training_numbers
        own = [(numbers == k).nonzero()[:, 0] for k in sample.classes]
        sources = [sample.reference, own, *sample.draws]
        self.index = torch.cat([some for rows in sources for some in rows])
        sizes = torch.tensor([[len(some) for some in rows] for rows in sources])
        groups, classes = sizes.shape
        self.group = torch.arange(groups).repeat_interleave(sizes.sum(1))
        self.place = torch.arange(classes).repeat(groups).repeat_interleave(sizes.flatten())
        starts = (sizes.flatten().cumsum(0) - sizes.flatten()).view(groups, classes)
        self.firsts = starts[: LookRow.SYNTHETIC + 1, :DRAWN]  # [2, D]
        self.shape = groups, classes

    @torch.no_grad()
    def through(self, network: Network) -> Looked:
        """Everything through one network, which must not couple images now."""
        means, embeddings, kept = Means(*self.shape), [], dict[int, list[Tensor]]()
        wanted = set(self.firsts.flatten().tolist())
        for rows, images in self._batches():
            features = network.features(images)
            maps = [maps_of(block, self.power) for block in features.blocks]
            embeddings.append(features.embedding.float())
            if maps:
                means.add(maps, self.group[rows], self.place[rows])
            for number, row in enumerate(rows.tolist()):
                if row in wanted:
                    kept[row] = [one[number] for one in maps]
        blocks = len(means.sums)
        singles = [
            torch.stack([torch.stack([kept[row][b] for row in rows]) for rows in self.firsts.tolist()]) for b in range(blocks)
        ]
        return Looked(self.group, self.place, torch.cat(embeddings), means.means() if blocks else [], singles)

    def of(self, seen: Looked, group: int) -> list[Tensor]:
        """The embeddings of a group, class by class."""
        return [seen.embedding[(seen.group == group) & (seen.place == place)] for place in range(self.shape[1])]

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        for rows in torch.arange(len(self.index)).split(images_at_once(self.real.shape)):
            ours = self.group[rows] == LookRow.SYNTHETIC
            images = torch.empty(len(rows), *self.real.shape)
            images[ours] = self.images[self.index[rows[ours]]]
            images[~ours] = self.real.images(self.index[rows[~ours]])
            yield rows, images
