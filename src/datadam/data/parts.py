"""Which part of a data set a name means, and which part the files of a folder belong to.

The one place that knows the words. A word counts where it stands by itself, bounded by anything that is no letter or by a
capital: `mnist-train`, `cifar10test`, `testSet`. A word that is grown together with other letters counts only where another
name has the same letters around another part's word: `trainset` beside `testset`, but not `contest` or `latest`.
"""

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

from datadam.errors import DataError

WORDS = {
    "train": "train", "training": "train", "trainval": "train", "test": "test", "testing": "test", "val": "validation",
    "valid": "validation", "validation": "validation", "dev": "dev", "eval": "dev", "evaluation": "dev",
}  # fmt: skip
ORDER = ("test", "validation", "dev")  # the first that is there is the test part
SHOWN = 8
FOLDERS, ENTRIES = 200, 200  # that are looked at for parquet files: a folder of a million images would take its time


def parts_of(names: Iterable[str]) -> dict[str, frozenset[str]]:
    """For each name the parts that its words mean: none, one, or several where it is ambiguous.

    Arguments: `names`, those that lie side by side, without endings: `mnisttest` alone could be a word of some language, beside
    `mnist` it is ambiguous, and beside `mnisttrain` it is a test part.
    """
    runs = {name: _runs(name) for name in names}
    around: dict[str, set[str]] = defaultdict(set)
    for found in runs.values():
        for run in found:
            for frame, part in _grown(run):
                around[frame].add(part)
    plain = {"".join(found) for found in runs.values()}
    meant: dict[str, frozenset[str]] = {}
    for name, found in runs.items():
        parts = {WORDS[run] for run in found if run in WORDS}
        for run in found:
            for frame, part in _grown(run):
                if {"train", part} <= around[frame] and len(around[frame]) > 1:
                    parts.add(part)
                elif frame.endswith("_") and frame[:-1] in plain:
                    parts |= {part, "train"}
        meant[name] = frozenset(parts)
    return meant


def _runs(name: str) -> list[str]:
    """The runs of letters in a name, a capital after a small letter beginning a new one."""
    return re.findall(r"[^\W\d_]+", re.sub(r"(?<=[^\W\d_A-Z])(?=[A-Z])", " ", name).lower())


def _grown(run: str) -> Iterator[tuple[str, str]]:
    """The letters around a word that begins or ends this run ("_" for the word), and the word's part."""
    if run in WORDS:
        return
    for word, part in WORDS.items():
        if run.startswith(word):
            yield f"_{run.removeprefix(word)}", part
        if run.endswith(word):
            yield f"{run.removesuffix(word)}_", part


def said(part: str, name: str) -> list[str]:
    """The note, if one is due, that this part, found under this name, is the test part."""
    return [f"{name} is the test part: there is no other."] if part == "dev" else []


def files_by_part(root: Path, files: Sequence[Path], *, training: bool = True) -> tuple[dict[str, list[Path]], list[str]]:
    """The files of each part, in their order, and notes; all are "train" where no name says anything.

    A file's own name and the folders between it and `root` say to which part it belongs. Raises DataError, with the files, where
    that is ambiguous, where files of several configurations lie there, and where none is for `training`, if that is needed.
    """
    names = {file: (*file.relative_to(root).parts[:-1], file.name.removesuffix(".parquet")) for file in files}
    meant = parts_of(name for path in names.values() for name in path)
    parts: dict[str, list[Path]] = defaultdict(list)
    unclear = []
    for file in files:
        found = [meant[name] for name in names[file] if meant[name]]
        clear = {part for parts in found if len(parts) == 1 for part in parts}
        if len(clear) > 1 or (found and not clear):
            unclear.append(file)
        parts[next(iter(clear), "")].append(file)
    if unclear:
        raise DataError(
            f"{root}: it is not clear to which part these files belong: {_listed(root, unclear)}. Call them train-*, test-* or "
            "validation-*, or give the training file and, as the test part (--test), the other one by themselves."
        )
    rest = parts.pop("", [])
    if not parts:
        return {"train": rest}, []
    _require_one_configuration(root, [file for found in parts.values() for file in found], names, meant)
    if training and "train" not in parts:
        beside = f"; {_listed(root, rest)} belong to none" if rest else ""
        raise DataError(
            f"{root} has no training part; its parts: {', '.join(sorted(parts))} "
            f"({_listed(root, [file for found in parts.values() for file in found])}){beside}. "
            "Give the training file by itself, and the test part with test= (--test)."
        )
    notes = [f"{len(rest)} parquet files that belong to no part were left alone: {_listed(root, rest)}."] if rest else []
    return dict(parts), notes


def _require_one_configuration(
    root: Path, files: Sequence[Path], names: Mapping[Path, tuple[str, ...]], meant: Mapping[str, frozenset[str]]
) -> None:
    """Raises DataError where the folders that mean no part differ: the hub keeps each configuration of a set in its own."""
    found: dict[Path, None] = {}
    for file in files:
        folders = names[file][:-1]
        upto = next((i for i, name in enumerate(folders) if meant[name]), len(folders))
        found[root.joinpath(*folders[:upto])] = None
    if len(found) > 1:
        raise DataError(
            f"{root} holds {len(found)} configurations, each with parts of its own. Give one of them: "
            f"{', '.join(str(place) for place in found)}."
        )


def _listed(root: Path, files: Sequence[Path]) -> str:
    shown = ", ".join(str(file.relative_to(root)) for file in files[:SHOWN])
    return shown + (f" and {len(files) - SHOWN} more" if len(files) > SHOWN else "")


def parquet_files(path: Path) -> list[Path]:
    """The parquet files in a folder and the folders inside it, sorted, without what is hidden."""
    found = sorted(path.rglob("*.parquet"))
    return [file for file in found if not any(name.startswith(".") for name in file.relative_to(path).parts)]


def holds_parquet(path: Path) -> bool:
    """Whether parquet files lie in a folder or up to three folders down, as the hub lays them out, and no images with them.

    Only the first files of the first folders are looked at.
    """
    from datadam.data.pictures import ENDINGS

    level = [str(path)]
    for depth in range(4):
        below: list[str] = []
        for folder in level:
            with suppress(OSError), os.scandir(folder) as listing:
                entries = [entry for entry in islice(listing, ENTRIES) if not entry.name.startswith(".")]
                endings = {f".{entry.name.rpartition('.')[2].lower()}" for entry in entries}
                if ".parquet" in endings and (depth == 0 or not endings & ENDINGS):
                    return True
                below += [entry.path for entry in entries if entry.is_dir()]
        level = below[:FOLDERS]
    return False
