"""Nearest neighbours: against brute force, to the last digit where two are alike."""

import numpy as np
import pytest
import torch

from datadam.data import nearest as module
from datadam.data.nearest import nearest
from datadam.errors import InvalidInput


def brute(queries: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """All distances [M, N], by differences."""
    return np.sqrt(((queries[:, None].astype(float) - keys[None].astype(float)) ** 2).sum(2))


@pytest.mark.parametrize("chunk", [1, 300, 10**6])
@pytest.mark.parametrize("k", [1, 3, 40])
def test_against_brute_force_however_the_keys_are_cut(monkeypatch: pytest.MonkeyPatch, chunk: int, k: int) -> None:
    monkeypatch.setattr(module, "CHUNK", chunk)
    rng = np.random.default_rng(0)
    queries, keys = rng.normal(size=(12, 5)), rng.normal(size=(40, 5))
    distances, indices = nearest(torch.from_numpy(queries), torch.from_numpy(keys), k)
    order = brute(queries, keys).argsort(1, kind="stable")[:, :k]
    assert np.array_equal(indices.numpy(), order)
    assert np.allclose(distances.numpy(), np.take_along_axis(brute(queries, keys), order, 1), rtol=1e-12)


def test_a_copy_is_at_distance_zero_and_the_first_of_equals_is_named() -> None:
    keys = torch.randn(50, 300, generator=torch.Generator().manual_seed(0)) + 1000  # far from the origin, where digits get lost
    keys[[7, 31, 40]] = keys[20].clone()
    distances, indices = nearest(keys[[20, 3]], keys, 4)
    assert distances[0].tolist() == [0, 0, 0, 0]
    assert indices[0].tolist() == [7, 20, 31, 40]
    assert (distances[1, 0], indices[1, 0]) == (0, 3)
    assert np.allclose(distances.numpy()[1], np.sort(brute(keys[[3]].numpy(), keys.numpy())[0])[:4], rtol=1e-12)


def test_a_key_can_be_left_out() -> None:
    keys = torch.tensor([[0.0], [1.0], [3.0], [3.0]])
    distances, indices = nearest(keys, keys, but=torch.arange(4))
    assert distances[:, 0].tolist() == [1, 1, 0, 0]
    assert indices[:, 0].tolist() == [1, 0, 3, 2]
    assert nearest(keys, keys, but=torch.tensor([-1, 1, -1, -1]))[1][:, 0].tolist() == [0, 0, 2, 2]
    every = nearest(keys[:1], keys, 3, but=torch.tensor([0]))
    assert every[1].tolist() == [[1, 2, 3]]


def test_bytes_and_files_are_keys_too(tmp_path) -> None:
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (30, 12), dtype=np.uint8)
    np.save(tmp_path / "keys.npy", pixels)
    mapped = np.load(tmp_path / "keys.npy", mmap_mode="r")
    queries = torch.from_numpy(rng.integers(0, 256, (4, 12), dtype=np.uint8))
    for keys in (mapped, pixels, torch.from_numpy(pixels)):
        distances, indices = nearest(queries, keys, 2)
        order = brute(queries.numpy(), pixels).argsort(1, kind="stable")[:, :2]
        assert np.array_equal(indices.numpy(), order)
        assert np.allclose(distances.numpy() ** 2, np.rint(distances.numpy() ** 2))  # whole numbers: no byte has overflown


@pytest.mark.parametrize(
    ("queries", "keys", "k", "but"),
    [
        (torch.zeros(2, 3), torch.zeros(4, 2), 1, None),
        (torch.zeros(2), torch.zeros(4, 2), 1, None),
        (torch.zeros(2, 3), torch.zeros(4, 3), 5, None),
        (torch.zeros(2, 3), torch.zeros(4, 3), 0, None),
        (torch.zeros(2, 3), torch.zeros(4, 3), 4, torch.tensor([0, 1])),
        (torch.zeros(2, 3), torch.zeros(4, 3), 1, torch.tensor([0])),
        (torch.zeros(2, 3), torch.zeros(4, 3), 1, torch.tensor([0, 4])),
        (torch.zeros(2, 3), torch.zeros(0, 3), 1, None),
    ],
)
def test_what_does_not_fit_is_refused(queries, keys, k, but) -> None:
    with pytest.raises(InvalidInput):
        nearest(queries, keys, k, but=but)
