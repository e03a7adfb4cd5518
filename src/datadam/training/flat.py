"""Flat minima: the gradient of GSAM (Zhuang et al., ICLR 2022), with which FTD (Du et al., CVPR 2023) trains experts.

    e  = rho * theta^2 * g / || |theta| * g ||     g: gradient of a batch at the weights theta
    g' = gradient of the same batch at theta + e
    v  = g - <g, g'> / ||g'||^2 * g'               the part of g at right angles to g'

SGD steps by g' - alpha * v. A step costs two. FTD's code has rho 0.01 and, where nothing is said, alpha 0.4; DATM and PAD train
theirs at 0.3. (Its own default for rho is 2.0, which no published command uses.)
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import nn

from datadam.settings import finite, refuse, require

TINY = 1e-12  # of the released code, against a division by zero


@dataclass(frozen=True, kw_only=True)
class Flat:
    """Settings (the paper's symbols): `rho`, how far it climbs; `alpha`, how much it leaves the gradient at right angles.

    Raises `InvalidInput` with every wrong one.
    """

    rho: float = 0.01
    alpha: float = 0.3

    def __post_init__(self) -> None:
        faults: list[str] = []
        require(finite(self.rho) and self.rho > 0, f"rho is {self.rho!r}; it must be a number > 0", faults)
        require(finite(self.alpha) and self.alpha >= 0, f"alpha is {self.alpha!r}; it must be a number >= 0", faults)
        refuse(faults)

    def __str__(self) -> str:
        return f"gsam:rho={self.rho:g}:alpha={self.alpha:g}"

    @torch.no_grad()
    def turn(self, parameters: Iterable[nn.Parameter], again: Callable[[], object]) -> None:
        """Put this gradient in the place of that of the parameters; `again` computes that of the same batch anew, wherever the
        parameters then are."""
        moved = [p for p in parameters if p.grad is not None]
        here = [p.clone() for p in moved]
        before = [p.grad.clone() for p in moved if p.grad is not None]
        length = torch.stack([(p.abs() * g).square().sum() for p, g in zip(moved, before, strict=True)]).sum().sqrt() + TINY
        for p, g in zip(moved, before, strict=True):
            p.addcmul_(p.square(), g, value=self.rho / float(length))
            p.grad = None
        with torch.enable_grad():
            again()
        after = [p.grad for p in moved if p.grad is not None]
        along = sum(float((g * h).sum()) for g, h in zip(before, after, strict=True))
        share = along / (sum(float(h.square().sum()) for h in after) + TINY**2)
        for p, home, g, h in zip(moved, here, before, after, strict=True):
            p.copy_(home)
            h.sub_(g - share * h, alpha=self.alpha)
