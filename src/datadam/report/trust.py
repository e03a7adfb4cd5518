"""What `datadam audit` left in a run folder, made ready to be shown: nearness, attacks, classes.

Letters: P closest pairs, C channels, H height, W width.
"""

from math import isfinite, prod, sqrt
from typing import Any

import torch

from datadam.errors import ArtifactError
from datadam.files.whole import read_json, read_tensors
from datadam.report.folder import Json, Run
from datadam.report.pictures import data_uri, sheet
from datadam.wording import count, percent

FORMAT = "datadam-audit/1"
PAIRS = 8  # of the closest that are shown
LONGER = 64  # pixels of a picture's longer side
SPACES = {"pixels": "pixels", "features": "features"}
GROUPS = {"distilled": "students of this set", "random": "students of random real images"}
ATTACKS = {"loss": "loss", "ratio": "likelihood ratio"}


def trust(run: Run) -> Json | None:
    """The audit in a run folder; None where there is none. One of other images says so and shows nothing.

    Raises ArtifactError for files that are damaged.
    """
    file = run.folder / "audit.json"
    if not file.exists():
        return None
    found = read_json(file)
    try:
        if found["format"] != FORMAT:
            raise ValueError(f"its format is {found['format']!r}")
        if found["run"]["digest"] != run.card.get("digest", found["run"]["digest"]):
            return {"stale": True}
        tensors, _ = read_tensors(run.folder / "audit.safetensors")
        return {"stale": False, **_view(run, found, tensors)}
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise ArtifactError(
            f"{file} is no whole audit ({type(error).__name__}: {error}); make it again: datadam audit RUN"
        ) from error


def _view(run: Run, found: Json, tensors: dict[str, torch.Tensor]) -> Json:
    near, told = found["memorisation"], found["settings"]
    return {
        "students": int(told["students"]),
        "references": int(told["references"]),
        "protocol": str(told["protocol"]),
        "features": str(told["features"]),
        "nearness": [_near(SPACES[space], kind, near[space]) for space in SPACES for kind in ("distance", "relative")],
        "copies": int(near["copies"]),
        "images": len(run.training_labels),
        "start": _start(near["start"]),
        "pairs": list(_pairs(run, near["closest"], tensors)),
        "attacks": _attacks(found["membership"]),
        "balance": [_balance(run, GROUPS[group], found["balance"][group]) for group in GROUPS],
        "notes": [str(note) for note in found["notes"]],
    }


def _near(space: str, kind: str, told: Json) -> Json:
    middle = told["quantiles"].index(0.5)
    medians = [
        _number(told[kind][group][middle]) if told[kind][group] else None for group in ("synthetic", "start", "train", "test")
    ]
    rates = told["nearer" if kind == "distance" else "relatively_nearer"]
    return {
        "space": space,
        "kind": "distance" if kind == "distance" else "distance beside the 50 nearest",
        "medians": ["–" if value is None else f"{value:.3g}" for value in medians],
        "nearer": [_rate(rates[limit]) for limit in ("1", "5")],
    }


def _start(told: Json | None) -> Json | None:
    if not told or not told["found"]:
        return None
    return {"found": int(told["found"]), "still": [(SPACES[name], _rate(told["still_nearest"][name])) for name in SPACES]}


def _pairs(run: Run, closest: list[Json], tensors: dict[str, torch.Tensor]) -> Any:
    ours, theirs = tensors["closest_synthetic"], tensors["closest_real"]
    if (
        tuple(ours.shape) != (len(closest), *run.shape)
        or ours.shape != theirs.shape
        or {ours.dtype, theirs.dtype} != {torch.uint8}
    ):
        raise ValueError("the closest pairs have other shapes")
    scale = min(1.0, LONGER / max(run.shape[1:]))
    size = max(1, round(run.shape[1] * scale)), max(1, round(run.shape[2] * scale))
    for row, pair in enumerate(closest[:PAIRS]):
        stored, part = divmod(pair["image"], run.each)
        number = 1 + run.labels[:stored].count(pair["label"])
        yield {
            "picture": data_uri(sheet(torch.stack([ours[row], theirs[row]]) / 255, 2, size)),
            "ours": f"{run.classes[pair['label']]}, image {number}" + (f", part {part + 1}" if run.each > 1 else ""),
            "real": f"{run.classes[pair['real_label']]}, training image {count(int(pair['real']))}",
            "distance": percent(_number(pair["distance"]) / sqrt(prod(run.shape)), 0),
            "relative": f"{_number(pair['relative']):.2f}",
            "start": pair["is_start"] is True,
        }


def _attacks(told: Json) -> list[Json]:
    own = {"start": "those the set began with", "chosen": "those the set consists of", None: "its own"}[told["own_kind"]]
    sides = {
        "distilled": {"training": "any training images", "own": own},
        "random": {"training": "training images it did not learn from (a control)", "own": "those it learned from"},
    }
    return [
        {
            "group": GROUPS[group],
            "members": words,
            "attack": ATTACKS[name],
            "auc": _rate(attack["auc"], 3),
            "tpr": _rate(attack["tpr"]),
        }
        for group in GROUPS
        for side, words in sides[group].items()
        if told[group][side]
        for name in ATTACKS
        if (attack := told[group][side][name])
    ]


def _balance(run: Run, group: str, told: Json) -> Json:
    recall = {k: told["classes"][k]["recall"] for k in (told["worst"], told["best"])}
    worst, best = ((run.classes[k], _rate(recall[k])) for k in (told["worst"], told["best"]))
    return {
        "group": group,
        "worst": worst,
        "best": best,
        **{key: _spread(told[key], told.get(f"{key}_interval")) for key in ("gap", "std")},
    }


def _spread(value: Any, ends: Json | None) -> Json:
    """A gap or deviation, with the interval that audits before it was made do not have."""
    if ends is None:
        return {"text": percent(_number(value)), "interval": "", "sort": f"{_number(value):.9g}"}
    return _rate({"value": value, **ends})


def _rate(told: Json, digits: int = -1) -> Json:
    """A share with its interval as text, in per cent or with digits."""
    value, low, high = (_number(told[name]) for name in ("value", "low", "high"))
    if digits < 0:
        return {"text": percent(value), "interval": f"{100 * low:.1f} – {percent(high)}", "sort": f"{value:.9g}"}
    return {"text": f"{value:.{digits}f}", "interval": f"{low:.{digits}f} – {high:.{digits}f}", "sort": f"{value:.9g}"}


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise ValueError(f"{str(value)[:40]!r} is no number")
    return float(value)
