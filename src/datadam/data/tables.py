"""Images in tables: .npz files of arrays, parquet files of encoded images, and data sets of the Hugging Face hub.

Shapes: K classes, N images, C channels, H x W pixels.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from datadam.data import hub
from datadam.data.archive import load_npz
from datadam.data.arrays import from_arrays
from datadam.data.cells import named_files, picture_column, source_of
from datadam.data.columns import IMAGE_COLUMNS, LABEL_COLUMNS, pick
from datadam.data.labels import NONE, Labels, labels_of_column
from datadam.data.numbering import joined
from datadam.data.parts import ORDER, WORDS, files_by_part, parquet_files, parts_of, said
from datadam.data.pictures import Fit, Pictures, Progress, Source, decode, some
from datadam.data.real import Raw
from datadam.data.rendering import USUALLY, Rendering
from datadam.errors import DataError, UnknownName

NAME_KEYS = ("class_names", "label_names", "meta/label_names", "fine_label_names", "target_names", "classes")
TRAIN_KEYS = (("x_train", "y_train"), ("train_images", "train_labels"), ("images", "labels"), ("x", "y"))
TEST_KEYS = (("x_test", "y_test"), ("test_images", "test_labels"))
ASIDE = ("val", "valid", "validation", "dev", "eval")
ASIDE_KEYS = tuple(pair for word in ASIDE for pair in ((f"x_{word}", f"y_{word}"), (f"{word}_images", f"{word}_labels")))


def read_npz(
    path: Path,
    *,
    test: Path | None = None,
    layout: str | None = None,
    labels_as_numbers: bool = False,
    skip_unlabelled: bool = False,
) -> Raw:
    """An .npz of x_train, y_train and maybe x_test, y_test; or of train_images ..., as MedMNIST; or of images, labels.

    Arguments: `test`, another .npz, the test part; `layout`, the axes of the images, such as "HWCN"; the others as in
    `datadam.data.numbering.joined`. Images are uint8, or floats in [0, 1], [N, H, W], [N, H, W, C] or [N, C, H, W]; labels as
    in `datadam.data.labels.labels_of`; one of NAME_KEYS, if it is there, holds the K names. Raises DataError.
    """
    found = load_npz(path)
    arrays = _pair(found, TRAIN_KEYS, path)
    names = theirs = _npz_names(found)
    notes = []
    taken = next((pair for pair in ASIDE_KEYS if set(pair) <= found.keys()), ())
    if test is not None:
        others = load_npz(test)
        theirs = _npz_names(others)
        arrays += _pair(others, (*TEST_KEYS, *ASIDE_KEYS, *TRAIN_KEYS), test)
        taken = ()
    elif any(key in found for keys in TEST_KEYS for key in keys):
        tested = _pair(found, TEST_KEYS, path)
        if taken and tested[1].dtype.kind == "i" and (tested[1] == NONE).all():
            notes.append(f"the test part was left alone: none of its {len(tested[1])} images has a label (all are -1).")
            tested = [found[key] for key in taken]
            notes.append(f"{' and '.join(taken)} are the test part: there is no other.")
        else:
            taken = ()
        arrays += tested
    elif taken:
        arrays += [found[key] for key in taken]
        notes.append(f"{' and '.join(taken)} are the test part: there is no other.")
    aside = sorted({key for pair in ASIDE_KEYS for key in pair} & found.keys() - set(taken))
    if aside:
        notes.append(f"{', '.join(aside)} were left alone.")
    raw = from_arrays(
        arrays,
        layout,
        names=(names, theirs),
        test_asked=test is not None,
        labels_as_numbers=labels_as_numbers,
        skip_unlabelled=skip_unlabelled,
    )
    return Raw(raw.classes, raw.train, raw.test, (*notes, *raw.notes))


def read_parquet(
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
) -> Raw:
    """A parquet file, or a folder of them, with a column of encoded images and a column of labels.

    In a folder, names of files, or of folders that they lie in, say which part they are (`datadam.data.parts`); the
    validation part is taken only where there is no test part. Arguments: `test`, other such files, the test part;
    `labels_as_numbers` and `skip_unlabelled` as in `datadam.data.numbering.joined`; the rest as in
    `datadam.data.pictures.decode`. Files are read one row group at a time. Raises DataError.
    """
    files, notes = _parquet_files(path)
    if test is not None:
        others, _ = _parquet_files(test, training=False)
        files = {"train": files["train"], "test": next(others[part] for part in (*ORDER, "train") if part in others)}
    parts = {part: _parquet_rows(names) for part, names in files.items() if names}
    train, testing, remarks = _choose(parts, str(path), asked=test is not None)
    pictures, told = _joined(train, testing, as_numbers=labels_as_numbers, skip=skip_unlabelled)
    return decode(
        pictures,
        size=size,
        fit=fit,
        skip_bad=skip_bad,
        memory_limit=memory_limit,
        progress=progress,
        rendered=rendered,
        notes=[*notes, *remarks, *told],
    )


def read_hub(
    name: str,
    *,
    size: int | None = None,
    fit: Fit | None = None,
    test: str | None = None,
    skip_bad: bool = False,
    labels_as_numbers: bool = False,
    skip_unlabelled: bool = False,
    memory_limit: int | None = None,
    progress: Progress | None = None,
    rendered: Rendering = USUALLY,
) -> Raw:
    """A data set of the Hugging Face hub with an image column and a label column.

    Arguments: `name`, "owner/name"; the others as in `read_splits`. Raises DownloadError, and DataError, also when the package
    `datasets` is missing.
    """
    try:
        import datasets
    except ImportError as error:
        raise DataError(f"hf:{name} needs the package datasets: pip install 'datadam[hf]'.") from error
    splits = hub.fetched(name, datasets)
    return read_splits(
        splits,
        f"hf:{name}",
        size=size,
        fit=fit,
        test=test,
        skip_bad=skip_bad,
        labels_as_numbers=labels_as_numbers,
        skip_unlabelled=skip_unlabelled,
        memory_limit=memory_limit,
        progress=progress,
        rendered=rendered,
    )


def read_splits(
    splits: Mapping[Any, Any],
    what: str,
    *,
    size: int | None = None,
    fit: Fit | None = None,
    test: str | None = None,
    skip_bad: bool = False,
    labels_as_numbers: bool = False,
    skip_unlabelled: bool = False,
    memory_limit: int | None = None,
    progress: Progress | None = None,
    rendered: Rendering = USUALLY,
) -> Raw:
    """Splits of the package `datasets`, by name, each with an image column and a label column.

    Arguments: `what`, what messages call them; `test`, the split that is the test part (None: test, else validation);
    `labels_as_numbers` and `skip_unlabelled` as in `datadam.data.numbering.joined`; the rest as in
    `datadam.data.pictures.decode`. Raises DataError.
    """
    import datasets

    if test is not None and test not in splits:
        raise UnknownName("split", test, [str(split) for split in splits])
    chosen, aside = part_splits([str(split) for split in splits], what)
    if test is not None:
        chosen, aside = {part: split for part, split in chosen.items() if part == "train"} | {"test": test}, []
    parts = {part: _hub_rows(splits[split], f"{what}/{split}", datasets) for part, split in chosen.items()}
    train, testing, remarks = _choose(parts, what, asked=test is not None)
    pictures, told = _joined(train, testing, as_numbers=labels_as_numbers, skip=skip_unlabelled)
    return decode(
        pictures,
        size=size,
        fit=fit,
        skip_bad=skip_bad,
        memory_limit=memory_limit,
        progress=progress,
        rendered=rendered,
        notes=[*aside, *remarks, *told],
    )


def part_splits(names: Sequence[str], what: str) -> tuple[dict[str, str], list[str]]:
    """The split of each part, one called by a part's plain word before others, and notes about those left alone."""
    chosen: dict[str, str] = {}
    for split, parts in sorted(parts_of(names).items(), key=lambda item: (item[0].lower() not in WORDS, item[0])):
        for part in parts if len(parts) == 1 else ():
            chosen.setdefault(part, split)
    aside = [split for split in names if split not in chosen.values()]
    return chosen, [f"splits of {what} left alone: {some(aside)}."] if aside else []


@dataclass(frozen=True)
class _Rows:
    """One part: `labels`, those of each of its files; the rest as in Pictures."""

    labels: Sequence[Labels]
    name: Callable[[int], str]
    read: Callable[[int, int], Sequence[Source]]
    key: str


def _choose(parts: Mapping[str, _Rows], what: str, *, asked: bool) -> tuple[_Rows, _Rows | None, list[str]]:
    """The training part, the test part if there is a labelled one (or it was `asked` for), and notes about parts left alone."""
    if "train" not in parts:
        raise DataError(f"{what} has no training part; its parts: {', '.join(parts) or 'none'}.")
    chosen, notes = None, []
    for part in ORDER:
        if part not in parts:
            continue
        if not asked and all(labels.unlabelled for labels in parts[part].labels):
            notes.append(f"the {part} part of {what} was left alone: none of its images has a label (all are -1).")
        elif chosen is not None:
            notes.append(f"the {part} part of {what} was left alone: it has a test part.")
        else:
            chosen = parts[part]
            notes += said(part, f"the part {part} of {what}")
    return parts["train"], chosen, notes


def _joined(train: _Rows, test: _Rows | None, *, as_numbers: bool, skip: bool) -> tuple[Pictures, tuple[str, ...]]:
    """Both parts as one sequence, their labels numbered 0 .. K - 1, without the images that have no label; and notes."""
    parts = [train, test] if test is not None else [train]
    found = joined(train.labels, None if test is None else test.labels, as_numbers=as_numbers, skip_unlabelled=skip)
    places = [np.flatnonzero(kept) for kept in found.kept]
    n = len(places[0])

    def read(start: int, stop: int) -> list[Source]:
        found = _read_places(train, places[0][start:stop])
        return found if test is None else found + _read_places(test, places[1][max(start, n) - n : max(stop, n) - n])

    def name(i: int) -> str:
        return train.name(int(places[0][i])) if test is None or i < n else test.name(int(places[1][i - n]))

    labels = found.train if found.test is None else np.concatenate([found.train, found.test])
    digests = [part.key for part in parts]
    if not all(kept.all() for kept in found.kept):
        digests.append(hashlib.sha256(b" ".join(np.packbits(kept).tobytes() for kept in found.kept)).hexdigest())
    return Pictures(found.classes, labels, None if test is None else n, name, read, " ".join(digests)), found.notes


def _read_places(rows: _Rows, places: npt.NDArray[np.int64]) -> list[Source]:
    """The images of these ascending places, run by run."""
    runs = np.split(places, np.flatnonzero(np.diff(places) > 1) + 1) if len(places) else []
    return [source for run in runs for source in rows.read(int(run[0]), int(run[-1]) + 1)]


def _parquet_files(path: Path, *, training: bool = True) -> tuple[dict[str, list[Path]], list[str]]:
    """The files of each part, sorted, and notes."""
    if not path.is_dir():
        return {"train": [path]}, []
    files = parquet_files(path)
    if not files:
        raise DataError(f"{path} has no parquet files.")
    return files_by_part(path, files, training=training)


def _parquet_rows(files: Sequence[Path]) -> _Rows:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        tables = [pq.ParquetFile(file) for file in files]
        schema = tables[0].schema_arrow
        image, label = _columns(schema, files[0])
        for file, table in zip(files, tables, strict=True):
            if {image, label} - set(table.schema_arrow.names):
                raise DataError(f"{file} lacks the columns {image} and {label} that {files[0].name} has.")
        columns = [table.read(columns=[label]).column(0) for table in tables]
        named = [path for file, table in zip(files, tables, strict=True) for path in named_files(table, image, file)]
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{files[0].parent}: parquet files cannot be read: {error}.") from error
    labels = [
        labels_of_column(column.to_pylist(), file.name, label, _parquet_names(table.schema_arrow, label))
        for file, table, column in zip(files, tables, columns, strict=True)
    ]
    groups = [(file, group) for file, table in enumerate(tables) for group in range(table.num_row_groups)]
    ends = np.cumsum([tables[file].metadata.row_group(group).num_rows for file, group in groups])

    @lru_cache(maxsize=2)  # the groups at both ends of what is read next
    def images(k: int) -> Any:
        file, group = groups[k]
        try:
            column = tables[file].read_row_group(group, columns=[image]).column(image).combine_chunks()
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{files[file]} is damaged: {error}.") from error
        return column

    def read(start: int, stop: int) -> list[Source]:
        found: list[Source] = []
        k = int(np.searchsorted(ends, start, side="right"))
        while start < stop:
            group, begin = images(k), int(ends[k - 1]) if k else 0
            folder = files[groups[k][0]].parent
            found += [source_of(cell, folder) for cell in group.slice(start - begin, stop - start).to_pylist()]
            start, k = int(ends[k]), k + 1
        return found

    def name(i: int) -> str:
        k = int(np.searchsorted(ends, i, side="right"))
        file = groups[k][0]
        first = sum(table.metadata.num_rows for table in tables[:file])
        return f"{files[file].name} row {i - first}"

    stats = [(str(file), about.st_size, about.st_mtime_ns) for file in (*files, *named) for about in (file.stat(),)]
    key = hashlib.sha256(json.dumps([stats, image, label]).encode()).hexdigest()
    return _Rows(labels, name, read, key)


def _parquet_names(schema: Any, label: str) -> tuple[str, ...] | None:
    """The names of the classes, if the schema has them, as the hub writes it."""
    about = json.loads((schema.metadata or {}).get(b"huggingface", b"{}")).get("info", {}).get("features", {})
    feature = about.get(label, {})
    feature = feature.get("feature", feature) if isinstance(feature, dict) else {}
    names = feature.get("names") if isinstance(feature, dict) else None
    return tuple(map(str, names)) if names else None


def _columns(schema: Any, file: Path) -> tuple[str, str]:
    """The image column and the label column."""
    known = {name.lower(): name for name in schema.names}
    image = picture_column(schema)
    label = pick(LABEL_COLUMNS, schema.names)
    if image is None or label is None:
        what = "image column of encoded bytes" if image is None else "label column"
        wanted = IMAGE_COLUMNS if image is None else LABEL_COLUMNS
        raise DataError(f"{file} has no {what} ({', '.join(wanted)}); its columns: {', '.join(known.values())}.")
    return image, label


def _hub_rows(split: Any, what: str, datasets: Any) -> _Rows:
    features = split.features
    kinds = {name: type(feature).__name__ for name, feature in features.items()}
    image = pick(IMAGE_COLUMNS, [name for name, kind in kinds.items() if kind == "Image"]) or next(
        (name for name, kind in kinds.items() if kind == "Image"), None
    )
    label = pick(LABEL_COLUMNS, list(kinds)) or next((name for name, kind in kinds.items() if kind == "ClassLabel"), None)
    if image is None or label is None:
        raise DataError(f"{what} needs a column of images and one of labels; its columns: {kinds}.")
    encoded = split.cast_column(image, datasets.Image(decode=False))

    def read(start: int, stop: int) -> list[Source]:
        return [cell["bytes"] or cell["path"] or b"" for cell in encoded[start:stop][image]]

    names = getattr(getattr(features[label], "feature", features[label]), "names", None)
    key = f"{what} {split._fingerprint} {image}"
    labels = labels_of_column(list(split[label]), what, label, tuple(names) if names else None)
    return _Rows([labels], lambda i: f"{what} row {i}", read, key)


def _npz_names(found: Mapping[str, npt.NDArray[Any]]) -> tuple[str, ...] | None:
    """The names of the classes under the first key that holds some."""
    for key in NAME_KEYS:
        if key in found and found[key].ndim and found[key].size:
            names = found[key].reshape(-1).tolist()
            return tuple(name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name) for name in names)
    return None


def _pair(found: Mapping[str, npt.NDArray[Any]], wanted: Sequence[tuple[str, str]], path: Path) -> list[npt.NDArray[Any]]:
    """Images and labels under the first pair of names that is there."""
    for images, labels in wanted:
        if images in found and labels in found:
            return [found[images], found[labels]]
    shapes = ", ".join(f"{key} {list(array.shape)}" for key, array in found.items())
    pairs = ", or ".join(f"{images} and {labels}" for images, labels in wanted)
    raise DataError(f"{path} needs the arrays {pairs}; it has: {shapes or 'nothing'}.")
