"""Exported sets, read as the programs that they are for read them: in a few lines, with nothing of ours."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from datadam.data import RealData
from datadam.exchange import FORMATS, export
from datadam.sets.distilled import DistilledSet


def in_bytes(one: DistilledSet) -> np.ndarray:
    """[M, H, W, C] in 8 bits, by hand."""
    x = one.images.double().numpy() * np.array(one.transform.std)[:, None, None] + np.array(one.transform.mean)[:, None, None]
    return np.clip(np.rint(x * 255), 0, 255).astype(np.uint8).transpose(0, 2, 3, 1)


def test_datasets_reads_the_parquet(small: DistilledSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    datasets = pytest.importorskip("datasets")
    done = export(small, "parquet", tmp_path / "out")
    loaded = [
        datasets.load_dataset("parquet", data_files=str(done.files[0]), split="train", cache_dir=str(tmp_path / "a")),
        datasets.load_dataset(str(done.folder), split="train", cache_dir=str(tmp_path / "b")),  # by its card, as from the hub
        datasets.Dataset.from_parquet(str(done.files[0]), cache_dir=str(tmp_path / "c")),
    ]
    for table in loaded:
        assert isinstance(table.features["image"], datasets.Image)
        assert table.features["label"].names == list(small.classes)
        assert list(table["label"]) == small.labels.tolist()
        assert all(isinstance(picture, Image.Image) and picture.mode == "RGB" for picture in table["image"])
        np.testing.assert_array_equal(np.stack([np.asarray(picture) for picture in table["image"]]), in_bytes(small))


def test_the_convention_of_image_folders(small: DistilledSet, tmp_path: Path) -> None:
    export(small, "folder", tmp_path / "out")
    found = []  # torchvision's: classes are the sorted names of the folders, images the sorted paths in them
    names = sorted(entry.name for entry in (tmp_path / "out").iterdir() if entry.is_dir())
    for label, name in enumerate(names):
        found += [
            (np.asarray(Image.open(file).convert("RGB")), label) for file in sorted((tmp_path / "out" / name).rglob("*.png"))
        ]
    assert names == ["a dog", "cat", "the _bird_"]
    folders = json.loads((tmp_path / "out/datadam.json").read_text())["folders"]
    assert folders == ["cat", "a dog", "the _bird_"]
    found.sort(key=lambda pair: folders.index(names[pair[1]]))
    np.testing.assert_array_equal(np.stack([image for image, _ in found]), in_bytes(small))


def test_numpy_alone_reads_the_npz(make_set: Callable[..., DistilledSet], tmp_path: Path) -> None:
    for zca in ("none", "official"):
        one = make_set(zca)
        with np.load(export(one, "npz", tmp_path / zca).files[0]) as found:  # pickles are not allowed by default
            assert found["classes"].tolist() == list(one.classes)
            images = found["images"]
            if "zca_inverse" in found:
                images = (images.reshape(len(images), -1) @ found["zca_inverse"] + found["zca_mean"]).reshape(images.shape)
            pixels = images * found["std"][:, None, None] + found["mean"][:, None, None]
            np.testing.assert_array_equal(found["labels"], one.labels)
        np.testing.assert_allclose(pixels.clip(0, 1), one.pixels(), atol=1e-4)


def dc_bench(folder: Path) -> tuple[Any, Any]:
    """DC, DSA, DM and DC-Bench: the last pair of "data"."""
    (file,) = folder.glob("res_*.pt")
    images, labels = torch.load(file, weights_only=True)["data"][-1]
    return images, labels


def mtt(folder: Path) -> tuple[Any, Any]:
    """MTT, DATM, PAD; and ddranking, without the ending."""
    end = "_best" if (folder / "images_best.pt").exists() else ""
    assert torch.load(folder / f"lr{end}.pt", weights_only=True).item() == pytest.approx(0.01)
    return tuple(torch.load(folder / f"{name}{end}.pt", weights_only=True) for name in ("images", "labels"))


def released(folder: Path) -> tuple[Any, Any]:
    """distill_test_model.py of DataDAM."""
    (file,) = folder.glob("syn_data_*_ipc_2.pt")
    kept = torch.load(file, weights_only=True)["data"]
    return kept[0].clone(), kept[1].clone()


def kip(folder: Path) -> tuple[Any, Any]:
    """DC-Bench's loader of KIP."""
    (file,) = folder.glob("*.npz")
    found = np.load(file)
    np.testing.assert_allclose(found["labels"].sum(1), 0, atol=1e-6)
    assert found["labels"].max() == pytest.approx(2 / 3)
    return torch.from_numpy(found["images"]).permute(0, 3, 1, 2), torch.from_numpy(found["labels"]).argmax(1)


def eccv24(folder: Path) -> tuple[Any, Any]:
    """The challenge: labels are in the order of the classes."""
    (file,) = folder.glob("*.pt")
    images = torch.load(file, weights_only=True)
    return images, torch.arange(3).repeat_interleave(len(images) // 3)


@pytest.mark.parametrize(
    ("to", "read"),
    [("dm", dc_bench), ("mtt", mtt), ("ddranking", mtt), ("datadam", released), ("kip", kip), ("eccv24", eccv24)],
)
def test_the_lines_of_others(small: DistilledSet, tmp_path: Path, to: str, read: Callable[[Path], tuple[Any, Any]]) -> None:
    export(small, to, tmp_path / "out")
    images, labels = read(tmp_path / "out")
    assert (images.dtype, labels.dtype) == (torch.float32, torch.int64)
    assert torch.equal(images, small.images)
    assert torch.equal(labels, small.labels)


def test_files_are_called_as_their_readers_expect(
    make_set: Callable[..., DistilledSet], animals: RealData, tmp_path: Path
) -> None:
    import dataclasses

    one = make_set(real=dataclasses.replace(animals, name="tiny-imagenet"))
    expected = {
        "dm": "res_DataDAM_TinyImageNet_ConvNet_2ipc_.pt", "datadam": "syn_data_tinyimagenet_ipc_2.pt",
        "eccv24": "tinyimagenet.pt", "kip": "kip_tinyimagenet_ConvNet_ssize6_nozca_nol_noaug.npz",
    }  # fmt: skip
    for to, name in expected.items():
        assert [file.name for file in export(one, to, tmp_path / to).files] == [name]
    random = make_set(method="random", real=dataclasses.replace(animals, name="my pets/2024"))
    assert [file.name for file in export(random, "dm", tmp_path / "mine").files] == ["res_Random_my-pets-2024_ConvNet_2ipc.pt"]


@pytest.mark.parametrize("to", FORMATS)
def test_the_lines_of_the_readme_run(small: DistilledSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, to: str) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    if to == "parquet":
        pytest.importorskip("datasets")
    export(small, to, tmp_path / "out")
    text = (tmp_path / "out/README.md").read_text()
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert code is not None
    monkeypatch.chdir(tmp_path / "out")
    names: dict[str, Any] = {}
    exec(code[1].replace("path/to/this/folder", str(tmp_path / "out")), names)
    assert len(names["images"]) == 6
    assert "6 images of 3 x 8 x 8" in text
    assert 'cat, a dog, the "bird"' in text
    assert "@inproceedings{sajedi2023datadam" in text
