"""The feature-matching engine: class means of descriptors on both sides, and the gradient of their distance.

The real side takes no gradient and needs only class means, so it streams in chunks; the synthetic side is differentiated group
by group of classes. Memory is constant in the number of classes wherever the network looks at one image at a time, but for the
class means where several iterations share them. A network that couples images (batch norm) runs once over all classes in class
order, real and synthetic apart.

Letters: K classes, G classes of a group, B real images of a class, N synthetic images of a class, D numbers of a descriptor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from datadam.augment.siamese import Augmentation
from datadam.machine import compiled, even_chunk, images_at_once
from datadam.methods.draw import Draw
from datadam.methods.gradient import Gradient
from datadam.methods.plan import Plan
from datadam.nets import Features, Network
from datadam.rng import carry
from datadam.sets.synthetic import SyntheticSet

if TYPE_CHECKING:
    from datadam.methods.base import FeatureMatching

Sums = Callable[[Network, Tensor, tuple[int, ...]], list[Tensor]]


def descriptor_sums(method: FeatureMatching, network: Network, images: Tensor, sizes: tuple[int, ...]) -> list[Tensor]:
    """Sums [G, D_i] of descriptors over the images of each class; `sizes` are the images of each class in order."""
    features = network.features(images) if method.needs_network else Features((), images.flatten(1), images)
    descriptors = method.descriptors(features)
    if method.reads_labels:
        descriptors = [*descriptors, network.head(features.embedding).to(images.dtype).log_softmax(1)]
    descriptors = [d.to(images.dtype) for d in descriptors]  # summed in full precision
    if len(set(sizes)) == 1:
        return [d.unflatten(0, (len(sizes), sizes[0])).sum(1) for d in descriptors]
    return [torch.stack([part.sum(0) for part in d.split(list(sizes))]) for d in descriptors]


class Engine:
    """Computes losses and gradients of one method for one run.

    Arguments: `method`; `plan`, see `Plan`; `precision` of the real side, and of the synthetic one of a `coarse` method:
    "float32" (the images' own type) or "bfloat16"; `device`, where it will run.
    """

    def __init__(self, method: FeatureMatching, plan: Plan, precision: str = "float32", device: str = "cpu") -> None:
        self.method, self.plan, self.precision = method, plan, precision
        self.of_draw: tuple[int, dict[tuple[int, int], list[Tensor]]] = -1, {}  # real means of one draw, by group

        def sums(network: Network, images: Tensor, sizes: tuple[int, ...]) -> list[Tensor]:
            return descriptor_sums(method, network, images, sizes)

        self.sums: Sums = compiled(sums, device) if plan.compiled else sums
        # convolutions are fastest with the channels of a pixel side by side; uncompiled instance norm is slower so
        self.layout = torch.channels_last if plan.compiled else torch.contiguous_format

    def gradient(self, synthetic: SyntheticSet, draw: Draw, *, norms: bool) -> Gradient:
        """The gradient of the loss with respect to the images; with `norms`, that of each term alone is measured too."""
        network = draw.network() if self.method.needs_network else draw.source.network
        gradient = torch.empty_like(synthetic.stored)
        terms: dict[str, list[Tensor]] = {}
        squares: dict[str, float] = {}
        training_counts = synthetic.training_counts
        for first, last in self._groups(synthetic, draw, network):
            augmentations = [draw.augmentation(k) for k in range(first, last)]
            real = self._shared_means(draw, network, first, last, augmentations)
            rows, counts = synthetic.rows(first, last), tuple(map(draw.synthetic_count, training_counts[first:last]))
            parts = [draw.synthetic(k, training_counts[k]) for k in range(first, last)]
            stored = synthetic.stored[rows].detach().requires_grad_()

            def compare(
                stored: Tensor = stored,
                counts: tuple[int, ...] = counts,
                first: int = first,
                parts: list[Tensor | None] = parts,
                augmentations: list[Augmentation | None] = augmentations,
                real: list[Tensor] = real,
            ) -> dict[str, Tensor]:
                images = looked_at(synthetic, stored, first, parts)
                augmented = [augment(a, x) for a, x in zip(augmentations, images, strict=True)]
                together = torch.cat(augmented).contiguous(memory_format=self.layout)
                with self._precision(together.device) if self.method.coarse else nullcontext():
                    sums = self.sums(network, together, counts)
                return self.method.terms(real, self._means(sums, counts, first))

            found = compare()
            rest = torch.autograd.grad(torch.stack(list(found.values())).sum(), stored)[0]
            gradient[rows] = rest
            for name, value in found.items():
                terms.setdefault(name, []).append(value.detach())
            if norms:
                *others, final = found
                for name in others:
                    alone = torch.autograd.grad(compare()[name].sum(), stored)[0]
                    squares[name] = squares.get(name, 0.0) + float(alone.square().sum())
                    rest = rest - alone
                squares[final] = squares.get(final, 0.0) + float(rest.square().sum())
        return Gradient(
            {"images": gradient}, {k: torch.cat(v) for k, v in terms.items()}, {k: v**0.5 for k, v in squares.items()}
        )

    def _groups(self, synthetic: SyntheticSet, draw: Draw, network: Network) -> Iterator[tuple[int, int]]:
        """Runs of classes (first, last + 1) whose images go through the network together."""
        total = len(synthetic.classes)
        if self._couples(network):
            yield 0, total
            return
        synthetic_counts = [draw.synthetic_count(count) for count in synthetic.training_counts]
        counts = {max(draw.real_count(k), synthetic_counts[k]) for k in range(total)}
        if len(counts) == 1:  # even groups, so that there are few sizes to compile for
            most = max(1, self.plan.chunk // counts.pop())
            groups = -(-total // most)
            for group in range(groups):
                yield total * group // groups, total * (group + 1) // groups
            return
        first = 0
        while first < total:
            last, images = first, 0
            while last < total:
                images += max(draw.real_count(last), synthetic_counts[last])
                if images > self.plan.chunk and last > first:
                    break
                last += 1
            yield first, last
            first = last

    def _shared_means(
        self, draw: Draw, network: Network, first: int, last: int, augmentations: list[Augmentation | None]
    ) -> list[Tensor]:
        """The real means, kept where the next iterations have the same draw."""
        if draw.source.real_every == 1:
            return self._real_means(draw, network, first, last, augmentations)
        if self.of_draw[0] != draw.iteration:
            self.of_draw = draw.iteration, {}
        kept = self.of_draw[1]
        if (first, last) not in kept:
            kept[first, last] = self._real_means(draw, network, first, last, augmentations)
        return kept[first, last]

    @torch.no_grad()
    def _real_means(
        self, draw: Draw, network: Network, first: int, last: int, augmentations: list[Augmentation | None]
    ) -> list[Tensor]:
        sizes = tuple(draw.real_count(k) for k in range(first, last))
        with self._precision(draw.source.device):
            if len(sizes) == 1 and not self._couples(network):  # one class may be larger than a chunk: stream it
                sums: list[Tensor] = []
                chunk = even_chunk(sizes[0], self.plan.chunk)
                for drawn in draw.real_chunks(first, max(chunk, drawn_at_once(draw.source.real.shape) // chunk * chunk)):
                    for images in augment(augmentations[0], drawn).split(chunk):
                        part = self.sums(network, images.contiguous(memory_format=self.layout), (len(images),))
                        # replayed graphs give their results in the same memory again
                        sums = [s + p for s, p in zip(sums, part, strict=True)] if sums else [p.clone() for p in part]
            else:
                batches = [augment(a, x) for a, x in zip(augmentations, draw.real_of(first, last), strict=True)]
                sums = self.sums(network, torch.cat(batches).contiguous(memory_format=self.layout), sizes)
        return self._means(sums, sizes, first)

    def _means(self, sums: list[Tensor], sizes: tuple[int, ...], first: int) -> list[Tensor]:
        """Class means [G, D_i] of the classes from `first` on; of log-probabilities [G, K] only that of a class itself [G, 1]."""
        every = means(sums, sizes)
        if self.method.reads_labels:
            own = torch.arange(first, first + len(sizes), device=every[-1].device)
            every[-1] = every[-1].gather(1, own[:, None])
        return every

    def _couples(self, network: Network) -> bool:
        return network.couples_images and self.method.needs_network

    def _precision(self, device: torch.device) -> AbstractContextManager[object]:
        if self.precision == "bfloat16":
            return torch.autocast(device.type, torch.bfloat16)
        return nullcontext()


def looked_at(synthetic: SyntheticSet, stored: Tensor, first: int, parts: list[Tensor | None]) -> list[Tensor]:
    """The training images [N, C, H, W] of each class from `first` on, from what is `stored` of these classes; where a part of
    them is looked at one class is decoded after the other, and of it kept what is asked for."""
    last = first + len(parts)
    if all(part is None for part in parts):
        return list(synthetic.decoder(stored).split(list(synthetic.training_counts[first:last])))
    classes = map(synthetic.decoder, stored.split(list(synthetic.counts[first:last])))
    return [images if part is None else images[part] for images, part in zip(classes, parts, strict=True)]


def means(sums: list[Tensor], sizes: tuple[int, ...]) -> list[Tensor]:
    """Class means of sums [G, D_i] over so many images of each class."""
    if len(set(sizes)) == 1:
        return [s / sizes[0] for s in sums]
    counts = torch.tensor(sizes, dtype=sums[0].dtype)[:, None]
    return [s / carry(counts, s.device) for s in sums]


def drawn_at_once(shape: tuple[int, int, int]) -> int:
    """Images drawn and whitened together: more than a network takes at once, since each time reads the whole ZCA matrix."""
    return 4 * images_at_once(shape)


def augment(augmentation: Augmentation | None, images: Tensor) -> Tensor:
    """The images under an augmentation, or as they are."""
    return images if augmentation is None else augmentation(images)
