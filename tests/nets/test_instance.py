"""Instance norm by its formula, against torch's own."""

import pytest
import torch
from torch import nn

from datadam import nets
from datadam.nets.instance import InstanceNorm, Normalised
from datadam.training.trainer import Forward, Trainer, Training, forward_of


def made(channels: int, shape: tuple[int, ...], seed: int) -> tuple[nn.InstanceNorm2d, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    norm = nn.InstanceNorm2d(channels, affine=True).double()
    with torch.no_grad():
        norm.weight.copy_(torch.randn(channels, generator=draw, dtype=torch.float64))
        norm.bias.copy_(torch.randn(channels, generator=draw, dtype=torch.float64))
    return norm, torch.randn(shape, generator=draw, dtype=torch.float64).mul(3).add(5).requires_grad_()


@pytest.mark.parametrize("shape", [(1, 1, 2, 1), (3, 5, 7, 4), (2, 8, 1, 3), (4, 3, 16, 16)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_values_and_gradients_are_those_of_torch(shape: tuple[int, ...], layout: torch.memory_format) -> None:
    norm, x = made(shape[1], shape, 1)
    back = torch.randn(shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    ours = Normalised.apply(x.contiguous(memory_format=layout), norm.weight, norm.bias, norm.eps)
    torch.testing.assert_close(ours, norm(x), rtol=1e-10, atol=1e-10)
    of = (x, norm.weight, norm.bias)
    for ours_of, theirs in zip(torch.autograd.grad(ours, of, back), torch.autograd.grad(norm(x), of, back), strict=True):
        torch.testing.assert_close(ours_of, theirs, rtol=1e-9, atol=1e-9)


def test_gradients_against_finite_differences() -> None:
    norm, x = made(2, (2, 2, 3, 2), 3)
    assert torch.autograd.gradcheck(lambda x, w, b: Normalised.apply(x, w, b, 1e-5), (x, norm.weight, norm.bias))


def test_a_large_mean_costs_no_precision() -> None:
    """The mean of squares less the square of the mean would give a variance of 0, or less."""
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(4)) + 4096
    norm = InstanceNorm(3)
    ours = Normalised.apply(x, norm.weight, norm.bias, norm.eps)
    torch.testing.assert_close(ours, norm.double()(x.double()).float(), rtol=0, atol=2e-3)


def test_uncompiled_code_is_torchs_own() -> None:
    x, norm, theirs = torch.randn(2, 4, 5, 5), InstanceNorm(4), nn.InstanceNorm2d(4, affine=True)
    assert torch.equal(norm(x), theirs(x))
    assert norm.state_dict().keys() == theirs.state_dict().keys()


def test_a_batch_in_pieces_is_a_batch() -> None:
    """Weights after two steps of 7 and 4 images, in pieces of at most 3, and whole, with numbers and with soft labels."""
    images = torch.randn(11, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    hard = torch.arange(11) % 3
    for labels in (hard, torch.nn.functional.one_hot(hard, 3).double() * 0.7 + 0.1):
        whole, pieces = Cut(0), Cut(3)
        for forward in (whole, pieces):
            nets.initialise(forward.network, torch.Generator().manual_seed(6))
            training = Training(epochs=1, batch=7)
            trainer = Trainer(forward.network, lambda chosen: images[chosen], labels, training, 0, forward=forward)
            trainer.step()
            trainer.step()
        assert (whole.sizes, pieces.sizes) == ([7, 4], [3, 3, 1, 2, 2])
        for one, other in zip(whole.network.parameters(), pieces.network.parameters(), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)


class Cut(Forward):
    """Calls a network with at most so many images, and remembers how many they were."""

    def __init__(self, most: int) -> None:
        network = nets.build("convnet1:width=4", shape=(1, 8, 8), classes=3).double()
        super().__init__(network)
        vars(self).update(network=network, most=most, sizes=[])

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        self.sizes.append(len(x))
        return super().__call__(x)

    def together(self, x: torch.Tensor) -> int:
        return self.most


def test_only_compiled_code_of_networks_that_look_at_one_image_is_called_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    from datadam import machine

    monkeypatch.setattr(machine, "compiled", lambda network, device: network)
    x = torch.zeros(256, 3, 32, 32)
    found = {}
    for spec in ("convnet3", "convnet3:norm=batch", "mlp"):
        for compiled in (True, False):
            network = nets.build(spec, shape=(3, 32, 32), classes=10)
            found[spec, compiled] = forward_of(network, 1, "bfloat16", compiled).together(x)
    assert found.pop(("convnet3", True)) == machine.chunk_for(128 * 32 * 32 * 2)
    assert set(found.values()) == {0}
