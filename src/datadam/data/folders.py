"""Images that are files: folders of classes, and lists of labelled files.

Shapes: K classes, N images.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from datadam.data.arrangement import CLASSES, arranged, subfolders
from datadam.data.class_names import match
from datadam.data.numbering import SKIP
from datadam.data.pictures import ENDINGS, SHOWN, Fit, Pictures, Progress, decode, some
from datadam.data.real import Raw
from datadam.data.rendering import USUALLY, Rendering
from datadam.errors import DataError

UNLABELLED = "-1"


def read(
    path: Path,
    *,
    size: int | None = None,
    fit: Fit | None = None,
    test: Path | None = None,
    skip_bad: bool = False,
    labels_as_numbers: bool = False,
    skip_unlabelled: bool = False,
    memory_limit: int | None = None,
    progress: Progress | None = None,
    rendered: Rendering = USUALLY,
    classes: Mapping[str, str] | None = None,
    layout: str | None = None,
) -> Raw:
    """A folder of images: CLASS/*.png, or train/CLASS/*.png with test/ or val/ beside train/ (see `datadam.data.arrangement`).

    Arguments: `size` and `fit`, to which square and how the images are resized (None: all have one size already);
    `test`, a folder of the same classes for the test part; `skip_bad`, leave out images that cannot be decoded;
    `labels_as_numbers`, folders called by numbers on one side are those of these places on the other; `skip_unlabelled`,
    leave out folders called -1; `memory_limit`, in bytes, beyond which decoded images stay on disk; `progress(what, done,
    total)`; `classes`, folder name -> class name, if only these classes are wanted, in this order;
    `layout`, "classes" to declare that the folders inside are the classes, whatever they hold.
    Images may lie deeper inside a class. They are read in the order of their names. Raises DataError.
    """
    found = arranged(path, test, known=classes is not None, declared=layout == CLASSES)
    training, testing, notes = found.training, found.testing, list(found.notes)
    folders = list(classes or found.classes)
    ignored: Counter[str] = Counter()
    if not classes:
        notes += _leave_unlabelled(folders, [training, testing], ignored, skip=skip_unlabelled)
    listed = [_listed(training, folders, ignored)]
    if testing is not None and classes:
        listed.append(_listed(testing, folders, ignored))
    elif testing is not None:
        tested, said = _listed_by_name(testing, training, folders, ignored, as_numbers=labels_as_numbers)
        listed.append(tested)
        notes += said
    if ignored:
        kinds = ", ".join(f"{count} {kind}" for kind, count in ignored.most_common(SHOWN))
        notes.append(f"{ignored.total()} files that are not images, or are hidden, were ignored ({kinds}).")
    return read_files(
        tuple(classes.values() if classes else folders),
        listed[0],
        listed[1] if testing is not None else None,
        size=size,
        fit=fit,
        skip_bad=skip_bad,
        memory_limit=memory_limit,
        progress=progress,
        rendered=rendered,
        notes=notes,
    )


def read_files(
    classes: tuple[str, ...],
    train: Sequence[tuple[str, int]],
    test: Sequence[tuple[str, int]] | None,
    *,
    size: int | None = None,
    fit: Fit | None = None,
    skip_bad: bool = False,
    memory_limit: int | None = None,
    progress: Progress | None = None,
    rendered: Rendering = USUALLY,
    notes: Sequence[str] = (),
) -> Raw:
    """Image files with their labels: `train` and `test` are lists of (path, label). The rest as in `read`."""
    files = [*train, *(test or ())]
    names = [name for name, _ in files]
    labels = np.array([label for _, label in files], dtype=np.int64)
    key = hashlib.sha256()
    for name in names:
        try:
            found = Path(name).stat()
        except OSError as error:
            raise DataError(f"{name} cannot be read: {error.strerror}. Repair or remove it.") from error
        key.update(f"{name}\0{found.st_size}\0{found.st_mtime_ns}\0".encode(errors="surrogateescape"))
    pictures = Pictures(
        classes,
        labels,
        None if test is None else len(train),
        names.__getitem__,
        lambda a, b: names[a:b],
        key.hexdigest(),
    )
    return decode(
        pictures,
        size=size,
        fit=fit,
        skip_bad=skip_bad,
        memory_limit=memory_limit,
        progress=progress,
        notes=notes,
        rendered=rendered,
    )


def _listed(root: Path, folders: Sequence[str], ignored: Counter[str]) -> list[tuple[str, int]]:
    """(path, label) of the images of each class, in order."""
    absent = [name for name in folders if not (root / name).is_dir()]
    if absent:
        raise DataError(f"{root} lacks the class folders {some(absent)}; it must have all {len(folders)} classes.")
    found = [_images(root / name, ignored) for name in folders]
    empty = [name for name, names in zip(folders, found, strict=True) if not names]
    if empty:
        raise DataError(f"{root}: no image in class folder {some(empty)}. Add images, or remove the folder.")
    return [(name, label) for label, names in enumerate(found) for name in names]


def _listed_by_name(
    testing: Path, training: Path, folders: Sequence[str], ignored: Counter[str], *, as_numbers: bool
) -> tuple[list[tuple[str, int]], tuple[str, ...]]:
    """(path, label) of the test images, class after class; classes agree by name, and some may have no image. And notes."""
    theirs = [name for name in subfolders(testing) if name != UNLABELLED]
    found = [_images(testing / name, ignored) for name in theirs]
    used = [k for k, names in enumerate(found) if names]
    if not used:
        raise DataError(f"{testing}: no image in class folder {some(theirs or list(folders))}. Add images.")
    matched = match(theirs, folders, used=used, as_numbers=as_numbers, who=str(testing), whom=str(training))
    listed = sorted((matched.places[k], name) for k in used for name in found[k])
    return [(name, label) for label, name in listed], matched.notes


def _leave_unlabelled(folders: list[str], roots: Sequence[Path | None], ignored: Counter[str], *, skip: bool) -> list[str]:
    """Take a folder called -1 out of `folders`, and a note. Raises DataError where its images may not be left out."""
    counts = [len(_images(root / UNLABELLED, ignored)) for root in roots if root is not None and (root / UNLABELLED).is_dir()]
    if not sum(counts):
        return []
    if not skip:
        raise DataError(f"{sum(counts)} images lie in folders called -1, the mark for unlabelled. {SKIP}")
    if UNLABELLED in folders:
        folders.remove(UNLABELLED)
    return [f"{sum(counts)} images have no label (they lie in folders called -1) and were left out."]


def _images(folder: Path, ignored: Counter[str], above: frozenset[tuple[int, int]] = frozenset()) -> list[str]:
    """The image files in a folder and in the folders inside it, sorted; others are counted by their ending."""
    where = folder.stat()
    this = (where.st_dev, where.st_ino)
    if this in above:  # a link that leads back up
        return []
    found: list[str] = []
    for entry in folder.iterdir():
        if entry.name.startswith("."):
            ignored["hidden"] += 1
        elif entry.is_dir():
            found += _images(entry, ignored, above | {this})
        elif entry.suffix.lower() in ENDINGS:
            found.append(str(entry))
        else:
            ignored[entry.suffix.lower() or "without ending"] += 1
    return sorted(found)
