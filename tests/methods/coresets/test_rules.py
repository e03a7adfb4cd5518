"""Each rule of choice against an independent writing, brute force, or the property it claims."""

from itertools import combinations

import numpy as np
import pytest
import torch

from datadam.methods.coresets import difficulty, forgetting, herding, kcenter, kmeans
from datadam.training.difficulty import History


def points(seed: int, n: int, d: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d)) + 3.0


def gap(rows: np.ndarray, chosen: np.ndarray) -> float:
    """Distance of the mean of the chosen rows to the mean of all."""
    return float(np.linalg.norm(rows[chosen].mean(0) - rows.mean(0)))


@pytest.mark.parametrize("seed", range(5))
def test_herding_takes_what_a_search_over_all_images_takes(seed: int) -> None:
    rows, chosen = points(seed, 14, 4), []
    for _ in range(14):
        left = [i for i in range(14) if i not in chosen]
        chosen.append(min(left, key=lambda i: gap(rows, np.array([*chosen, i]))))
    assert herding.greedy(torch.from_numpy(rows), 14).tolist() == chosen
    assert herding.greedy(torch.from_numpy(rows), 5).tolist() == chosen[:5]


def test_herding_approaches_the_class_mean_faster_than_random_images() -> None:
    rows = points(0, 200, 6)
    herded = herding.greedy(torch.from_numpy(rows), 60).numpy()
    order = [np.random.default_rng(i).permutation(200) for i in range(100)]
    for count in (2, 5, 10, 20, 40, 60):
        drawn = [gap(rows, one[:count]) for one in order]
        assert gap(rows, herded[:count]) < min(drawn)
    assert max(count * gap(rows, herded[:count]) for count in range(1, 61)) < 6  # random: grows with the root of count
    assert np.mean([60 * gap(rows, one[:60]) for one in order]) > 12


def test_herding_of_equal_images_takes_the_first_and_none_twice() -> None:
    rows = torch.tensor([[0.0], [2.0], [0.0], [2.0]])
    assert herding.greedy(rows, 4).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("seed", range(8))
def test_kcenter_covers_within_twice_the_best_radius(seed: int) -> None:
    rows = points(seed, 11, 2)
    distance = np.linalg.norm(rows[:, None] - rows[None], axis=2)

    def radius(centres: tuple[int, ...]) -> float:
        return float(distance[:, list(centres)].min(1).max())

    for count in (2, 3, 4):
        best = min(radius(some) for some in combinations(range(11), count))
        for first in (None, *range(11)):
            chosen = tuple(kcenter.greedy(torch.from_numpy(rows), count, first).tolist())
            assert best <= radius(chosen) <= 2 * best
            assert chosen[0] == (np.linalg.norm(rows - rows.mean(0), axis=1).argmin() if first is None else first)


def test_kcenter_s_random_first_image_is_named_by_seed_and_class() -> None:
    drawn = [kcenter.random_first(1000, seed, name) for seed in range(3) for name in ("cat", "dog")]
    assert len(set(drawn)) == 6
    assert drawn[1] == kcenter.random_first(1000, 0, "dog")
    assert {kcenter.random_first(3, seed, "cat") for seed in range(40)} == {0, 1, 2}


def test_kcenter_takes_no_image_twice() -> None:
    assert sorted(kcenter.greedy(torch.ones(5, 3), 5).tolist()) == [0, 1, 2, 3, 4]


def test_kmeans_takes_the_image_nearest_to_each_group() -> None:
    offsets = np.array([[0.0, 0.0], [0.1, 0.0], [0.0, 0.1], [-0.2, -0.2], [3.0, -2.0]])
    rows = np.concatenate([offsets, offsets[::-1] + 50])
    nearest = int(np.linalg.norm(offsets - offsets.mean(0), axis=1).argmin())
    chosen = kmeans.nearest_to_centres(torch.from_numpy(rows), 2, 0, "cat").tolist()
    assert sorted(chosen) == [nearest, 9 - nearest]


def test_kmeans_of_equal_images_takes_none_twice_and_says_nothing() -> None:
    chosen = kmeans.nearest_to_centres(torch.ones(6, 2), 4, 0, "cat").tolist()
    assert len(set(chosen)) == 4


def test_forgetting_counts_a_history_written_by_hand() -> None:
    looks = [  # one column an image: right or wrong, epoch after epoch
        [1, 0, 1, 0, 1],
        [1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 0, 0, 0, 0],
        [1, 1, 1, 0, 1],
    ]
    history = History(torch.zeros(5, dtype=torch.long))
    for epoch, right in enumerate(looks):
        first, second = ([0, 3], [1, 2, 4]) if epoch % 2 else ([4, 1], [2, 0, 3])  # in batches, in any order
        for batch in (first, second):
            history.see(torch.tensor(batch), torch.tensor([bool(right[i]) for i in batch]))
    assert history.forgotten.tolist() == [0, 1, 2, 0, 1]
    assert history.learned.tolist() == [True, True, True, False, True]
    chosen = forgetting.most_forgotten(history.forgotten, history.learned, 5)
    assert chosen.tolist() == [3, 2, 1, 4, 0]  # never learned first; of equals the first


def test_forgetting_counts_any_history() -> None:
    looks = np.random.default_rng(0).random((30, 50)) < 0.5
    looks[:, 7] = False
    history = History(torch.zeros(50, dtype=torch.long))
    for right in looks:
        history.see(torch.arange(50), torch.from_numpy(right))
    assert history.forgotten.tolist() == (looks[:-1] & ~looks[1:]).sum(0).tolist()
    assert history.learned.tolist() == looks.any(0).tolist()
    assert forgetting.most_forgotten(history.forgotten, history.learned, 1).tolist() == [7]


def test_rank_by_difficulty() -> None:
    scores = torch.tensor([2.0, 5.0, 1.0, 5.0, 1.0], dtype=torch.float64)
    assert difficulty.ranked(scores, "hardest", 3).tolist() == [1, 3, 0]
    assert difficulty.ranked(scores, "easiest", 3).tolist() == [2, 4, 0]
