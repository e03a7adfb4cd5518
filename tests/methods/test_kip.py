"""KIP: its kernels against literal recursions and against wide networks, its gradient in pieces, its cost, what it refuses."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import datadam
from datadam.distillation import forecast
from datadam.distillation.loop import Distillation
from datadam.errors import InvalidInput, NotEnoughMemory
from datadam.methods import KIP, kip
from datadam.methods.ntk import KINDS, ntk, pairs
from datadam.rng import stream


def images(count: int, side: int = 4, seed: int = 0) -> Tensor:
    return torch.randn(count, 2, side, side, generator=stream(seed, "images"), dtype=torch.float64)


def by_hand(x: Tensor, z: Tensor, kind: str, depth: int) -> float:
    """The kernel of two images [C, H, W], number by number, with every pair of pixels whatever the kind needs."""
    if kind == "fc":
        x, z = x.reshape(-1, 1, 1), z.reshape(-1, 1, 1)

    def relu(s: float, p: float, q: float) -> tuple[float, float]:
        cosine = max(-1.0, min(1.0, s / math.sqrt(p * q)))
        angle = math.acos(cosine) if cosine < 1 - 1e-13 else 0.0
        return math.sqrt(p * q) * (math.sin(angle) + (math.pi - angle) * cosine) / (2 * math.pi), (math.pi - angle) / (
            2 * math.pi
        )

    side = x.shape[1]
    places = [(i, j) for i in range(side) for j in range(side)]
    images = {"x": x, "z": z}
    s = {
        (a, b, p, q): float((images[a][:, *p] * images[b][:, *q]).mean())
        for a in "xz"
        for b in "xz"
        for p in places
        for q in places
    }
    t = dict.fromkeys(s, 0.0)
    shifts = [(0, 0)] if kind == "fc" else [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
    for _ in range(depth):
        seen_s, seen_t = {}, {}
        for a, b, p, q in s:
            moved = [(a, b, (p[0] + i, p[1] + j), (q[0] + i, q[1] + j)) for i, j in shifts]
            seen_s[a, b, p, q] = 2 * sum(s.get(m, 0.0) for m in moved) / len(shifts) + 0.01
            seen_t[a, b, p, q] = seen_s[a, b, p, q] + 2 * sum(t.get(m, 0.0) for m in moved) / len(shifts)
        both = {m: relu(seen_s[m], seen_s[m[0], m[0], m[2], m[2]], seen_s[m[1], m[1], m[3], m[3]]) for m in seen_s}
        s, t = {m: value for m, (value, _) in both.items()}, {m: seen_t[m] * slope for m, (_, slope) in both.items()}
        if kind == "pooled":
            side //= 2
            places = [(i, j) for i in range(side) for j in range(side)]
            inside = [(i, j) for i in (0, 1) for j in (0, 1)]
            s, t = (
                {
                    (a, b, p, q): sum(
                        of[a, b, (2 * p[0] + i, 2 * p[1] + j), (2 * q[0] + k, 2 * q[1] + m)] for i, j in inside for k, m in inside
                    )
                    / 16
                    for a in "xz" for b in "xz" for p in places for q in places
                }
                for of in (s, t)
            )  # fmt: skip
    flat_s, flat_t = (sum(of["x", "z", p, p] for p in places) / len(places) for of in (s, t))
    return 2 * flat_s + 0.01 + 2 * flat_t


@pytest.mark.parametrize(
    ("kind", "depth", "side"), [("fc", 1, 3), ("fc", 3, 3), ("conv", 2, 3), ("pooled", 1, 3), ("pooled", 2, 4)]
)
def test_the_kernel_is_its_recursion(kind: str, depth: int, side: int) -> None:
    a, b = images(2, side), images(2, side, 1)
    b[1] = a[1]  # an image and itself, where the formula's slope is infinite
    found = ntk(a, b, kind, depth)
    expected = torch.tensor([[by_hand(x, z, kind, depth) for z in b] for x in a], dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=0)


def of_a_network(a: Tensor, b: Tensor, kind: str, depth: int, width: int, seed: int) -> Tensor:
    """Products of the gradients, with respect to all weights, of one output of a finite network in the same parametrisation."""
    generator, weights, inputs, shape = (
        stream(seed),
        [],
        a.shape[1] if kind != "fc" else a[0].numel(),
        () if kind == "fc" else (3, 3),
    )
    for _ in range(depth):
        weights += [
            torch.randn(width, inputs, *shape, generator=generator).double(),
            torch.randn(width, generator=generator).double(),
        ]
        inputs = width
    pixels = {"fc": 1, "conv": a.shape[2] ** 2, "pooled": (a.shape[2] // 2**depth) ** 2}[kind]
    weights += [torch.randn(1, width * pixels, generator=generator).double(), torch.randn(1, generator=generator).double()]
    for weight in weights:
        weight.requires_grad_()

    def output(x: Tensor) -> Tensor:
        x = x.flatten(0)[None] if kind == "fc" else x[None]
        for weight, bias in zip(weights[:-2:2], weights[1:-2:2], strict=True):
            scaled = weight * math.sqrt(2 / weight[0].numel())
            x = F.linear(x, scaled, 0.1 * bias) if kind == "fc" else F.conv2d(x, scaled, 0.1 * bias, padding=1)
            x = F.avg_pool2d(x.relu(), 2) if kind == "pooled" else x.relu()
        return F.linear(x.flatten(1), weights[-2] * math.sqrt(2 / weights[-2].numel()), 0.1 * weights[-1])[0, 0]

    slopes = [
        torch.stack([torch.cat([g.flatten() for g in torch.autograd.grad(output(x), weights)]) for x in of]) for of in (a, b)
    ]
    return slopes[0] @ slopes[1].T


@pytest.mark.parametrize("kind", KINDS)
def test_wide_networks_come_near_it(kind: str) -> None:
    a, b = images(2), images(2, seed=1)
    exact = ntk(a, b, kind, 2)
    means = [torch.stack([of_a_network(a, b, kind, 2, width, seed) for seed in range(4)]).mean(0) for width in (4, 256)]
    narrow, wide = (float((mean - exact).abs().max() / exact.max()) for mean in means)
    assert wide < 0.1
    assert wide < 0.5 * narrow


@pytest.mark.parametrize("kind", KINDS)
def test_its_gradient_is_right_also_where_images_meet_themselves(kind: str) -> None:
    a, b = images(2), images(2, seed=1)
    x = a.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: ntk(x, b, kind, 2), x)
    assert torch.autograd.gradcheck(lambda x: ntk(x, x, kind, 2), x)


@pytest.fixture
def asked(recipe):
    def make(method: KIP, **settings: object) -> datadam.Recipe:
        return replace(recipe("kip", **({"lr_images": 0.05} | settings)), method=method)

    return make


@pytest.mark.parametrize("decoder", ["plain", "grid:2"])
def test_loss_and_gradient_in_pieces_are_those_of_the_whole(real, asked, monkeypatch, decoder: str) -> None:
    monkeypatch.setattr(kip, "TOGETHER", 20)  # a few real images at a time
    run = datadam.begin(real, asked(KIP(depth=2, lr_labels=0.1), decoder=decoder))
    assert isinstance(run, Distillation)
    draw, each = run.draws.at(0), run.recipe.each
    found = run.gradient({}, run.synthetic, draw, True)
    x, y = (run.state.tensors[name].clone().requires_grad_() for name in ("images", "labels"))
    s, targets = run.synthetic.decoder(x), y.repeat_interleave(each, 0)
    kernel, theirs = ntk(s, s, "fc", 2), torch.cat([draw.real(k) for k in range(3)])
    inverse = torch.linalg.inv(kernel + 1e-6 * kernel.trace() / len(s) * torch.eye(len(s)).double())
    wanted = torch.eye(3).double().repeat_interleave(5, 0) - 1 / 3
    loss = ((ntk(theirs, s, "fc", 2) @ inverse @ targets - wanted) ** 2).sum(1).mean() / 2
    of_x, of_y = torch.autograd.grad(loss, [x, y])
    assert len(found.terms["regression"]) > 3
    torch.testing.assert_close(found.terms["regression"].sum(), loss.detach(), rtol=1e-8, atol=0)
    torch.testing.assert_close(found.images, of_x, rtol=1e-6, atol=1e-7 * float(of_x.abs().max()))
    torch.testing.assert_close(found.of["labels"], of_y, rtol=1e-6, atol=1e-8 * float(of_y.abs().max()))


def test_what_a_kernel_needs_is_told_and_refused_before_any_work(real, asked) -> None:
    told = [forecast.forecast(real, asked(KIP(kernel=kind))) for kind in KINDS]
    assert [one.bytes for one in told] == sorted(one.bytes for one in told)
    assert told[0].flops < told[1].flops / 60 < told[2].flops / 3600  # 64 pixels: 64 and 64 x 64 products for a pair of images
    assert [pairs(kind, (3, 8, 8)) for kind in KINDS] == [1, 64, 4096]
    for method, cures in (
        (KIP(kernel="pooled", depth=3), "GB; take the kernel fc (kernel=fc), which needs one number for a pair of images, lower "
         "depth (now 3), lower ipc, or raise"),
        (KIP(), "GB; lower ipc, or raise"),
    ):  # fmt: skip
        with pytest.raises(NotEnoughMemory) as told_:
            forecast.forecast(real, asked(method, ipc=4), memory_limit=200_000_000)
        assert cures in str(told_.value)
        assert "batch_real" not in str(told_.value)
        assert "net" not in str(told_.value).split("GB;")[1]


def test_real_images_are_fitted_better(real, asked) -> None:
    losses = [step.loss for step in datadam.begin(real, asked(KIP(), iterations=30, batch_real=12)).steps()]
    assert losses[-1] < 0.5 * losses[0]


def test_what_does_not_fit_is_refused_with_all_faults(recipe) -> None:
    with pytest.raises(InvalidInput) as told:
        KIP(kernel="deep", depth=0, ridge=-1.0, lr_labels=-1.0, temperature=0.0)
    assert len(told.value.faults) == 5
    with pytest.raises(InvalidInput, match="reads pixels and no network"):
        recipe("kip", network_epochs=2)
    with pytest.raises(InvalidInput, match="bfloat16 is too coarse"):
        recipe("kip", precision="bfloat16")


def test_the_preset_is_the_released_notebook(real) -> None:
    found = datadam.preset("kip", replace(real, name="cifar10"), ipc=10)
    assert (found.method, found.optimizer, found.lr_images, found.batch_real, found.iterations) == (KIP(), "adam", 0.04, 500, 300)
