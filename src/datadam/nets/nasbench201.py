"""The networks of NAS-Bench-201 (Dong and Yang, ICLR 2020): one cell, written as six operations, fifteen times over.

A cell has four nodes; node 0 is its input, and each later node is the sum of the earlier ones, each through the operation of its
edge. The network is a 3x3 convolution, five cells of 16 channels, a residual block that halves the sides and doubles the
channels, five cells of 32, another such block, five cells of 64, then batch norm, ReLU, the mean over positions and one linear
layer. N images, C channels, H x W pixels, K classes.
"""

import re

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from datadam.errors import InvalidInput
from datadam.nets.base import Features, Network

OPERATIONS = {"n": "none", "s": "skip_connect", "1": "nor_conv_1x1", "3": "nor_conv_3x3", "a": "avg_pool_3x3"}
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))  # (from, to), in the order of the published words
ALL_3X3 = "333333"
CELLS, WIDTH = 5, 16  # of each of the three stages, and of the first


def cell_letters(text: str) -> str:
    """The six letters of a cell, which may be given so or in the published form.

    Argument: `text`, such as "3sa1n3" (n none, s skip, 1 and 3 convolutions, a average pooling, for the edges 0-1, 0-2, 1-2, 0-3,
    1-3, 2-3) or "|nor_conv_3x3~0|+|skip_connect~0|avg_pool_3x3~1|+|...|". Raises `InvalidInput`.
    """
    if re.fullmatch(f"[{''.join(OPERATIONS)}]{{{len(EDGES)}}}", text):
        return text
    letters = {name: letter for letter, name in OPERATIONS.items()}
    nodes = [re.findall(r"([a-z0-9_]+)~(\d)", node) for node in text.split("+")]
    found = "".join(letters.get(name, "?") for node in nodes for name, _ in node)
    if "?" in found or len(found) != len(EDGES) or cell_word(found) != text:
        raise InvalidInput(
            f"{text!r} is no cell of nasbench201; write six letters of {', '.join(f'{k} ({v})' for k, v in OPERATIONS.items())}, "
            f"such as 3sa1n3, or the published form, such as {cell_word('3sa1n3')}"
        )
    return found


def cell_word(letters: str) -> str:
    """The published form of a cell of six letters."""
    nodes = [
        "".join(f"|{OPERATIONS[letter]}~{start}" for letter, (start, end) in zip(letters, EDGES, strict=True) if end == node)
        for node in (1, 2, 3)
    ]
    return "+".join(f"{node}|" for node in nodes)


class NasBench201(Network):
    """The network of a `cell` of six letters (see `cell_letters`).

    Its blocks are what leaves the last cell of each stage, after the ReLU that comes next (for the last stage after batch norm
    too): [N, 16, H, W], [N, 32, H/2, W/2] and [N, 64, H/4, W/4]; the embedding is [N, 64]. Raises InvalidInput for images under
    4x4 pixels.
    """

    def __init__(self, shape: tuple[int, int, int], classes: int, cell: str = ALL_3X3) -> None:
        super().__init__()
        if min(shape[1:]) < 4:
            raise InvalidInput(
                f"nasbench201 halves the sides twice and {shape[1]}x{shape[2]} images came; give images of 4x4 pixels or more"
            )
        self.stem = nn.Sequential(_conv(shape[0], WIDTH, 3), nn.BatchNorm2d(WIDTH))
        self.stages = nn.ModuleList()
        for stage in range(3):
            width = WIDTH * 2**stage
            shrink = [_Halving(width // 2, width)] if stage else []
            self.stages.append(nn.Sequential(*shrink, *(_Cell(width, cell) for _ in range(CELLS))))
        self.norm = nn.BatchNorm2d(width)
        self.head = nn.Linear(width, classes)

    def features(self, x: Tensor) -> Features:
        maps, blocks = self.stem(x), []
        for number, stage in enumerate(self.stages):
            maps = stage(maps)
            blocks.append(F.relu(self.norm(maps) if number == len(self.stages) - 1 else maps))
        return Features(tuple(blocks), blocks[-1].mean((2, 3)), x)


class _Cell(nn.Module):
    """Four nodes of `width` channels and equal size."""

    def __init__(self, width: int, letters: str) -> None:
        super().__init__()
        self.edges = nn.ModuleList(_operation(letter, width) for letter in letters)

    def forward(self, x: Tensor) -> Tensor:
        nodes = [x]
        for node in (1, 2, 3):
            into = [edge(nodes[start]) for edge, (start, end) in zip(self.edges, EDGES, strict=True) if end == node]
            nodes.append(torch.stack(into).sum(0) if len(into) > 1 else into[0])
        return nodes[3]


class _Halving(nn.Module):
    """Two 3x3 convolutions, the first with stride 2, beside average pooling and a 1x1 convolution."""

    def __init__(self, before: int, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(_normed(before, width, 3, stride=2), _normed(width, width, 3))
        self.beside = nn.Sequential(nn.AvgPool2d(2), _conv(before, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.beside(x) + self.body(x)
        return out


class _Zero(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)


def _operation(letter: str, width: int) -> nn.Module:
    if letter in "13":
        return _normed(width, width, int(letter))
    pooling = nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
    return {"n": _Zero(), "s": nn.Identity(), "a": pooling}[letter]


def _normed(before: int, width: int, size: int, stride: int = 1) -> nn.Sequential:
    """ReLU, convolution, batch norm: in this order, as the benchmark has it."""
    return nn.Sequential(nn.ReLU(), _conv(before, width, size, stride), nn.BatchNorm2d(width))


def _conv(before: int, width: int, size: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(before, width, size, stride, padding=size // 2, bias=False)
