"""The gradient of a method's loss with respect to the images, whatever its family."""

from collections.abc import Callable
from contextlib import closing

import torch
from torch import Tensor

from datadam.methods import FeatureMatching, Method, State
from datadam.methods.draw import Draw
from datadam.methods.matching import Engine, Gradient, Plan
from datadam.sets.synthetic import SyntheticSet


def gradient_of(method: Method, plan: Plan, precision: str, device: str) -> Callable[[State, SyntheticSet, Draw, bool], Gradient]:
    """`gradient(state, synthetic, draw, norms)`, with the gradient norm of each term when `norms`.

    Feature matching runs on its engine, which streams the real side; any other method is differentiated part by part.
    The last term's gradient is what the others leave of the whole.
    """
    if isinstance(method, FeatureMatching):
        engine = Engine(method, plan, precision, device)
        return lambda state, synthetic, draw, norms: engine.gradient(synthetic, draw, norms=norms)

    def gradient(state: State, synthetic: SyntheticSet, draw: Draw, norms: bool) -> Gradient:
        leaf = SyntheticSet(synthetic.images.detach().requires_grad_(), synthetic.ipc, synthetic.classes)
        whole = torch.zeros_like(synthetic.images)
        alone: dict[str, Tensor] = {}
        terms: dict[str, list[Tensor]] = {}
        with closing(method.loss(state, leaf, draw)) as parts:
            for found in parts:
                *others, _ = found
                for name in others if norms else ():
                    own = torch.autograd.grad(found[name].sum(), leaf.images, retain_graph=True)[0]
                    alone[name] = alone[name] + own if name in alone else own
                whole += torch.autograd.grad(torch.stack([term.sum() for term in found.values()]).sum(), leaf.images)[0]
                for name, term in found.items():
                    terms.setdefault(name, []).append(term.detach())
                del found, term  # and with them the graph
        if norms:
            *_, last = terms
            alone[last] = whole - sum(alone.values(), torch.zeros_like(whole))
        return Gradient(whole, {k: torch.cat(v) for k, v in terms.items()}, {k: float(alone[k].norm()) for k in terms if norms})

    return gradient
