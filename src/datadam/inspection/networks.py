"""The networks through which images are looked at: random ones, or one trained on the whole set."""

from collections.abc import Callable, Iterator
from typing import Any

import torch

from datadam import nets
from datadam.data import RealData
from datadam.machine import images_at_once
from datadam.nets import Network
from datadam.rng import stream
from datadam.training.insight import Insight

EPOCHS = 10  # of the trained network, without augmentation


def random_networks(real: RealData, recipe: dict[str, Any], count: int, seed: int, settle_on: torch.Tensor) -> Iterator[Network]:
    """Networks of the run's kind with fresh weights, one after the other.

    Arguments: `recipe` of the card (its net and init); `settle_on`, indices of training images, over which batch norm, where
    there is one, takes its statistics, so that no image depends on those beside it.
    """
    network = nets.build(recipe["net"], shape=real.shape, classes=len(real.classes))
    for number in range(count):
        nets.initialise(network, stream(seed, "inspect", "network", number), str(recipe.get("init", "default")))
        yield _settled(network, real, settle_on)


def trained_network(
    real: RealData, net: str, seed: int, device: str, progress: Callable[[str, int, int | None], None] | None
) -> Network:
    """A network trained on the whole training part for `EPOCHS` epochs: made once, and kept where coresets keep theirs."""
    return Insight(real, seed, net, device, progress).network(EPOCHS)


@torch.no_grad()
def _settled(network: Network, real: RealData, chosen: torch.Tensor) -> Network:
    if not network.couples_images:
        return network.eval()
    layers = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # the mean over all batches
    network.train()
    for part in chosen[torch.randperm(len(chosen), generator=stream(0, "inspect", "settle"))].split(images_at_once(real.shape)):
        if len(part) > 1:
            network.features(real.images(part))
    return network.eval()
