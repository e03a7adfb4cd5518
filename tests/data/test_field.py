"""The field's numbers as a setting of the data, and whether images may be mirrored."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from small import make_real

import datadam
from datadam.augment.siamese import STRATEGY, strategy_for
from datadam.data import RealData
from datadam.data.field import CIFAR, FIELD, numbers
from datadam.distillation.begin import prepared
from datadam.errors import InvalidInput
from datadam.evaluation.panel import Panel

DIGITS = STRATEGY.replace("_flip", "")


def named(name: str, channels: int = 3) -> RealData:
    return replace(make_real(2, 4, (channels, 8, 8)), name=name)


@pytest.mark.parametrize("spelling", ["cifar10", "CIFAR-10", "Cifar_10"])
def test_numbers_by_name(spelling: str) -> None:
    assert numbers("field", spelling, 3) == ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
    assert numbers("own", spelling, 3) is None
    assert numbers("field", spelling, 1) is None  # something else of that name


def test_cifar100_has_two_readings() -> None:
    assert numbers("field", "cifar100", 3) == ((0.5071, 0.4866, 0.4409), (0.2673, 0.2564, 0.2762))
    assert numbers("mtt", "cifar100", 3) == CIFAR
    others = set(FIELD) - {"cifar100"}
    assert all(numbers("mtt", name, len(FIELD[name][0])) == numbers("field", name, len(FIELD[name][0])) for name in others)
    assert numbers("field", "holidays", 3) is None


def test_images_in_the_fields_space() -> None:
    real = named("cifar10")
    field = real.with_normalisation("field")
    x = torch.from_numpy(real.train.pixels[:3]).double() / 255
    mean, std = (torch.tensor(part, dtype=torch.float64)[:, None, None] for part in CIFAR)
    torch.testing.assert_close(field.images([0, 1, 2], dtype=torch.float64), (x - mean) / std, rtol=1e-12, atol=1e-12)
    assert field.options["normalisation"] == "field"
    assert real.with_normalisation("own") is real
    assert named("holidays").with_normalisation("field").options == {}


def test_whitening_on_top() -> None:
    real = named("cifar10")
    official, own = (data.with_zca("official").transform for data in (real.with_normalisation("field"), real))
    assert (official.mean, official.std) == CIFAR
    assert not torch.equal(official.zca.matrix, own.zca.matrix)  # type: ignore[union-attr]
    white = real.with_zca("kornia")
    assert white.with_normalisation("field") is white  # fitted on bare pixels, whatever the numbers
    with pytest.raises(InvalidInput, match="whitened under other numbers"):
        real.with_zca("official").with_normalisation("field")


def test_load_takes_both_settings() -> None:
    pixels = np.zeros((4, 8, 8, 3), np.uint8)
    pixels[::2] = 200
    arrays = (pixels, np.array([0, 1, 0, 1]), pixels, np.array([0, 1, 0, 1]))
    assert datadam.load(arrays, flip=False).options == {"flip": False}
    assert not datadam.load(arrays, flip=False).flips
    assert datadam.load(arrays).flips
    with pytest.raises(InvalidInput, match="normalisation is 'fields'; allowed: own, field, mtt"):
        datadam.load(arrays, normalisation="fields")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "words"),
    [(name, DIGITS) for name in ("mnist", "svhn", "emnist", "kmnist", "usps", "qmnist", "svhn-cropped", "EMNIST_letters")]
    + [(name, STRATEGY) for name in ("fashion-mnist", "cifar10", "mnistlike", "postcards")],
)
def test_digits_and_letters_are_not_mirrored(name: str, words: str) -> None:
    assert strategy_for(name) == words
    assert strategy_for(name, flips=False) == DIGITS


def test_data_that_are_not_mirrored_anywhere() -> None:
    """In presets, and in protocols."""
    real = replace(named("postcards"), options={"flip": False})
    for name in ("datadam", "official", "dm", "dsa", "cafe"):
        recipe = datadam.preset(name, real, ipc=1)
        assert "flip" not in recipe.augment + recipe.network_augment
        assert "flip" in datadam.preset(name, named("postcards"), ipc=1).augment
    for protocol in ("honest", "dsa"):
        settled: Any = Panel(protocol=protocol).settled(real, "convnet1:width=4")
        assert settled.protocol.training.augment == DIGITS
    assert replace(real, transform=real.transform).subset([1]).flips is False


@pytest.mark.parametrize(
    ("preset", "std"), [("official", CIFAR[1]), ("dm", CIFAR[1]), ("dc", CIFAR[1]), ("dsa", CIFAR[1]), ("cafe", CIFAR[1])]
)
def test_presets_of_released_code_have_the_fields_numbers(preset: str, std: tuple[float, ...]) -> None:
    real = replace(make_real(2, 4, (3, 32, 32)), name="cifar10")
    assert prepared(real, datadam.preset(preset, real, ipc=1)).transform.std == std
    ours = prepared(real, datadam.preset("random", real, ipc=1))
    assert ours.transform == real.transform
    assert [datadam.preset(name, real, ipc=1).normalisation for name in ("datadam", "paper")] == ["own", "own"]


def test_cafe_alone_gives_cifar100_the_numbers_of_cifar10() -> None:
    real = replace(make_real(2, 4, (3, 32, 32)), name="cifar100")
    found = {name: prepared(real, datadam.preset(name, real, ipc=1)).transform.std for name in ("dm", "cafe")}
    assert found == {"dm": (0.2673, 0.2564, 0.2762), "cafe": CIFAR[1]}
