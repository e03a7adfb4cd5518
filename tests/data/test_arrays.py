"""Arrays and torch data sets: every layout that is promised, and hostile ones."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, IterableDataset, Subset, TensorDataset

from datadam.data import load
from datadam.data.axes import layout
from datadam.errors import DataError, InvalidInput

RNG = np.random.default_rng(0)
Y = np.arange(10) % 2


def pixels(*shape):
    return np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)


class Items(Dataset):
    def __init__(self, items, classes=None):
        self.items = items
        if classes is not None:
            self.classes = classes

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        assert index < len(self.items), "only len() ends a torch data set; it owes nobody an IndexError"
        return self.items[index]


class Stream(IterableDataset):
    def __init__(self, items):
        self.items = items

    def __iter__(self):
        return iter(self.items)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((7, 28, 28), (1, 28, 28)),
        ((7, 28, 30, 3), (3, 28, 30)),
        ((7, 3, 28, 30), (3, 28, 30)),
        ((7, 1, 4, 4), (1, 4, 4)),
        ((7, 4, 4, 3), (3, 4, 4)),
        ((7, 10, 32, 32), (10, 32, 32)),
        ((7, 32, 32, 10), (10, 32, 32)),
    ],
)
def test_layouts(shape, expected):
    order, note = layout(shape)
    found = expected if order is None and expected == (1, *shape[1:]) else tuple(shape[i] for i in order[1:])
    assert found == expected
    assert bool(note) == (expected[0] > 4)


@pytest.mark.parametrize("shape", [(7, 3, 5, 3), (7, 3, 3, 3), (7, 10, 20, 10)])
def test_ambiguous_layouts(shape):
    with pytest.raises(DataError, match="as well as"):
        layout(shape)


@pytest.mark.parametrize(
    ("shape", "labels"), [((32, 32, 3, 32), 32), ((28, 30, 1, 28), 28), ((32, 32, 3, 100), 100), ((9, 9, 9), 9), ((9, 8, 50), 50)]
)
def test_images_that_could_be_the_last_axis(shape, labels):
    """As Matlab has it: [H, W, C, N]."""
    with pytest.raises(DataError, match=r"could be|seem to be") as caught:
        layout(shape, labels)
    assert "such as layout " in str(caught.value)
    assert "[H, W, C, N]" in str(caught.value) or "[H, W, N]" in str(caught.value)


@pytest.mark.parametrize(
    ("axes", "shape"), [("NHWC", (3, 6, 6)), ("HWCN", (3, 6, 6)), ("cnhw", (3, 6, 6)), ("HWN", (1, 6, 6)), ("NHW", (1, 6, 6))]
)
def test_axes_that_are_declared(axes, shape):
    x = pixels(6, *shape) if len(axes) == 4 else pixels(6, 6, 6)
    plain = "NCHW" if len(axes) == 4 else "NHW"
    stored = x.transpose([plain.index(letter) for letter in axes.upper()])
    real = load((stored, Y[:6], stored, Y[:6]), layout=axes)
    assert np.array_equal(real.train.pixels, x.reshape(6, *shape))


@pytest.mark.parametrize("axes", ["NHWX", "HW", "NHWCN", "NHW", "classes"])
def test_axes_that_are_refused(axes):
    with pytest.raises(InvalidInput, match="layout"):
        load((pixels(10, 6, 6, 3), Y), layout=axes)


@pytest.mark.parametrize("shape", [(28, 28, 28), (20, 32, 32), (64, 32, 17), (1, 28, 28, 28), (28, 28, 28, 3)])
def test_volumes_are_called_so(shape):
    inner = [n for n in shape if n > 4]
    words = (
        rf"look like volumes, {inner[0]} x {inner[1]} x {inner[2]} points each.*take one slice of each, .*\[:, {inner[0] // 2}\]"
    )
    with pytest.raises(DataError, match=words):
        load((pixels(6, *shape), Y[:6]))
    with pytest.raises(DataError, match=words):
        load(TensorDataset(torch.zeros(6, *shape), torch.from_numpy(Y[:6])))


@pytest.mark.parametrize("shape", [(7,), (7, 784), (7, 1, 1, 3, 3), (7, 0, 3), (7, 3, 0, 0)])
def test_impossible_layouts(shape):
    with pytest.raises(DataError, match=r"\[N, H, W\]"):
        layout(shape)


def test_channels_last_become_first():
    x = pixels(10, 6, 5, 3)
    real = load((x, Y, x, Y))
    assert np.array_equal(real.train.pixels, x.transpose(0, 3, 1, 2))
    assert real.shape == (3, 6, 5)
    assert (real.name, real.source, real.options, real.notes) == ("arrays", "", {}, ())
    assert real.classes == ("0", "1")


def test_tensors_and_labels_in_a_column():
    x = pixels(10, 1, 6, 6)
    real = load((torch.from_numpy(x), torch.from_numpy(Y)[:, None], x, list(Y)))
    assert np.array_equal(real.train.pixels, x)
    assert real.train.labels.tolist() == Y.tolist()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_exact_floats_are_silent(dtype):
    x = pixels(10, 5, 6)
    real = load(((x / 255).astype(dtype), Y, x, Y))
    assert np.array_equal(real.train.pixels[:, 0], x)
    assert real.notes == ()


def test_lossy_floats_say_so():
    real = load((RNG.random((10, 5, 6)), Y))
    assert any("rounded" in note for note in real.notes)


def test_floats_are_rounded_to_the_nearest():
    x = np.full((4, 2, 2), 0.5) + np.array([-0.5, 0.0019, 0.4999, 0.5])[:, None, None] / 1
    real = load((x, np.arange(4) % 2, x, np.arange(4) % 2))
    assert real.train.pixels[:, 0, 0, 0].tolist() == [0, 128, 255, 255]


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (np.full((10, 4, 4), np.nan), "image 0 .* NaN"),
        (np.full((10, 4, 4), np.inf), "NaN or infinite"),
        (np.full((10, 4, 4), 1.01), "1.01"),
        (np.full((10, 4, 4), -0.01), "before they are normalised"),
        (np.full((10, 4, 4), 255.0), "Divide by 255"),
        (np.zeros((10, 4, 4), dtype=np.int64), r"int64 came.*astype"),
        (np.zeros((10, 4, 4), dtype=bool), "bool"),
        (np.zeros((10, 4, 4), dtype=complex), "complex"),
        (np.array(["a"] * 10), r"\[N, H, W\]"),
        (np.zeros((9, 4, 4), dtype=np.uint8), "9 images and 10 labels"),
        (np.zeros((0, 4, 4), dtype=np.uint8), "no training image"),
    ],
)
def test_impossible_pixels(x, words):
    with pytest.raises(DataError, match=words):
        load((x, Y))


def test_one_bad_pixel_is_named():
    x = np.zeros((300, 4, 4), dtype=np.float32)
    x[270, 1, 2] = np.nan
    with pytest.raises(DataError, match="image 270 "):
        load((x, np.arange(300) % 2))


@pytest.mark.parametrize(
    ("y", "words"),
    [
        (Y.astype(float), "integers"),
        (Y - 1, r"5 of 10 training images have no label .*skip_unlabelled"),
        (Y - 2, r"-2 \.\. -1|no label"),
        (Y * 2, "labels go from 0 to 2, and there is no training image of class 1"),
        (Y * 2 + 1, "no training image of class 2"),
        (Y + 2, "no training image of class 1"),
        (np.eye(3)[Y] / 2, "soft"),
        (np.eye(2, dtype=int)[Y] + 1, "multi-label"),
        (1 - np.eye(3, dtype=int)[Y], "multi-label.*10 have several 1s and 0 none"),
        (Y[:9], "10 images and 9 labels"),
        (np.array([None] * 10), "integers"),
        (Y + 2**40, "came"),
    ],
)
def test_impossible_labels(y, words):
    with pytest.raises(DataError, match=words):
        load((pixels(10, 4, 4), y))


def test_test_labels_beyond_the_training_classes():
    x = pixels(10, 4, 4)
    with pytest.raises(DataError, match="the test part has classes that the training part lacks: 2; the training part has 0, 1"):
        load((x, Y, x, Y + 1))


def test_parts_of_different_shapes():
    with pytest.raises(DataError, match="one shape"):
        load((pixels(10, 4, 4), Y, pixels(10, 5, 4), Y))


@pytest.mark.parametrize("given", [(), (1, 2, 3)])
def test_wrong_number_of_arrays(given):
    with pytest.raises(DataError, match="x_train"):
        load(given)


def test_arrays_alone_are_held_out_from():
    real = load((pixels(10, 4, 4), Y))
    assert (len(real.train), len(real.test)) == (8, 2)
    assert "20 %" in real.notes[0]


@pytest.mark.parametrize("kind", [Items, Stream])
def test_pictures(kind):
    x = pixels(10, 5, 6, 3)
    real = load(
        kind([(Image.fromarray(image), int(label)) for image, label in zip(x, Y, strict=True)]),
        test=kind([(Image.fromarray(x[0]), 1)]),
    )
    assert np.array_equal(real.train.pixels, x.transpose(0, 3, 1, 2))
    assert real.test.labels.tolist() == [1]


def test_pictures_with_a_palette_become_colour():
    x = pixels(10, 5, 6, 3) // 128 * 255
    given = Items([(Image.fromarray(image).convert("P"), int(label)) for image, label in zip(x, Y, strict=True)])
    assert np.array_equal(load(given, test=given).train.pixels, x.transpose(0, 3, 1, 2))


def test_tensors_are_channels_first_whatever_their_size():
    x = torch.rand(10, 3, 4, 3, generator=torch.Generator().manual_seed(0))
    real = load(TensorDataset(x, torch.from_numpy(Y)), test=TensorDataset(x, torch.from_numpy(Y)))
    assert real.shape == (3, 4, 3)
    assert any("rounded" in note for note in real.notes)
    np.testing.assert_allclose(real.train.pixels / 255, x, atol=0.5 / 255 + 1e-6)


def test_class_names_of_a_data_set():
    items = [(image, int(label)) for image, label in zip(pixels(10, 5, 6), Y, strict=True)]
    named = Items(items, classes=["cat", "dog"])
    assert load(named).classes == ("cat", "dog")
    assert load(Subset(named, range(10))).classes == ("cat", "dog")
    with pytest.raises(DataError, match=r"1 classes are named \(cat\), and 5 labels are none of them"):
        load(Items(items, classes=["cat"]))


@pytest.mark.parametrize(
    ("items", "words"),
    [
        ([], "no training image"),
        ([(pixels(4, 4), 0), (pixels(5, 4), 0)], "image 1 is"),
        ([pixels(4, 4)], "item 0"),
        ([(pixels(4, 4), 0, 1)], "item 0"),
        ([(np.full((4, 4), np.nan), 0)], "NaN"),
        ([(pixels(4, 4), 0), (pixels(4, 4), np.eye(3)[0])], "one shape"),
        ([(pixels(4, 4), 0.5)], "integers"),
        ([("cat.png", 0)], "H, W"),
    ],
)
def test_impossible_data_sets(items, words):
    with pytest.raises(DataError, match=words):
        load(Items(items))


def test_other_things_cannot_be_loaded():
    with pytest.raises(DataError, match="int cannot be loaded"):
        load(7)


@pytest.mark.parametrize("option", [{"size": 8}, {"fit": "crop"}, {"skip_bad": True}, {"root": "."}, {"test": (1, 2)}])
def test_options_that_arrays_cannot_honour(option):
    with pytest.raises(InvalidInput, match=next(iter(option))):
        load((pixels(10, 4, 4), Y), **option)
