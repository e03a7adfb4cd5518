"""DataDAM against golden numbers, an independent formula, finite differences, and DM."""

import numpy as np
import pytest
import torch
from small import make_real

import datadam
from datadam.errors import InvalidInput
from datadam.methods import DM, DataDAM
from datadam.methods.datadam import attention_map, gap, normalise
from datadam.nets import Features


def waves(count: int, off: float) -> torch.Tensor:
    """f[b,c,h,w] = max(0, sin(0.7b + 1.3c + 0.5h + 0.9w + off)), C = H = W = 2, float64."""
    b, c, h, w = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in (count, 2, 2, 2)), indexing="ij")
    return (0.7 * b + 1.3 * c + 0.5 * h + 0.9 * w + off).sin().clamp_min(0)


REAL, SYNTHETIC = waves(6, 0.2), waves(4, 0.9)


def loss_terms(method: DataDAM) -> dict[str, float]:
    """Terms summed over the two classes, with the maps as the only block and, flattened, as the embedding."""
    sides = []
    for maps, per_class in ((REAL, 3), (SYNTHETIC, 2)):
        descriptors = method.descriptors(Features((maps,), maps.flatten(1), maps))
        sides.append([d.unflatten(0, (2, per_class)).mean(1) for d in descriptors])
    return {name: float(term.sum()) for name, term in method.terms(*sides).items()}


def test_golden_map() -> None:
    maps = normalise(attention_map(REAL, 1.0), "l2")
    expected = [0.4273826421498033, 0.5597623882320323, 0.5550620298653528, 0.4426243202893157]
    np.testing.assert_allclose(maps[0], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("power", "sam"), [(1, 0.2358227113393739), (2, 0.24292635642482974), (4, 0.2488893638386368)])
def test_golden_sam(power: float, sam: float) -> None:
    terms = loss_terms(DataDAM(power=power, task_balance=1.0, scale=1.0, layers=(1,)))
    assert abs(terms["sam"] - sam) < 1e-12
    assert abs(terms["mmd"] - 0.2567816979542267) < 1e-12


@pytest.mark.parametrize(("power", "scale", "total"), [(1, 100, 23.839052831891618), (4, 1, 0.2514571808181791)])
def test_golden_loss(power: float, scale: float, total: float) -> None:
    terms = loss_terms(DataDAM(power=power, task_balance=0.01, scale=scale, layers=(1,)))
    assert abs(sum(terms.values()) - total) < 1e-12 * scale


@pytest.mark.parametrize("power", [1.0, 1.5, 2.0, 3.0, 4.0, 8.0])
@pytest.mark.parametrize("how", ["l2", "l1", "none"])
def test_map_against_numpy(power: float, how: str) -> None:
    block = torch.randn(5, 3, 4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    f = block.numpy()
    expected = np.stack([np.sum(np.abs(f[n]) ** power, axis=0).reshape(-1) for n in range(5)])
    if how != "none":
        expected /= np.linalg.norm(expected, ord=2 if how == "l2" else 1, axis=1, keepdims=True)
    np.testing.assert_allclose(normalise(attention_map(block, power), how), expected, rtol=1e-13)


def test_a_dead_map_is_zero_and_has_a_finite_gradient() -> None:
    block = torch.zeros(1, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    maps = normalise(attention_map(block, 4.0), "l2")
    maps.sum().backward()
    assert not maps.any()
    assert torch.isfinite(block.grad).all()


@pytest.mark.parametrize("error", ["mse", "mae", "cosine"])
def test_gap_against_numpy(error: str) -> None:
    g = torch.Generator().manual_seed(2)
    real, synthetic = (torch.rand(3, 7, dtype=torch.float64, generator=g) for _ in range(2))
    r, s = real.numpy(), synthetic.numpy()
    expected = {
        "mse": ((r - s) ** 2).sum(1),
        "mae": np.abs(r - s).sum(1),
        "cosine": 1 - (r * s).sum(1) / np.linalg.norm(r, axis=1) / np.linalg.norm(s, axis=1),
    }[error]
    np.testing.assert_allclose(gap(real, synthetic, error), expected, rtol=1e-12)
    np.testing.assert_allclose(gap(real, real, error), 0, atol=1e-15)


@pytest.mark.parametrize("power", [1.0, 2.0, 4.0, 2.5])
def test_gradient_against_finite_differences(power: float) -> None:
    block = torch.rand(2, 3, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(3)) + 0.1
    assert torch.autograd.gradcheck(lambda b: normalise(attention_map(b, power), "l2"), block.requires_grad_())


def features() -> Features:
    g = torch.Generator().manual_seed(4)
    blocks = tuple(torch.rand(4, 3, side, side, dtype=torch.float64, generator=g) for side in (8, 4, 2))
    return Features(blocks, torch.rand(4, 12, dtype=torch.float64, generator=g), blocks[0])


@pytest.mark.parametrize(
    ("settings", "lengths"),
    [
        ({}, [64, 16, 12]),
        ({"layers": (2,)}, [16, 12]),
        ({"layers": (1, 2, 3)}, [64, 16, 4, 12]),
        ({"layers": ()}, [12]),
        ({"task_balance": 0.0}, [64, 16]),
        ({"maps": "features"}, [192, 48, 12]),
    ],
)
def test_settings_choose_the_descriptors(settings: dict[str, object], lengths: list[int]) -> None:
    method = DataDAM(**settings)
    descriptors = method.descriptors(features())
    assert [d.shape[1] for d in descriptors] == lengths
    means = [d.mean(0, keepdim=True) for d in descriptors]
    terms = method.terms(means, means)
    assert set(terms) == ({"sam"} if settings.get("layers") != () else set()) | ({"mmd"} if method.task_balance else set())
    assert all(float(term.abs().max()) == 0 for term in terms.values())


def test_without_sam_it_is_dm() -> None:
    bare = DataDAM(layers=(), task_balance=1.0, scale=1.0)
    g = torch.Generator().manual_seed(5)
    real, synthetic = ([torch.rand(3, 12, dtype=torch.float64, generator=g)] for _ in range(2))
    assert torch.equal(bare.terms(real, synthetic)["mmd"], DM().terms(real, synthetic)["mmd"])
    assert torch.equal(bare.descriptors(features())[0], DM().descriptors(features())[0])


def test_every_wrong_setting_is_told_at_once() -> None:
    with pytest.raises(InvalidInput) as caught:
        DataDAM(power=0.5, task_balance=-1.0, scale=float("nan"), error="rmse", layers=(0,))
    text = str(caught.value)
    assert all(word in text for word in ("power", "task_balance", "scale", "rmse", "layers"))
    assert len(caught.value.faults) == 5


def test_no_loss_left_is_refused() -> None:
    with pytest.raises(InvalidInput, match="no loss"):
        DataDAM(layers=(), task_balance=0.0)
    shallow = features()._replace(blocks=())
    with pytest.raises(InvalidInput, match="deeper network"):
        DataDAM(task_balance=0.0).descriptors(shallow)


def test_layers_beyond_the_network_are_refused() -> None:
    with pytest.raises(InvalidInput, match="3 blocks"):
        DataDAM(layers=(4,)).descriptors(features())


def test_repr_rebuilds_it() -> None:
    method = DataDAM(power=2.0, layers=(1, 2), error="mae")
    assert eval(repr(method), {"DataDAM": DataDAM}) == method


ABLATIONS = [
    {"error": "mae"}, {"error": "cosine"}, {"map_norm": "l1"}, {"map_norm": "none", "scale": 0.01},
    {"maps": "features"}, {"maps": "features", "map_norm": "none", "task_balance": 0.0},
    {"layers": (1,)}, {"layers": (2,)}, {"layers": (1, 2, 3)}, {"layers": ()}, {"task_balance": 0.0},
    {"power": 1.0}, {"power": 2.0}, {"power": 8.0},
]  # fmt: skip


@pytest.mark.parametrize("settings", ABLATIONS, ids=str)
@pytest.mark.parametrize("net", ["convnet3:width=4", "convnet3:norm=batch:width=4"])
def test_every_ablation_runs_and_is_another_method(real, recipe, settings: dict[str, object], net: str) -> None:
    plain, other = (datadam.distill(real, recipe(net=net, iterations=2, **more)).images for more in ({}, settings))
    assert torch.isfinite(other).all()
    assert not torch.equal(plain, other)


@pytest.mark.parametrize(("net", "maps"), [("alexnet", 4), ("vgg11", 7)])
def test_matching_on_deeper_networks(recipe, net: str, maps: int) -> None:
    """Every ReLU output of the convolutional part but the last is matched, and each of them pulls."""
    real = make_real(classes=2, per_class=3, shape=(3, 32, 32))
    asked = recipe(net=net, iterations=1, batch_real=2, ipc=1, precision="float32")
    run = datadam.begin(real, asked)
    before = run.state.images.clone()
    list(run.steps())
    assert bool((run.state.images != before).flatten(1).any(1).all())
    features = run.draws.network.features(before)
    assert len(asked.method.descriptors(features)) == maps + 1
    blocks = [f.detach().requires_grad_() for f in features.blocks]
    descriptors = asked.method.descriptors(features._replace(blocks=tuple(blocks)))
    pulled = torch.autograd.grad(sum(d.square().sum() for d in descriptors[:-1]), blocks, allow_unused=True)
    assert [g is not None for g in pulled] == [True] * maps + [False]
