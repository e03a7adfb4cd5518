"""A method that sits the exam, the small images that it sits it on, and what looks at it from outside.

Letters: K classes, N images of a class, C H W.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from datadam.data import RealData, load
from datadam.distillation.begin import begin
from datadam.distillation.loop import Distillation
from datadam.distillation.presets import FOR_METHOD, bare, preset
from datadam.distillation.recipe import Recipe
from datadam.distillation.run import Run
from datadam.methods import Method
from datadam.methods.gradient import Gradient
from datadam.methods.plan import Plan
from datadam.nets import Network

K = 3  # classes of the small data
TINY = {"net": "convnet2:width=6", "iterations": 4, "batch_real": 5, "precision": "float64"}
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


@dataclass(frozen=True)
class Candidate:
    """A method that sits the exam, and `settings` of the recipe with which it learns small images (`lr_images`, `start`, ...)."""

    method: Method
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def augmentation(self) -> str:
        """The verb of a draw by which it asks for an augmentation, of a class or of a batch."""
        return "batch_augmentation" if self.method.augments_each else "augmentation"

    def recipe(self, ipc: int = 2, **settings: Any) -> Recipe:
        """A tiny recipe in float64, with some settings changed."""
        method, real = self.method, small_data()
        asked = replace(preset(FOR_METHOD[method.name], real, ipc=ipc), method=method) if method.name in FOR_METHOD else None
        asked = asked or bare(method, real, ipc=ipc)
        return asked.change({"net": "convnet1:width=4"} if method.at_once else TINY | settings)


def small_data(
    classes: int = K, per_class: int | tuple[int, ...] = 12, shape: tuple[int, int, int] = (3, 8, 8), seed: int = 0
) -> RealData:
    """Coloured stripes in noise: each class has its own direction and colour, so that a network can learn it."""
    rng = np.random.default_rng(seed)
    sizes = (per_class,) * classes if isinstance(per_class, int) else per_class
    c, h, w = shape

    def part(sizes: Sequence[int]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
        labels = np.repeat(np.arange(len(sizes)), sizes)
        y, x = np.mgrid[:h, :w]
        waves = np.stack([np.sin(x * (k + 1) * 0.7 + y * (len(sizes) - k) * 0.4) for k in range(len(sizes))])
        tint = np.linspace(0.5, 1.0, c)
        pixels = 110 + 60 * waves[labels][:, None] * tint[None, :, None, None] + rng.normal(0, 25, (len(labels), c, h, w))
        order = rng.permutation(len(labels))
        return pixels.clip(0, 255).astype(np.uint8)[order], labels[order]

    return load((*part(sizes), *part((6,) * len(sizes))))


def expect(ok: object, words: str) -> None:
    """Raise `AssertionError` with these words unless ok."""
    if not ok:
        raise AssertionError(words)


def expect_close(one: Tensor, other: Tensor, words: str, *, rtol: float, atol: float) -> None:
    """Raise `AssertionError` unless the tensors agree."""
    apart = float((one - other).abs().max())
    expect(torch.allclose(one, other, rtol=rtol, atol=atol), f"{words}: they are up to {apart:.3g} apart")


def begun(real: RealData, asked: Recipe, **options: Any) -> Distillation:
    """A run that is computed here, before its first iteration."""
    run = begin(real, asked, **options)
    assert isinstance(run, Distillation)
    return run


class Still:
    """A run that stands still: the loss and gradient of any images on the draws of its first iteration, in float64."""

    def __init__(self, asked: Recipe, real: RealData, images: Tensor, chunk: int = 100) -> None:
        self.run = begun(real, asked, earlier=images, plan=Plan(compiled=False, chunk=chunk, threads=1))

    def at(self, name: str, values: Tensor) -> Gradient:
        """Loss and gradient with these values in the place of a learned tensor, which they keep."""
        run = self.run
        run.state.tensors[name].copy_(values)
        return run.gradient(run.state.method, run.synthetic, run.draws.at(0), False)

    def gradient(self, images: Tensor) -> Tensor:
        """The gradient of the loss at these images, with respect to them [K*N, C, H, W], or else to what is learned of them."""
        found = self.at("images", images).of
        return found["images"] if "images" in found else found["labels"]

    def loss(self, images: Tensor, **others: Tensor) -> float:
        """The loss at these images, and at these values of `others` that are learned."""
        for name, values in others.items():
            self.run.state.tensors[name].copy_(values)
        return total(self.at("images", images))


def total(found: Gradient) -> float:
    """The loss: its terms, summed."""
    return sum(float(term.sum()) for term in found.terms.values())


def noise(real: RealData, ipc: int, seed: int = 1) -> Tensor:
    """Images [K*N, C, H, W] that look like nothing, in float64."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(len(real.classes) * ipc, *real.shape, generator=generator, dtype=torch.float64)


def images_of(run: Run) -> Tensor:
    """The images as they stand."""
    return run.state.images


def finished(run: Run) -> dict[str, Tensor]:
    """Everything that is learned, by name, as it stands at the end."""
    for _ in run.steps():
        pass
    return run.state.tensors


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Whether all that was learned is equal, to the bit."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def traces(network: Network) -> list[object]:
    """What a method could have left on a network: modes, hooks, gradients."""
    modules = [(m.training, *(len(getattr(m, hook)) for hook in HOOKS)) for m in network.modules()]
    return [modules, [(p.requires_grad, p.grad is None) for p in network.parameters()]]


class Broken(Exception):
    """An error on purpose, in the middle of a run."""


@contextmanager
def breaking(run: Distillation, verb: str, when: Callable[..., bool], error: type[BaseException]) -> Iterator[None]:
    """Inside, the draws of a run raise at one place; a training is broken after its first step."""
    kind = type(run.draws.at(0))
    original = getattr(kind, verb)

    def broken(self: Any, *arguments: Any) -> Any:
        if when(self.iteration, *arguments):
            if verb == "training":
                with original(self, *arguments) as trainer:
                    trainer.step()
            raise error
        return original(self, *arguments)

    with mock.patch.object(kind, verb, broken):
        yield
