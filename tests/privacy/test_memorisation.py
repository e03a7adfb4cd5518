"""What is near: against brute force, with copies among the images, and with pictures that are only plain."""

import numpy as np
import pytest
import torch
from small import make_real

from datadam.privacy import memorisation as near


@pytest.fixture
def space() -> tuple[near.Space, torch.Tensor, torch.Tensor]:
    """Ten queries among 80 images of 6 numbers: the first is a copy of image 17; also the images and all queries."""
    rng = np.random.default_rng(0)
    images, synthetic = torch.from_numpy(rng.normal(size=(80, 6))), torch.from_numpy(rng.normal(size=(10, 6)))
    synthetic[0] = images[17]
    found = near.compare(
        images.__getitem__, 80, 6, synthetic=synthetic, start=None, train=np.array([3, 17, 50]),
        test=torch.from_numpy(rng.normal(size=(300, 6))),
    )  # fmt: skip
    return found, images, synthetic


def test_distances_are_those_of_brute_force(space) -> None:
    found, images, synthetic = space
    every = np.sort(torch.cdist(synthetic, images).numpy(), axis=1)
    assert np.allclose(found.synthetic.distance[1:], every[1:, 0])
    assert (found.synthetic.distance[0], found.synthetic.relative[0], found.synthetic.index[0]) == (0, 0, 17)
    assert np.allclose(found.synthetic.relative[1:], (every[:, 0] / every[:, :50].mean(1))[1:])
    assert found.start is None
    among = torch.cdist(images, images).fill_diagonal_(torch.inf)[[3, 17, 50]]
    assert np.allclose(found.train.distance, among.min(1).values)  # an image is not its own neighbour
    assert np.array_equal(found.train.index, among.argmin(1))


def test_pieces_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    images = torch.from_numpy(rng.normal(size=(500, 4)))
    asked = {"synthetic": images[:5] + 0.1, "start": images[:5], "train": np.arange(0, 500, 7), "test": images[:9] + 0.2}
    whole = near.compare(images.__getitem__, 500, 4, **asked)
    monkeypatch.setattr(near, "PIECE", 1000)
    monkeypatch.setattr(near, "BLOCK", 3000)
    cut = near.compare(images.__getitem__, 500, 4, **asked)
    for name in ("synthetic", "start", "train", "test"):
        a, b = getattr(whole, name), getattr(cut, name)
        assert np.array_equal(a.index, b.index)
        assert np.allclose(a.distance, b.distance, rtol=1e-12, atol=0)
        assert np.allclose(a.relative, b.relative, rtol=1e-12, atol=0)


def test_the_share_nearer_than_unseen_images_is_counted(space) -> None:
    found, _, _ = space
    told = found.to_json()
    for name, share in (("1", 0.01), ("5", 0.05)):
        limit = np.quantile(found.test.distance, share)
        assert told["nearer"][name]["count"] == (found.synthetic.distance < limit).sum() >= 1
        assert told["nearer"][name]["limit"] == limit
    assert told["distance"]["synthetic"][0] == 0
    assert told["distance"]["start"] is None
    assert len(told["distance"]["test"]) == len(told["quantiles"])


def test_a_plain_picture_is_near_to_all_and_a_copy_only_to_one() -> None:
    """The distance alone would take the grey picture for a memory; the relative distance does not."""
    rng = np.random.default_rng(2)
    images = torch.from_numpy(rng.normal(size=(400, 200)))
    grey, copy = torch.zeros(1, 200, dtype=torch.float64), images[:1] + 0.3 * torch.from_numpy(rng.normal(size=(1, 200)))
    found = near.compare(
        images.__getitem__, 400, 200, synthetic=torch.cat([grey, copy]), start=None, train=np.arange(50),
        test=torch.from_numpy(rng.normal(size=(200, 200))),
    )  # fmt: skip
    told = found.to_json()
    assert told["nearer"]["1"]["count"] == 2
    assert told["relatively_nearer"]["1"]["count"] == 1
    assert found.synthetic.relative[0] > 0.9 > 0.4 > found.synthetic.relative[1]


def test_start_images_are_found_to_half_a_grey_level() -> None:
    real = make_real(per_class=20)
    rows, width = near.pixels_of(real), 3 * 8 * 8
    start = rows(torch.tensor([4, 9, 30, 55]))
    start[1] += 0.4 / 255  # as rounding would, and more
    start[3] += 3 / 255
    moved = start.clone()
    moved[2] = rows(torch.tensor([31]))[0]  # it has become another one
    test = rows(torch.arange(10)) + 0.1
    found = near.compare(rows, 60, width, synthetic=moved, start=start, train=np.arange(60), test=test)
    origin = near.located(found.start, width)
    assert origin.tolist() == [4, 9, 30, -1]
    told = near.start_report(found, found, moved, start, origin)
    assert (told["found"], told["images"]) == (3, 4)
    assert told["still_nearest"]["pixels"]["value"] == 2 / 3
    assert told["went"][0] == 0
    assert told["went"][-1] == pytest.approx(float((moved[2] - start[2]).double().norm()))
    assert near.copies(found.synthetic, width) == 3
    pairs = near.closest(found, found, np.array([0, 0, 1, 2]), real.train.labels, origin)
    assert [pair["image"] for pair in pairs][-1] == 3
    by_image = {pair["image"]: pair for pair in pairs}
    assert [by_image[m]["is_start"] for m in range(4)] == [True, True, False, None]
    assert by_image[2]["real"] == 31
    assert by_image[2]["real_label"] == real.train.labels[31]


def test_doubles_among_all_neighbours_are_no_division_by_zero() -> None:
    same = torch.ones(5, 3)
    found = near.compare(same.__getitem__, 5, 3, synthetic=same[:1], start=None, train=np.array([0]), test=same[:2])
    assert found.synthetic.relative.tolist() == [0]
