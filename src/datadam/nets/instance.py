"""Instance norm that the compiler can make fast on a CPU, forward and back. N images, C channels, H x W pixels.

    z = w * (x - m) * r + b        m, 1 / r: mean and deviation of the pixels of one map

Torch's own gradient, as the compiler sees it, walks over the maps once for each of its parts. Written out, with the channels of a
pixel side by side, it is two sums over the pixels and one sum of products, which the compiler fuses with activation and pooling:

    dx = w * r * (dz - mean(dz) - (x - m) * r * mean(dz * (x - m) * r))
"""

from typing import Any

import torch
from torch import Tensor, nn


class InstanceNorm(nn.InstanceNorm2d):
    """InstanceNorm2d with weight and bias; in compiled code on a CPU that wants gradients by its formula."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        written_out = torch.is_grad_enabled()  # torch's own is the faster one where no gradient is wanted
        if written_out and torch.compiler.is_compiling() and x.device.type == "cpu":
            normalised: Tensor = Normalised.apply(x, self.weight, self.bias, self.eps)  # type: ignore[no-untyped-call]
            return normalised
        return super().forward(x)


class Normalised(torch.autograd.Function):
    """z [N, C, H, W] of maps x, weights and biases [C], by the formula above; sums are taken in float32 or wider."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        pixels = _by_pixel(x)
        mean = pixels.mean(1)
        r = torch.rsqrt((pixels - mean[:, None]).square().mean(1) + eps)
        scale = weight * r
        ctx.save_for_backward(x, scale, mean, r)
        return _as_maps(pixels * scale[:, None] + (bias - mean * scale)[:, None], x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, scale, mean, r = ctx.saved_tensors
        pixels, dz = _by_pixel(x), _by_pixel(gradients[0])
        of_bias = dz.sum(1)
        of_weight = ((dz * pixels).sum(1) - mean * of_bias) * r  # sum of dz * (x - m) * r
        slope = scale * r * of_weight / pixels.shape[1]
        level = scale * of_bias / pixels.shape[1] - mean * slope
        dx = dz * scale[:, None] - pixels * slope[:, None] - level[:, None]
        return _as_maps(dx, x).to(x.dtype), of_weight.sum(0), of_bias.sum(0), None


def _by_pixel(maps: Tensor) -> Tensor:
    """[N, H*W, C], at least float32."""
    return maps.permute(0, 2, 3, 1).flatten(1, 2).to(torch.promote_types(maps.dtype, torch.float32))


def _as_maps(pixels: Tensor, like: Tensor) -> Tensor:
    maps: Tensor = pixels.unflatten(1, like.shape[2:]).permute(0, 3, 1, 2)
    return maps
