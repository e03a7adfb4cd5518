"""What `datadam.inspection` left in a run folder, checked and made ready to be shown: attention maps and the map of features.

Letters: Q images asked about, D drawn classes, L blocks, C channels, H height, W width.
"""

from dataclasses import dataclass
from itertools import chain
from math import isfinite
from typing import Any

import torch
from torch import Tensor

from datadam.errors import ArtifactError
from datadam.files.whole import read_json, read_tensors
from datadam.report.cloud import cloud
from datadam.report.folder import Json, Run
from datadam.report.heat import columns_of, overlay
from datadam.sets.kind import counts_of, per_class
from datadam.wording import count, percent, plural

FORMAT = "datadam-inspection/1"
FEW = 10  # images per class, up to which one that is like a mean carries coverage and density
GONE = "what is kept in the run folder was made of other images"
MEASURES = {
    "bias": ("Bias", "distance of the class means, in units of the real spread; 0 is none"),
    "spread": ("Spread", "distance from the own class mean, in units of the real one; 1 is as wide as real images"),
    "coverage": ("Coverage", "share of real images with a synthetic one as near as their 5th real neighbour"),
    "density": ("Density", "how deep among real images the synthetic ones lie; real images as a whole: about 1"),
}


@dataclass(frozen=True)
class Inspected:
    """inspection.json, sound as far as it is shown, and the tensors of inspection.safetensors."""

    found: Json
    tensors: dict[str, Tensor]

    @property
    def neighbours(self) -> Json:
        """For Q images the nearest real one: lists "image", "real", "label", "distance"; "searched"."""
        return dict(self.found["neighbours"])


def load(run: Run) -> Inspected | None:
    """The inspection in a run folder; None where there is none, or one of other images.

    Raises ArtifactError for files that are damaged or do not fit the run.
    """
    file = run.folder / "inspection.json"
    if not file.exists():
        return None
    found = read_json(file)
    tensors, _ = read_tensors(run.folder / "inspection.safetensors")
    try:
        if found["format"] != FORMAT:
            raise ValueError(f"its format is {found['format']!r}")
        if found["run"]["digest"] != run.card.get("digest", found["run"]["digest"]):
            return None
        _check(run, found, tensors)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise ArtifactError(f"{file} is no whole inspection ({error}); remove it: the report makes it anew") from error
    return Inspected(found, tensors)


def _require(ok: bool, what: str) -> None:
    if not ok:
        raise ValueError(what)


def _check(run: Run, found: Json, tensors: dict[str, Tensor]) -> None:
    near, classes = found["neighbours"], len(run.classes)
    asked = len(near["image"])
    _require(all(len(near[name]) == asked for name in ("real", "label", "distance")), "lists of unequal length")
    _require(
        all(type(n) is int and 0 <= n < len(run.training_labels) for n in near["image"]), "an image that the set does not have"
    )
    _require(all(type(n) is int and 0 <= n < classes for n in chain(near["label"], found["drawn"])), "an unknown class")
    _require(all(type(n) is int and n >= 0 for n in [*near["real"], near["searched"]]), "a number of a real image")
    _require(all(_is_number(d) and d >= 0 for d in near["distance"]), "a distance")
    _require(_like(tensors["nearest"], torch.uint8, (asked, *run.shape)), "the nearest images have another shape")
    points, labels, kinds = tensors["points"], tensors["point_labels"], tensors["point_kinds"]
    _require(_like(points, torch.float32, (len(labels), 2)) and bool(points.isfinite().all()), "the places of points")
    _require(labels.shape == kinds.shape and bool(((labels >= 0) & (labels < classes)).all()), "the labels of points")
    drawn, attention = len(found["drawn"]), found["attention"]
    for block in attention["blocks"] if attention else ():
        height, width = block["side"]
        for name in ("real", "synthetic", "first_real", "first_synthetic"):
            maps = tensors[f"{name}_{block['block']}"]
            _require(_like(maps, torch.float32, (drawn, height, width)) and bool(maps.isfinite().all()), "an attention map")
    if attention:
        for name in ("first_real", "mean_real"):
            _require(_like(tensors[name], torch.uint8, (drawn, *run.shape)), "the real images of the maps")


def _like(tensor: Tensor, dtype: torch.dtype, shape: tuple[int, ...]) -> bool:
    return tensor.dtype == dtype and tuple(tensor.shape) == shape


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def attention(run: Run, inspected: Inspected) -> Json | None:
    """Sheets of maps, one for each block and one of the images alone, and how alike and how stable the maps are."""
    told = inspected.found["attention"]
    if told is None:
        return None
    drawn = inspected.found["drawn"]
    labels = run.training_labels
    first = [labels.index(k) for k in drawn]
    members = [[number for number, label in enumerate(labels) if label == k] for k in drawn]
    ours = run.training_pixels(first)
    means = torch.stack([run.training_pixels(numbers).mean(0) for numbers in members])
    images = [inspected.tensors["mean_real"] / 255, means, inspected.tensors["first_real"] / 255, ours]
    names = ("real", "synthetic", "first_real", "first_synthetic")
    sheets = [("Images alone", overlay(images, None))]
    for block in told["blocks"]:
        number = block["block"]
        maps = [inspected.tensors[f"{name}_{number}"] for name in names]
        sheets.append((f"Block {number}", overlay(images, maps)))
    height, width = columns_of(images)
    return {
        "height": height,
        "width": width,
        "sheets": sheets,
        "classes": [run.classes[k] for k in drawn],
        "left_out": len(run.classes) - len(drawn),
        "of": plural(len(inspected.found["classes"]), "class", "classes"),
        "power": f"{told['power']:g}",
        "networks": inspected.found["settings"]["networks"],
        "net": inspected.found["run"]["net"],
        "images": told["images"],
        "rows": [
            {"block": block["block"], "map": " × ".join(map(str, reversed(block["side"])))}
            | {name: interval(block[name], 2) for name in ("alike", "alike_random", "stable_real", "stable", "stable_random")}
            for block in told["blocks"]
        ],
    }


def features(run: Run, inspected: Inspected) -> Json:
    """The map of features with what it shows in numbers."""
    told, tensors = inspected.found["scatter"], inspected.tensors
    drawn = inspected.found["drawn"]
    kinds = tensors["point_kinds"]
    return {
        "svg": cloud(tensors["points"], tensors["point_labels"], kinds, drawn, "Real images as dots, synthetic ones as stars"),
        "classes": [run.classes[k] for k in drawn],
        "left_out": len(run.classes) - len(drawn),
        "looked": plural(len(inspected.found["classes"]), "class", "classes"),
        "network": told["network"],
        "random": inspected.found["settings"]["features"] == "random",
        "points": count(int((kinds == 0).sum())),
        "real": count(told["real"]),
        "draws": told["draws"],
        "ipc": per_class(run.card, run.each),
        "few": run.each * max(counts_of(run.card)) <= FEW,
        "rows": [
            {"name": name, "words": words, "synthetic": interval(told["measures"][key]["synthetic"], 2, key == "coverage"),
             "random": interval(told["measures"][key]["random"], 2, key == "coverage")}
            for key, (name, words) in MEASURES.items()
        ],
    }  # fmt: skip


def interval(told: Json | None, digits: int, share: bool = False) -> Json:
    """A number with its interval as text, and as what it is sorted by."""
    if told is None:
        return {"text": "–", "interval": "", "sort": ""}

    def text(value: float) -> str:
        return percent(value) if share else f"{value:.{digits}f}"

    low, high = told["low"], told["high"]
    return {
        "text": text(told["value"]),
        "interval": "" if low is None else f"{text(low)} – {text(high)}",
        "sort": f"{told['value']:.9g}",
    }


def missing(run: Run, reason: str) -> str:
    """Why nothing of the real images is shown, in one sentence."""
    kept = (run.folder / "inspection.json").exists()
    return reason or (GONE if kept else "the report was made without the real images")
