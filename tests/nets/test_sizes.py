"""How large networks are: closed forms, and each is measured once."""

import pytest
from small import make_real

from datadam import nets
from datadam.comparison.grid import plan
from datadam.errors import InvalidInput, UnknownName
from datadam.nets import catalog

SHAPE = (3, 8, 8)


@pytest.mark.parametrize(("norm", "couples", "norms"), [("instance", False, 2 * 4), ("none", False, 0), ("batch", True, 2 * 4)])
def test_sizes_of_a_convnet_are_those_of_paper(norm: str, couples: bool, norms: int) -> None:
    width, classes = 4, 5
    found = nets.sizes(f"convnet1:norm={norm}:width={width}", shape=SHAPE, classes=classes)
    convolution = 2 * 9 * 3 * width * 8 * 8  # a multiplication and an addition count as two
    head = 2 * width * 4 * 4 * classes
    assert (found.flops_of_features, found.flops) == (convolution, convolution + head)
    assert found.weights == 4 * (9 * 3 * width + width + norms + width * 4 * 4 * classes + classes)
    assert found.couples_images is couples
    assert [tuple(block.shape) for block in found.features.blocks] == [(1, width, 8, 8)]
    assert tuple(found.features.embedding.shape) == (1, width * 4 * 4)


def test_sizes_refuse_as_networks_do() -> None:
    with pytest.raises(UnknownName, match="convnet"):
        nets.sizes("convnett", shape=SHAPE, classes=2)
    with pytest.raises(InvalidInput):
        nets.sizes("convnet9", shape=SHAPE, classes=2)


def test_planning_builds_a_network_once(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[str] = []
    monkeypatch.setattr("datadam.nets.measure.build", lambda spec, **to: built.append(spec) or catalog.build(spec, **to))
    words = [f"datadam:task_balance={balance}" for balance in (0.1, 0.2, 0.3)]
    grid = plan(
        make_real(), words, [1, 2], ["convnet1:width=7"], repeats=2, iterations=3, batch_real=4, net="convnet2:width=7",
        normalisation=None, zca=None, protocol="honest", students=1, whole=True, whole_epochs=1, seed=0, device="cpu",
        precision=None, memory_limit=None,
    )  # fmt: skip
    assert len(grid.rows) == 6
    assert sorted(built) == ["convnet1:width=7", "convnet2:width=7"]
