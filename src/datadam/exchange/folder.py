"""`folder`: PNG images in one folder a class, as RDED, SRe2L and nearly every program reads them."""

from collections.abc import Sequence
from pathlib import Path

import torch

from datadam.data.class_names import some
from datadam.errors import ArtifactError
from datadam.exchange.base import Found, Outgoing, Wanted
from datadam.exchange.pictures import check_channels, decode, encode
from datadam.exchange.sidecar import NAME as SIDECAR
from datadam.exchange.spelling import folder_names

ENDINGS = (".png", ".jpg", ".jpeg")
DIGITS = 5  # of files, as RDED and DD-Ranking write them


def write(folder: Path, sets: Sequence[Outgoing]) -> None:
    """CLASS/00000.png, ...: each folder is called like its class."""
    (one,) = sets
    check_channels(one.images.shape[1], "a folder")
    for k, name in enumerate(folder_names(one.classes)):
        place = folder / name
        place.mkdir()
        for n, i in enumerate(torch.nonzero(one.labels == k)[:, 0].tolist()):
            (place / f"{n:0{DIGITS}d}.png").write_bytes(encode(one.images[i]))


def files(path: Path) -> list[Path]:
    """The images, folder by folder in the order of the classes."""
    return [file for folder in _folders(path) for file in _images(folder)]


def read(path: Path, wanted: Wanted) -> list[Found]:
    """The folders that hold images are the classes of the set. Raises `ArtifactError`."""
    chosen = [(folder.name, _images(folder)) for folder in _folders(path)]
    chosen = [(name, images) for name, images in chosen if images]
    if not chosen:
        raise ArtifactError(f"{path} holds no PNG or JPEG in its class folders")
    if len(chosen) > len(wanted.classes):
        raise ArtifactError(
            f"{path} has {len(chosen)} class folders ({some([name for name, _ in chosen])}), the data have {len(wanted.classes)} "
            "classes; name the --data that the set was made from"
        )
    if (count := sum(len(images) for _, images in chosen)) > wanted.most:
        raise ArtifactError(f"{path} has {count} images, more than the {wanted.most} real ones; that is no distilled set")
    names = [name for name, _ in chosen]
    if (path / SIDECAR).is_file():  # which says that we wrote it
        ours = dict(zip(folder_names(wanted.classes), wanted.classes, strict=True))
        names = [ours.get(name, name) for name in names]
    pictures = [decode(file, wanted, str(file)) for _, images in chosen for file in images]
    labels = torch.arange(len(chosen)).repeat_interleave(torch.tensor([len(images) for _, images in chosen]))
    return [Found(images=torch.stack(pictures), labels=labels, names=tuple(names))]


def _folders(path: Path) -> list[Path]:
    if not path.is_dir():
        raise ArtifactError(f"{path} is no folder; this format is a folder of class folders")
    found = sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if all(entry.name.isdecimal() for entry in found):  # 10 comes after 9, also where they are not padded
        found.sort(key=lambda entry: int(entry.name))
    return found


def _images(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if entry.suffix.lower() in ENDINGS and not entry.name.startswith("."))
