"""`kip`: an .npz of images [M, H, W, C] and labels [M, K], one-hot minus 1 / K, as KIP (Nguyen et al.) was released."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch.nn.functional as F

from datadam.errors import ArtifactError
from datadam.exchange import arrays_file
from datadam.exchange.base import Found, Outgoing, Wanted
from datadam.exchange.limits import bytes_of
from datadam.exchange.sidecar import NAME as SIDECAR
from datadam.exchange.spelling import of_data, of_net

WHITENED = re.compile(r"(?<!no)(?<!no_)zca", re.IGNORECASE)


def write(folder: Path, sets: Sequence[Outgoing]) -> None:
    """kip_DATASET_NET_ssizeM_nozca_nol_noaug.npz; "nol": the labels were not learned."""
    (one,) = sets
    k = len(one.classes)
    labels = F.one_hot(one.labels, k).numpy().astype(np.float32) - np.float32(1 / k)
    zca = "zca" if one.space is not None and one.space.zca is not None else "nozca"
    name = f"kip_{of_data(one.data).lower()}_{of_net(one.net)}_ssize{len(one.images)}_{zca}_nol_noaug.npz"
    arrays_file.save(folder / name, {"images": one.images.permute(0, 2, 3, 1).contiguous().numpy(), "labels": labels})


def files(path: Path) -> list[Path]:
    """The file itself, or the one .npz of a folder."""
    if not path.is_dir():
        return [path]
    found = sorted(path.glob("*.npz"))
    if len(found) != 1:
        raise ArtifactError(f"{path} has {len(found)} files *.npz; give the file itself")
    return found


def read(path: Path, wanted: Wanted) -> list[Found]:
    """Raises `ArtifactError`, also for sets in the whitening of KIP, which no mean, deviation and matrix can express."""
    (place,) = files(path)
    if WHITENED.search(place.name) and not (place.parent / SIDECAR).exists():
        raise ArtifactError(
            f"{place.name} was made with the whitening of KIP, which first gives every image mean 0 and length 1: its brightness "
            "and contrast are gone, and students here would be tested on other images than it was made for. Judge it with "
            "DC-Bench; if it is not whitened after all, take zca out of its name"
        )
    found = arrays_file.load(place, {"images": "fu", "labels": "fiu"}, bytes_of(wanted))
    if set(found) != {"images", "labels"}:
        raise ArtifactError(f"{place} lacks the arrays images and labels; it is no file of KIP")
    return [Found(images=found["images"], labels=found["labels"], last=True, method="KIP")]
