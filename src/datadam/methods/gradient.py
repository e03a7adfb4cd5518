"""The gradient of a method's loss with respect to what it learns.

Letters: K classes.
"""

from __future__ import annotations

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
    class [K] or [1]; `norms`, the norm of the images' gradient of each term alone (empty unless asked for; the last term's is
    what the others leave of the whole)."""

    of: dict[str, Tensor]
    terms: dict[str, Tensor]
    norms: dict[str, float]

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
    norms = norms and "images" in whole
    alone: dict[str, Tensor] = {}
    terms: dict[str, list[Tensor]] = {}
    with closing(method.loss(state, leaf, draw)) as parts:
        for part in parts:
            *others, _ = part
            for name in others if norms else ():
                own = torch.autograd.grad(part[name].sum(), leaf.stored, retain_graph=True)[0]
                alone[name] = alone[name] + own if name in alone else own
            total = torch.stack([term.sum() for term in part.values()]).sum()
            for name, gradient in zip(names, torch.autograd.grad(total, learned, allow_unused=len(names) > 1), strict=True):
                if gradient is not None:
                    whole[name] += gradient
            for name, term in part.items():
                terms.setdefault(name, []).append(term.detach())
            del part, term, total  # and with them the graph
    if norms:
        *_, last = terms
        alone[last] = whole["images"] - sum(alone.values(), torch.zeros_like(whole["images"]))
    return Gradient(
        whole,
        {name: torch.cat(values) for name, values in terms.items()},
        {name: float(alone[name].norm()) for name in terms if norms},
    )
