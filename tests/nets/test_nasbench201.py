"""Networks of NAS-Bench-201: weights and operations as published, cells in both spellings, what is refused."""

from itertools import product

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from datadam import nets
from datadam.errors import InvalidInput
from datadam.nets.nasbench201 import OPERATIONS, cell_letters, cell_word
from datadam.rng import stream

SMALLEST, LARGEST = "n" * 6, "3" * 6


def weights(cell: str, classes: int, side: int = 32) -> int:
    network = nets.build(f"nasbench201:cell={cell}", shape=(3, side, side), classes=classes)
    return sum(weight.numel() for weight in network.parameters())


@pytest.mark.parametrize(
    ("cell", "classes", "published"),  # of the benchmark, in millions, to the single weight
    [(SMALLEST, 10, 73_306), (LARGEST, 10, 1_531_546), (SMALLEST, 100, 79_156), (LARGEST, 100, 1_537_396)],
)
def test_as_many_weights_as_published(cell: str, classes: int, published: int) -> None:
    assert weights(cell, classes) == published


@pytest.mark.parametrize(
    ("cell", "classes", "published"),  # multiplications of convolutions and the linear layer, an image, in millions
    [(SMALLEST, 10, 7.78305), (LARGEST, 10, 220.11969), (SMALLEST, 100, 7.78890), (LARGEST, 100, 220.12554)],
)
def test_as_many_multiplications_as_published(cell: str, classes: int, published: float) -> None:
    network = nets.build(f"nasbench201:cell={cell}", shape=(3, 32, 32), classes=classes).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 3, 32, 32))
    macs = counter.get_total_flops() / 2  # the linear layer's are counted with them
    assert macs / 1e6 == pytest.approx(published, abs=5e-5 + 0.0002)


def test_every_cell_in_both_spellings() -> None:
    cells = {"".join(letters) for letters in product(OPERATIONS, repeat=6)}
    assert len(cells) == 15_625
    assert all(cell_letters(cell_word(cell)) == cell for cell in cells)
    word = "|nor_conv_3x3~0|+|skip_connect~0|avg_pool_3x3~1|+|nor_conv_1x1~0|none~1|nor_conv_3x3~2|"
    assert cell_letters(word) == "3sa1n3"
    assert nets.canonical(f"nasbench201:cell={word}", (3, 32, 32)) == "nasbench201:cell=3sa1n3"
    assert nets.canonical("nasbench201:cell=333333", (3, 32, 32)) == "nasbench201"


def test_the_nodes_are_sums_over_their_edges() -> None:
    """A cell of skips alone: node 1 is x, node 2 is x + x, node 3 is x + x + 2x."""
    network = nets.build("nasbench201:cell=ssssss", shape=(3, 8, 8), classes=3).double().eval()
    nets.initialise(network, stream(0, "test"))
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64, generator=stream(0, "x"))
    stem = network.get_submodule("stem")(x)
    torch.testing.assert_close(network.features(x).blocks[0], 4**5 * stem.relu())
    zero = nets.build("nasbench201:cell=nnnnnn", shape=(3, 8, 8), classes=3).double().eval()
    assert not zero.features(x).blocks[0].any()


def test_features_are_as_every_network_gives_them() -> None:
    network = nets.build("nasbench201:cell=13as3n", shape=(3, 16, 16), classes=7)
    found = network.features(torch.randn(4, 3, 16, 16, generator=stream(0, "x")))
    assert [tuple(block.shape) for block in found.blocks] == [(4, 16, 16, 16), (4, 32, 8, 8), (4, 64, 4, 4)]
    assert found.embedding.shape == (4, 64)
    assert network.couples_images


@pytest.mark.parametrize(
    "cell",
    ["33333", "3333334", "33333x", "", "|nor_conv_3x3~0|+|none~0|none~1|+|none~0|none~1|none~1|", "|nor_conv_5x5~0|+|none~0|"],
)
def test_what_is_no_cell_is_refused(cell: str) -> None:
    with pytest.raises(InvalidInput, match="is no cell of nasbench201; write six letters"):
        nets.build(f"nasbench201:cell={cell}", shape=(3, 32, 32), classes=10)


def test_images_that_are_too_small_are_refused() -> None:
    with pytest.raises(InvalidInput, match="give images of 4x4 pixels or more"):
        nets.build("nasbench201", shape=(3, 3, 3), classes=10)
