"""Shapes, counts and behaviour of the networks themselves."""

import pytest
import torch
from torch import nn

from datadam import nets
from datadam.errors import InvalidInput
from datadam.rng import stream

CIFAR = (3, 32, 32)
NORMED = [f"{name}:norm={norm}" for name, row in nets.CATALOG.items() for norm in row.options.get("norm", ())]
ALL = sorted({*nets.CATALOG, *NORMED})


def images(count: int, shape: tuple[int, int, int] = CIFAR, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(count, *shape, generator=stream(0, "images"), dtype=dtype)


def count(net: nn.Module) -> int:
    return sum(weight.numel() for weight in net.parameters())


@pytest.mark.parametrize(
    ("spec", "shape", "parameters"),
    [
        ("convnet3", CIFAR, 320_010),  # the number the field reports
        ("convnet3:norm=none", CIFAR, 320_010 - 3 * 256),
        ("convnet3:norm=layer", CIFAR, 663_306),  # a weight for each of C x H x W numbers, as in the field's code
        ("convnet3:norm=group1", CIFAR, 320_010),  # a weight a channel
        ("convnet3:widen=grey", (1, 32, 32), 320_010 - 2 * 128 * 9),  # 36x36 maps, pooled to 4x4 as 32x32 ones
        ("convnet3", (1, 28, 28), 320_010 - 2 * 128 * 9),
        ("mlp", (1, 28, 28), 784 * 128 + 128 + 128 * 128 + 128 + 128 * 10 + 10),
        ("lenet", (1, 32, 32), 61_706),  # LeNet-5 with all channels joined
        ("lenet", (1, 28, 28), 61_706),
        ("alexnet", CIFAR, 9_728 + 614_592 + 442_624 + 442_560 + 331_968 + 30_730),
        ("vgg11:norm=batch", CIFAR, 9_231_114),  # both as counted for the well-known CIFAR-10 versions
        ("resnet18:norm=batch", CIFAR, 11_173_962),
        ("vit", CIFAR, 6_272 + 8_192 + 6 * (4 * 16_512 + 66_048 + 65_664 + 512) + 256 + 1_290),
    ],
)
def test_parameter_counts(spec: str, shape: tuple[int, int, int], parameters: int) -> None:
    assert count(nets.build(spec, shape=shape, classes=10)) == parameters


@pytest.mark.parametrize(
    ("spec", "shape", "blocks", "embedding"),
    [
        ("convnet3", CIFAR, [(128, 32, 32), (128, 16, 16), (128, 8, 8)], 2048),
        ("convnet3", (1, 28, 28), [(128, 32, 32), (128, 16, 16), (128, 8, 8)], 2048),
        ("convnet3:width=8", (3, 28, 28), [(8, 28, 28), (8, 14, 14), (8, 7, 7)], 8 * 9),
        ("convnet3:pool=avg3:width=8", (3, 28, 28), [(8, 28, 28), (8, 14, 14), (8, 7, 7)], 8 * 16),
        ("convnet3:pool=max:width=8", (2, 32, 20), [(8, 32, 20), (8, 16, 10), (8, 8, 5)], 8 * 4 * 2),
        ("convnet2:pool=none:width=8", (5, 6, 9), [(8, 6, 9), (8, 6, 9)], 8 * 54),
        ("auto:width=4", (3, 64, 64), [(4, 64, 64), (4, 32, 32), (4, 16, 16), (4, 8, 8)], 4 * 16),
        ("convnet1:width=4", (1, 8, 8), [(4, 8, 8)], 64),
        ("mlp", (4, 9, 7), [], 128),
        ("lenet", CIFAR, [(6, 28, 28), (16, 10, 10)], 84),
        ("lenet", (1, 28, 28), [(6, 28, 28), (16, 10, 10)], 84),
        ("lenet", (2, 10, 50), [(6, 10, 50), (16, 1, 21)], 84),
        ("alexnet", CIFAR, [(128, 32, 32), (192, 16, 16), (256, 8, 8), (192, 8, 8), (192, 8, 8)], 192 * 16),
        ("alexnet", (1, 28, 28), [(128, 32, 32), (192, 16, 16), (256, 8, 8), (192, 8, 8), (192, 8, 8)], 192 * 16),
        ("alexnet", (3, 8, 20), [(128, 8, 20), (192, 4, 10), (256, 2, 5), (192, 2, 5), (192, 2, 5)], 192 * 16),
        (
            "vgg11",
            CIFAR,
            [(64, 32, 32), (128, 16, 16), (256, 8, 8), (256, 8, 8), *[(512, 4, 4)] * 2, *[(512, 2, 2)] * 2],
            512,
        ),
        (
            "vgg11",
            (3, 28, 28),
            [(64, 28, 28), (128, 14, 14), (256, 7, 7), (256, 7, 7), *[(512, 4, 4)] * 2, *[(512, 2, 2)] * 2],
            512,
        ),
        (
            "resnet18",
            (1, 28, 28),
            [*[(64, 28, 28)] * 2, *[(128, 14, 14)] * 2, *[(256, 7, 7)] * 2, *[(512, 4, 4)] * 2],
            512,
        ),
        ("vit", (1, 28, 28), [(128, 7, 7)] * 6, 128),
        ("vit:depth=2:width=8:patch=6", (2, 20, 31), [(8, 4, 6)] * 2, 8),
    ],
)
def test_shapes(spec: str, shape: tuple[int, int, int], blocks: list[tuple[int, int, int]], embedding: int) -> None:
    net = nets.build(spec, shape=shape, classes=7)
    x = images(2, shape, torch.float32)
    features = net.features(x)
    assert [tuple(block.shape[1:]) for block in features.blocks] == blocks
    assert features.embedding.shape == (2, embedding)
    assert features.pixels is x
    assert net(x).shape == (2, 7)


def test_a_convnet_is_its_formula() -> None:
    net = nets.build("convnet2:width=6:pool=avg3:act=leakyrelu", shape=(2, 8, 10), classes=3).double()
    x = images(3, (2, 8, 10))
    weights = [weight.detach() for weight in net.parameters()]
    maps, blocks = x, []
    for conv, bias in ((0, 1), (4, 5)):
        maps = nn.functional.conv2d(maps, weights[conv], weights[bias], padding=1)
        centred = maps - maps.mean((2, 3), keepdim=True)
        maps = centred / (centred.square().mean((2, 3), keepdim=True) + 1e-5).sqrt()
        maps = torch.where(maps > 0, maps, 0.01 * maps)
        blocks.append(maps)
        ones = torch.ones_like(maps[:1, :1])  # 3x3 means that leave out the padding, from sums
        window = torch.ones(1, 1, 3, 3, dtype=torch.float64)
        sums = nn.functional.conv2d(maps, window.expand(6, 1, 3, 3), stride=2, padding=1, groups=6)
        maps = sums / nn.functional.conv2d(ones, window, stride=2, padding=1)
    features = net.features(x)
    for ours, expected in zip(features.blocks, blocks, strict=True):
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(features.embedding, maps.flatten(1), rtol=0, atol=1e-12)
    torch.testing.assert_close(net(x), maps.flatten(1) @ weights[-2].T + weights[-1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("norm", ["layer", "group1", "group"])
def test_group_norms_are_their_formula(norm: str) -> None:
    net = nets.build(f"convnet1:width=8:norm={norm}:pool=none", shape=(1, 4, 4), classes=2).double()
    x = images(3, (1, 4, 4))
    conv, bias = list(net.parameters())[:2]
    maps = nn.functional.conv2d(x, conv, bias, padding=1).reshape(3, {"layer": 1, "group1": 1, "group": 4}[norm], -1)
    maps = (maps - maps.mean(2, keepdim=True)) / (maps.var(2, unbiased=False, keepdim=True) + 1e-5).sqrt()
    expected = maps.clamp(min=0).reshape(3, -1)
    torch.testing.assert_close(net.features(x).embedding, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("spec", ALL)
def test_couples_images_says_what_is_measured(spec: str) -> None:
    net = nets.build(spec, shape=CIFAR, classes=3).double()
    x = images(3)
    with torch.no_grad():
        gap = (net(x)[:2] - net(torch.cat((x[:2], 9 * x[2:])))[:2]).abs().max()
    assert net.training
    assert net.couples_images == ("norm=batch" in spec or spec == "nasbench201")
    assert gap > 1e-6 if net.couples_images else gap < 1e-12


@pytest.mark.parametrize("spec", sorted(set(nets.CATALOG) - {"nasbench201"}))  # whose batch norm couples images
def test_an_image_does_not_depend_on_its_place_in_the_batch(spec: str) -> None:
    net = nets.build(spec, shape=CIFAR, classes=3).double()
    x = images(3)
    order = torch.tensor([2, 0, 1])
    with torch.no_grad():
        straight, turned, alone = net.features(x), net.features(x[order]), net.features(x[1:2])
    for one, other, single in zip(
        (*straight.blocks, straight.embedding),
        (*turned.blocks, turned.embedding),
        (*alone.blocks, alone.embedding),
        strict=True,
    ):
        torch.testing.assert_close(other, one[order], rtol=0, atol=1e-10)
        torch.testing.assert_close(single, one[1:2], rtol=0, atol=1e-10)


@pytest.mark.parametrize("spec", ALL)
def test_blocks_are_after_the_activation_and_are_not_overwritten(spec: str) -> None:
    net = nets.build(spec, shape=CIFAR, classes=3)
    blocks = net.features(images(2, dtype=torch.float32)).blocks
    if spec != "vit":  # whose blocks end in a sum
        assert all(block.min() == 0 and block.max() > 0 for block in blocks)
    if len(blocks) > 1:
        torch.autograd.backward([block.sum() for block in blocks])  # in-place changes would be an error here
    assert not any(module._forward_hooks for module in net.modules())


@pytest.mark.parametrize(
    "spec", ["convnet2:width=4", "convnet1:width=4:act=sigmoid:norm=group", "convnet2:width=4:norm=batch:pool=avg3",
     "vit:patch=3:width=4:depth=2:heads=2"],
)  # fmt: skip
def test_gradients_of_the_features(spec: str) -> None:
    net = nets.build(spec, shape=(1, 6, 5), classes=2).double()
    x = images(2, (1, 6, 5)).requires_grad_()
    net.requires_grad_(False)
    assert torch.autograd.gradcheck(lambda x: (*net.features(x).blocks, net.features(x).embedding), (x,))


@pytest.mark.parametrize("spec", ["convnet3:width=8:norm=batch", "mlp", "lenet", "vit:depth=2:width=8"])
def test_state_dict_round_trip(spec: str) -> None:
    one, other = (nets.build(spec, shape=CIFAR, classes=4) for _ in range(2))
    nets.initialise(one, stream(1, "weights"))
    x = images(4, dtype=torch.float32)
    one(x)  # moves running statistics, where there are any
    assert not torch.equal(one.eval()(x), other.eval()(x))
    other.load_state_dict(one.state_dict())
    assert torch.equal(one(x), other(x))


@pytest.mark.parametrize("spec", ["convnet3:width=4", "convnet3:width=4:norm=batch:pool=avg3", "mlp:width=4", "lenet", "alexnet",
                                  "vit:depth=2:width=8"])  # fmt: skip
def test_a_network_is_one_graph(spec: str) -> None:
    torch._dynamo.reset()
    net = nets.build(spec, shape=CIFAR, classes=3)
    x = images(2, dtype=torch.float32)
    compiled = torch.compile(net.features, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x).embedding, net.features(x).embedding)


@pytest.mark.parametrize(
    ("spec", "shape", "words"),
    [
        ("convnet5", (3, 16, 16), ["16x16", "convnet4"]),
        ("convnet6", (1, 28, 28), ["28x28", "convnet5"]),
        ("convnet9:norm=none", (3, 64, 5), ["64x5", "convnet2"]),
        ("convnet3:norm=none", (3, 1, 9), ["1x9", "larger"]),
        ("convnet2:pool=none", (3, 1, 1), ["1x1", "larger"]),
        ("convnet5:pool=avg3", (3, 8, 8), ["8x8", "convnet3"]),  # after three poolings one pixel is left to normalise
        ("convnet5:pool=avg3:norm=group:width=4", (3, 8, 8), ["8x8", "convnet3"]),
        ("lenet", (3, 9, 32), ["9x32", "10x10"]),
        ("alexnet:norm=instance", (3, 4, 4), ["4x4", "norm=group"]),
        ("vgg11", (3, 16, 16), ["16x16", "norm=group"]),
        ("resnet18", (3, 8, 8), ["8x8", "norm=group"]),
        ("vit", (3, 224, 224), ["3136 patches", "patch=7"]),  # too large, rather
        ("vit:width=6", CIFAR, ["width=6, heads=4"]),
        ("vit:width=1:heads=1", CIFAR, ["width of 2 or more"]),
    ],
)
def test_images_that_do_not_fit_are_refused(spec: str, shape: tuple[int, int, int], words: list[str]) -> None:
    with pytest.raises(InvalidInput) as refusal:
        nets.build(spec, shape=shape, classes=10)
    assert all(word in str(refusal.value) for word in words)


@pytest.mark.parametrize(
    ("spec", "shape"),
    [
        ("convnet4:width=4", (3, 16, 16)),
        ("convnet5:width=4", (1, 28, 28)),
        ("convnet2:norm=none:width=4", (3, 64, 5)),
        ("convnet3:pool=avg3:width=4", (3, 8, 8)),
        ("convnet5:pool=avg3:norm=group:width=8", (3, 8, 8)),
        ("lenet", (3, 10, 10)),
        ("alexnet:norm=instance", (3, 5, 1)),
        ("alexnet", (1, 1, 1)),
        ("vgg11", (3, 17, 1)),
        ("vgg11:norm=group", (3, 8, 8)),
        ("resnet18", (3, 9, 2)),
        ("resnet18:norm=group1", (3, 4, 4)),
        ("vit:depth=1:width=8", (2, 1, 3)),
    ],
)
def test_the_smallest_images_work(spec: str, shape: tuple[int, int, int]) -> None:
    net = nets.build(spec, shape=shape, classes=2)
    x = images(1, shape, torch.float32).requires_grad_()
    (gradient,) = torch.autograd.grad(net.features(x).embedding.square().sum(), x)
    assert 0 < gradient.abs().max() < float("inf")
