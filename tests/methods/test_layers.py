"""Norms and pooling by formulas: the same as plain operations, also derived along a direction and then once more."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, jvp

from datadam import nets
from datadam.methods.layers import PlainNorm, PlainPool, with_plain_layers

CASES = [
    (nn.InstanceNorm2d(6, affine=True), (4, 6, 5, 3)), (nn.InstanceNorm2d(6), (4, 6, 3, 1)), (nn.InstanceNorm2d(6), (2, 6, 1, 1)),
    (nn.InstanceNorm1d(6, affine=True), (4, 6, 5)), (nn.BatchNorm2d(6), (4, 6, 5, 5)),
    (nn.BatchNorm2d(6, affine=False), (4, 6, 5, 5)),
    (nn.BatchNorm1d(6), (5, 6)), (nn.LayerNorm((6, 5, 5)), (4, 6, 5, 5)), (nn.LayerNorm(7), (3, 2, 7)),
    (nn.LayerNorm(7, elementwise_affine=False), (3, 7)),
]  # fmt: skip


class ByOperations(nn.Module):
    """The same norm as autograd can take it apart."""

    def __init__(self, norm: PlainNorm) -> None:
        super().__init__()
        self.weight, self.bias, self.norm = norm.weight, norm.bias, norm

    def forward(self, x: Tensor) -> Tensor:
        norm = self.norm
        axes = [*range(-norm.last, 0)] if norm.last else [*([] if norm.alone else [0]), *range(2, x.ndim)]
        gap = x - x.mean(axes, keepdim=True)
        y: Tensor = gap / (gap.square().mean(axes, keepdim=True) + norm.eps).sqrt()
        each = self.weight.shape if norm.last and self.weight is not None else (1, -1) + (1,) * (x.ndim - 2)
        return y if self.weight is None else y * self.weight.view(each) + self.bias.view(each)


@pytest.mark.parametrize(("norm", "shape"), CASES, ids=lambda value: str(value).replace(" ", ""))
def test_a_norm_is_that_of_plain_operations_as_are_its_derivatives(norm: nn.Module, shape: tuple[int, ...]) -> None:
    g = torch.Generator().manual_seed(0)
    ours = PlainNorm(norm.double())
    other = ByOperations(ours)
    names = ["weight", "bias"] if ours.weight is not None else []
    at = [torch.randn(shape, generator=g, dtype=torch.float64)]
    at += [torch.randn(getattr(ours, name).shape, generator=g, dtype=torch.float64) for name in names]
    along = [torch.randn(value.shape, generator=g, dtype=torch.float64) for value in at]
    mixed = torch.randn(shape, generator=g, dtype=torch.float64)
    every = tuple(range(len(at)))

    def outcome(layer: nn.Module, *values: Tensor) -> Tensor:
        z = functional_call(layer, dict(zip(names, values[1:], strict=True)), (values[0],))
        return (z.tanh() * mixed).sum() + z.pow(3).sum()

    def all_of(layer: nn.Module) -> list[Tensor]:
        def slope(*values: Tensor) -> Tensor:
            found: Tensor = jvp(lambda *moved: outcome(layer, *moved), values, tuple(along))[1]
            return found

        def by_weights(*values: Tensor) -> Tensor:
            found: Tensor = jvp(lambda *rest: outcome(layer, values[0], *rest), values[1:], tuple(along[1:]))[1]
            return found

        first = grad(lambda *values: outcome(layer, *values), argnums=every)(*at)
        return [layer(at[0]), *first, *grad(slope, argnums=every)(*at), *(grad(by_weights, argnums=every)(*at) if names else ())]

    for found, expected in zip(all_of(ours), all_of(other), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("side", "shape"), [(2, (2, 3, 8, 8)), (2, (1, 2, 7, 9)), (3, (2, 1, 6, 7)), (1, (1, 1, 2, 2)), (2, (1, 1, 2, 2))]
)
def test_pooling_by_a_product_is_that_of_torch(side: int, shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(PlainPool(side)(x), F.avg_pool2d(x, side), rtol=1e-12, atol=1e-12)


def test_pooling_is_no_coarser_than_what_comes_where_products_are() -> None:
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        pooled = PlainPool(2)(x)
    assert pooled.dtype == torch.float32
    torch.testing.assert_close(pooled, F.avg_pool2d(x, 2))


@pytest.mark.parametrize("net", ["convnet3:width=4", "convnet2:norm=batch:width=4:pool=max", "resnet18"])
def test_a_network_with_such_layers_is_the_same_function(net: str) -> None:
    network = nets.build(net, shape=(3, 16, 16), classes=3).double().train()
    x = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    plain = with_plain_layers(network)
    kinds = {type(module) for module in plain.modules()}
    assert PlainNorm in kinds
    assert not any(issubclass(kind, nn.BatchNorm2d | nn.InstanceNorm2d) for kind in kinds)
    torch.testing.assert_close(plain(x), network(x), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    "pool",
    [
        nn.AvgPool2d(3, stride=2),
        nn.AvgPool2d(3, 1, 1, count_include_pad=False),
        nn.AvgPool2d((2, 1)),
        nn.AvgPool2d(2, ceil_mode=True),
    ],
)
def test_other_pooling_is_left_alone(pool: nn.AvgPool2d) -> None:
    network = nn.Sequential(pool)
    assert isinstance(with_plain_layers(network)[0], nn.AvgPool2d)  # type: ignore[arg-type, index]
