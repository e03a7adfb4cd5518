"""What is learned, and its gradient, as tests of methods ask for it: images alone, the same number of each class."""

from collections.abc import Callable
from typing import Any

import torch

from datadam.methods import Method
from datadam.methods.gradient import Gradient
from datadam.methods.plan import Plan
from datadam.sets.decoders import PLAIN, Decoder
from datadam.sets.synthetic import SyntheticSet


def set_of(images: torch.Tensor, ipc: int, classes: tuple[str, ...], decoder: Decoder = PLAIN) -> SyntheticSet:
    """So many stored images of each class."""
    return SyntheticSet({"images": images}, classes, (ipc,) * len(classes), decoder)


def gradient_of(method: Method, plan: Plan, precision: str, device: str = "cpu") -> Callable[..., Gradient]:
    """`gradient(state, synthetic, draw, norms)` of a method, by this plan and in this precision."""

    def gradient(state: dict[str, Any], synthetic: SyntheticSet, draw: Any, norms: bool) -> Gradient:
        draw.source.plan, draw.source.precision, draw.source.engine = plan, precision, None
        return method.gradient(state, synthetic, draw, norms=norms)

    return gradient
