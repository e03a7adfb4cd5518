"""DistilledSet: the finished artifact. Images, labels and where they came from, in files that execute nothing.

Letters: M images, C channels, H rows, W columns, K classes.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from datadam.data import RealData, Transform
from datadam.errors import ArtifactError
from datadam.storage import all_finite, read_json, read_tensors, write_json, write_tensors, write_text

FORMAT = "datadam/1"


@dataclass(frozen=True)
class DistilledSet:
    """Synthetic (or chosen real, or imported) images with hard labels.

    Arguments: `images` [M, C, H, W], float32 in network space, class after class; `labels` [M], int64 class numbers;
    `transform`, between network space and pixels; `card`, everything about its making, as kept in card.json.
    """

    images: Tensor
    labels: Tensor
    transform: Transform
    card: dict[str, Any]

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names."""
        return tuple(self.card["data"]["classes"])

    @property
    def ipc(self) -> int:
        """Images per class."""
        return int(self.card["recipe"]["ipc"])

    def pixels(self) -> Tensor:
        """The images in true colours: [M, C, H, W] in [0, 1]."""
        return self.transform.to_pixels(self.images)

    def dataset(self) -> TensorDataset:
        """A torch `Dataset` of (image in network space, class number)."""
        return TensorDataset(self.images, self.labels)

    def save(self, folder: Path | str) -> None:
        """Write distilled.safetensors, zca.safetensors (when used), preview.png, README.md and, last, card.json."""
        from datadam.report.pictures import preview
        from datadam.report.readme import run_readme
        from datadam.storage import replacing

        folder = Path(folder)
        write_tensors(folder / "distilled.safetensors", {"images": self.images.float(), "labels": self.labels})
        if self.transform.zca is not None:
            write_tensors(folder / "zca.safetensors", self.transform.zca.tensors())
        with replacing(folder / "preview.png") as partial:
            preview(self.pixels(), self.classes, self.ipc).save(partial, format="PNG")
        write_text(folder / "README.md", run_readme(self.card))
        write_json(folder / "card.json", self.card)

    @classmethod
    def load(cls, folder: Path | str) -> "DistilledSet":
        """Read a run folder. Raises `ArtifactError` when a file is missing, truncated, forged or of another format."""
        folder = Path(folder)
        card = read_card(folder)
        tensors, _ = read_tensors(folder / "distilled.safetensors")
        images, labels = tensors.get("images"), tensors.get("labels")
        shape, classes = tuple(card["data"]["shape"]), len(card["data"]["classes"])
        faults = []
        if images is None or images.dtype != torch.float32 or images.ndim != 4 or tuple(images.shape[1:]) != shape:
            came = "none" if images is None else f"{images.dtype} {tuple(images.shape)}"
            faults.append(f"images are {came}; the card says float32 [M, {', '.join(map(str, shape))}]")
        elif not all_finite(images):
            faults.append("images hold NaN or infinite numbers")
        if labels is None or labels.dtype != torch.int64 or (images is not None and tuple(labels.shape) != images.shape[:1]):
            faults.append("labels are not one int64 an image")
        elif len(labels) == 0 or int(labels.min()) < 0 or int(labels.max()) >= classes:
            faults.append(f"labels do not lie in 0..{classes - 1}")
        elif len(labels) != classes * card["recipe"]["ipc"]:
            faults.append(f"{len(labels)} images; the card says {card['recipe']['ipc']} for each of {classes} classes")
        if faults or images is None or labels is None:
            raise ArtifactError(*(f"{folder / 'distilled.safetensors'}: {fault}" for fault in faults))
        if card.get("digest") not in (None, digest(images, labels)):
            raise ArtifactError(
                f"{folder / 'distilled.safetensors'}: these are not the images that the card was written for; the file "
                "is damaged or was changed: make the run again"
            )
        zca = read_tensors(folder / "zca.safetensors")[0] if card["transform"]["zca"] else None
        try:
            transform = Transform.from_card(card["transform"], zca)
        except ArtifactError as error:
            raise ArtifactError(f"{folder / 'card.json'}: {error}") from error
        if len(transform.mean) != shape[0]:
            raise ArtifactError(f"{folder / 'card.json'}: a transform of {len(transform.mean)} channels for images of {shape[0]}")
        return cls(images, labels, transform, card)


def data_card(real: RealData) -> dict[str, Any]:
    """What a card says of the data that a set was made from."""
    return {
        "name": real.name,
        "source": real.source,
        "options": real.options,
        "checksum": real.checksum,
        "classes": list(real.classes),
        "shape": list(real.shape),
        "train": len(real.train),
        "test": len(real.test),
        "notes": list(real.notes),
    }


def digest(images: Tensor, labels: Tensor) -> str:
    """ "sha256:<hex>" of images and labels: what the card remembers of them."""
    found = hashlib.sha256(images.contiguous().numpy().data)
    found.update(labels.contiguous().numpy().data)
    return f"sha256:{found.hexdigest()}"


OTHER_FOLDERS = {
    "table.json": "a comparison: read its table.md, or name a run in its folder runs",
    "index.json": "a pool of trained networks: distil through it with --set networks=POOL@20-40",
}


def read_card(folder: Path) -> dict[str, Any]:
    """The card of a run folder, its structure checked. Raises `ArtifactError`."""
    path = folder / "card.json"
    if not folder.is_dir():
        raise ArtifactError(f"{folder} is no run folder: it does not exist")
    if not path.exists() and (folder / "checkpoint").is_dir():
        raise ArtifactError(f"{folder} is an unfinished run; finish it with: datadam distill --resume {folder}")
    for name, what in OTHER_FOLDERS.items():
        if not path.exists() and (folder / name).exists():
            raise ArtifactError(f"{folder} is {what}")
    card = read_json(path)
    if not isinstance(card, dict) or card.get("format") != FORMAT:
        came = card.get("format") if isinstance(card, dict) else type(card).__name__
        raise ArtifactError(f"{path} has format {came!r}; this version reads {FORMAT!r}")
    data, recipe, transform = (card.get(part) for part in ("data", "recipe", "transform"))
    sound = (
        isinstance(data, dict)
        and isinstance(recipe, dict)
        and isinstance(transform, dict)
        and _texts(data.get("classes"))
        and _sizes(data.get("shape"), 3)
        and isinstance(data.get("source"), str)
        and isinstance(data.get("options"), dict)
        and isinstance(data.get("checksum"), str)
        and type(recipe.get("ipc")) is int
        and isinstance(recipe.get("net"), str)
        and {"mean", "std", "zca"} <= set(transform)
        and card.get("kind") in ("distilled", "coreset", "imported")
    )
    if sound and card["kind"] == "coreset":  # its method names the files of evaluations
        method = card["recipe"].get("method")
        sound = re.fullmatch(r"\w[\w.+-]{0,79}", str(method.get("name") if isinstance(method, dict) else method)) is not None
    if not sound:
        raise ArtifactError(
            f"{path} lacks parts that every card has (data, recipe, transform, kind); it was changed or is from another program"
        )
    return card


def _texts(value: object) -> bool:
    return isinstance(value, list) and len(value) > 0 and all(isinstance(text, str) for text in value)


def _sizes(value: object, count: int) -> bool:
    return isinstance(value, list) and len(value) == count and all(type(n) is int and n > 0 for n in value)
