"""`folder`: PNG images in one folder a class, as RDED, SRe2L and nearly every program reads them."""

from collections.abc import Sequence
from pathlib import Path

import torch

from datadam.errors import ArtifactError
from datadam.exchange.base import Found, Outgoing, Wanted
from datadam.exchange.pictures import check_channels, decode, encode
from datadam.exchange.sidecar import NAME as SIDECAR

ENDINGS = (".png", ".jpg", ".jpeg")
DIGITS = 5  # of class folders and files, as RDED and DD-Ranking write them
MOST_NAMED = 5


def write(folder: Path, sets: Sequence[Outgoing]) -> None:
    """00000/00000.png, ...: the folders are numbered, so that they sort in the order of the classes."""
    (one,) = sets
    check_channels(one.images.shape[1], "a folder")
    for k in range(len(one.classes)):
        place = folder / f"{k:0{DIGITS}d}"
        place.mkdir()
        for n, i in enumerate(torch.nonzero(one.labels == k)[:, 0].tolist()):
            (place / f"{n:0{DIGITS}d}.png").write_bytes(encode(one.images[i]))


def files(path: Path) -> list[Path]:
    """The images, folder by folder in the order of the classes."""
    return [file for folder in _folders(path) for file in _images(folder)]


def read(path: Path, wanted: Wanted) -> list[Found]:
    """The folders are the classes that they are called like, or else the classes in the order of their names, by number where
    they are numbered. Raises `ArtifactError`."""
    folders = _folders(path)
    names, k = [folder.name for folder in folders], len(wanted.classes)
    notes: tuple[str, ...] = ()
    if set(names) == set(wanted.classes):
        number = {name: wanted.classes.index(name) for name in names}
    elif len(names) == k:
        number = {name: n for n, name in enumerate(names)}
        if (numbered := all(name.isdecimal() for name in names)) and len({int(name) for name in names}) < k:
            raise ArtifactError(f"{path} has two class folders of one number ({', '.join(names[:MOST_NAMED])}, ...); rename one")
        if not (path / SIDECAR).is_file():  # which says that it was written in this order
            shown = f"{', '.join(names[:MOST_NAMED])}{' ...' if k > MOST_NAMED else ''}"
            order = "numbers" if numbered else "names"
            notes = (
                f"the folders {shown} are not called like the classes, and were taken for {wanted.classes[0]}, "
                f"{wanted.classes[1] if k > 1 else ''}{', ...' if k > 2 else ''} in the order of their {order}",
            )
    else:
        named = f" ({', '.join(names[:MOST_NAMED])}{', ...' if len(names) > MOST_NAMED else ''})"
        raise ArtifactError(
            f"{path} has {len(names)} class folders{named if names else ''}, the data have {k} classes; name the --data that the "
            "set was made from"
        )
    chosen = [(file, number[folder.name]) for folder in folders for file in _images(folder)]
    if not chosen:
        raise ArtifactError(f"{path} holds no PNG or JPEG in its class folders")
    if len(chosen) > wanted.most:
        raise ArtifactError(f"{path} has {len(chosen)} images, more than the {wanted.most} real ones; that is no distilled set")
    images = [decode(file, wanted, str(file)) for file, _ in chosen]
    return [Found(images=torch.stack(images), labels=torch.tensor([label for _, label in chosen]), notes=notes)]


def _folders(path: Path) -> list[Path]:
    if not path.is_dir():
        raise ArtifactError(f"{path} is no folder; this format is a folder of class folders")
    found = sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if all(entry.name.isdecimal() for entry in found):  # 10 comes after 9, also where they are not padded
        found.sort(key=lambda entry: int(entry.name))
    return found


def _images(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if entry.suffix.lower() in ENDINGS and not entry.name.startswith("."))
