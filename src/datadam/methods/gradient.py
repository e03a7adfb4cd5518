"""The gradient of a method's loss with respect to what it learns.

Letters: K classes.
"""

from __future__ import annotations

import math
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from datadam.methods.draw import Draw
from datadam.sets.synthetic import LEARNABLE, SyntheticSet

if TYPE_CHECKING:
    from datadam.methods.base import Method, State


@dataclass(frozen=True)
class Gradient:
    """`of`, the gradient of the loss with respect to each learned tensor, by name; `terms`, each term of the loss, one number a
    class [K] or [1]; `norms`, the norm of the gradient of each term alone (empty unless asked for; the last term's is
    what the others leave of the whole); `skips`, whether nothing is stepped this time."""

    of: dict[str, Tensor]
    terms: dict[str, Tensor]
    norms: dict[str, float]
    skips: bool = False

    @property
    def images(self) -> Tensor:
        """With respect to the stored images."""
        return self.of["images"]


def differentiate(method: Method, state: State, synthetic: SyntheticSet, draw: Draw, *, norms: bool) -> Gradient:
    """The gradient of a method's `loss`, part by part: each part's graph is let go before the next is asked for."""
    leaf = synthetic.leaves(method.learns)
    names = [name for name in LEARNABLE if name in method.learns]
    learned = [leaf.tensors[name] for name in names]
    whole = {name: torch.zeros_like(tensor) for name, tensor in zip(names, learned, strict=True)}
    alone: dict[str, list[Tensor]] = {}
    terms: dict[str, list[Tensor]] = {}
    with closing(method.loss(state, leaf, draw)) as parts:
        for part in parts:
            *others, _ = part
            for name in others if norms else ():
                own = _gradients(part[name].sum(), learned, retain=True)
                alone[name] = [a + o for a, o in zip(alone[name], own, strict=True)] if name in alone else own
            total = torch.stack([term.sum() for term in part.values()]).sum()
            for name, gradient in zip(names, _gradients(total, learned), strict=True):
                whole[name] += gradient
            for name, term in part.items():
                terms.setdefault(name, []).append(term.detach())
            del part, term, total  # and with them the graph
    if norms:
        *others, last = terms
        alone[last] = [whole[name] - sum(alone[other][i] for other in others) for i, name in enumerate(names)]
    return Gradient(
        whole,
        {name: torch.cat(values) for name, values in terms.items()},
        {name: math.hypot(*(float(part.norm()) for part in alone[name])) for name in terms if norms},
    )


def _gradients(loss: Tensor, learned: list[Tensor], *, retain: bool = False) -> list[Tensor]:
    """The gradient of one number with respect to each learned tensor, zero for those that it does not look at."""
    found = torch.autograd.grad(loss, learned, retain_graph=retain, allow_unused=True)
    return [torch.zeros_like(tensor) if g is None else g for tensor, g in zip(learned, found, strict=True)]
