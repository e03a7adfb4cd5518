"""How a folder of images is arranged: which folders are parts of the set, and which are classes.

Names alone do not tell: a class may be called `test`. A folder is a part when its name says so and it holds class folders;
folders that all hold the same folders are parts or variants of one set and no classes. What can be read in two ways is refused.
"""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

from datadam.data.class_names import new_names
from datadam.data.name_forms import numeric
from datadam.data.parts import ORDER, WORDS, parts_of, said
from datadam.data.pictures import ENDINGS, some
from datadam.errors import DataError

GENERAL = frozenset(("images", "image", "imgs", "img", "pictures", "photos", "jpegimages"))  # names of folders that are no class
CLASSES = "classes"  # the layout that declares the folders inside to be the classes, whatever they hold and are called
TABLES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")  # where the hub's image folders keep labels
DECLARE = "say that the folders inside are the classes (--layout classes)"


class Inside(NamedTuple):
    """What lies directly in a folder: the names of its folders, sorted, and how many images."""

    folders: tuple[str, ...]
    images: int


@dataclass(frozen=True)
class Arrangement:
    """The folders that hold class folders, of the training and of the test part; the names of the classes; and notes."""

    training: Path
    testing: Path | None
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def noting(self, *notes: str) -> "Arrangement":
        """The same, with further notes."""
        return replace(self, notes=(*self.notes, *notes))


def arranged(path: Path, test: Path | None = None, *, known: bool = False, declared: bool = False) -> Arrangement:
    """How the images of `path` are arranged: CLASS/*.png, or train/CLASS/*.png with test/ or the like beside it.

    Arguments: `test`, the folder of the test part, if it is given; `known`, whether the caller knows the class folders;
    `declared`, whether the folders in `path` are said to be the classes. Raises DataError.
    """
    inside = looked()
    if declared:
        loose = sum(inside(root).images for root in (path, test) if root is not None)
        found = Arrangement(path, test, inside(path).folders)
        return found.noting(f"{loose} images that lie beside class folders were left out.") if loose else found
    found = _parts(path, None if test is None else _unwrapped(test, inside), inside)
    if not known:
        for root in (found.training, found.testing):
            if root is not None:
                _refuse_loose(root, inside)
        _refuse_variants(found, inside)
        if found.training != path and len(found.classes) == 1 and found.classes[0].lower() in GENERAL:
            raise DataError(
                f"{found.training} holds images in one folder, {found.classes[0]}, and no class folders. Images must lie in "
                f"{found.training}/CLASS/*.png, and so for the test part."
            )
        if len(found.classes) == 1 and len(inside(only := found.training / found.classes[0]).folders) > 1:
            raise DataError(f"{found.training} has only one class folder, {only.name}. Give {only} if the classes are in it.")
    return found


Look = Callable[[Path], Inside]


def looked() -> Look:
    """A function that lists a folder, once each."""
    return cache(_look)


def _look(folder: Path) -> Inside:
    try:
        with os.scandir(folder) as listing:
            entries = [entry for entry in listing if not entry.name.startswith(".") and entry.name != "__MACOSX"]
            folders = tuple(sorted(entry.name for entry in entries if entry.is_dir()))
            return Inside(folders, sum(f".{entry.name.rpartition('.')[2].lower()}" in ENDINGS for entry in entries))
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {error.strerror}. Give a folder of images.") from error


def subfolders(path: Path) -> tuple[str, ...]:
    """The folders in a folder, sorted, without hidden ones. Raises DataError."""
    return _look(path).folders


def _pictured(folder: Path, inside: Look, depth: int = 3) -> bool:
    """Whether images lie in a folder, or a few folders down."""
    here = inside(folder)
    return here.images > 0 or (depth > 0 and any(_pictured(folder / name, inside, depth - 1) for name in here.folders))


def _unwrapped(folder: Path, inside: Look) -> Path:
    """The folder inside where that is alone and means the same: archives are often unpacked as seg_train/seg_train/."""
    here = inside(folder)
    if here.images or len(here.folders) != 1:
        return folder
    (only,) = here.folders
    meant = parts_of((folder.name, only))
    same = only.casefold() == folder.name.casefold() or (meant[only] and meant[only] == meant[folder.name])
    return _unwrapped(folder / only, inside) if same else folder


def _parts(path: Path, test: Path | None, inside: Look) -> Arrangement:
    names = inside(path).folders
    meant = {name: parts for name, parts in parts_of(names).items() if parts}
    if not meant:
        return _plain(path, test, inside)
    roots = {name: _unwrapped(path / name, inside) for name in meant}
    classes = {name: set(inside(roots[name]).folders) for name in meant}
    others = [name for name in names if name not in meant and _pictured(path / name, inside)]
    trains = [name for name in meant if meant[name] == {"train"} and classes[name]]
    if not trains:
        return _without_training(path, test, meant, roots, others, inside)
    train = _one("train", trains, path)
    shared = [name for name in meant if name != train and _share(classes[name], classes[train])]
    if len(classes[train]) == 1 and any(set(inside(path / name).folders) == classes[train] for name in others):
        return _plain(path, test, inside).noting(_as_class([train, *shared]))  # as n01/images beside train/images
    if others and not shared:
        raise DataError(
            f"{path}: {train} holds folders, and so could be the training part, or be a class beside {some(others)}. "
            f"Give {roots[train]} for the former; for the latter {DECLARE}."
        )
    usable = {part: [name for name in shared if meant[name] == {part}] for part in ORDER}
    part = next((part for part in ORDER if usable[part]), "")
    testing = test or (roots[_one(part, usable[part], path)] if part else None)
    notes = [f"{roots[train]} is the training part."] if roots[train].name.lower() not in WORDS else []
    if testing is not None and test is None:
        odd = testing.name.lower() not in WORDS
        notes += [f"{testing} is the test part."] if odd and part != "dev" else said(part, str(testing))
    for name in meant:
        if name != train and roots[name] != testing and _pictured(path / name, inside):
            reason = f"the test part is {testing}." if name in shared else f"it has no class folder of {roots[train]}."
            notes.append(f"{path / name} was left alone: {reason}")
    notes += [f"{path / name} was left alone: its name is that of no part." for name in others]
    return Arrangement(roots[train], testing, inside(roots[train]).folders, tuple(notes))


def _share(folders: set[str], known: set[str]) -> bool:
    """Whether some folders are classes among the known ones, however their names are written, or by numbers."""
    return bool(folders) and (len(new_names(sorted(folders), sorted(known))) < len(folders) or numeric(sorted(folders)))


def _plain(path: Path, test: Path | None, inside: Look) -> Arrangement:
    if not inside(path).folders:
        raise DataError(f"{path} has no class folders. Images must lie in PATH/CLASS/*.png or PATH/train/CLASS/*.png.")
    return Arrangement(path, test, inside(path).folders)


def _without_training(
    path: Path, test: Path | None, meant: dict[str, frozenset[str]], roots: dict[str, Path], others: list[str], inside: Look
) -> Arrangement:
    """Where no folder whose name means training holds class folders."""
    named = [name for name in meant if _pictured(path / name, inside)]
    flat = [name for name in named if not inside(roots[name]).folders]
    beside = [name for name in named if "train" not in meant[name] and set(inside(roots[name]).folders) & set(others)]
    if beside:
        part = next((part for part in ORDER if any(meant[name] == {part} for name in beside)), "")
        testing = test or roots[_one(part, [name for name in beside if meant[name] == {part}], path)]
        left = [f"{path / name} was left alone: it is no class." for name in meant if roots[name] != testing]
        classes = tuple(name for name in inside(path).folders if name not in meant)
        return Arrangement(path, testing, classes, (f"{testing} is the test part: it holds folders of the classes.", *left))
    trained = [name for name in flat if "train" in meant[name]]
    both = trained and len(trained) < len(named)
    if (trained and not others) or (both and len(others) <= len(named)):
        tables = sorted({f"{path / name}/{table}" for name in flat for table in TABLES if (path / name / table).exists()})
        unread = f" ({some(tables)} cannot be read.)" if tables else ""
        raise DataError(
            f"{path}: {some(flat)} hold images and no class folders, and their names are those of parts. Images must lie in "
            f"{path / trained[0]}/CLASS/*.png, and so for the test part.{unread} If they are classes all the same, {DECLARE}."
        )
    if named and not others:
        raise DataError(
            f"{path} holds {some(named)} and no train/. Add it, or name the folder of the classes. "
            f"If they are classes all the same, {DECLARE}."
        )
    found = _plain(path, test, inside)
    return found.noting(_as_class(named)) if named else found


def _as_class(names: Sequence[str]) -> str:
    return f"{some(names)} {'is taken for a class' if len(names) == 1 else 'are taken for classes'}, as the folders beside."


def _one(part: str, names: Sequence[str], path: Path) -> str:
    """The folder of a part: one called by a plain word, in the order of the words, before others. Raises DataError."""
    plain = sorted((name for name in names if name.lower() in WORDS), key=lambda name: list(WORDS).index(name.lower()))
    if not plain and len(names) != 1:
        raise DataError(
            f"{path} has several folders that could be the {'training' if part == 'train' else 'test'} part: {some(names)}. "
            f"Give the training part by itself, such as {path / names[0]}, and the test part with test= (--test)."
        )
    return plain[0] if plain else names[0]


def _refuse_loose(root: Path, inside: Look) -> None:
    """Raises DataError where images lie beside folders of images: one or the other would be lost without a word."""
    here = inside(root)
    folders = [name for name in here.folders if here.images and _pictured(root / name, inside)]
    if folders:
        raise DataError(
            f"{root} holds {here.images} images beside folders of images ({some(folders)}), which can be read in two ways. "
            f"All are images of one class, {root.name}: then give {root.parent}, with the folders of the other classes in it. "
            f"Or the folders are the classes, and the images beside belong to none: then move these away, or {DECLARE}."
        )


def _refuse_variants(found: Arrangement, inside: Look) -> None:
    """Raises DataError where most class folders hold the same folders of images."""
    root = found.training
    nested = {name: set(inside(root / name).folders) for name in found.classes if len(inside(root / name).folders) > 1}
    if len(nested) < 2 or 2 * len(nested) < len(found.classes):
        return
    times = Counter(name for names in nested.values() for name in names)
    places = {name: next(top for top in nested if name in nested[top]) for name in times if 2 * times[name] > len(nested)}
    shared = [name for name in sorted(places) if times[name] > 1 and _pictured(root / places[name] / name, inside)]
    if len(shared) < 2:
        return
    first = next(iter(nested))
    what = f"{root}: the folders {some(list(nested))} hold the same folders {some(shared)}"
    if all(parts_of(shared).values()):
        raise DataError(f"{what}, which are parts. Images must lie in PATH/train/CLASS/*.png, the part before the class.")
    raise DataError(
        f"{what}, so they are parts or variants of one set and no classes. Give one of them: {root / first}, and with "
        f"test= (--test) the test part, if one of them is that. If they are classes all the same, {DECLARE}."
    )
