"""Transforms and ZCA whitening against formulas written independently, in numpy and float64."""

import sys

import numpy as np
import pytest
import torch

from datadam.data import ZCA, RealData, Transform, fit_zca, load, whitening
from datadam.errors import ArtifactError, DataError, InvalidInput, NotEnoughMemory


def correlated(n=300, shape=(2, 4, 3), scale=1.0):
    """Images whose pixels hang together, so that their covariance is far from diagonal."""
    d = int(np.prod(shape))
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) * scale + 5).reshape(n, *shape)


def by_svd(x, eps):
    """The published recipe: covariance / (N - 1), SVD, U diag(1 / sqrt(S + eps)) U^T."""
    flat = x.reshape(len(x), -1).double().numpy()
    centred = flat - flat.mean(0)
    u, s, _ = np.linalg.svd(centred.T @ centred / (len(flat) - 1))
    return flat.mean(0), u @ np.diag(1 / np.sqrt(s + eps)) @ u.T, u @ np.diag(np.sqrt(s + eps)) @ u.T


def colour(n=60, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, 3, 4, 5), dtype=np.uint8), np.arange(n) % 3


def test_fit_equals_svd():
    x = correlated(scale=0.3)
    mean, matrix, inverse = by_svd(x, 0.1)
    zca = fit_zca(x)
    np.testing.assert_allclose(zca.mean, mean, rtol=1e-6)
    np.testing.assert_allclose(zca.matrix, matrix, atol=1e-5)
    np.testing.assert_allclose(zca.inverse, inverse, rtol=1e-5, atol=1e-5)
    assert zca.variant == "official"
    assert zca.eps == 0.1


def test_whitened_covariance_is_near_identity_where_the_variance_is_large():
    x = correlated(scale=10.0)
    flat = x.reshape(len(x), -1).numpy()
    variances, directions = np.linalg.eigh(np.cov(flat.T))
    white = fit_zca(x).apply(x).reshape(len(x), -1).numpy() @ directions
    covariance = np.cov(white.T)
    np.testing.assert_allclose(covariance, np.diag(variances / (variances + 0.1)), atol=1e-4)
    good = variances > 10
    assert good.sum() > 10
    np.testing.assert_allclose(covariance[np.ix_(good, good)], np.eye(good.sum()), atol=0.011)


def test_whitening_turns_no_direction():
    """ZCA, unlike PCA whitening, keeps images recognisable: its matrix is symmetric and positive definite."""
    matrix = fit_zca(correlated()).matrix
    torch.testing.assert_close(matrix, matrix.T)
    assert torch.linalg.eigvalsh(matrix.double()).min() > 0


def test_invert_undoes_apply():
    x = correlated()
    zca = fit_zca(x)
    assert (zca.invert(zca.apply(x)) - x).abs().max() <= 1e-5 * x.abs().mean()


def test_chunks_and_strips_do_not_change_the_fit(monkeypatch):
    x = correlated()
    whole = fit_zca(x)
    asked = []

    def read(start, stop):
        asked.append(stop - start)
        return x[start:stop]

    monkeypatch.setattr(whitening, "CHUNK", 17)
    monkeypatch.setattr(whitening, "PART", 7)
    monkeypatch.setattr(whitening, "STRIP", 5)
    pieces = ZCA.fit(read, len(x), variant="official")
    assert max(asked) == 7
    for name, tensor in whole.tensors().items():
        torch.testing.assert_close(pieces.tensors()[name], tensor)


@pytest.mark.parametrize("count", [5, 300])
def test_without_scipy_the_fit_is_the_same(monkeypatch, count):
    x = correlated()[:count]  # five images leave most directions without variance
    fitted = fit_zca(x)
    monkeypatch.setitem(sys.modules, "scipy.linalg", None)
    for name, tensor in fit_zca(x).tensors().items():
        torch.testing.assert_close(tensor, fitted.tensors()[name])


def test_a_constant_pixel_keeps_finite():
    zca = fit_zca(torch.full((5, 1, 2, 2), 0.5))
    torch.testing.assert_close(zca.matrix, torch.eye(4) / 0.1**0.5)


def test_one_image_is_refused():
    with pytest.raises(DataError, match="at least 2 images"):
        fit_zca(torch.zeros(1, 1, 2, 2))


def test_other_images_are_refused():
    with pytest.raises(DataError, match=r"C \* H \* W = 24"):
        fit_zca(correlated()).apply(torch.zeros(1, 2, 4, 4))


def test_kornia_whitens_bare_pixels():
    x, y = colour()
    real = load((x, y, x, y), zca="kornia")
    mean, matrix, _ = by_svd(torch.from_numpy(x / 255), 0.1)
    expected = (x.reshape(60, -1) / 255 - mean) @ matrix
    np.testing.assert_allclose(real.images(range(60), dtype=torch.float64).reshape(60, -1), expected, atol=1e-5)
    assert real.transform.mean == (0, 0, 0)
    assert real.transform.std == (1, 1, 1)
    assert real.options["zca"] == "kornia"


def test_official_whitens_normalised_pixels():
    x, y = colour()
    plain = load((x, y, x, y))
    real = plain.with_zca("official")
    pixels = x / 255
    normal = (pixels - pixels.mean((0, 2, 3), keepdims=True)) / pixels.std((0, 2, 3), keepdims=True)
    mean, matrix, _ = by_svd(torch.from_numpy(normal), 0.1)
    white = real.images(range(60), dtype=torch.float64).reshape(60, -1)
    np.testing.assert_allclose(white, (normal.reshape(60, -1) - mean) @ matrix, atol=1e-5)
    assert plain.transform.zca is None


def test_zca_is_fitted_on_the_training_part_alone():
    (x, y), (other, labels) = colour(), colour(seed=1)
    one, two = load((x, y, x, y), zca="kornia"), load((x, y, other, labels), zca="kornia")
    assert torch.equal(one.transform.zca.matrix, two.transform.zca.matrix)


def test_whitening_twice_is_refused():
    x, y = colour()
    with pytest.raises(InvalidInput, match="already"):
        load((x, y), zca="kornia").with_zca("official")


@pytest.mark.parametrize("variant", ["kornia", "official"])
def test_pixels_come_back(variant):
    x, y = colour()
    real = load((x, y, x, y), zca=variant)
    pixels = real.transform.to_pixels(real.images(range(60), dtype=torch.float64))
    np.testing.assert_allclose(pixels, x / 255, rtol=1e-5, atol=1e-6)


def test_large_images_are_refused_before_any_work():
    images = np.zeros((4, 3, 65, 64), dtype=np.uint8)
    with pytest.raises(NotEnoughMemory, match=r"12480.*12288 is the most.*size=64"):
        load((images, np.arange(4) % 2), zca="kornia")


def test_unknown_variant():
    with pytest.raises(InvalidInput, match="kornia, official"):
        load("mnist", zca="pca")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("lead", [(), (5,), (2, 5)])
def test_normalisation_is_the_formula(dtype, lead):
    transform = Transform((0.1, 0.5), (0.2, 3.0))
    x = torch.rand(*lead, 2, 3, 4, dtype=dtype, generator=torch.Generator().manual_seed(0))
    y = transform.to_network(x)
    expected = torch.stack([(x[..., 0, :, :] - 0.1) / 0.2, (x[..., 1, :, :] - 0.5) / 3.0], dim=-3)
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(transform.to_pixels(y), x)
    assert y.dtype == dtype


def test_to_network_leaves_its_argument_and_carries_gradients():
    x = torch.full((1, 1, 2, 2), 0.25, requires_grad=True)
    Transform((0.5,), (0.5,)).to_network(x).sum().backward()
    assert torch.equal(x.grad, torch.full_like(x, 2.0))
    assert torch.equal(x.detach(), torch.full((1, 1, 2, 2), 0.25))


def test_pixels_are_clamped():
    pixels = Transform((0.5,), (0.5,)).to_pixels(torch.tensor([[[-9.0, 0.0, 9.0]]]))
    assert pixels.tolist() == [[[0.0, 0.5, 1.0]]]


def test_bytes_want_bytes():
    with pytest.raises(DataError, match="to_network"):
        Transform((0.5,), (0.5,)).bytes_to_network(torch.zeros(1, 1, 2, 2))


def test_wrong_channels():
    with pytest.raises(DataError, match="1 channels"):
        Transform((0.5,), (0.5,)).to_network(torch.zeros(1, 3, 2, 2))


@pytest.mark.parametrize(("mean", "std"), [((), ()), ((0.1,), (0.0,)), ((0.1,), (1.0, 1.0)), ((float("nan"),), (1.0,))])
def test_impossible_normalisations(mean, std):
    with pytest.raises(DataError, match="positive std"):
        Transform(mean, std)


@pytest.mark.parametrize("variant", [None, "kornia", "official"])
def test_cards_bring_the_transform_back(variant):
    x, y = colour()
    real: RealData = load((x, y), zca=variant or False)
    card = real.transform.to_card()
    tensors = None if variant is None else real.transform.zca.tensors()
    again = Transform.from_card(card, tensors)
    z = torch.randn(4, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(again.to_network(z), real.transform.to_network(z))
    assert torch.equal(again.to_pixels(z), real.transform.to_pixels(z))
    assert again.to_card() == card


def test_the_inverse_can_be_computed():
    zca = fit_zca(correlated())
    tensors = zca.tensors()
    inverse = tensors.pop("inverse")
    again = Transform.from_card({"mean": [0], "std": [1], "zca": {"variant": "official", "eps": 0.1}}, tensors)
    torch.testing.assert_close(again.zca.inverse, inverse, rtol=1e-4, atol=1e-4)


GOOD = {"mean": torch.zeros(4), "matrix": torch.eye(4), "inverse": torch.eye(4)}
CARD = {"mean": [0.0], "std": [1.0], "zca": {"variant": "kornia", "eps": 0.1}}


@pytest.mark.parametrize(
    ("card", "tensors"),
    [
        ({}, None),
        (None, None),
        ({"mean": ["a"], "std": [1], "zca": None}, None),
        ({"mean": [0], "std": [-1], "zca": None}, None),
        (CARD, None),
        (CARD, {"mean": torch.zeros(4)}),
        (CARD, GOOD | {"matrix": torch.eye(3)}),
        (CARD, GOOD | {"inverse": torch.zeros(4)}),
        (CARD, GOOD | {"matrix": torch.full((4, 4), float("nan"))}),
        (CARD, GOOD | {"mean": torch.zeros(4, dtype=torch.int64)}),
        (CARD | {"zca": {"variant": "pca", "eps": 0.1}}, GOOD),
        (CARD | {"zca": {"variant": "kornia", "eps": float("nan")}}, GOOD),
        (CARD | {"zca": {"variant": "kornia"}}, GOOD),
        (CARD | {"zca": 7}, GOOD),
    ],
)
def test_forged_cards_are_refused(card, tensors):
    with pytest.raises(ArtifactError):
        Transform.from_card(card, tensors)
