"""`npz`: everything in one archive that numpy alone reads, in the set's own space."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from datadam.data import Transform
from datadam.data.whitening import LARGEST_D
from datadam.errors import ArtifactError
from datadam.exchange import arrays_file
from datadam.exchange.base import Found, Outgoing, Wanted
from datadam.exchange.limits import WIDEST, bytes_of

NAME = "distilled.npz"
NAMES = ("classes", "class_names", "label_names")  # arrays that say what number k is called
ARRAYS = {
    **dict.fromkeys(NAMES, "U"), "images": "fu", "labels": "fiu",
    "logits": "f", "temperature": "f", "rate": "f", "mean": "f", "std": "f",
    "zca_mean": "f", "zca_matrix": "f", "zca_inverse": "f", "zca_variant": "U", "zca_eps": "f",
}  # fmt: skip


def write(folder: Path, sets: Sequence[Outgoing]) -> None:
    """images [M, C, H, W], labels [M], classes [K]; of soft labels logits [M, K] and temperature; where it is learned the rate
    of students; mean and std, and with whitening zca_mean, zca_matrix, zca_inverse."""
    (one,) = sets
    arrays = {"images": one.images.numpy(), "labels": one.labels.numpy(), "classes": np.array(one.classes)}
    if one.logits is not None:
        arrays |= {"logits": one.logits.numpy(), "temperature": np.array(one.temperature)}
    if one.learned:
        arrays |= {"rate": np.array(one.lr, np.float32)}
    if one.space is not None:
        arrays |= {"mean": np.array(one.space.mean), "std": np.array(one.space.std)}
        if (zca := one.space.zca) is not None:
            arrays |= {f"zca_{name}": tensor.numpy() for name, tensor in zca.tensors().items()}
            arrays |= {"zca_variant": np.array(zca.variant), "zca_eps": np.array(zca.eps)}
    arrays_file.save(folder / NAME, arrays)


def files(path: Path) -> list[Path]:
    """The file itself, or `distilled.npz` in a folder."""
    return [path / NAME if path.is_dir() else path]


def read(path: Path, wanted: Wanted) -> list[Found]:
    """Raises `ArtifactError`, also for a whitening that does not fit the images."""
    (place,) = files(path)
    c, h, w = wanted.shape
    d = c * h * w if c * h * w <= LARGEST_D else 0
    found = arrays_file.load(place, ARRAYS, bytes_of(wanted) + 2 * WIDEST * d**2)
    if not {"images", "labels"} <= set(found):
        raise ArtifactError(
            f"{place} lacks the arrays images and labels; it has {', '.join(found) or 'none that are known here'}"
        )
    called = next((found[key] for key in NAMES if key in found), None)
    names = None if called is None else tuple(str(name) for name in called.reshape(-1))
    transform = None
    if {"mean", "std"} <= set(found):
        card: dict[str, Any] = {"mean": found["mean"].reshape(-1).tolist(), "std": found["std"].reshape(-1).tolist(), "zca": None}
        tensors = {name.removeprefix("zca_"): torch.from_numpy(found[name].astype(np.float32))
                   for name in ("zca_mean", "zca_matrix", "zca_inverse") if name in found}  # fmt: skip
        if tensors:
            if not {"zca_variant", "zca_eps"} <= set(found) or found["zca_eps"].size != 1:
                raise ArtifactError(f"{place} holds a whitening without its variant and eps; it is damaged")
            card["zca"] = {"variant": str(found["zca_variant"]), "eps": float(found["zca_eps"].reshape(()))}
        transform = Transform.from_card(card, tensors or None)
    last = found["images"].ndim == 4 and found["images"].shape[1:] == (h, w, c) != (c, h, w)
    return [
        Found(
            images=found["images"], labels=found["labels"], names=names, logits=found.get("logits"),
            temperature=found.get("temperature"),
            rate=found.get("rate"), last=last, transform=transform,
        )
    ]  # fmt: skip
