"""First arguments that are meant otherwise than they stand: taken where the meaning is plain, else told what to give."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

import datadam
from datadam.data import RealData
from datadam.distillation.recipe import Recipe
from datadam.errors import InvalidInput
from datadam.evaluation.panel import protocol_named

CHANGES = {"iterations": 2, "batch_real": 4, "net": "convnet1:width=4"}


def test_a_name_with_ipc_is_a_recipe(real: RealData) -> None:
    small = datadam.distill(real, "random", ipc=2)
    assert small.card["recipe"]["method"]["name"] == "random"
    assert small.ipc == 2


def test_real_data_in_every_form_that_load_reads(real: RealData, recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    x, y = real.train.pixels, real.train.labels
    arrays = (x, y, real.test.pixels, real.test.labels)
    given = datadam.load(arrays)
    small = datadam.distill(given, datadam.preset("dm", given, ipc=1).change(CHANGES))
    same = datadam.distill(arrays, datadam.preset("dm", given, ipc=1).change(CHANGES))
    assert torch.equal(small.images, same.images)
    np.savez(tmp_path / "mine.npz", x_train=x, y_train=y, x_test=arrays[2], y_test=arrays[3])
    path = tmp_path / "mine.npz"
    assert datadam.evaluate(small, path, students=1, epochs=1).all == datadam.evaluate(small, str(path), students=1, epochs=1).all
    data = TensorDataset(torch.from_numpy(x), torch.from_numpy(y))
    with pytest.warns(UserWarning, match="no test part: 20 % of the images of each class held out"):
        datadam.distill(data, datadam.preset("dm", real, ipc=1).change(CHANGES))


def test_a_set_is_judged_by_its_folder(real: RealData, recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    small = datadam.distill(real, recipe(), out=tmp_path / "run")
    rule = protocol_named("honest", epochs=1)
    one = datadam.evaluate(small, real, students=1, protocol=rule).all
    assert datadam.evaluate(tmp_path / "run", real, students=1, protocol=rule).all == one
    assert datadam.evaluate([str(tmp_path / "run"), small], real, students=1, protocol=rule).accuracies[0] == one


def test_epochs_and_augmentation_are_arguments(real: RealData, recipe: Callable[..., Recipe]) -> None:
    small = datadam.distill(real, recipe())
    told = datadam.evaluate(small, real, students=1, epochs=3, augment="color_crop").protocol.training
    assert (told.epochs, told.drop, told.augment) == (3, 2, "color_crop")
    assert datadam.evaluate(small, real, students=1, protocol="dc-bench", augment="none", epochs=2).protocol.training.epochs == 2
    whole = datadam.evaluate_whole(real, net="convnet1:width=4", epochs=1, augment="none").protocol.training
    assert (whole.epochs, whole.augment) == (1, "none")
    with pytest.raises(InvalidInput, match="epochs is 0"):
        datadam.evaluate(small, real, epochs=0)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda real, small, recipe: datadam.distill(real, "datadam"), r'is not said; write distill\(real, "datadam", ipc=10\)'),
        (lambda real, small, recipe: datadam.distill(real, "datadma", ipc=1), "Did you mean 'datadam'"),
        (lambda real, small, recipe: datadam.distill(real, 3), "recipe is a int; give a recipe"),
        (lambda real, small, recipe: datadam.distill(real, datadam.DM()), "recipe is a DM; give a recipe"),
        (lambda real, small, recipe: datadam.distill(real, recipe, ipc=7), "ipc is 7, and the recipe says 2"),
        (lambda real, small, recipe: datadam.distill(recipe, real), "real is a Recipe; give the real data"),
        (lambda real, small, recipe: datadam.distill(None, recipe), "real is a NoneType"),
        (lambda real, small, recipe: datadam.distill(5, recipe), "real is a int"),
        (lambda real, small, recipe: datadam.evaluate(real, small), r"give the set first: evaluate\(small, real\)"),
        (lambda real, small, recipe: datadam.evaluate(small, small), "real is a DistilledSet; give the real data"),
        (lambda real, small, recipe: datadam.evaluate(small.images, real), "sets is a Tensor; give a distilled set"),
        (lambda real, small, recipe: datadam.evaluate("nowhere", real), "nowhere is no run folder"),
        (lambda real, small, recipe: datadam.compare(small, "dm", ipc=1, out="x"), "real is a DistilledSet; give the real data"),
    ],
)
def test_what_is_not_plain_is_told(
    call: Callable[..., object], words: str, real: RealData, recipe: Callable[..., Recipe]
) -> None:
    asked = recipe()
    with pytest.raises(InvalidInput, match=words):
        call(real, datadam.distill(real, asked), asked)
