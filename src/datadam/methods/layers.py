"""Layers whose derivative along a direction can be derived once more, by their formulas.

    z   = scale * y + shift,    y = (x - mean) * r,    r = 1 / sqrt(variance + eps)             a norm
    J v = r * (v - m(v) - y * m(y v))                   the derivative of y, symmetric; m, the mean of what goes together
    z'  = scale * J t + scale' * y + shift'             how z moves as x moves by t, scale by scale', shift by shift'

    gradient of <b, z'> to x:      J (b * (scale' - scale * r * m(y t)) - t * scale * r * m(y b)) - scale * r^2 * k * y
                        to scale:  r * S * k,    k = m(b t) - m(b) m(t) - m(y b) m(y t)

torch's own norms must not be used where a derivative is derived: the gradient of their derivative along a direction takes mean
and variance for constants, without a warning, and is wrong. Written as plain operations they are right, and take most of a
step's time; here each line is a few passes over the numbers.

Letters: A images that are normalised together, R rows that are not, S numbers that go together.
"""

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from datadam.nets import Network


class _Normalised(Function):
    """z of x [A, R, n], with scale and shift [R]; and mean and r [R], of which no derivative is taken."""

    @staticmethod
    def forward(x: Tensor, scale: Tensor, shift: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
        z, mean, r = torch.native_batch_norm(x, scale, shift, None, None, True, 0.0, eps)
        return z, mean, r

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor, float], output: tuple[Tensor, Tensor, Tensor]) -> None:
        x, scale, _, eps = inputs
        _, mean, r = output
        ctx.mark_non_differentiable(mean, r)
        ctx.save_for_backward(x, scale, mean, r)
        ctx.save_for_forward(x, scale, mean, r)
        ctx.eps = eps

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, scale, mean, r = ctx.saved_tensors
        return *_back(gradients[0], x, scale, mean, r, ctx.eps), None

    @staticmethod
    def jvp(ctx: Any, along: Tensor, scale: Tensor | None, shift: Tensor | None, _: None) -> tuple[Tensor, None, None]:
        here = ctx.saved_tensors
        scale, shift = (torch.zeros_like(here[1]) if value is None else value for value in (scale, shift))
        moved: Tensor = _Moved.apply(*here, along, scale, shift, ctx.eps)[0]  # type: ignore[no-untyped-call]
        return moved, None, None


class _Moved(Function):
    """z', a function of x, scale, t, scale' and shift'; and the sums of t * y and t over what goes together [R]."""

    @staticmethod
    def forward(
        x: Tensor, scale: Tensor, mean: Tensor, r: Tensor, t: Tensor, scales: Tensor, shifts: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        moved, yt, ts = _back(t, x, scale, mean, r, eps)
        stretched = scales * r
        return moved.addcmul_(x, _rows(stretched)).add_(_rows(shifts - stretched * mean)), yt, ts

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
        x, scale, mean, r, t, scales, _, ctx.eps = inputs
        _, yt, ts = output
        ctx.mark_non_differentiable(yt, ts)
        ctx.save_for_backward(x, scale, mean, r, t, scales, yt, ts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, scale, mean, r, t, scales, yt, ts = ctx.saved_tensors
        b, together = gradients[0], x.numel() // len(r)
        of_t, yb, bs = _back(b, x, scale, mean, r, ctx.eps)
        k = _sums(b, t) - (bs * ts + yb * yt) / together  # times S
        each = scale * r / together
        ones, bent = torch.ones_like(scale), torch.addcmul(b * _rows(scales - each * yt), t, _rows(-each * yb))
        of_x = _back(bent, x, ones, mean, r, ctx.eps)[0]
        stretched = -each * r.square() * k  # of x less its mean
        of_x.addcmul_(x, _rows(stretched)).sub_(_rows(stretched * mean))
        return of_x, r * k, None, None, of_t, yb, bs, None


def _back(v: Tensor, x: Tensor, scale: Tensor, mean: Tensor, r: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """scale * J v, and the sums of v * y and v over what goes together [R]."""
    of_x, of_scale, of_shift = torch.ops.aten.native_batch_norm_backward(
        v, x, scale, None, None, mean, r, True, eps, [True, True, True]
    )  # fmt: skip
    return of_x, of_scale, of_shift


def _rows(values: Tensor) -> Tensor:
    """[1, R, 1]"""
    return values.view(1, -1, 1)


def _sums(a: Tensor, b: Tensor) -> Tensor:
    """The sums of a * b [R]; of one image without their product."""
    return torch.bmm(a[0, :, None], b[0, :, :, None]).flatten() if len(a) == 1 else (a * b).sum((0, 2))


class PlainNorm(nn.Module):
    """Batch, instance or layer norm in training mode, without memory of what it saw."""

    def __init__(self, norm: _BatchNorm | _InstanceNorm | nn.LayerNorm) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps
        self.last = len(norm.normalized_shape) if isinstance(norm, nn.LayerNorm) else 0  # axes of layer norm
        self.alone = isinstance(norm, _InstanceNorm)  # an image by itself

    def forward(self, x: Tensor) -> Tensor:
        """Normalise x: [N, C, ...], or for layer norm [..., D]."""
        x = x.float() if x.dtype == torch.bfloat16 else x  # its mean would be too coarse
        if self.last:
            rows = x.reshape(1, x.shape[: -self.last].numel(), -1)
        elif self.alone:
            rows = x.reshape(1, x.shape[:2].numel(), -1)
        else:
            rows = x.reshape(*x.shape[:2], -1)
        if self.last or self.weight is None:
            scale, shift = rows.new_ones(rows.shape[1]), rows.new_zeros(rows.shape[1])
        else:
            times = len(x) if self.alone else 1
            scale, shift = (values.expand(times, -1).reshape(-1) for values in (self.weight, self.bias))
        z: Tensor = _Normalised.apply(rows, scale, shift, self.eps)[0].view(x.shape)  # type: ignore[no-untyped-call]
        return z * self.weight + self.bias if self.last and self.weight is not None else z


class PlainPool(nn.Module):
    """The means of squares that lie side by side, as one product of matrices: several times as fast as torch's own on a CPU."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to [N, C, H // side, W // side]."""
        side, (rows, columns) = self.side, (x.shape[2] // self.side, x.shape[3] // self.side)
        whole = x[:, :, : side * rows, : side * columns]
        share = torch.eye(columns, dtype=x.dtype, device=x.device).repeat_interleave(side, 0).repeat(side, 1) / side**2
        with torch.autocast(x.device.type, enabled=False):  # no coarser than it came
            return (whole.reshape(-1, len(share)) @ share).view(*x.shape[:2], rows, columns)


def with_plain_layers(network: Network) -> Network:
    """A copy in training mode, whose norms can be derived twice."""
    copy = deepcopy(network).train().requires_grad_(False)
    for module in list(copy.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, _BatchNorm | _InstanceNorm | nn.LayerNorm):
                setattr(module, name, PlainNorm(child))
            if isinstance(child, nn.AvgPool2d) and _pools_plainly(child):
                setattr(module, name, PlainPool(_both(child.kernel_size)[0]))
    return copy


def _pools_plainly(pool: nn.AvgPool2d) -> bool:
    """Whether it takes the means of squares that lie side by side, and of nothing else."""
    sides = {*_both(pool.kernel_size), *_both(pool.stride)}
    return len(sides) == 1 and _both(pool.padding) == (0, 0) and not pool.ceil_mode and pool.divisor_override is None


def _both(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size
