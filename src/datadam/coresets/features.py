"""Features in which coresets measure distance: the embedding of one random network, drawn by name."""

import torch
from torch import Tensor

from datadam import nets
from datadam.data import RealData
from datadam.machine import images_at_once
from datadam.rng import stream


@torch.no_grad()
def embeddings(real: RealData, k: int, seed: int, net: str = "auto") -> Tensor:
    """Embeddings [n, D] of all training images of class k under a network with random weights."""
    network = nets.build(net, shape=real.shape, classes=len(real.classes))
    nets.initialise(network, stream(seed, "coreset", "network"))
    members = torch.from_numpy(real.by_class[k])
    return torch.cat([network.features(real.images(part)).embedding for part in members.split(images_at_once(real.shape))])
