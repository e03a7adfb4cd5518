"""A data set known by name: its row, where its files lie, and how they get there."""

import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from datadam.data.official import Asked
from datadam.data.real import Raw, Split
from datadam.errors import DataError, DownloadError, InvalidInput
from datadam.files.lock import hold

Progress = Callable[[str, int, int | None], None]
Fit = Literal["crop", "squash", "pad"]


@dataclass(frozen=True)
class Layout:
    """One way in which a set is published: its folder under root, a file that it must have, and who reads it."""

    folder: str
    marker: str
    read: Callable[[Path, Asked], Raw]


@dataclass(frozen=True)
class Download:
    """A public file. Archives are unpacked under root; other files go to `to`, a folder under root."""

    url: str
    checksum: str | None = None  # None where the publisher gives none: then the structure of the files is the check
    to: str | None = None


@dataclass(frozen=True, kw_only=True)
class NamedData:
    """A named data set; `shape`, (C, H, W) of an image. `size` and `fit` apply to image files only; `mean` None: computed on
    the training pixels; `flips`, whether a mirror leaves an image in its class; `sizes`, by their side, the same set as it is
    published in other sizes; `read_test`, who reads another test part, where one is published."""

    title: str
    shape: tuple[int, int, int]
    layouts: tuple[Layout, ...]
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    image_files: bool = False
    size: int | None = None
    fit: Fit | None = None
    downloads: tuple[Download, ...] = field(default=())
    ask: str = ""
    packaged: Path | None = None
    flips: bool = True
    sizes: Mapping[int, "NamedData"] = field(default_factory=dict)
    read_test: Callable[[Path], Split] | None = None


def default_root() -> Path:
    """Where named sets lie unless told otherwise: $DATADAM_ROOT, else ~/.cache/datadam."""
    return absolute(os.environ.get("DATADAM_ROOT") or "~/.cache/datadam")


def read_named(name: str, row: NamedData, root: Path, asked: Asked, download: bool) -> Raw:
    if row.read_test is None:
        refuse(name, {"test": asked.test}, "It has a test part of its own.")
    labels = {"labels_as_numbers": asked.labels_as_numbers, "skip_unlabelled": asked.skip_unlabelled}
    refuse(name, labels, "All of its images have labels, and both parts the same names.")
    refuse(name, {"layout": asked.layout}, "Its layout is known.")
    if row.sizes and asked.size is not None:
        if asked.size not in row.sizes:
            known = ", ".join(map(str, sorted(row.sizes)))
            raise InvalidInput(f"{name} is published in the sizes {known}, and size={asked.size} came. Choose one of them.")
        row, asked = row.sizes[asked.size], replace(asked, size=None)
    if not row.image_files:
        refuse(
            name,
            asked.of_files(),
            "It has one size and no single files.",
        )
    asked = asked.with_defaults(row.size, row.fit)
    found = _find(row, root)
    if found is None and row.packaged is not None:
        found = _find(row, row.packaged)
    if found is None and row.downloads and download:
        found = _fetch(row, root, asked.progress)
    if found is None:
        places = ", ".join(str(root / layout.folder) for layout in row.layouts)
        cure = row.ask.format(root=root) if row.ask else f"Fetch {', '.join(file.url for file in row.downloads)}"
        raise DataError(f"{name} is not there (looked in {places}, and in {root} itself). {cure}; or give root=.")
    _tidy(row, root)
    layout, place = found
    raw = layout.read(place, asked)
    return raw if row.read_test is None or asked.test is None else replace(raw, test=row.read_test(absolute(asked.test)))


def _tidy(row: NamedData, root: Path) -> None:
    """Remove what a download left that was killed when the set was whole already; its lock is the sign."""

    place, lock = root / "downloads", row.layouts[0].folder.replace("/", "-")
    if row.downloads and (place / f"{lock}.lock").exists():
        with suppress(OSError), hold(place / lock):
            for file in row.downloads:
                name = file.url.rpartition("/")[2]
                shutil.rmtree(place / f"{name}.unpacked", ignore_errors=True)
                (place / name).unlink(missing_ok=True)


def class_folders(row: NamedData, root: Path) -> tuple[str, ...] | None:
    """The folders train/* of a set under `root`, sorted; None where there are none."""
    found = _find(row, root)
    train = None if found is None else found[1] / "train"
    if train is None or not train.is_dir():
        return None
    return tuple(sorted(item.name for item in train.iterdir() if item.is_dir() and not item.name.startswith(".")))


def _find(row: NamedData, root: Path) -> tuple[Layout, Path] | None:
    """The first layout under `root`; else `root` may be a layout's folder itself."""
    inside = [(layout, root / layout.folder) for layout in row.layouts]
    for layout, place in [*inside, *((layout, root) for layout in row.layouts)]:
        if (place / layout.marker).exists():
            return layout, place
    return None


def _fetch(row: NamedData, root: Path, progress: Progress | None) -> tuple[Layout, Path] | None:
    """Download the set under `root`, unless another process has just done it; nothing is left where nothing came."""
    place = root / "downloads"
    ours = [folder for folder in _folders_of(row, root) if not folder.exists()]
    try:
        try:
            place.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DownloadError(f"{place} cannot be written: {error}. Choose another folder with root=.") from error
        return _received(row, root, place, progress)
    except BaseException:  # what could not begin leaves nothing behind: of folders, only empty ones can be removed
        for folder in ours:
            for empty in (file for file in folder.glob("*.part") if not file.stat().st_size):
                empty.unlink(missing_ok=True)
            with suppress(OSError):
                folder.rmdir()
        raise


def _folders_of(row: NamedData, root: Path) -> list[Path]:
    """The folders that a download may have to make, the innermost first."""
    inner = {root / "downloads", *(root / file.to for file in row.downloads if file.to is not None)}
    return sorted({folder for place in inner for folder in (place, *place.parents)}, key=lambda folder: -len(folder.parts))


def _received(row: NamedData, root: Path, place: Path, progress: Progress | None) -> tuple[Layout, Path] | None:
    """Fetch and unpack every file of a set, one process at a time."""
    from datadam.data import download as net

    with hold(place / row.layouts[0].folder.replace("/", "-")):
        for file in row.downloads if _find(row, root) is None else ():
            name = file.url.rpartition("/")[2]
            if file.to is not None:
                net.fetch(file.url, root / file.to / name, checksum=file.checksum, progress=progress)
                continue
            archive = net.fetch(file.url, place / name, checksum=file.checksum, progress=progress)
            unpacked = net.unpack(archive, place / f"{name}.unpacked")
            for item in unpacked.iterdir():
                if not (root / item.name).exists():
                    item.rename(root / item.name)
            shutil.rmtree(unpacked)
            archive.unlink()
    return _find(row, root)


def absolute(path: str | os.PathLike[str]) -> Path:
    return Path(os.path.abspath(Path(path).expanduser()))  # noqa: PTH100 (resolve would follow links)


def refuse(what: str, options: Mapping[str, object], cure: str = "They have one size and no single files.") -> None:
    given = [f"{key}=" for key, value in options.items() if value is not None and value is not False]
    if given:
        raise InvalidInput(f"{', '.join(given)} cannot be used with {what}. {cure}")
