"""`ddranking` and `mtt`: a tensor of images, one of labels, and a rate, each in a file of its own; `eccv24`: the images alone."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from datadam.errors import ArtifactError
from datadam.exchange import torch_file
from datadam.exchange.base import Found, Outgoing, Wanted
from datadam.exchange.limits import bytes_of

ECCV = {"cifar100": "cifar100.pt", "tiny-imagenet": "tinyimagenet.pt"}
ECCV_IPC = 10  # the rules of the challenge


def writer(ending: str) -> Callable[[Path, Sequence[Outgoing]], None]:
    """Writes images, labels (int64; of soft ones logits for a softmax at temperature 1) and lr (a scalar, the rate of students),
    with this ending: "_best" for MTT."""

    def write(folder: Path, sets: Sequence[Outgoing]) -> None:
        (one,) = sets
        labels = one.labels if one.logits is None else one.logits / one.temperature
        for name, value in (("images", one.images), ("labels", labels), ("lr", torch.tensor(one.lr))):
            torch_file.save(folder / f"{name}{ending}.pt", value.clone())

    return write


def files(path: Path) -> list[Path]:
    """The file of images, and that of labels where there is one."""
    images = _images(path)
    labels = images.with_name(images.name.replace("images", "labels"))
    return [images, labels] if labels != images and labels.is_file() else [images]


def read(path: Path, wanted: Wanted) -> list[Found]:
    """With the rate in the file beside them, where there is one. Raises `ArtifactError` when images or labels are missing or hold
    something else."""
    images, *labels = files(path)
    if not labels:
        name = images.name.replace("images", "labels")
        raise ArtifactError(
            f"{images} has no labels beside it ({name if name != images.name else 'images*.pt and labels*.pt'} is expected); if "
            "the images stand class after class, import it --as eccv24"
        )
    rate = images.with_name(images.name.replace("images", "lr"))
    learned = _tensor(rate, wanted) if rate != images and rate.is_file() else None
    return [Found(images=_tensor(images, wanted), labels=_tensor(labels[0], wanted), rate=learned)]


def _images(path: Path) -> Path:
    if not path.is_dir():
        return path
    found = sorted(path.glob("*images*.pt"))
    if len(found) != 1:
        names = ", ".join(file.name for file in found) or "no *images*.pt"
        raise ArtifactError(f"{path} has {names}; give the file of images itself")
    return found[0]


def _tensor(path: Path, wanted: Wanted) -> Any:
    return torch_file.load(path, bytes_of(wanted))


def write_eccv(folder: Path, sets: Sequence[Outgoing]) -> None:
    """A bare tensor, class after class, under the name that the challenge asks for."""
    (one,) = sets
    torch_file.save(folder / ECCV.get(one.data, "images.pt"), one.images.clone())


def files_eccv(path: Path) -> list[Path]:
    """The file itself, or the one .pt of a folder."""
    if not path.is_dir():
        return [path]
    found = sorted(path.glob("*.pt"))
    if len(found) != 1:
        raise ArtifactError(f"{path} has {len(found)} files *.pt; give the file itself")
    return found


def read_eccv(path: Path, wanted: Wanted) -> list[Found]:
    """Images without labels. Raises `ArtifactError`."""
    (place,) = files_eccv(path)
    return [Found(images=_tensor(place, wanted), labels=None)]
