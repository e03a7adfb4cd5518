"""The numbers of an inspection against formulas written anew, closed forms and brute force."""

import numpy as np
import pytest
import torch
from small import make_real

from datadam.inspection.attention import Means, correlation, maps_of, stability
from datadam.inspection.inspecting import number
from datadam.inspection.neighbours import first_of_each, neighbours
from datadam.inspection.sample import Sample
from datadam.inspection.scatter import measures, picture


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_hand(real: np.ndarray, synthetic: np.ndarray, k: int = 5) -> list[float]:
    """Bias, spread, density and coverage of one class by loops."""
    unit = np.sqrt(np.mean([np.sum((x - real.mean(0)) ** 2) for x in real]))
    bias = np.linalg.norm(synthetic.mean(0) - real.mean(0)) / unit
    spread = np.sqrt(np.mean([np.sum((x - synthetic.mean(0)) ** 2) for x in synthetic])) / unit
    hits, covered = 0, 0
    for i, x in enumerate(real):
        radius = sorted(np.linalg.norm(x - y) for j, y in enumerate(real) if j != i)[k - 1]
        inside = sum(np.linalg.norm(x - y) <= radius for y in synthetic)
        hits, covered = hits + inside, covered + (inside > 0)
    return [bias, spread, hits / (k * len(synthetic)), covered / len(real)]


def test_spread_bias_density_and_coverage_are_what_loops_give() -> None:
    real, synthetic = [draw(20, 3), 2 * draw(15, 3, seed=1)], [draw(4, 3, seed=2) + 0.5, draw(6, 3, seed=3)]
    expected = np.mean([by_hand(r.numpy(), s.numpy()) for r, s in zip(real, synthetic, strict=True)], axis=0)
    told = measures(real, synthetic)
    assert list(told) == ["bias", "spread", "density", "coverage"]
    assert list(told.values()) == pytest.approx(expected.tolist(), rel=1e-10)


def test_a_set_that_is_the_real_one_has_no_bias_and_covers_all() -> None:
    real = draw(30, 4)
    told = measures([real], [real])
    assert told["bias"] == pytest.approx(0, abs=1e-12)
    assert told["spread"] == pytest.approx(1)
    assert told["coverage"] == 1
    assert told["density"] == pytest.approx(1, abs=0.5)
    far = measures([real], [real + 1000])
    assert (far["coverage"], far["density"]) == (0, 0)
    assert far["bias"] > 100
    assert far["spread"] == pytest.approx(1)


def test_one_image_has_no_spread_and_a_class_of_one_real_image_is_left_out() -> None:
    told = measures([draw(9, 2), draw(1, 2)], [draw(1, 2, seed=1), draw(1, 2, seed=2)])
    assert np.isnan(told["spread"])
    assert told["bias"] == pytest.approx(measures([draw(9, 2)], [draw(1, 2, seed=1)])["bias"])
    assert np.isnan(measures([torch.ones(4, 2)], [draw(2, 2)])["bias"]), "equal real images give no unit"


def test_maps_are_sums_of_powers_of_length_one() -> None:
    block = draw(3, 5, 4, 6)
    expected = (np.abs(block.numpy()) ** 3).sum(1)
    expected /= np.sqrt((expected**2).sum((1, 2), keepdims=True))
    assert np.allclose(maps_of(block, 3.0).numpy(), expected, rtol=1e-12)
    assert maps_of(draw(2, 3, 112, 64), 2.0).shape == (2, 56, 56)


def test_class_means_of_maps_are_those_of_a_loop() -> None:
    maps, group, place = draw(20, 3, 3).float(), torch.arange(20) % 2, torch.arange(20) % 5
    means = Means(2, 5)
    for some in torch.arange(20).split(7):
        means.add([maps[some]], group[some], place[some])
    (found,) = means.means()
    for g in range(2):
        for k in range(5):
            here = [maps[n] for n in range(20) if n % 2 == g and n % 5 == k]
            assert torch.allclose(found[g, k], torch.stack(here).mean(0), atol=1e-6)


def test_correlation_is_that_of_numpy_and_zero_for_an_even_map() -> None:
    a, b = draw(4, 3, 5), draw(4, 3, 5, seed=1)
    expected = [np.corrcoef(x.flatten(), y.flatten())[0, 1] for x, y in zip(a.numpy(), b.numpy(), strict=True)]
    assert correlation(a, b).tolist() == pytest.approx(expected)
    assert correlation(a, 3 * a + 7).tolist() == pytest.approx([1.0] * 4)
    assert correlation(a, torch.ones_like(a)).tolist() == [0.0] * 4


def test_stability_is_one_for_equal_networks_and_leaves_each_out_for_the_others() -> None:
    same = draw(1, 2, 4, 4).expand(3, -1, -1, -1)
    assert stability(same).tolist() == pytest.approx([1.0] * 3)
    maps = draw(3, 2, 4, 4)
    by_loop = [
        np.mean([np.corrcoef(maps[r, k].flatten(), np.mean([maps[q, k].numpy() for q in range(3) if q != r], 0).flatten())[0, 1]
                 for k in range(2)])
        for r in range(3)
    ]  # fmt: skip
    assert stability(maps).tolist() == pytest.approx(by_loop)


def test_an_interval_is_students() -> None:
    told = number([0.1, 0.2, 0.4])
    assert told is not None
    half = 4.303 * np.std([0.1, 0.2, 0.4], ddof=1) / np.sqrt(3)
    assert (told["value"], told["high"]) == pytest.approx((0.7 / 3, 0.7 / 3 + half))
    assert number([0.5]) == {"value": 0.5, "low": None, "high": None}
    assert number([float("nan")]) is None


def test_the_nearest_image_is_that_of_brute_force_and_a_copy_is_found() -> None:
    real = make_real(3, 9)
    pixels = torch.from_numpy(real.train.pixels[[4, 20]]).float() / 255
    pixels[1] = (pixels[1] + 0.1 * draw(3, 8, 8).float()).clamp(0, 1)
    near = neighbours(pixels, torch.tensor([0, 1]), real, seed=0)
    everything = real.train.pixels.reshape(27, -1) / 255
    for query, index, distance in zip(pixels.flatten(1).numpy(), near.real.tolist(), near.distance.tolist(), strict=True):
        lengths = np.sqrt(((everything - query) ** 2).sum(1))
        assert index == lengths.argmin()
        assert distance == pytest.approx(lengths.min(), abs=1e-5)
    assert near.real[0] == 4
    assert near.distance[0] == pytest.approx(0, abs=1e-5)
    assert (near.pixels.numpy() == real.train.pixels[near.real.numpy()]).all()
    assert near.searched == 27


def test_only_so_many_images_of_each_class_are_asked_about() -> None:
    labels = torch.tensor([1, 1, 1, 0, 0, 2])
    assert first_of_each(labels, 6).tolist() == [0, 1, 3, 4, 5]
    assert first_of_each(labels, 1).tolist() == [0, 3, 5]


@pytest.mark.parametrize(("sizes", "ipc", "draws"), [((40, 30, 50), 2, 5), ((8, 9, 9), 3, 1), ((4, 4, 1), 2, 0)])
def test_the_sample_is_of_every_class_and_shares_no_image(sizes: tuple[int, ...], ipc: int, draws: int) -> None:
    real = make_real(3, sizes)
    sample = Sample.of(real, (ipc,) * 3, 60, seed=1)
    assert sample.classes == [0, 1, 2]
    assert len(sample.draws) == draws
    for place, k in enumerate(sample.classes):
        parts = [sample.reference[place], *(one[place] for one in sample.draws)]
        together = torch.cat(parts).tolist()
        assert len(together) == len(set(together))
        assert set(together) <= set(real.by_class[k].tolist())
        assert 1 <= len(parts[0]) <= 20
        assert all(len(part) == ipc for part in parts[1:])


def test_many_classes_are_thinned_evenly() -> None:
    sample = Sample.of(make_real(250, 4, shape=(1, 4, 4)), (1,) * 250, 1000, seed=0)
    assert len(sample.classes) == 100
    assert (sample.classes[0], sample.classes[-1]) == (0, 249)
    assert set(np.diff(sample.classes)) == {2, 3}


def test_the_picture_keeps_clusters_together_and_is_always_the_same() -> None:
    clusters = torch.cat([draw(15, 8) + 40 * k for k in range(3)])
    places, perplexity = picture(clusters, seed=3)
    assert places.shape == (45, 2)
    assert places.min() == 0
    assert places.max() == 1
    assert perplexity == pytest.approx(44 / 3)
    nearest = torch.cdist(places, places).fill_diagonal_(9).argmin(1)
    assert (nearest // 15 == torch.arange(45) // 15).float().mean() > 0.95
    assert (picture(clusters, seed=3)[0] == places).all()
