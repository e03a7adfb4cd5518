"""The artifact: it comes back as it was saved, and a damaged or forged one is refused."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch.utils.data import DataLoader

import datadam
from datadam.errors import ArtifactError
from datadam.sets.distilled import DistilledSet


@pytest.fixture
def run(real, recipe, tmp_path: Path) -> Path:
    datadam.distill(real, recipe(), out=tmp_path / "run", note="a test")
    return tmp_path / "run"


def test_round_trip(run: Path, real) -> None:
    small = DistilledSet.load(run)
    assert small.images.shape == (6, *real.shape)
    assert small.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert small.classes == real.classes
    assert small.ipc == 2
    small.save(run.parent / "copy")
    again = DistilledSet.load(run.parent / "copy")
    assert torch.equal(small.images, again.images)
    assert small.card == again.card
    images, labels = next(iter(DataLoader(small.dataset(), batch_size=4)))
    assert images.shape == (4, *real.shape)
    assert labels.tolist() == [0, 0, 1, 1]


def test_pixels_are_true_colours(real, recipe) -> None:
    chosen = datadam.distill(real, recipe(iterations=0))
    pixels = (chosen.pixels() * 255).round().to(torch.uint8)
    members = torch.from_numpy(real.train.pixels[real.by_class[0]])
    assert all((pixels[n] == members).flatten(1).all(1).any() for n in range(2))


def test_whitened_runs_keep_their_inverse(real, recipe, tmp_path: Path) -> None:
    datadam.distill(real, recipe(zca="kornia", iterations=0), out=tmp_path / "run")
    small = DistilledSet.load(tmp_path / "run")
    assert (tmp_path / "run/zca.safetensors").exists()
    pixels = (small.pixels() * 255).round().to(torch.uint8)
    members = torch.from_numpy(real.train.pixels[real.by_class[0]])
    assert all((pixels[n].int() - members.int()).abs().flatten(1).amax(1).min() <= 1 for n in range(2))


def test_the_official_whitening_is_fitted_again_on_the_first_images(real, recipe) -> None:
    once = real.with_zca("official")
    chosen = datadam.distill(once, recipe(iterations=0)).images.double().flatten(1)
    centred = chosen - chosen.mean(0)
    _, s, vt = np.linalg.svd(centred.numpy(), full_matrices=True)
    variance = np.zeros(len(vt))
    variance[: len(s)] = s**2 / (len(chosen) - 1)
    twice = centred.numpy() @ (vt.T / np.sqrt(variance + 0.1)) @ vt
    found = datadam.distill(real, recipe(iterations=0, zca="official"))
    np.testing.assert_allclose(found.images.flatten(1), twice, atol=1e-4)
    assert found.transform.to_card()["zca"] == {"variant": "official", "eps": 0.1}


def test_the_card_says_how_to_make_it_again(run: Path, real, recipe) -> None:
    from datadam.distillation.recipe import Recipe

    card = json.loads((run / "card.json").read_text())
    assert card["data"]["checksum"] == real.checksum
    assert card["note"] == "a test"
    assert card["versions"]["torch"] == torch.__version__
    assert "sajedi2023datadam" in card["citations"][0]
    again = datadam.distill(real, Recipe.from_card(card["recipe"]))
    assert torch.equal(again.images, DistilledSet.load(run).images)


def tensors(run: Path, **changed: torch.Tensor | None) -> None:
    small = DistilledSet.load(run)
    parts = {"images": small.images, "labels": small.labels} | changed
    safetensors.torch.save_file({k: v for k, v in parts.items() if v is not None}, run / "distilled.safetensors")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"images": torch.full((6, 3, 8, 8), float("nan"))}, "NaN"),
        ({"images": torch.zeros(6, 3, 8, 9)}, "the card says"),
        ({"images": torch.zeros(6, 3, 8, 8).double()}, "float64"),
        ({"images": None}, "none"),
        ({"labels": torch.tensor([0, 0, 1, 1, 2, 3])}, "0..2"),
        ({"labels": torch.tensor([0, 0, 1, 1, 2, -1])}, "0..2"),
        ({"labels": torch.zeros(5, dtype=torch.int64)}, "one int64 an image"),
        ({"labels": torch.zeros(6)}, "one int64 an image"),
    ],
)
def test_forged_tensors_are_refused(run: Path, changed: dict[str, torch.Tensor | None], words: str) -> None:
    tensors(run, **changed)
    with pytest.raises(ArtifactError, match=words):
        DistilledSet.load(run)


def test_damaged_files_are_refused(run: Path) -> None:
    path = run / "distilled.safetensors"
    whole = path.read_bytes()
    damages = [
        whole[: len(whole) // 2],
        b"",
        b"\xff" * 8 + whole[8:],
        pickle.dumps({"images": 1}),
        whole[:8] + b"x" * (len(whole) - 8),
    ]
    for damage in damages:
        path.write_bytes(damage)
        with pytest.raises(ArtifactError, match="no whole safetensors file"):
            DistilledSet.load(run)
    path.unlink()
    with pytest.raises(ArtifactError, match="does not exist"):
        DistilledSet.load(run)


def test_a_single_flipped_bit_is_noticed(run: Path) -> None:
    path = run / "distilled.safetensors"
    whole = bytearray(path.read_bytes())
    whole[-1000] ^= 1
    path.write_bytes(whole)
    with pytest.raises(ArtifactError, match="not the images that the card was written for"):
        DistilledSet.load(run)


def test_forged_cards_are_refused(run: Path) -> None:
    path = run / "card.json"
    card = json.loads(path.read_text())
    forgeries: list[object] = [[], {}, card | {"format": "datadam/99"}, card | {"data": {}}, card | {"recipe": None}]
    forgeries += [card | {"data": card["data"] | {"shape": [3, -8, 8]}}, card | {"data": card["data"] | {"classes": []}}]
    forgeries += [card | {"kind": "cake"}, card | {"transform": {"mean": ["x"], "std": [1], "zca": None}}]
    for forged in forgeries:
        path.write_text(json.dumps(forged))
        with pytest.raises(ArtifactError):
            DistilledSet.load(run)
    for text in ("", "{", "\x00", "[" * 100_000):
        path.write_text(text)
        with pytest.raises(ArtifactError, match="cannot be read as JSON"):
            DistilledSet.load(run)


def test_an_unfinished_run_says_how_to_finish_it(real, recipe, tmp_path: Path) -> None:
    next(datadam.begin(real, recipe(), out=tmp_path / "run").steps())
    with pytest.raises(ArtifactError, match="--resume"):
        DistilledSet.load(tmp_path / "run")
    with pytest.raises(ArtifactError, match="does not exist"):
        DistilledSet.load(tmp_path / "nothing")
