"""RealData: what it promises of labels, checksums, batches, subsets and held-out images."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from datadam.data import Raw, RealData, Split, Transform, load
from datadam.data import real as module
from datadam.data.real import hold_out, statistics
from datadam.errors import DataError, InvalidInput


def part(n=12, k=3, shape=(2, 3, 4), seed=0):
    rng = np.random.default_rng(seed)
    return Split(rng.integers(0, 256, (n, *shape), dtype=np.uint8), np.arange(n, dtype=np.int64) % k)


NORMAL = Transform((0.25, 0.5), (0.5, 2.0))


def make(train=None, test=None, classes=("a", "b", "c"), transform=NORMAL):
    train = part() if train is None else train
    test = part(6, seed=1) if test is None else test
    return RealData("toy", "", {}, classes, train, test, transform)


def on_disk(given: Split, folder) -> Split:
    file = folder / "map"
    given.pixels.tofile(file)
    return Split(np.memmap(file, dtype=np.uint8, mode="r", shape=given.pixels.shape), given.labels)


def shuffled(given: Split, seed=3) -> Split:
    order = np.random.default_rng(seed).permutation(len(given))
    return Split(given.pixels[order], given.labels[order])


def test_shape_and_classes():
    real = make()
    assert real.shape == (2, 3, 4)
    assert [indices.tolist() for indices in real.by_class] == [[0, 3, 6, 9], [1, 4, 7, 10], [2, 5, 8, 11]]
    assert all(indices.dtype == np.int64 for indices in real.by_class)


def test_classes_of_unequal_size():
    uneven = Split(part(5).pixels, np.array([2, 0, 2, 1, 2]))
    assert [indices.tolist() for indices in make(uneven).by_class] == [[1], [3], [0, 2, 4]]


@pytest.mark.parametrize("indices", [[3, 0, 3, 11], np.array([3, 0, 3, 11], dtype=np.int32), torch.tensor([3, 0, 3, 11])])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("disk", [False, True])
def test_images_are_gathered_and_normalised(indices, dtype, disk, tmp_path):
    train = part()
    real = make(on_disk(train, tmp_path) if disk else train)
    images = real.images(indices, dtype=dtype)
    expected = (train.pixels[[3, 0, 3, 11]] / 255 - np.array([0.25, 0.5])[:, None, None]) / np.array([0.5, 2])[:, None, None]
    np.testing.assert_allclose(images, expected, rtol=1e-6, atol=1e-6 if dtype == torch.float32 else 1e-14)
    assert images.dtype == dtype


def test_images_agree_with_the_transform():
    real = make()
    pixels = torch.from_numpy(real.train.pixels / 255)
    torch.testing.assert_close(real.images(range(12), dtype=torch.float64), real.transform.to_network(pixels))


def test_images_of_the_test_part():
    real = make()
    assert torch.equal(real.images([2], "test"), make(real.test).images([2]))
    with pytest.raises(InvalidInput, match="train, test"):
        real.images([0], "validation")


def test_no_image_is_a_batch_too():
    assert make().images([]).shape == (0, 2, 3, 4)


def test_images_do_not_touch_the_pixels():
    real = make()
    before = real.train.pixels.copy()
    real.images([0, 1]).zero_()
    assert np.array_equal(real.train.pixels, before)


@pytest.mark.parametrize("indices", [[True, False], [0.5], [[0, 1]]])
def test_indices_are_integers(indices):
    with pytest.raises(InvalidInput, match="integers"):
        make().images(indices)


def test_indices_beyond_the_end():
    with pytest.raises(IndexError):
        make().images([12])


def test_checksum_is_the_stated_formula():
    real = make()
    total = hashlib.sha256(json.dumps({"shape": [2, 3, 4], "classes": ["a", "b", "c"]}).encode())
    for name, given in (("train", real.train), ("test", real.test)):
        digests = sorted(
            hashlib.sha256(int(label).to_bytes(8, "little") + image.tobytes()).digest()
            for image, label in zip(given.pixels, given.labels, strict=True)
        )
        total.update(f"{name} {len(digests)} ".encode() + b"".join(digests))
    assert real.checksum == f"sha256:{total.hexdigest()}"


def test_checksum_does_not_see_the_order():
    real = make()
    assert make(shuffled(real.train), shuffled(real.test)).checksum == real.checksum


def test_checksum_does_not_see_where_pixels_lie(tmp_path):
    real = make()
    assert make(on_disk(real.train, tmp_path)).checksum == real.checksum


def test_checksum_sees_everything_else():
    real = make()
    pixel = real.train.pixels.copy()
    pixel[5, 1, 2, 3] ^= 1
    label = np.array([0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 2, 1])  # the last two exchanged
    wide = [Split(p.pixels.reshape(-1, 2, 4, 3), p.labels) for p in (real.train, real.test)]
    others = [
        make(Split(pixel, real.train.labels)),
        make(Split(real.train.pixels, label)),
        make(*wide),
        make(real.test, real.train),
        make(classes=("a", "b", "d")),
        make(Split(np.concatenate([real.train.pixels, real.train.pixels[:1]]), np.append(real.train.labels, 0))),
    ]
    assert len({real.checksum, *(other.checksum for other in others)}) == len(others) + 1


def test_checksum_is_computed_once(monkeypatch):
    real = make()
    first = real.checksum
    monkeypatch.setattr(module, "_digests", None)
    assert real.checksum == first


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"train": Split(part().pixels, part().labels + 1)}, r"0 \.\. 2 .*1 \.\. 3 came"),
        ({"train": Split(part().pixels, part().labels - 1)}, r"-1 \.\. 1 came"),
        ({"test": Split(part(6).pixels, part(6).labels + 1)}, "test labels"),
        ({"classes": ("a", "b", "c", "d")}, "class d"),
        ({"classes": ("a", "b", "a")}, "more than once: a"),
        ({"train": part(0)}, "no training image"),
        ({"test": part(6, shape=(2, 4, 4))}, r"\[2, 3, 4\] and \[2, 4, 4\]"),
        ({"transform": Transform((0.5,), (0.5,))}, "1 channels"),
    ],
)
def test_impossible_data(changes, words):
    with pytest.raises(DataError, match=words):
        make(**changes)


def test_several_faults_at_once():
    with pytest.raises(DataError) as caught:
        make(classes=("a", "b", "a"), transform=Transform((0.5,), (0.5,)))
    assert len(caught.value.faults) == 2


@pytest.mark.parametrize(
    ("pixels", "labels"),
    [
        (np.zeros((2, 1, 3, 3)), np.zeros(2, dtype=np.int64)),
        (np.zeros((2, 3, 3), dtype=np.uint8), np.zeros(2, dtype=np.int64)),
        (np.zeros((2, 1, 0, 3), dtype=np.uint8), np.zeros(2, dtype=np.int64)),
        (np.zeros((2, 1, 3, 3), dtype=np.uint8), np.zeros(3, dtype=np.int64)),
        (np.zeros((2, 1, 3, 3), dtype=np.uint8), np.zeros(2)),
    ],
)
def test_impossible_parts(pixels, labels):
    with pytest.raises(DataError, match="uint8"):
        Split(pixels, labels)


def test_statistics_chunk_by_chunk(monkeypatch):
    pixels = part(11, shape=(3, 5, 4)).pixels
    pixels[:, 1] = 51
    monkeypatch.setattr(module, "CHUNK", 130)
    mean, std = statistics(pixels)
    np.testing.assert_allclose(mean, pixels.mean((0, 2, 3)) / 255, rtol=1e-12)
    np.testing.assert_allclose(std, [pixels[:, 0].std() / 255, 1.0, pixels[:, 2].std() / 255], rtol=1e-12)
    assert mean[1] == 0.2


def test_subset():
    real = make()
    small = real.subset([2, 0])
    assert small.classes == ("c", "a")
    assert small.train.labels.tolist() == [1, 0] * 4
    assert torch.equal(small.images(small.by_class[0]), real.images(real.by_class[2]))
    assert torch.equal(small.images([0, 1], "test"), real.images([0, 2], "test"))
    assert small.transform is real.transform


def test_subset_of_neighbours_copies_nothing():
    """Class shards of data that lies on the disk class after class stay on the disk."""
    given = part()
    order = np.argsort(given.labels, kind="stable")
    real = make(Split(given.pixels[order], given.labels[order]))
    small = real.subset([1, 2])
    assert np.shares_memory(small.train.pixels, real.train.pixels)
    assert small.train.labels.tolist() == [0] * 4 + [1] * 4
    assert real.train.labels.max() == 2


@pytest.mark.parametrize("classes", [[], [0, 0], [3], [-1]])
def test_impossible_subsets(classes):
    with pytest.raises(InvalidInput, match="0 to 2"):
        make().subset(classes)


def sizes(given: Split, k=3):
    return np.bincount(given.labels, minlength=k).tolist()


def ids(given: Split):
    return {image.tobytes() for image in given.pixels}


def test_a_fifth_of_each_class_is_held_out():
    labels = np.repeat([0, 1, 2], [20, 10, 3])
    raw = Raw(("a", "b", "c"), Split(part(33).pixels, labels), None, ("first",))
    train, test, notes = hold_out(raw)
    assert (sizes(train), sizes(test)) == ([16, 8, 2], [4, 2, 1])
    assert ids(train) | ids(test) == ids(raw.train)
    assert not ids(train) & ids(test)
    assert notes[0] == "first"
    assert "20 %" in notes[1]
    assert "7 of 33" in notes[1]


def test_held_out_images_do_not_depend_on_other_classes():
    given = part(30)
    both = hold_out(Raw(("a", "b", "c"), given, None))[1]
    alone = hold_out(Raw(("b",), Split(given.pixels[1::3], np.zeros(10, dtype=np.int64)), None))[1]
    assert ids(alone) == ids(Split(both.pixels[both.labels == 1], both.labels[both.labels == 1]))
    renamed = hold_out(Raw(("a", "x", "c"), given, None))[1]
    assert ids(renamed) != ids(both)


def test_a_test_part_is_left_alone():
    raw = Raw(("a", "b", "c"), part(), part(6), ("n",))
    assert hold_out(raw) == (raw.train, raw.test, raw.notes)


def test_a_class_of_one_image_stays_in_training():
    train, test, _ = hold_out(Raw(("a", "b"), Split(part(3).pixels, np.array([0, 1, 1])), None))
    assert (sizes(train, 2), sizes(test, 2)) == ([1, 1], [0, 1])
    with pytest.raises(DataError, match="test="):
        hold_out(Raw(("a", "b"), Split(part(2).pixels, np.array([0, 1])), None))


def test_held_out_images_of_a_map_stay_on_the_disk(tmp_path, monkeypatch):
    monkeypatch.setenv("DATADAM_CACHE", str(tmp_path))
    given = part(30)
    plain = hold_out(Raw(("a", "b", "c"), given, None))
    mapped = hold_out(Raw(("a", "b", "c"), on_disk(given, tmp_path), None))
    for ours, expected in zip(mapped[:2], plain[:2], strict=True):
        assert isinstance(ours.pixels, np.memmap)
        assert np.array_equal(ours.pixels, expected.pixels)
        assert np.array_equal(ours.labels, expected.labels)


def test_no_training_image():
    with pytest.raises(DataError, match="no training image"):
        hold_out(Raw(("a",), part(0), None))


def test_replacing_a_part_gives_another_checksum():
    real = make()
    assert replace(real, test=real.train).checksum != real.checksum


def test_images_of_a_loaded_set_are_normalised():
    real = load("mnist")
    images = real.images(range(0, 60000, 40))
    assert abs(images.mean()) < 0.05
    assert abs(images.std() - 1) < 0.05
