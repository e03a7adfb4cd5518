"""The yardstick: one DataDAM iteration written plainly, in the style of the field's code.

Every class goes through the network in one batch, modules are called one by one, the output of each ReLU is cloned, attention is
`(abs()**p).sum(1)`, autograd runs through the synthetic side, everything is float32 and eager. `speed.py` asserts that it gives
the loss and the image gradient of the product before it times either.

Letters: K classes, B real images of a class, N synthetic images of a class, C channels, H rows, W columns.
"""

import torch
from torch import Tensor, nn

from datadam.nets.convnet import ConvNet


def activations(network: ConvNet, images: Tensor) -> tuple[list[Tensor], Tensor]:
    """A clone of each ReLU output, and the flattened output of the last pooling."""
    kept = []
    for block in network.body:
        assert isinstance(block, nn.Sequential)
        for module in block:
            images = module(images)
        kept.append(images.clone())
        images = network.pool(images)
    return kept, images.flatten(1)


def attention(block: Tensor, power: float) -> Tensor:
    """Maps [N, H*W]: the sum over channels of |f|^p, divided by its length."""
    maps = (block.abs() ** power).sum(1).flatten(1)
    return maps / maps.norm(dim=1, keepdim=True).clamp_min(1e-12)


def iteration(
    network: ConvNet, real: Tensor, synthetic: Tensor, *, power: float, task_balance: float, scale: float
) -> tuple[Tensor, Tensor]:
    """The loss, and its gradient [K, N, C, H, W] with respect to the synthetic images.

    Arguments: `real` [K, B, C, H, W] and `synthetic` [K, N, C, H, W], both augmented; the settings of the method.
    """
    k, b, n = len(real), real.shape[1], synthetic.shape[1]
    leaf = synthetic.clone().requires_grad_()
    with torch.no_grad():
        real_maps, real_embedding = activations(network, real.flatten(0, 1))
    maps, embedding = activations(network, leaf.flatten(0, 1))
    loss = torch.zeros(())
    for layer in range(len(maps) - 1):
        of_real = attention(real_maps[layer], power).unflatten(0, (k, b)).mean(1)
        of_synthetic = attention(maps[layer], power).unflatten(0, (k, n)).mean(1)
        loss = loss + ((of_real - of_synthetic) ** 2).sum()
    gap = real_embedding.unflatten(0, (k, b)).mean(1) - embedding.unflatten(0, (k, n)).mean(1)
    loss = scale * (loss + task_balance * (gap**2).sum())
    return loss.detach(), torch.autograd.grad(loss, leaf)[0]
