"""Batch norm by the statistics of given images, for methods that must look at one class at a time."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from datadam.nets.base import Network


@contextmanager
def frozen_statistics(network: Network, images: Callable[[], Tensor]) -> Iterator[None]:
    """While it lasts, every batch norm normalises by its mean and variance over `images()` [N, C, H, W], and no image of a batch
    sees another. Afterwards, also on error, the network is as it was. Other networks are left alone and `images` is not called.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    kept = [(norm.training, norm.momentum, [buffer.clone() for buffer in norm.buffers()]) for norm in norms]
    try:
        if norms:
            for norm in norms:
                norm.train().reset_running_stats()
                norm.momentum = None  # the statistics are those of the images alone, not a running mean of them
            with torch.no_grad():
                network(images())
            for norm in norms:
                norm.eval()
        yield
    finally:
        for norm, (training, momentum, buffers) in zip(norms, kept, strict=True):
            norm.train(training)
            norm.momentum = momentum
            for buffer, value in zip(norm.buffers(), buffers, strict=True):
                buffer.copy_(value)
