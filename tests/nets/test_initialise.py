"""The law of fresh weights, and that nothing but the generator decides them."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from datadam import nets
from datadam.errors import InvalidInput, UnknownName
from datadam.rng import stream

CIFAR = (3, 32, 32)


def weights(net: nn.Module) -> torch.Tensor:
    return torch.cat([tensor.detach().flatten().float() for tensor in net.state_dict().values()])


@pytest.mark.parametrize("spec", sorted(nets.CATALOG))
def test_the_default_is_what_pytorch_constructs(spec: str) -> None:
    """The same network from PyTorch's own constructors and the same state of the generator is equal bit for bit."""
    net = nets.build(spec, shape=CIFAR, classes=5)
    nets.initialise(net, torch.Generator().manual_seed(11))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        for module in net.modules():
            if isinstance(module, nn.Conv2d):
                ours: Any = nn.Conv2d(
                    module.in_channels, module.out_channels, module.kernel_size[0], bias=module.bias is not None
                )
            elif isinstance(module, nn.Linear):
                ours = nn.Linear(module.in_features, module.out_features)
            elif isinstance(module, nn.Embedding):  # positions, for which 1, PyTorch's spread, is too much
                assert torch.equal(module.weight, torch.empty_like(module.weight).normal_(0, 0.02))
                continue
            else:
                continue
            assert torch.equal(module.weight, ours.weight)
            assert module.bias is None or torch.equal(module.bias, ours.bias)


@pytest.mark.parametrize(
    ("init", "spread"),  # of a weight, as a function of fan_in and fan_out
    [
        ("default", lambda fan_in, fan_out: 1 / math.sqrt(3 * fan_in)),
        ("he-normal", lambda fan_in, fan_out: math.sqrt(2 / fan_in)),
        ("he-uniform", lambda fan_in, fan_out: math.sqrt(2 / fan_in)),
        ("xavier", lambda fan_in, fan_out: math.sqrt(2 / (fan_in + fan_out))),
        ("orthogonal", lambda fan_in, fan_out: 1 / math.sqrt(max(fan_in, fan_out / 9))),
    ],
)
def test_law(init: str, spread: Callable[[float, float], float]) -> None:
    net: Any = nets.build("convnet2", shape=CIFAR, classes=10)
    nets.initialise(net, stream(3, "law"), init)
    conv = net.body[1][0]
    fan_in, fan_out = 128 * 9, 128 * 9
    expected = spread(fan_in, fan_out)
    draws = conv.weight.detach().double().flatten()  # 147 456 of them: the relative error of a std is about 0.2 %
    assert draws.std() == pytest.approx(expected, rel=0.01)
    assert abs(draws.mean()) < 5 * expected / math.sqrt(len(draws))
    if init in ("default", "he-uniform", "xavier"):
        assert draws.abs().max() <= expected * math.sqrt(3) * (1 + 1e-6)
        assert draws.abs().max() > expected * math.sqrt(3) * 0.999
    if init == "he-normal":
        assert (draws.abs() > 2 * expected).double().mean() == pytest.approx(0.0455, abs=0.003)
    if init == "orthogonal":
        matrix = conv.weight.detach().double().flatten(1)
        torch.testing.assert_close(matrix @ matrix.T, torch.eye(128, dtype=torch.float64), rtol=0, atol=1e-5)
    if init == "default":
        assert 0 < conv.bias.abs().max() <= 1 / math.sqrt(fan_in)
        assert net.head.bias.abs().max() <= 1 / math.sqrt(net.head.in_features)
    else:
        assert conv.bias.abs().max() == 0


@pytest.mark.parametrize("init", sorted(nets.INITS))
def test_only_the_generator_decides(init: str) -> None:
    fresh, used = (nets.build("convnet3:width=8:norm=batch", shape=CIFAR, classes=3) for _ in range(2))
    with torch.no_grad():
        for weight in used.parameters():
            weight.fill_(math.nan)
    used(torch.full((2, *CIFAR), 7.0))  # spoils the running statistics too
    used.requires_grad_(False).eval()
    before = torch.get_rng_state()
    nets.initialise(fresh, stream(1, "net", 5), init)
    nets.initialise(used, stream(1, "net", 5), init)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(weights(fresh), weights(used))
    assert not used.training
    assert not any(weight.requires_grad for weight in used.parameters())
    nets.initialise(used, stream(1, "net", 6), init)
    assert not torch.equal(weights(fresh), weights(used))


@pytest.mark.parametrize("spec", sorted(nets.CATALOG))
def test_a_head_changes_nothing_before_it(spec: str) -> None:
    whole, part = nets.build(spec, shape=CIFAR, classes=7), nets.headless(nets.build(spec, shape=CIFAR, classes=3))
    for net in (whole, part):
        nets.initialise(net, stream(4, "net"))
    x = torch.rand(2, *CIFAR, generator=torch.Generator().manual_seed(0))
    assert torch.equal(whole.features(x).embedding, part.features(x).embedding)
    assert not any(name.startswith("head") for name in part.state_dict())


def test_the_draw_moves_on() -> None:
    net = nets.build("mlp", shape=CIFAR, classes=3)
    generator = stream(1, "nets")
    nets.initialise(net, generator)
    first = weights(net)
    nets.initialise(net, generator)
    assert not torch.equal(first, weights(net))


@pytest.mark.parametrize("init", sorted(nets.INITS))
def test_layout_and_precision_do_not_change_the_draw(init: str) -> None:
    plain, last, double = (nets.build("convnet3:width=8", shape=CIFAR, classes=3) for _ in range(3))
    last.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    double.double()
    for net in (plain, last, double):
        nets.initialise(net, stream(2, "net"), init)
    assert torch.equal(weights(plain), weights(last))
    assert torch.equal(weights(plain), weights(double))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_device_does_not_change_the_draw() -> None:
    here, there = (nets.build("convnet3", shape=CIFAR, classes=3) for _ in range(2))
    there.cuda()
    for net in (here, there):
        nets.initialise(net, stream(2, "net"))
    assert torch.equal(weights(here), weights(there).cpu())


def test_refusals() -> None:
    net = nets.build("mlp", shape=CIFAR, classes=3)
    with pytest.raises(UnknownName, match="Did you mean 'he-normal'"):
        nets.initialise(net, stream(0, "net"), "he-norml")
    net.extra = nn.Conv1d(3, 3, 3)
    with pytest.raises(InvalidInput, match="no rule to initialise the weights of a Conv1d"):
        nets.initialise(net, stream(0, "net"))
