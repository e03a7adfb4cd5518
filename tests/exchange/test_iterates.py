"""Files of released code that hold more, or other, than a plain set: iterates of one run, pairs of pixels."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import datadam
from datadam.data import RealData, Transform
from datadam.errors import ArtifactError, InvalidInput
from datadam.evaluation.panel import protocol_named
from datadam.exchange import export, import_
from datadam.sets.distilled import DistilledSet

LABELS = torch.tensor([0, 0, 1, 1, 2, 2])
PIXELS = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def test_a_file_of_the_authors_of_datadam_is_one_run(animals: RealData, tmp_path: Path) -> None:
    start = animals.transform.to_network(PIXELS)
    turned = torch.tensor([4, 0, 2, 5, 1, 3])
    pairs = [[(start + 0.01 * i)[turned], LABELS[turned]] for i in range(11)]
    path = tmp_path / "res_DataDAM_CIFAR10_ConvNet_2ipc_.pt"
    torch.save({"data": pairs, "accs_all_exps": {"ConvNet": [0.5]}}, path)
    (one,) = import_(path, "dm", animals, tmp_path / "run")
    assert torch.equal(one.images, start + 0.01 * 10)
    assert any("holds 11 sets" in note and "the last one is the set" in note for note in one.card["warnings"])
    kept = sorted((tmp_path / "run/snapshots").iterdir())
    assert [file.stem for file in kept] == [f"{2000 * i:08d}" for i in range(10)]
    assert torch.equal(load_file(kept[0])["images"], start)  # class after class, as the set is
    assert one.card["iterations_done"] == 20_000
    read = DistilledSet.load(tmp_path / "run")
    datadam.evaluate(read, animals, students=1, protocol=protocol_named("honest", epochs=1))
    other = path.with_name("res_DM_CIFAR10_ConvNet_2ipc.pt")  # whose code saves each experiment once
    path.rename(other)
    assert len(import_(other, "dm", animals)) == 11
    torch.save({"data": [[PIXELS.clone(), torch.tensor([0, 1, 1, 1, 2, 2])], [PIXELS, LABELS]]}, path)
    with pytest.raises(ArtifactError, match="they are not of one run"):
        import_(path, "dm", animals)


@pytest.mark.parametrize("folder", ["cifar10_ipc1", "conv3in_grad_mse_nd2000_cut_niter2000_factor2_lr0.005_mix_ipc2"])
def test_pairs_of_idc_are_pixels(animals: RealData, tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).mkdir()
    torch.save([PIXELS, LABELS], tmp_path / folder / "data.pt")
    (one,) = import_(tmp_path / folder, "idc", animals, tmp_path / "run")
    torch.testing.assert_close(one.images, animals.transform.to_network(PIXELS))
    assert one.transform.to_card() == animals.transform.to_card()
    factor = 2 if "factor2" in folder else 1
    assert (len(one.training_images), one.ipc) == (6 * factor**2, 2)
    assert any(("grid:2" in note) for note in one.card["warnings"])
    assert len(DistilledSet.load(tmp_path / "run").training_labels) == 6 * factor**2
    (said,) = import_(tmp_path / folder, "idc", animals, decoder="grid:4")
    assert len(said.training_images) == 6 * 16
    with pytest.raises(InvalidInput, match="reads frequencies, and these files hold pictures"):
        import_(tmp_path / folder, "idc", animals, decoder="dct:4")


def test_pairs_of_idc_are_written(small: DistilledSet, animals: RealData, tmp_path: Path) -> None:
    export(small, "idc", tmp_path / "out")
    images, labels = torch.load(tmp_path / "out/data.pt", weights_only=True)
    mean, std = (np.array(numbers)[:, None, None] for numbers in (small.transform.mean, small.transform.std))
    np.testing.assert_allclose(images.numpy(), small.images.double().numpy() * std + mean, atol=1e-6)
    assert torch.equal(labels, small.labels)
    (back,) = import_(tmp_path / "out", "idc", animals)
    torch.testing.assert_close(back.images, small.images, rtol=1e-5, atol=1e-5)
    assert not back.card["warnings"]


@pytest.mark.parametrize(
    ("numbers", "cure"),
    [
        (PIXELS, ("0,0,0", "1,1,1")),
        (PIXELS * 0.3, ("0,0,0", "1,1,1")),  # all dark
        (PIXELS * 2 - 1, ("0.5,0.5,0.5", "0.5,0.5,0.5")),
        ((PIXELS * 255).round(), ("0,0,0", "0.00392157,0.00392157,0.00392157")),
    ],
)
@pytest.mark.parametrize("to", ["mtt", "dm", "eccv24"])
def test_pixels_that_were_not_normalised_are_told(
    animals: RealData, tmp_path: Path, numbers: torch.Tensor, cure: tuple[str, str], to: str
) -> None:
    if to == "mtt":
        torch.save(numbers, tmp_path / "images_best.pt")
        torch.save(LABELS, tmp_path / "labels_best.pt")
    else:
        torch.save(numbers if to == "eccv24" else {"data": [[numbers, LABELS]]}, tmp_path / "res_X_Y_Z_2ipc.pt")
    (taken,) = import_(tmp_path, to, animals)
    (note,) = [text for text in taken.card["warnings"] if "--mean" in text]
    assert f"--mean {cure[0]} --std {cure[1]}" in note
    mean, std = ([float(number) for number in text.split(",")] for text in cure)
    (cured,) = import_(tmp_path, to, animals, mean=mean, std=std)
    dark = 0.3 if numbers.max() < 0.5 else 1
    torch.testing.assert_close(cured.pixels(), PIXELS * dark, rtol=0, atol=0.003)
    assert not any("--mean" in text for text in cured.card["warnings"])
    assert cured.images.abs().max() < 10  # no student is given 0 to 255


def test_normalised_images_are_not_doubted(small: DistilledSet, animals: RealData, tmp_path: Path) -> None:
    for images in (small.images, animals.transform.to_network(PIXELS), torch.randn(6, 3, 8, 8, generator=torch.manual_seed(1))):
        torch.save(images, tmp_path / "images.pt")
        torch.save(LABELS, tmp_path / "labels.pt")
        (one,) = import_(tmp_path, "mtt", animals)
        assert not any("--mean 0" in note for note in one.card["warnings"])


def test_files_of_cafe_and_of_trajectories_know_one_normalisation_of_cifar(animals: RealData, tmp_path: Path) -> None:
    from dataclasses import replace

    real = replace(animals, name="cifar100", transform=Transform((0.5, 0.5, 0.5), (0.3, 0.3, 0.3)))
    cifar = {"mean": [0.4914, 0.4822, 0.4465], "std": [0.2023, 0.1994, 0.2010]}
    hundred = {"mean": [0.5071, 0.4866, 0.4409], "std": [0.2673, 0.2564, 0.2762]}
    numbers = animals.transform.to_network(PIXELS)
    for method, expected in (("CAFE", cifar), ("DM", hundred), ("DSA", hundred)):
        path = tmp_path / f"res_{method}_CIFAR100_ConvNet_2ipc.pt"
        torch.save({"data": [[numbers, LABELS]]}, path)
        (one,) = import_(path, "dm", real)
        assert one.transform.to_card() == expected | {"zca": None}
        export(one, "dm", tmp_path / method)
        (again,) = import_(tmp_path / method, "dm", real)
        assert torch.equal(again.images, numbers)
    torch.save(numbers, tmp_path / "images_best.pt")
    torch.save(LABELS, tmp_path / "labels_best.pt")
    for to in ("mtt", "ddranking"):
        assert import_(tmp_path / "images_best.pt", to, real)[0].transform.to_card() == cifar | {"zca": None}
