"""What an inspection and an audit left in a run folder, as the page shows it; stale, damaged and hostile files."""

import json
import re
from base64 import b64decode
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from report.test_browser import write_inspection
from report.test_page import Reader, frames
from safetensors.torch import load_file, save_file

from datadam.errors import ArtifactError
from datadam.report import page
from datadam.report.cloud import cloud
from datadam.report.heat import overlay
from datadam.report.judged import explained

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def run(made: SimpleNamespace, tmp_path: Path) -> Path:
    folder = made.run(tmp_path / "run", snapshots=(0,), digest="d")
    write_inspection(folder, 3, 2)
    return Path(folder)


def change(folder: Path, name: str, **parts: Any) -> None:
    found = json.loads((folder / name).read_text())
    (folder / name).write_text(json.dumps(found | parts))


def rate(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.01, "high": value + 0.01}


def write_audit(folder: Path, digest: str = "d", note: str = "told aloud") -> None:
    """An audit of a run of three classes with two images each."""
    quantiles = [0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0]
    near = {
        "quantiles": quantiles, "nearer": {"1": rate(0.25) | {"count": 1, "of": 4, "limit": 1.0}, "5": rate(0.375)},
        "relatively_nearer": {"1": rate(0.5), "5": rate(0.625)},
        "distance": {"synthetic": [q + 3 for q in quantiles], "start": None, "train": quantiles, "test": quantiles},
        "relative": {"synthetic": quantiles, "start": quantiles, "train": quantiles, "test": quantiles},
    }  # fmt: skip
    pair = {"image": 3, "label": 1, "real": 17, "real_label": 2, "distance": 1.4, "relative": 0.77, "is_start": True}
    attack = {"auc": rate(0.612), "tpr": rate(0.034) | {"fpr": 0.01}, "members": 9, "others": 9}
    side = {"training": {"loss": attack, "ratio": None}, "own": None}
    balance = {"classes": [{"recall": rate(0.2 + 0.1 * k)} for k in range(3)], "worst": 0, "best": 2, "gap": 0.2, "std": 0.08,
               "gap_interval": {"low": 0.123, "high": 0.251}}  # fmt: skip
    found = {
        "format": "datadam-audit/1", "run": {"digest": digest},
        "settings": {"students": 3, "references": 4, "protocol": HOSTILE, "features": "embedding of convnet3"},
        "memorisation": {"pixels": near, "features": near, "copies": 1, "closest": [pair],
                         "start": {"found": 4, "still_nearest": {"pixels": rate(0.54), "features": rate(0.7)}}},
        "membership": {"distilled": side, "random": side, "own_kind": None},
        "balance": {"distilled": balance, "random": balance},
        "scores": {"lrs": 0.4567, "ars": None, "ior": 0.1, "hlr": 0.3, "missing": [f"datadam {HOSTILE}"]},
        "notes": [note],
    }  # fmt: skip
    (folder / "audit.json").write_text(json.dumps(found))
    shape = (1, 3, 8, 8)
    pictures = {name: torch.full(shape, level, dtype=torch.uint8) for name, level in (("synthetic", 200), ("real", 40))}
    save_file({f"closest_{name}": picture for name, picture in pictures.items()}, folder / "audit.safetensors")


def test_the_nearest_real_image_lies_in_the_place_of_its_image(run: Path) -> None:
    html = page([run])
    text = re.search(r"--near: url\(data:image/png;base64,([^)]*)\)", html)
    assert text
    sheet = np.asarray(Image.open(BytesIO(b64decode(text[1]))).convert("RGB"))
    assert sheet.shape == frames(html)[0].shape
    nearest = load_file(run / "inspection.safetensors")["nearest"].numpy()
    buttons = [tag for tag in Reader(html).all("button") if tag.get("class") == "tile"]
    for number, button in enumerate(buttons):
        x, y = (int(found) for found in re.findall(r"--[xy]:(\d+)", str(button["style"])))
        shown = sheet[10 * y + 1 : 10 * y + 9, 10 * x + 1 : 10 * x + 9]
        assert (shown == nearest[number].transpose(1, 2, 0)).all()
        distance = round(100 * 1.5 / np.sqrt(3 * 8 * 8))
        expected = f"cat, training image {number}; a pixel differs by {distance} %"
        assert str(button["data-near"]).replace("\u202f", " ") == expected


def test_the_page_is_made_again_from_what_is_kept(run: Path) -> None:
    first = page([run])
    assert page([run]) == first
    assert {"Where networks look", "Where the images lie"} <= set(Reader(first).said("h2"))
    assert len(first.encode()) < 5_000_000
    assert page([run], {run: "never asked"}) == first


def test_an_inspection_of_other_images_is_not_shown(run: Path) -> None:
    change(run, "inspection.json", run={"digest": "of others"})
    html = page([run])
    assert "are not shown: what is kept in the run folder was made of other images." in html
    assert "data-near" not in html.split("<script>")[0]
    assert f"are not shown: {'the disk is gone'}." in page([run], {run: "the disk is gone"})


def test_without_maps_it_says_so(run: Path) -> None:
    change(run, "inspection.json", attention=None)
    assert "This network has no blocks with maps" in page([run])


@pytest.mark.parametrize(
    "damage",
    [
        {"format": "other/1"},
        {"neighbours": {"image": [99], "real": [0], "label": [0], "distance": [1.0], "searched": 3}},
        {"neighbours": {"image": [0], "real": [0], "label": ["x"], "distance": [1.0], "searched": 3}},
        {"neighbours": {"image": [0, 1, 2, 3, 4, 5], "real": [0] * 6, "label": [0] * 6, "distance": [True] * 6, "searched": 3}},
        {"drawn": [7]},
        {"drawn": []},
        {"neighbours": None},
        {"attention": {"power": 4, "images": 1, "blocks": [{"block": 3, "side": [8, 8]}]}},
        {"attention": {"power": 4, "images": 1, "blocks": [{"block": 1, "side": [4, 8]}]}},
    ],
)
def test_a_damaged_inspection_is_refused_with_the_cure(run: Path, damage: dict[str, Any]) -> None:
    change(run, "inspection.json", **damage)
    with pytest.raises(ArtifactError, match=r"no whole inspection.*remove it"):
        page([run])


def test_maps_that_are_not_finite_are_refused(run: Path) -> None:
    tensors = load_file(run / "inspection.safetensors")
    tensors["real_1"][0, 0, 0] = float("nan")
    save_file(tensors, run / "inspection.safetensors")
    with pytest.raises(ArtifactError, match="an attention map"):
        page([run])
    (run / "inspection.safetensors").unlink()
    with pytest.raises(ArtifactError, match=r"inspection\.safetensors does not exist"):
        page([run])


@pytest.mark.parametrize(("ipc", "warned"), [(1, True), (10, True), (50, False)])
def test_few_images_per_class_come_with_a_warning_about_coverage(
    made: SimpleNamespace, tmp_path: Path, ipc: int, warned: bool
) -> None:
    folder = made.run(tmp_path / "few", ipc=ipc, digest="d")
    write_inspection(folder, 3, ipc)
    assert ("like the mean of many lies near all of them" in page([folder])) == warned


def test_an_audit_is_shown_with_intervals_and_pairs(run: Path) -> None:
    write_audit(run)
    html = page([run])
    read = Reader(html)
    text = " ".join(part for _, part in read.texts).replace("\u202f", " ")
    assert "Trust" in read.said("h2")
    for part in (
        "1 of 6 images are a training image",
        "54.0 % ( 53.0 – 55.0 % ) in pixels",
        "0.612",
        "0.602 – 0.622",
        "told aloud",
        "dog, image 2",
        "ship, training image 17; a pixel differs by 10 %",
        "it began as this image",
        "3.5",
        "37.5 %",
        "61.5 – 63.5 %",
        "20.0 %",
        "12.3 – 25.1 %",
        "8.0 %",
    ):
        assert part.replace(" ( ", " (").replace(" )", ")") in text.replace(" ( ", " (").replace(" )", ")"), part
    (picture,) = read.all("img")
    shown = np.asarray(Image.open(BytesIO(b64decode(str(picture["src"]).partition(",")[2]))).convert("L"))
    assert (shown[5, 5], shown[5, 15]) == (200, 40)
    assert picture["alt"] == "Left: dog, image 2. Right: ship, training image 17."
    assert HOSTILE in text
    assert "0.457" not in text, "scores as they were at the time of the audit"
    assert len(read.all("script")) == 1


def test_an_audit_of_other_images_or_damaged_is_not_shown(run: Path) -> None:
    write_audit(run, digest="other")
    assert "The audit in this folder is of other images" in page([run])
    write_audit(run)
    change(run, "audit.json", membership={})
    with pytest.raises(ArtifactError, match=r"no whole audit.*make it again"):
        page([run])


def test_other_networks_are_bars(made: SimpleNamespace, tmp_path: Path) -> None:
    classes = ("cat", "dog", "ship")
    told = {
        "a": made.evaluation("distilled", 0.6, classes, mean=0.6),
        "b": made.evaluation("distilled", 0.4, classes, mean=0.4, net="vit"),
        "c": made.evaluation("random", 0.3, classes, mean=0.3, net="vit"),
    }
    html = page([made.run(tmp_path / "two", evaluations=told)])
    read = Reader(html)
    assert "On other networks" in read.said("h2")
    labels = [str(tag.get("aria-label")).replace("\u202f", " ") for tag in read.all("svg")]
    assert "Accuracy by network: convnet3 60.0 %; vit 40.0 %" in labels
    assert any("random" in text and "30.0" in text for text in read.said("text"))
    one = page([made.run(tmp_path / "one", evaluations={"a": told["a"]})])
    assert "On other networks" not in Reader(one).said("h2")


def test_a_protocol_is_told_in_words() -> None:
    rule = {
        "epochs": 1000,
        "batch": 256,
        "lr": 0.01,
        "schedule": "step",
        "drop_after": None,
        "augment": "color_crop",
        "selects": False,
    }
    words = explained({"protocol": rule}).replace("\u202f", " ")
    assert "1 000 times, 256 at once" in words
    assert "a tenth of it after epoch 500" in words
    assert "augmented: color, crop." in words
    assert explained({"protocol": rule | {"selects": True}}) == ""
    assert explained({"protocol": {"name": "honest"}}) == ""


def test_heat_is_laid_where_the_map_is_high() -> None:
    dark = [torch.zeros(1, 3, 8, 8)] * 4
    heat = torch.zeros(1, 8, 8)
    heat[0, :, 4:] = 1
    sheet = overlay(dark, [heat, heat.flip(2), heat, 1 - heat])
    shown = np.asarray(Image.open(BytesIO(b64decode(sheet.partition(",")[2]))).convert("L")).astype(int)
    assert shown.shape == (86, 4 * 86)
    left, right = shown[:, 10:30].mean(), shown[:, 56:76].mean()
    assert right > left + 60
    assert shown[:, 96:116].mean() > shown[:, 142:162].mean() + 60


def test_points_are_where_they_belong() -> None:
    points = torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.5, 0.5]])
    svg = cloud(points, torch.tensor([4, 4, 7]), torch.tensor([0, 0, 1]), [4, 7], HOSTILE)
    assert '<g class="k0"><path class="dots" d="M16.0 544.0h0M744.0 16.0h0"/></g>' in svg
    stars = re.findall(r'class="stars" d="M([\d.]+) ([\d.]+)L', svg)
    assert [(float(x), float(y)) for x, y in stars] == [(380.0, 280.0 - 10.5)]
    assert "<script>" not in svg
