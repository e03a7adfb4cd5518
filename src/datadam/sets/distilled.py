"""DistilledSet: the finished artifact. Images, labels and where they came from, in files that execute nothing.

Letters: M images, C channels, H rows, W columns, K classes.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from datadam.data import Transform
from datadam.errors import ArtifactError
from datadam.files.whole import all_finite, read_tensors, write_json, write_tensors, write_text
from datadam.sets.card import digest, read_card


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
        from datadam.files.whole import replacing
        from datadam.sets.preview import preview
        from datadam.sets.readme import run_readme

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
