"""What an iteration that follows an expert draws: whose weights, from which epoch, and the batches of its steps.

Letters: P weights of the network, B images of a batch.
"""

import torch
from torch import Tensor

from datadam.methods.draw import Draw
from datadam.methods.trajectory import Step
from datadam.rng import carry, stream
from datadam.training.experts import Experts


def window(draw: Draw, first: int, last: int, epochs: int) -> tuple[Tensor, Tensor]:
    """The weights [P] of an expert after `first` to `last` epochs, drawn, and so many `epochs` later.

    Each pass follows every expert once, in an order of its own.
    """
    source, experts = draw.source, draw.source.given
    assert isinstance(experts, Experts)
    turn, place = divmod(draw.iteration, experts.networks)
    order = torch.randperm(experts.networks, generator=stream(source.seed, "experts", turn))
    s = int(torch.randint(first, last + 1, (), generator=stream(source.seed, "start epoch", draw.iteration)))
    start, target = experts.weights(int(order[place]), s, s + epochs)
    return carry(start.to(source.dtype), source.device), carry(target.to(source.dtype), source.device)


def batches(draw: Draw, steps: int, images: int, size: int) -> list[Step]:
    """What each of some steps trains on, of so many training images: all of them where the batch `size` is 0, else batches of
    random orders, one order after another."""
    source, size = draw.source, size or images
    each_pass = -(-images // size)
    found = []
    for i in range(steps):
        turn, place = divmod(i, each_pass)
        chosen = torch.arange(images)
        if each_pass > 1:
            order = torch.randperm(images, generator=stream(source.seed, "batches", draw.iteration, turn))
            chosen = order[place * size : (place + 1) * size]
        found.append(Step(carry(chosen, source.device), draw.batch_augmentation(i, len(chosen))))
    return found
