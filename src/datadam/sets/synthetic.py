"""SyntheticSet: what is being learned, by name: stored images, and where a method learns them labels and a student rate.

Letters: K classes, M stored images, N training images that they decode to, C channels, H rows, W columns.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise

import torch
from torch import Tensor

from datadam.sets.decoders import PLAIN, Decoder

LEARNABLE = ("images", "labels", "rate", "rates")


@dataclass(frozen=True)
class SyntheticSet:
    """What a method learns, class after class.

    Arguments: `tensors`, by name: "images" [M, C, H, W], stored, in network space; where they are learned, "labels" [M, K],
    logits of a stored image's training images, and "rate" [], at which students learn, or "rates" [T], of each of T steps, which
    a finished set has the mean of; `classes`, their names; `counts`, stored
    images of each class; `decoder`, from stored images to training images.
    """

    tensors: dict[str, Tensor]
    classes: tuple[str, ...]
    counts: tuple[int, ...]
    decoder: Decoder = PLAIN

    @property
    def stored(self) -> Tensor:
        """The stored images [M, C, H, W]."""
        return self.tensors["images"]

    @cached_property
    def training_counts(self) -> tuple[int, ...]:
        """Training images of each class."""
        return tuple(count * self.decoder.each for count in self.counts)

    def rows(self, first: int, last: int) -> slice:
        """The rows of stored images of the classes first..last-1."""
        return slice(self._edges[first], self._edges[last])

    @cached_property
    def _edges(self) -> list[int]:
        return [0, *accumulate(self.counts)]

    def images(self, first: int = 0, last: int | None = None) -> Tensor:
        """The training images [N, C, H, W] of the classes first..last-1 (of all), differentiable."""
        last = len(self.classes) if last is None else last
        return self.decoder(self.stored[self.rows(first, last)])

    def labels(self, first: int = 0, last: int | None = None) -> Tensor:
        """Class numbers [N] of the training images, or their logits [N, K] where labels are learned."""
        last = len(self.classes) if last is None else last
        if "labels" in self.tensors:
            return self.tensors["labels"][self.rows(first, last)].repeat_interleave(self.decoder.each, 0)
        counts = torch.tensor(self.training_counts[first:last], device=self.stored.device)
        return torch.arange(first, last, device=self.stored.device).repeat_interleave(counts)

    def targets(self, first: int = 0, last: int | None = None) -> Tensor:
        """What a network trains towards: class numbers [N], or probabilities [N, K], the softmax of learned logits."""
        labels = self.labels(first, last)
        return labels.softmax(1) if "labels" in self.tensors else labels

    def first_rows(self, count: int) -> Tensor:
        """The rows of the first `count` stored images of each class, or of all that a class has."""
        pieces = [torch.arange(first, min(first + count, last)) for first, last in pairwise(self._edges)]
        return torch.cat(pieces).to(self.stored.device)

    def prefix(self, count: int) -> "SyntheticSet":
        """The first `count` stored images of each class alone, with their labels, and the rate as it is."""
        rows = self.first_rows(count)
        tensors = {name: tensor if name == "rate" else tensor[rows] for name, tensor in self.tensors.items()}
        return SyntheticSet(tensors, self.classes, tuple(min(count, many) for many in self.counts), self.decoder)

    def with_tensors(self, tensors: dict[str, Tensor]) -> "SyntheticSet":
        """The same set with other tensors in their places."""
        return SyntheticSet(self.tensors | tensors, self.classes, self.counts, self.decoder)

    def leaves(self, names: frozenset[str]) -> "SyntheticSet":
        """The same numbers, of which those named take gradients."""
        return self.with_tensors({name: self.tensors[name].detach().requires_grad_() for name in names})
