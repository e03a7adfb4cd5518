"""The vision transformer against its equations, and what must hold of any: tokens have places only by their positions."""

from typing import Any

import pytest
import torch
from small import make_real
from torch import Tensor

import datadam
from datadam import nets
from datadam.evaluation.panel import protocol_named
from datadam.methods import DataDAM
from datadam.rng import stream

SPEC = "vit:patch=4:width=12:depth=2:heads=3"


def vit(spec: str = SPEC, shape: tuple[int, int, int] = (3, 12, 8)) -> Any:
    net = nets.build(spec, shape=shape, classes=5)
    nets.initialise(net, stream(0, "vit"), "he-normal")
    return net.double().requires_grad_(False)


def images(count: int, shape: tuple[int, int, int] = (3, 12, 8)) -> Tensor:
    return torch.randn(count, *shape, generator=stream(0, "images"), dtype=torch.float64)


def patches(x: Tensor, side: int) -> Tensor:
    """[N, T, C * side * side], row after row."""
    cut = x.unfold(2, side, side).unfold(3, side, side)  # [N, C, h, w, side, side]
    return cut.permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)


def normed(t: Tensor) -> Tensor:
    return (t - t.mean(2, keepdim=True)) / (t.var(2, unbiased=False, keepdim=True) + 1e-5).sqrt()


def linear(t: Tensor, layer: Any) -> Tensor:
    return torch.einsum("ntd,ed->nte", t, layer.weight) + layer.bias


def test_it_is_its_formula() -> None:
    """Fresh norm layers scale by 1 and shift by 0; attention one head at a time."""
    net, x = vit(), images(2)
    t = patches(x, 4) @ net.patches.weight.flatten(1).T + net.patches.bias + net.positions.weight
    blocks = []
    for block in net.body:
        inner, heads = normed(t), []
        q, k, v = (linear(inner, layer) for layer in (block.attention.query, block.attention.key, block.attention.value))
        for head in range(3):
            mine = slice(4 * head, 4 * head + 4)
            scores = torch.einsum("ntd,nsd->nts", q[..., mine], k[..., mine]).exp() ** 0.5  # sqrt(d) is 2
            heads.append(torch.einsum("nts,nsd->ntd", scores / scores.sum(2, keepdim=True), v[..., mine]))
        t = t + linear(torch.cat(heads, 2), block.attention.out)
        hidden = linear(normed(t), block.mlp[0])
        hidden = hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5))
        t = t + linear(hidden, block.mlp[2])
        blocks.append(t)
    features = net.features(x)
    for ours, expected in zip(features.blocks, blocks, strict=True):
        assert ours.shape == (2, 12, 3, 2)
        torch.testing.assert_close(ours.flatten(2).transpose(1, 2), expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(features.embedding, normed(t).mean(1), rtol=0, atol=1e-12)
    torch.testing.assert_close(net(x), normed(t).mean(1) @ net.head.weight.T + net.head.bias, rtol=0, atol=1e-12)


def test_without_positions_patches_may_change_places() -> None:
    net, x = vit(), images(2)
    turned = x.roll((4, 4), (2, 3))  # by one patch each way
    with_places = [net.features(one) for one in (x, turned)]
    assert (with_places[0].embedding - with_places[1].embedding).abs().max() > 1e-6
    net.positions.weight.zero_()
    straight, moved = net.features(x), net.features(turned)
    for one, other in zip(straight.blocks, moved.blocks, strict=True):
        torch.testing.assert_close(other, one.roll((1, 1), (2, 3)), rtol=0, atol=1e-12)
    torch.testing.assert_close(moved.embedding, straight.embedding, rtol=0, atol=1e-12)


def test_sides_that_the_patch_does_not_divide_are_filled_up_with_zeros() -> None:
    x = images(2, (3, 10, 7))  # to 12 x 8: a row above and one below, a column on the right
    filled = torch.zeros(2, 3, 12, 8, dtype=torch.float64)
    filled[:, :, 1:11, :7] = x
    torch.testing.assert_close(vit(shape=(3, 10, 7))(x), vit()(filled), rtol=0, atol=1e-14)


def test_positions_are_small_whatever_the_init() -> None:
    net: Any = nets.build("vit", shape=(3, 32, 32), classes=10)
    for init in nets.INITS:
        nets.initialise(net, stream(1, "law"), init)
        positions = net.positions.weight.detach()
        assert positions.std() == pytest.approx(0.02, rel=0.05)
        assert torch.equal(net.norm.weight, torch.ones(128))
        assert not net.norm.bias.any()


def test_second_derivatives_exist() -> None:
    net, x = vit(), images(1).requires_grad_()
    (first,) = torch.autograd.grad(net(x).square().sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), x)
    assert second.isfinite().all()
    assert second.abs().max() > 0


def test_it_matches_and_is_taught(recipe) -> None:
    """DataDAM looks through it, at the maps of all blocks but the last, and students are made of it."""
    real = make_real()
    features = nets.build(SPEC, shape=real.shape, classes=3).features(real.images(range(4)))
    descriptors = DataDAM().descriptors(features)
    assert [tuple(d.shape) for d in descriptors] == [(4, 4), (4, 12)]  # one map of 2 x 2 tokens, and the embedding
    small = datadam.distill(real, recipe(net=SPEC))
    assert small.card["moved"] > 0
    protocol = protocol_named("honest", epochs=60, augment="none")
    e = datadam.evaluate_whole(real, net=SPEC, protocol=protocol)
    assert e.mean > 0.6  # chance is a third
