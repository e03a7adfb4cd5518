"""DistilledSet: the finished artifact. Images, labels and where they came from, in files that execute nothing.

Letters: M stored images, N training images that they decode to, C channels, H rows, W columns, K classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import TensorDataset

from datadam.data import RealData, Transform
from datadam.data.shown import html
from datadam.errors import ArtifactError, InvalidInput
from datadam.files.whole import all_finite, read_tensors, replacing, write_json, write_tensors, write_text
from datadam.sets.card import HARD, SOFT, digest, read_card
from datadam.sets.decoders import PLAIN, Decoder, Shown, decoded, decoder_named
from datadam.sets.kind import Kind, counts_of, per_class, told
from datadam.sets.preview import preview
from datadam.sets.readme import run_readme
from datadam.wording import method_name, plural

SHOWN = 10  # classes, and images of each, that a notebook shows


@dataclass(frozen=True)
class DistilledSet:
    """Synthetic (or chosen real, or imported) images with labels.

    Arguments: `images` [M, C, H, W], float32 in network space, class after class, as they are stored; `labels`, int64 class
    numbers [M], or float32 logits [M, K] whose softmax is what students learn; `transform`, between network space and pixels;
    `card`, everything about its making, as kept in card.json; `rate` [], float32, the learned rate of students (None: not
    learned).
    """

    images: Tensor
    labels: Tensor
    transform: Transform
    card: dict[str, Any]
    rate: Tensor | None = None

    def __repr__(self) -> str:
        data, made = self.card["data"], method_name(self.card)
        size, kind = "x".join(map(str, data["shape"])), f"{self.card['kind']} by {made}"
        each = f"{per_class(self.card)} for each of {plural(len(data['classes']), 'class', 'classes')}"
        return f"<DistilledSet of {data['name']!r}: {each}, {size}, {kind}; {told(self.card)}>"

    def _repr_html_(self) -> str:
        """For notebooks: the first images of the first classes."""
        picture = self.preview(max_classes=SHOWN, max_images=SHOWN)
        return html(picture, repr(self))

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names."""
        return tuple(self.card["data"]["classes"])

    @property
    def ipc(self) -> int:
        """Stored images per class; of classes of unequal count the most of any."""
        return int(self.card["recipe"]["ipc"])

    @cached_property
    def counts(self) -> tuple[int, ...]:
        """Stored images of each class."""
        return counts_of(self.card)

    @property
    def soft(self) -> bool:
        """Whether the labels are logits."""
        return self.labels.ndim == 2

    @property
    def label_kind(self) -> str:
        """ "hard" or "soft": sets of different kinds are never ranked against each other."""
        return "soft" if self.soft else "hard"

    @property
    def kind(self) -> Kind:
        """Label kind and decoder together."""
        return Kind(self.decoder.word, self.label_kind)

    @property
    def temperature(self) -> float:
        """Of the softmax of soft labels: students learn softmax(logits / temperature)."""
        return float(self.card.get("temperature", 1.0))

    @cached_property
    def decoder(self) -> Decoder:
        """From stored to training images."""
        return decoder_named(self.card.get("decoder", PLAIN.word))

    @property
    def stored_bytes(self) -> int:
        """Bytes of stored images, labels and rate in their file: the budget that `ipc` stands for."""
        return sum(tensor.nbytes for tensor in (self.images, self.labels, self.rate) if tensor is not None)

    @cached_property
    def numbers(self) -> Tensor:
        """The class number [M] of each stored image, whatever the labels are."""
        return torch.arange(len(self.counts)).repeat_interleave(torch.tensor(self.counts)) if self.soft else self.labels

    @cached_property
    def training_images(self) -> Tensor:
        """The images [N, C, H, W] that students learn from, in network space; those of one stored image side by side."""
        return decoded(self.decoder, self.images)

    @property
    def training_labels(self) -> Tensor:
        """Their class numbers [N], or their logits [N, K]."""
        return self.labels.repeat_interleave(self.decoder.each, 0)

    @property
    def training_numbers(self) -> Tensor:
        """Their class numbers [N], whatever the labels are."""
        return self.numbers.repeat_interleave(self.decoder.each)

    def pixels(self) -> Tensor:
        """The training images in true colours: [N, C, H, W] in [0, 1]."""
        return self.transform.to_pixels(self.training_images)

    def stored_pixels(self) -> Tensor:
        """The stored images in true colours: [M, C, H, W] in [0, 1]; of frequencies they are no pictures."""
        return self.transform.to_pixels(self.images)

    def preview(self, **most: int) -> Image.Image:
        """The picture of the stored images, or of the training images where stored ones are no pictures (see `preview`)."""
        if self.decoder.pictures:
            return preview(self.stored_pixels(), self.classes, self.counts, **most)
        shown = Shown(self.decoder, lambda rows: self.images[rows], len(self.images), self.transform.to_pixels)
        return preview(shown, self.classes, [count * self.decoder.each for count in self.counts], **most)

    def as_plain(self) -> "DistilledSet":
        """The set whose stored images are this one's training images; the same where each stored image is one already."""
        each = self.decoder.each
        if each == 1:
            return self
        images, labels = self.training_images, self.training_labels
        recipe = self.card["recipe"] | {"ipc": self.ipc * each, "decoder": PLAIN.word}
        counts = {"counts": [n * each for n in self.counts]} if "counts" in self.card else {}
        plain = {"decoder": PLAIN.word, "digest": digest(images, labels, self.rate)}
        return DistilledSet(images, labels, self.transform, self.card | plain | counts | {"recipe": recipe}, self.rate)

    @property
    def nested(self) -> bool:
        """Whether it was made so that the first images of each class are a good set by themselves."""
        ladder = self.card["recipe"].get("nested", ())
        return ladder is None or len(ladder) > 0

    def prefix(self, count: int) -> "DistilledSet":
        """The first `count` stored images of each class (of a class with fewer, all): good by themselves in a `nested` set.

        Raises `InvalidInput` where no class has so many.
        """
        if not 1 <= count <= self.ipc:
            raise InvalidInput(
                f"ipc is {count}, and the set has {plural(self.ipc, 'image')} of each class; ask for 1 to {self.ipc}"
            )
        if count == self.ipc:
            return self
        rows = torch.cat([torch.nonzero(self.numbers == k).flatten()[:count] for k in range(len(self.classes))])
        images, labels = self.images[rows], self.labels[rows]
        counts = {"counts": [min(count, many) for many in self.counts]} if "counts" in self.card else {}
        recipe = self.card["recipe"] | {"ipc": count}
        if ladder := recipe.get("nested"):
            recipe["nested"] = [*(step for step in ladder if step < count), count]
        about = {"prefix": {"of": self.ipc, "digest": self.card.get("digest")}, "digest": digest(images, labels, self.rate)}
        return DistilledSet(images, labels, self.transform, self.card | counts | about | {"recipe": recipe}, self.rate)

    @staticmethod
    def merge(
        sets: "Sequence[DistilledSet]", real: RealData | None = None, *, note: str = "", command: str = ""
    ) -> "DistilledSet":
        """Several sets as one, of other classes or with more images of the same; see `datadam.sets.merging.merge`."""
        from datadam.sets.merging import merge

        return merge(sets, real, note=note, command=command)

    def dataset(self) -> TensorDataset:
        """A torch `Dataset` of (training image in network space, class number or logits)."""
        return TensorDataset(self.training_images, self.training_labels)

    def save(self, folder: Path | str) -> None:
        """Write distilled.safetensors, zca.safetensors (when used), preview.png, README.md and, last, card.json."""
        folder = Path(folder)
        tensors = {"images": self.images.float(), "labels": self.labels}
        write_tensors(folder / "distilled.safetensors", tensors | ({} if self.rate is None else {"rate": self.rate}))
        if self.transform.zca is not None:
            write_tensors(folder / "zca.safetensors", self.transform.zca.tensors())
        with replacing(folder / "preview.png") as partial:
            self.preview().save(partial, format="PNG")
        write_text(folder / "README.md", run_readme(self.card))
        write_json(folder / "card.json", self.card)

    @classmethod
    def load(cls, folder: Path | str) -> "DistilledSet":
        """Read a run folder. Raises `ArtifactError` when a file is missing, truncated, forged or of another format."""
        folder = Path(folder)
        card = read_card(folder)
        path = folder / "distilled.safetensors"
        tensors, _ = read_tensors(path)
        images, labels, rate = tensors.get("images"), tensors.get("labels"), tensors.get("rate")
        if faults := _faults(card, images, labels, rate):
            raise ArtifactError(*(f"{path}: {fault}" for fault in faults))
        assert images is not None
        assert labels is not None
        if card.get("digest") not in (None, digest(images, labels, rate)):
            raise ArtifactError(
                f"{path}: these are not the images that the card was written for; the file is damaged or was changed: make the "
                "run again"
            )
        zca = read_tensors(folder / "zca.safetensors")[0] if card["transform"]["zca"] else None
        try:
            transform = Transform.from_card(card["transform"], zca)
        except ArtifactError as error:
            raise ArtifactError(f"{folder / 'card.json'}: {error}") from error
        channels = card["data"]["shape"][0]
        if len(transform.mean) != channels:
            raise ArtifactError(f"{folder / 'card.json'}: a transform of {len(transform.mean)} channels for images of {channels}")
        return cls(images, labels, transform, card, rate)


def _faults(card: dict[str, Any], images: Tensor | None, labels: Tensor | None, rate: Tensor | None) -> list[str]:
    """What of the tensors is not as the card says."""
    shape, classes = tuple(card["data"]["shape"]), len(card["data"]["classes"])
    counts = counts_of(card)
    faults = []
    if images is None or images.dtype != torch.float32 or images.ndim != 4 or tuple(images.shape[1:]) != shape:
        came = "none" if images is None else f"{images.dtype} {tuple(images.shape)}"
        faults.append(f"images are {came}; the card says float32 [M, {', '.join(map(str, shape))}]")
    elif not all_finite(images):
        faults.append("images hold NaN or infinite numbers")
    many = None if images is None or images.ndim != 4 else len(images)
    if card.get("labels", HARD) == SOFT:
        if labels is None or labels.dtype != torch.float32 or labels.ndim != 2 or labels.shape[1] != classes:
            came = "none" if labels is None else f"{labels.dtype} {tuple(labels.shape)}"
            faults.append(f"labels are {came}; the card says soft labels, float32 [M, {classes}]")
        elif not all_finite(labels):
            faults.append("soft labels hold NaN or infinite numbers")
        elif many is not None and len(labels) != many:
            faults.append(f"{len(labels)} soft labels for {many} images")
        elif len(labels) != sum(counts):
            faults.append(f"{len(labels)} images; the card says {sum(counts)}")
    elif labels is None or labels.dtype != torch.int64 or labels.ndim != 1 or (many is not None and len(labels) != many):
        faults.append("labels are not one int64 an image")
    elif len(labels) == 0 or int(labels.min()) < 0 or int(labels.max()) >= classes:
        faults.append(f"labels do not lie in 0..{classes - 1}")
    elif len(labels) != sum(counts):
        each = f"{counts[0]} for each of {classes} classes" if len(set(counts)) == 1 else f"{sum(counts)}"
        faults.append(f"{len(labels)} images; the card says {each}")
    elif torch.bincount(labels, minlength=classes).tolist() != list(counts):
        faults.append("the classes have other numbers of images than the card says")
    told = card.get("rate")
    if rate is None:
        faults += [] if told is None else [f"it holds no rate of students; the card says {told:g}"]
    elif rate.dtype != torch.float32 or rate.ndim != 0 or not float(rate) > 0 or not all_finite(rate):
        faults.append("the rate of students is no number above 0")
    elif float(rate) != told:
        faults.append(f"the rate of students is {float(rate):g}; the card says {'none' if told is None else told}")
    return faults
