"""Readers of published sets whose images are single files: the ImageNet family, Tiny ImageNet and MHIST."""

import csv
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from datadam.data.binary import CIFAR10_CLASSES
from datadam.data.real import Raw
from datadam.data.rendering import USUALLY, Rendering
from datadam.errors import DataError

# Table 9 of DataDAM's supplement, in its order: folder (WordNet's number) -> class.
IMAGENETTE = {
    "n01440764": "tench",
    "n02102040": "English springer",
    "n02979186": "cassette player",
    "n03000684": "chainsaw",
    "n03028079": "church",
    "n03394916": "French horn",
    "n03417042": "garbage truck",
    "n03425413": "gas pump",
    "n03445777": "golf ball",
    "n03888257": "parachute",
}
IMAGEWOOF = {
    "n02096294": "Australian terrier",
    "n02093754": "Border terrier",
    "n02111889": "Samoyed",
    "n02088364": "beagle",
    "n02086240": "Shih-Tzu",
    "n02089973": "English foxhound",
    "n02087394": "Rhodesian ridgeback",
    "n02115641": "dingo",
    "n02099601": "golden retriever",
    "n02105641": "Old English sheepdog",
}
IMAGESQUAWK = {
    "n01806143": "peacock",
    "n02007558": "flamingo",
    "n01818515": "macaw",
    "n02051845": "pelican",
    "n02056570": "king penguin",
    "n01614925": "bald eagle",
    "n01843383": "toucan",
    "n01518878": "ostrich",
    "n01860187": "black swan",
    "n01819313": "cockatoo",
}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What `load` was asked for beside the source, as it was given."""

    size: int | None = None
    fit: Literal["crop", "squash", "pad"] | None = None
    test: Any | None = None
    skip_bad: bool = False
    labels_as_numbers: bool = False
    skip_unlabelled: bool = False
    rendered: Rendering = USUALLY
    layout: str | None = None
    memory_limit: int | None = None
    progress: Callable[[str, int, int | None], None] | None = None

    def of_files(self) -> dict[str, object]:
        """What means something to images that are encoded one by one, by the names of `load`."""
        given = {"size": self.size, "fit": self.fit, "skip_bad": self.skip_bad}
        return given | {"bits": self.rendered.bits, "background": self.rendered.background}

    def with_defaults(self, size: int | None, fit: Literal["crop", "squash", "pad"] | None) -> "Asked":
        """The same, with a size and a fit where none was given."""
        return replace(self, size=self.size or size, fit=self.fit or fit)


def read_folder(path: Path, asked: Asked, *, test: Path | None = None, classes: Mapping[str, str] | None = None) -> Raw:
    """A folder of images, with what was asked for."""
    from datadam.data import folders

    return folders.read(
        path,
        size=asked.size,
        fit=asked.fit,
        test=test,
        skip_bad=asked.skip_bad,
        labels_as_numbers=asked.labels_as_numbers,
        skip_unlabelled=asked.skip_unlabelled,
        memory_limit=asked.memory_limit,
        progress=asked.progress,
        rendered=asked.rendered,
        classes=None if classes is None else dict(classes),
        layout=asked.layout,
    )


def read_hub(name: str, asked: Asked) -> Raw:
    """A data set of the Hugging Face hub, "owner/name"."""
    from datadam.data import tables

    return tables.read_hub(
        name,
        size=asked.size,
        fit=asked.fit,
        test=None if asked.test is None else str(asked.test),
        skip_bad=asked.skip_bad,
        labels_as_numbers=asked.labels_as_numbers,
        skip_unlabelled=asked.skip_unlabelled,
        memory_limit=asked.memory_limit,
        progress=asked.progress,
        rendered=asked.rendered,
    )


def read_imagenet(folder: Path, asked: Asked, *, classes: Mapping[str, str] | None) -> Raw:
    """train/WNID and val/WNID; `classes` says which folders are wanted and their names. None: all of them."""
    names = classes if classes is not None else _named(folder / "LOC_synset_mapping.txt", folder / "train", " ")
    return read_folder(folder, asked, classes=names)


def read_cinic10(folder: Path, asked: Asked) -> Raw:
    """train/CLASS and test/CLASS; valid/CLASS is left alone."""
    return read_folder(folder, asked, classes={name: name for name in CIFAR10_CLASSES})


def read_tiny_imagenet(folder: Path, asked: Asked) -> Raw:
    """train/WNID/images, and val/images with val_annotations.txt (or val/WNID, as some arrange it, with or without that file)."""
    from datadam.data.arrangement import subfolders

    names = _named(folder / "words.txt", folder / "train", "\t") or {name: name for name in subfolders(folder / "train")}
    annotations = folder / "val" / "val_annotations.txt"
    if not annotations.exists():
        return read_folder(folder, asked, classes=names)
    rows = [line.split("\t") for line in annotations.read_text(encoding="utf-8").splitlines() if line.strip()]
    label_of = {wnid: label for label, wnid in enumerate(names)}
    wrong = [row for row in rows if len(row) < 2 or row[1] not in label_of]
    if wrong:
        raise DataError(f"{annotations}: not FILE, tab, one of the classes of train/: {wrong[0]}. Fetch the set again.")
    test = [(str(_where(folder / "val", *row[:2])), label_of[row[1]]) for row in rows]
    if not all(Path(image).exists() for image, _ in test) and any((folder / "val" / wnid).is_dir() for wnid in names):
        return read_folder(folder, asked, classes=names)  # arranged by class since, under other names
    train = [
        (str(image), label) for label, wnid in enumerate(names) for image in sorted((folder / "train" / wnid).rglob("*.JPEG"))
    ]
    return _read_files(tuple(names.values()), train, test, asked)


def _where(val: Path, name: str, wnid: str) -> Path:
    """Where a validation image lies: as it was published, or arranged by class since, the annotations being left behind."""
    places = (val / "images" / name, val / wnid / name, val / wnid / "images" / name)
    return next((place for place in places if place.exists()), places[0])


def read_mhist(folder: Path, asked: Asked) -> Raw:
    """images/*.png with annotations.csv: the majority's label (HP or SSA), and which part an image belongs to."""
    table = folder / "annotations.csv"
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            rows = [(row["Image Name"], row["Majority Vote Label"], row["Partition"]) for row in csv.DictReader(file)]
    except (KeyError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"{table} is not MHIST's: it needs the columns Image Name, Majority Vote Label and Partition ({error})."
        ) from error
    wrong = sorted({part for _, _, part in rows} - {"train", "test"}, key=str)
    if wrong or not rows:
        raise DataError(f"{table}: Partition must be train or test, in at least one row; {wrong} came.")
    classes = tuple(sorted({label for _, label, _ in rows}))
    parts = {
        wanted: [(str(folder / "images" / name), classes.index(label)) for name, label, part in rows if part == wanted]
        for wanted in ("train", "test")
    }
    return _read_files(classes, parts["train"], parts["test"], asked)


def _read_files(classes: tuple[str, ...], train: list[tuple[str, int]], test: list[tuple[str, int]], asked: Asked) -> Raw:
    from datadam.data import folders

    return folders.read_files(
        classes,
        train,
        test,
        size=asked.size,
        fit=asked.fit,
        skip_bad=asked.skip_bad,
        memory_limit=asked.memory_limit,
        progress=asked.progress,
        rendered=asked.rendered,
    )


def _named(table: Path, train: Path, separator: str) -> dict[str, str] | None:
    """Class folders in order, each with the first of its words in `table`, and its folder behind when two share it.

    None without a table: the folders' names must do.
    """
    if not table.exists():
        return None
    lines = (line.partition(separator) for line in table.read_text(encoding="utf-8").splitlines())
    words = {wnid: rest.strip() for wnid, _, rest in lines}
    folders = sorted(item.name for item in train.iterdir() if item.is_dir() and not item.name.startswith("."))
    first = {wnid: words.get(wnid, wnid).split(",")[0] for wnid in folders}
    shared = {name for name, count in Counter(first.values()).items() if count > 1}
    return {wnid: f"{name} ({wnid})" if name in shared else name for wnid, name in first.items()}
