"""Data sets of the package `datasets` that are in memory already: `Dataset`, `DatasetDict`, and their streams."""

import sys
from typing import Any

from datadam.data import arrays, tables
from datadam.data.named import refuse
from datadam.data.official import Asked
from datadam.data.parts import ORDER
from datadam.data.real import Raw
from datadam.errors import DataError, InvalidInput


def is_one(source: Any) -> bool:
    """Whether this is such an object; the package is not imported for it."""
    package = sys.modules.get("datasets")
    kinds = [getattr(package, name, None) for name in ("Dataset", "DatasetDict", "IterableDataset", "IterableDatasetDict")]
    return isinstance(source, tuple(kind for kind in kinds if isinstance(kind, type)))


def read(source: Any, asked: Asked) -> Raw:
    """A data set, or a dictionary of splits, with the names of its ClassLabel.

    `asked.test` may be another such data set or, of a dictionary, the name of a split. Images are decoded from their files, but
    of streams, and where a transform of the user's makes them: these are taken as they come. Raises DataError.
    """
    refuse("data sets", {"layout": asked.layout}, "Their images are pictures.")
    test = asked.test
    splits = dict(source) if isinstance(source, dict) else {"train": source}
    if isinstance(test, dict):
        raise InvalidInput(f"test= is a dictionary of splits ({', '.join(map(str, test))}). Give one of them.")
    if isinstance(test, str) and test not in splits:
        raise InvalidInput(f"test={test!r} is none of the splits {', '.join(map(str, splits))}.")
    if test is not None and not isinstance(test, str):
        if not is_one(test):
            raise InvalidInput(
                f"test= is {type(test).__name__}. Give a data set of the package datasets, as the training part is one."
            )
        splits, test = splits | {"test=": test}, "test="
    if not any(_as_items(split) for split in splits.values()):
        return tables.read_splits(
            {name: split.with_format(None) for name, split in splits.items()},
            "the data set",
            size=asked.size,
            fit=asked.fit,
            test=test,
            skip_bad=asked.skip_bad,
            labels_as_numbers=asked.labels_as_numbers,
            skip_unlabelled=asked.skip_unlabelled,
            memory_limit=asked.memory_limit,
            progress=asked.progress,
            rendered=asked.rendered,
        )
    refuse("streams and transforms", asked.of_files())
    parts, _ = tables.part_splits([str(name) for name in splits], "the data set")
    if "train" not in parts:
        raise DataError(f"there is no training part; the splits are {', '.join(map(str, splits))}.")
    chosen = test if test is not None else next((parts[part] for part in ORDER if part in parts), None)
    return arrays.from_dataset(
        splits[parts["train"]],
        None if chosen is None else splits[chosen],
        labels_as_numbers=asked.labels_as_numbers,
        skip_unlabelled=asked.skip_unlabelled,
    )


def _as_items(split: Any) -> bool:
    """Whether the images are what iterating gives: of a stream, or made by a transform."""
    return not hasattr(split, "_fingerprint") or getattr(split, "format", {}).get("type") == "custom"
