"""What the training of a generator costs: operations, counted in turns on two images, and memory."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from datadam.methods.generators.networks import Shape, seeded
from datadam.rng import stream
from datadam.training.generators import Turn

if TYPE_CHECKING:
    from datadam.methods.generators.base import Generator

PROBED = 2  # images on which a turn is counted


@lru_cache(maxsize=8)
def counted(method: Generator, shape: Shape, classes: int) -> tuple[float, float, float]:
    """Operations for an image that a turn trains on, bytes of all maps that it makes of one, and bytes of the weights."""
    networks = seeded(lambda: method.networks(shape, classes), stream(0, "cost"), method.first_weights)
    made = 0

    def add(module: nn.Module, inputs: object, output: object) -> None:
        nonlocal made
        made += output.numel() if isinstance(output, Tensor) else 0

    for module in networks.modules():
        if not list(module.children()):
            module.register_forward_hook(add)
    optimizers = {name: torch.optim.Adam(networks[name].parameters()) for name in method.rules()}
    x = torch.zeros(PROBED, *shape)
    turns = method.turns
    with FlopCounterMode(display=False) as counter:
        for number in range(turns):
            y = torch.arange(PROBED) % classes
            method.turn(Turn(networks, optimizers, x, y, stream(0, "cost", number), number, looks=False), classes)
    weights = sum(p.nbytes for p in networks.parameters())
    return counter.get_total_flops() / (turns * PROBED), 4 * made / (turns * PROBED), weights
