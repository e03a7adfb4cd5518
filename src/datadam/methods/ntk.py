"""Neural tangent kernels of infinitely wide ReLU networks in closed form (Jacot et al., 2018; Arora et al., 2019).

A layer of weights takes the products S of what comes in, and the tangents T (0 at the first), through the mean over all that one
output sees:

    S <- w^2 mean(S) + b^2                T <- S + w^2 mean(T)                                    w^2 = 2, b = 0.1

and a ReLU by the arc-cosine kernels (Cho and Saul, 2009), with v = S(x, x), c = S(x, x') / sqrt(v v') and a = arccos c:

    T <- T (pi - a) / (2 pi)              S <- sqrt(v v') (sin a + (pi - a) c) / (2 pi)

Three networks of some `depth`, with one more layer of weights behind: "fc", fully connected; "conv", convolutions of 3 x 3 pixels
(zeros beyond the edge), flattened; "pooled", the same with a mean over 2 x 2 pixels after each ReLU, as ConvNet has it. Without
pooling only products of a pixel with the same pixel of the other image are needed; pooling mixes them, so that all pairs are.

Everything in float64. Letters: A and B images, C channels, H x W pixels; P stands for no axis ("fc"), H W ("conv"), H W H W
("pooled").
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

W2, B2 = 2.0, 0.01
KINDS = ("fc", "conv", "pooled")
SAME = 1 - 1e-14  # cosine above which two inputs count as one: there the formula's slope is infinite, and the true one is 0


def ntk(a: Tensor, b: Tensor, kind: str, depth: int) -> Tensor:
    """The kernel [A, B] of images a [A, C, H, W] and b [B, C, H, W] for one of `KINDS`; differentiable."""
    a, b = a.double(), b.double()
    s, own_a, own_b = _products(a, b, kind), _own(a, kind), _own(b, kind)
    t = torch.zeros_like(s)
    for _ in range(depth):
        s, t = _weights(_seen(s, kind), _seen(t, kind))
        own_a, own_b = (W2 * _seen(own, kind) + B2 for own in (own_a, own_b))
        va, vb = _variances(own_a, kind), _variances(own_b, kind)
        s, t = _relu(s, t, _left(va, kind), _right(vb, kind))
        own_a, own_b = _own_relu(own_a, va, kind), _own_relu(own_b, vb, kind)
        if kind == "pooled":
            s, t, own_a, own_b = map(_pooled, (s, t, own_a, own_b))
    return _weights(_flattened(s, kind), _flattened(t, kind))[1]


def pairs(kind: str, shape: tuple[int, int, int]) -> int:
    """How many products stand for a pair of images [C, H, W]."""
    pixels = shape[1] * shape[2]
    return {"fc": 1, "conv": pixels, "pooled": pixels**2}[kind]


def _products(a: Tensor, b: Tensor, kind: str) -> Tensor:
    """Means of products over channels, or over all numbers of an image [A, B, P]."""
    if kind == "fc":
        return a.flatten(1) @ b.flatten(1).T / a[0].numel()
    return torch.einsum("achw,bchw->abhw" if kind == "conv" else "achw,bcij->abhwij", a, b) / a.shape[1]


def _own(a: Tensor, kind: str) -> Tensor:
    """Those of each image with itself [A, P]."""
    if kind == "fc":
        return a.square().flatten(1).mean(1)
    return a.square().mean(1) if kind == "conv" else torch.einsum("achw,acij->ahwij", a, a) / a.shape[1]


def _seen(s: Tensor, kind: str) -> Tensor:
    """The mean over what one output of the next layer sees."""
    if kind == "fc":
        return s
    if kind == "conv":
        return F.avg_pool2d(s.flatten(0, -3), 3, stride=1, padding=1).view(s.shape)
    h, w = s.shape[-2:]
    wide = F.pad(s, (1,) * 8)
    total = torch.zeros_like(s)
    for y in range(3):
        for x in range(3):
            total = total + wide[..., y : y + h, x : x + w, y : y + h, x : x + w]
    return total / 9


def _weights(s: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    s = W2 * s + B2
    return s, s + W2 * t


def _relu(s: Tensor, t: Tensor, va: Tensor, vb: Tensor) -> tuple[Tensor, Tensor]:
    root = (va * vb).sqrt()
    cosine = (s / root).clamp(-SAME, SAME)
    same = s > SAME * root
    angle = torch.where(same, 0.0, cosine.arccos())
    s = torch.where(same, root / 2, root * (angle.sin() + (math.pi - angle) * cosine) / (2 * math.pi))
    return s, t * (math.pi - angle) / (2 * math.pi)


def _variances(own: Tensor, kind: str) -> Tensor:
    """S(x, x) [A], or of each pixel [A, H, W]."""
    return torch.einsum("ahwhw->ahw", own) if kind == "pooled" else own


def _left(v: Tensor, kind: str) -> Tensor:
    return v[:, None, :, :, None, None] if kind == "pooled" else v[:, None]


def _right(v: Tensor, kind: str) -> Tensor:
    return v[None, :, None, None] if kind == "pooled" else v[None]


def _own_relu(own: Tensor, v: Tensor, kind: str) -> Tensor:
    return _relu(own, own, v[:, :, :, None, None], v[:, None, None])[0] if kind == "pooled" else own / 2


def _pooled(s: Tensor) -> Tensor:
    """The mean over 2 x 2 pixels on either side; a last row or column of an odd number is left out, as pooling does."""
    h, w = (side // 2 for side in s.shape[-2:])
    s = s[..., : 2 * h, : 2 * w, : 2 * h, : 2 * w]
    return s.reshape(*s.shape[:-4], h, 2, w, 2, h, 2, w, 2).mean((-7, -5, -3, -1))


def _flattened(s: Tensor, kind: str) -> Tensor:
    """The mean over pixels, each with itself [A, B]."""
    if kind == "fc":
        return s
    return s.mean((-2, -1)) if kind == "conv" else torch.einsum("abhwhw->ab", s) / (s.shape[-1] * s.shape[-2])
