"""The gradient of a method's loss with respect to the images, whatever its family."""

from collections.abc import Callable

import torch

from datadam.draw import Draw
from datadam.matching import Engine, Gradient, Plan
from datadam.methods import FeatureMatching, Method, State
from datadam.start import SyntheticSet


def gradient_of(method: Method, plan: Plan, precision: str) -> Callable[[State, SyntheticSet, Draw, bool], Gradient]:
    """`gradient(state, synthetic, draw, norms)`, with the gradient norm of each term when `norms`.

    Feature matching runs on its engine, which streams the real side; any other method is differentiated as one loss.
    """
    if isinstance(method, FeatureMatching):
        engine = Engine(method, plan, precision)
        return lambda state, synthetic, draw, norms: engine.gradient(synthetic, draw, norms=norms)

    def gradient(state: State, synthetic: SyntheticSet, draw: Draw, norms: bool) -> Gradient:
        leaf = SyntheticSet(synthetic.images.detach().requires_grad_(), synthetic.ipc, synthetic.classes)
        terms = method.loss(state, leaf, draw)
        alone = {}
        if norms:
            for name, term in terms.items():
                alone[name] = float(torch.autograd.grad(term.sum(), leaf.images, retain_graph=True)[0].norm())
        whole = torch.autograd.grad(torch.stack([term.sum() for term in terms.values()]).sum(), leaf.images)[0]
        return Gradient(whole, {name: term.detach() for name, term in terms.items()}, alone)

    return gradient
