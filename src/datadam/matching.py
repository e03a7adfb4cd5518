"""The feature-matching engine: class means of descriptors on both sides, and the gradient of their distance.

The real side takes no gradient and needs only class means, so it streams in chunks; the synthetic side is differentiated group
by group of classes. Memory is constant in the number of classes wherever the network looks at one image at a time. A network
that couples images (batch norm) runs once over all classes in class order, real and synthetic apart.

Letters: K classes, G classes of a group, B real images of a class, N synthetic images of a class, D numbers of a descriptor.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from datadam.augment import Augmentation
from datadam.draw import Draw
from datadam.methods import FeatureMatching
from datadam.nets import Network
from datadam.start import SyntheticSet

Sums = Callable[[Network, Tensor, tuple[int, ...]], list[Tensor]]


@dataclass(frozen=True)
class Gradient:
    """`images` [K*N, C, H, W], the gradient of the loss; `terms`, each term of it, one number a class [K]; `norms`, the gradient
    norm of each term alone (empty unless asked for; the last term's is what the others leave of the whole)."""

    images: Tensor
    terms: dict[str, Tensor]
    norms: dict[str, float]


@dataclass(frozen=True)
class Plan:
    """What adapts to the machine, decided once for a run, kept in its checkpoint and reused on resume.

    `compiled`: whether descriptors run as compiled code; `chunk`: images a forward pass at most; `threads`: CPU threads.
    """

    compiled: bool
    chunk: int
    threads: int

    def to_json(self) -> dict[str, int | bool]:
        """As kept in a checkpoint."""
        return asdict(self)


def descriptor_sums(method: FeatureMatching, network: Network, images: Tensor, sizes: tuple[int, ...]) -> list[Tensor]:
    """Sums [G, D_i] of descriptors over the images of each class; `sizes` are the images of each class in order."""
    descriptors = [d.to(images.dtype) for d in method.descriptors(network.features(images))]  # summed in full precision
    if len(set(sizes)) == 1:
        return [d.unflatten(0, (len(sizes), sizes[0])).sum(1) for d in descriptors]
    return [torch.stack([part.sum(0) for part in d.split(list(sizes))]) for d in descriptors]


class Engine:
    """Computes losses and gradients of one method for one run.

    Arguments: `method`; `plan`, see `Plan`; `precision` of the real side: "float32" (the images' own type) or "bfloat16".
    """

    def __init__(self, method: FeatureMatching, plan: Plan, precision: str = "float32") -> None:
        self.method, self.plan, self.precision = method, plan, precision

        def sums(network: Network, images: Tensor, sizes: tuple[int, ...]) -> list[Tensor]:
            return descriptor_sums(method, network, images, sizes)

        if plan.compiled:
            torch.compiler.reset()  # earlier engines of this process count towards a limit, above which nothing is compiled
        self.sums: Sums = torch.compile(sums, dynamic=False) if plan.compiled else sums

    def gradient(self, synthetic: SyntheticSet, draw: Draw, *, norms: bool) -> Gradient:
        """The gradient of the loss with respect to the images; with `norms`, that of each term alone is measured too."""
        network = draw.network()
        gradient = torch.empty_like(synthetic.images)
        terms: dict[str, list[Tensor]] = {}
        squares: dict[str, float] = {}
        for first, last in self._groups(synthetic, draw, network):
            augmentations = [draw.augmentation(k) for k in range(first, last)]
            real = self._real_means(draw, network, first, last, augmentations)
            images = synthetic.of(first, last).detach().requires_grad_()

            def compare(
                images: Tensor = images,
                augmentations: list[Augmentation | None] = augmentations,
                real: list[Tensor] = real,
            ) -> dict[str, Tensor]:
                augmented = [augment(a, x) for a, x in zip(augmentations, images.split(synthetic.ipc), strict=True)]
                sums = self.sums(network, torch.cat(augmented), (synthetic.ipc,) * len(augmented))
                return self.method.terms(real, [s / synthetic.ipc for s in sums])

            found = compare()
            rest = torch.autograd.grad(torch.stack(list(found.values())).sum(), images)[0]
            gradient[first * synthetic.ipc : last * synthetic.ipc] = rest
            for name, value in found.items():
                terms.setdefault(name, []).append(value.detach())
            if norms:
                *others, final = found
                for name in others:
                    alone = torch.autograd.grad(compare()[name].sum(), images)[0]
                    squares[name] = squares.get(name, 0.0) + float(alone.square().sum())
                    rest = rest - alone
                squares[final] = squares.get(final, 0.0) + float(rest.square().sum())
        return Gradient(gradient, {k: torch.cat(v) for k, v in terms.items()}, {k: v**0.5 for k, v in squares.items()})

    def _groups(self, synthetic: SyntheticSet, draw: Draw, network: Network) -> Iterator[tuple[int, int]]:
        """Runs of classes (first, last + 1) whose images go through the network together."""
        total = len(synthetic.classes)
        if network.couples_images:
            yield 0, total
            return
        first = 0
        while first < total:
            last, images = first, 0
            while last < total:
                images += max(draw.real_count(last), synthetic.ipc)
                if images > self.plan.chunk and last > first:
                    break
                last += 1
            yield first, last
            first = last

    @torch.no_grad()
    def _real_means(
        self, draw: Draw, network: Network, first: int, last: int, augmentations: list[Augmentation | None]
    ) -> list[Tensor]:
        sizes = tuple(draw.real_count(k) for k in range(first, last))
        with self._real_precision(draw.source.device):
            if len(sizes) == 1 and not network.couples_images:  # one class may be larger than a chunk: stream it
                sums: list[Tensor] = []
                for images in draw.real_chunks(first, self.plan.chunk):
                    part = self.sums(network, augment(augmentations[0], images), (len(images),))
                    sums = [s + p for s, p in zip(sums, part, strict=True)] if sums else part
            else:
                batches = [augment(a, draw.real(k)) for k, a in zip(range(first, last), augmentations, strict=True)]
                sums = self.sums(network, torch.cat(batches), sizes)
        counts = torch.tensor(sizes, device=sums[0].device, dtype=sums[0].dtype)[:, None]
        return [s / counts for s in sums]

    def _real_precision(self, device: torch.device) -> AbstractContextManager[object]:
        if self.precision == "bfloat16":
            return torch.autocast(device.type, torch.bfloat16)
        return nullcontext()


def augment(augmentation: Augmentation | None, images: Tensor) -> Tensor:
    """The images under an augmentation, or as they are."""
    return images if augmentation is None else augmentation(images)
