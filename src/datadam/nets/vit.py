"""A small vision transformer (Dosovitskiy et al., ICLR 2021), the architecture that the paper names as its limit.

    t_0    = patches(x) W + positions
    t'     = t + attention(norm(t))                attention: softmax(Q K^T / sqrt(d)) V, head by head
    t      = t' + W_2 gelu(W_1 norm(t'))           hidden width 4 D, no dropout

Departures: no class token, the head reads the mean of the last tokens after their norm (Beyer et al., 2022), so that every
token has a place and the tokens of a block are a map; positions are learned in the original and drawn here, and are trained
with the rest in a student.

N images, C channels, H x W pixels, T = h * w tokens of D numbers.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from datadam.errors import InvalidInput
from datadam.nets.base import Features, Network

MOST_TOKENS = 1024  # attention is T x T numbers for each head, block and image


class Attention(nn.Module):
    """Self-attention of tokens [N, T, D] by `heads` heads of d = D / heads numbers.

    Written out, since PyTorch's fused attention has no second derivative on CPUs, and matching gradients needs one.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))

    def forward(self, t: Tensor) -> Tensor:
        q, k, v = (part(t).unflatten(2, (self.heads, -1)).transpose(1, 2) for part in (self.query, self.key, self.value))
        weights = (q @ k.transpose(2, 3) * q.shape[3] ** -0.5).softmax(3)
        mixed: Tensor = self.out((weights @ v).transpose(1, 2).flatten(2))
        return mixed


class Block(nn.Module):
    """Attention, then two linear layers, each on normalised tokens and beside a shortcut."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, t: Tensor) -> Tensor:
        t = t + self.attention(self.norm1(t))
        out: Tensor = t + self.mlp(self.norm2(t))
        return out


class ViT(Network):
    """`depth` transformer blocks of `width` D with `heads` heads on patches of `patch` x `patch` pixels.

    A block's output is the map of its tokens, [N, D, h, w]: signed, as there is no activation after the sum. The embedding
    [N, D] is the mean of the normalised last tokens. Sides that the patch does not divide are filled up with zeros, evenly on
    both ends. Raises InvalidInput when the heads do not divide the width (or it is 1), or the tokens are too many for attention.
    """

    def __init__(
        self, shape: tuple[int, int, int], classes: int, patch: int = 4, width: int = 128, depth: int = 6, heads: int = 4
    ) -> None:
        super().__init__()
        if width % heads or width == 1:
            came = f"width={width}, heads={heads} came"
            raise InvalidInput(f"vit needs a width of 2 or more that its heads divide, and {came}; change one of them")
        self.height, self.breadth = (-(-side // patch) for side in shape[1:])
        if (tokens := self.height * self.breadth) > MOST_TOKENS:
            raise InvalidInput(
                f"vit with patch={patch} would cut {shape[1]}x{shape[2]} images into {tokens} patches, and {MOST_TOKENS} is the "
                f"most; say patch={_least_patch(shape)} or more"
            )
        missing = [count * patch - side for count, side in zip((self.height, self.breadth), shape[1:], strict=True)]
        self.margins = (missing[1] // 2, missing[1] - missing[1] // 2, missing[0] // 2, missing[0] - missing[0] // 2)
        self.patches = nn.Conv2d(shape[0], width, patch, stride=patch)
        self.positions = nn.Embedding(tokens, width)
        self.body = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def features(self, x: Tensor) -> Features:
        tokens = self.patches(F.pad(x, self.margins)).flatten(2).transpose(1, 2) + self.positions.weight
        blocks = []
        for block in self.body:
            tokens = block(tokens)
            blocks.append(tokens.transpose(1, 2).unflatten(2, (self.height, self.breadth)))
        return Features(tuple(blocks), self.norm(tokens).mean(1), x)


def _least_patch(shape: tuple[int, int, int]) -> int:
    """The smallest patch that cuts images of this shape into few enough."""
    patch = 1
    while -(-shape[1] // patch) * -(-shape[2] // patch) > MOST_TOKENS:
        patch += 1
    return patch
