"""`parquet`: a table of PNG images and labels, as the Hugging Face hub keeps data sets."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from datadam.data.labels import Labels
from datadam.data.numbering import joined
from datadam.errors import ArtifactError
from datadam.exchange.base import Found, Outgoing, Wanted
from datadam.exchange.limits import SPARE, bytes_of, cell, read_whole
from datadam.exchange.pages import unpacked
from datadam.exchange.pictures import check_channels, decode, encode
from datadam.files.whole import replacing

PLACE = Path("data") / "train-00000-of-00001.parquet"
LARGEST_STRING = 1 << 20  # bytes of one name in the file's head
LONGEST_NAME = 10_000  # letters of a class's name
BATCH = 1000  # rows read at a time


def write(folder: Path, sets: Sequence[Outgoing]) -> None:
    """data/train-00000-of-00001.parquet with the columns image (PNG) and label (a named class)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    (one,) = sets
    check_channels(one.images.shape[1], "parquet")
    cells = [{"bytes": encode(image), "path": None} for image in one.images]
    features = {"image": {"_type": "Image"}, "label": {"names": list(one.classes), "_type": "ClassLabel"}}
    about = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    schema = pa.schema([("image", kind), ("label", pa.int64())], metadata=about)
    table = pa.table({"image": pa.array(cells, kind), "label": pa.array(one.labels.tolist(), pa.int64())}, schema=schema)
    (folder / PLACE.parent).mkdir()
    with replacing(folder / PLACE) as partial:
        pq.write_table(table, partial)


def size(folder: Path) -> int:
    """Bytes of the table of an export when it is loaded, as the hub counts them."""
    import pyarrow.parquet as pq

    return int(pq.read_table(folder / PLACE).nbytes)


def files(path: Path) -> list[Path]:
    """The file itself, or all files of a folder."""
    return sorted(path.rglob("*.parquet")) if path.is_dir() else [path]


def read(path: Path, wanted: Wanted) -> list[Found]:
    """Raises `ArtifactError` for a table without images and labels, or that is not sound."""
    try:
        tables = _tables(path, wanted)
    except ArtifactError:
        raise
    except Exception as error:  # hostile bytes can make Arrow raise nearly anything
        words = str(error).splitlines()
        raise ArtifactError(
            f"{path} is no sound parquet file ({type(error).__name__}: {words[0][:200] if words else 'no reason given'}); it is "
            "truncated, damaged or something else"
        ) from error
    if not any(table.cells for table in tables):
        raise ArtifactError(f"{path} holds no image")
    images = [decode(cell, wanted, f"{table.place.name}, row {i},") for table in tables for i, cell in enumerate(table.cells)]
    labels, names, notes = _numbered([table for table in tables if table.cells], path)
    return [Found(images=torch.stack(images), labels=labels, names=names, notes=notes)]


class _Table(NamedTuple):
    """One file: encoded images, their labels, and what the hub's head calls the classes (None: nothing)."""

    place: Path
    cells: list[bytes]
    labels: list[Any]
    names: list[str] | None


def _numbered(tables: list[_Table], path: Path) -> tuple[torch.Tensor, tuple[str, ...] | None, tuple[str, ...]]:
    """Class numbers, names and notes of all files together, each of which may have its own names, in its own order."""
    labels = [label for table in tables for label in table.labels]
    if not all(type(label) in (int, float, str) for label in labels):
        raise ArtifactError(f"{path} has labels that are missing, or neither numbers nor words")
    words = any(isinstance(label, str) for label in labels)
    try:
        if not words and all(table.names is None for table in tables):
            return torch.tensor(labels), None, ()
        found = joined([_labels_of(table) for table in tables])
        return torch.from_numpy(found.train), found.classes, found.notes
    except (ValueError, RuntimeError, OverflowError, TypeError) as error:
        raise ArtifactError(f"{path} has labels that are no class numbers ({error})") from error


def _labels_of(table: _Table) -> Labels:
    if all(isinstance(label, str) for label in table.labels):
        known, numbers = np.unique(np.array(table.labels), return_inverse=True)
        return Labels(numbers.astype(np.int64), tuple(str(name) for name in known), table.place.name, words=True)
    if odd := [label for label in table.labels if isinstance(label, str) or label != int(label)]:
        raise ValueError(f"such as {str(odd[0])[:60]!r} among numbers")
    names = None if table.names is None else tuple(table.names)
    return Labels(np.array([int(label) for label in table.labels], dtype=np.int64), names, table.place.name)


def _tables(path: Path, wanted: Wanted) -> list[_Table]:
    found: list[_Table] = []
    rows, taken, most = 0, 0, bytes_of(wanted)
    for place in files(path):
        whole = read_whole(place, most)
        unpacked(whole, most, str(place))
        with _open(whole, []) as table:
            image, label, words = _columns(table, place, wanted)
            found.append(_Table(place, [], [], _names(table.schema_arrow.metadata, label)))
        # A column that points to one image sixty thousand times is read as one image and sixty thousand pointers.
        with _open(whole, [image, label] if words else [image]) as table:
            for batch in table.iter_batches(BATCH, columns=[image, label], use_threads=False):
                cells = _cells(batch.column(0), place, cell(wanted))
                found[-1].cells.extend(cells)
                found[-1].labels.extend(_labels(batch.column(1), place))
                rows, taken = rows + len(cells), taken + sum(len(one) for one in cells)
                if rows > wanted.most or taken > most:
                    raise ArtifactError(
                        f"{path} has {rows} images of {taken} bytes and more; the data have {wanted.most}, and a set as "
                        f"large as they are has {most} bytes at most: that is no distilled set of theirs"
                    )
    return found


def _open(whole: bytes, dictionaries: list[str]) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    return pq.ParquetFile(
        pa.BufferReader(whole), thrift_string_size_limit=LARGEST_STRING, thrift_container_size_limit=LARGEST_STRING,
        pre_buffer=False, read_dictionary=dictionaries,
    )  # fmt: skip


def _columns(table: Any, place: Path, wanted: Wanted) -> tuple[str, str, bool]:
    """The paths of the columns of images and labels, and whether labels are words. Raises `ArtifactError` for other columns."""
    from pyarrow import types

    schema, about = table.schema_arrow, table.metadata
    columns = {name.lower(): name for name in schema.names}
    if not {"image", "label"} <= set(columns):
        raise ArtifactError(f"{place} has the columns {', '.join(schema.names)[:200]}; image and label are needed")
    image, label = schema.field(columns["image"]), schema.field(columns["label"])
    inside = types.is_struct(image.type)
    kind = image.type.field("bytes").type if inside else image.type
    if not (types.is_binary(kind) or types.is_large_binary(kind)):
        raise ArtifactError(f"{place} has a column image of {image.type}; encoded images are needed")
    kind = label.type.value_type if types.is_dictionary(label.type) else label.type
    words = types.is_string(kind) or types.is_large_string(kind)
    if not (words or types.is_integer(kind) or types.is_floating(kind)):  # lists in a cell would have no end
        raise ArtifactError(f"{place} has labels of {label.type}, which are neither numbers nor words")
    # not by column: Arrow aborts the process when the heads of columns contradict one another
    sizes = [about.row_group(g).total_byte_size for g in range(about.num_row_groups)]
    if about.num_rows > wanted.most or sum(sizes) > 4 * bytes_of(wanted) + SPARE or any(size < 0 for size in sizes):
        raise ArtifactError(
            f"{place} says that it holds {about.num_rows} rows of {sum(sizes)} bytes; the data have {wanted.most} "
            "images: that is no distilled set of theirs"
        )
    return (f"{image.name}.bytes" if inside else image.name), label.name, words


def _cells(column: Any, place: Path, most: int) -> list[bytes]:
    """The encoded images of some rows; equal ones are one object."""
    import pyarrow as pa

    if pa.types.is_struct(column.type):
        (column,) = column.flatten()  # missing structures become missing bytes
    if column.null_count:
        raise ArtifactError(f"{place} lacks the bytes of some images; it may name files that lie elsewhere, which are not read")
    numbers = column.indices.to_pylist()
    lengths = {n: column.dictionary[n].as_buffer().size for n in set(numbers)}
    if lengths and (largest := max(lengths.values())) > most:
        raise ArtifactError(f"{place} holds an encoded image of {largest} bytes; one of these data has {most} at most")
    held = {n: column.dictionary[n].as_py() for n in lengths}
    return [held[n] for n in numbers]


def _labels(column: Any, place: Path) -> list[Any]:
    """The labels of some rows; None where one is missing."""
    import pyarrow as pa

    if not pa.types.is_dictionary(column.type):
        return list(column.to_pylist())
    numbers = column.indices.to_pylist()
    held = {n: column.dictionary[n].as_py() for n in set(numbers) - {None}}
    if any(isinstance(name, str) and len(name) > LONGEST_NAME for name in held.values()):
        raise ArtifactError(f"{place} has labels of more than {LONGEST_NAME} letters; those are no names of classes")
    return [held.get(n) for n in numbers]


def _names(metadata: Any, label: str) -> list[str] | None:
    """The names of the classes, as the hub writes them into the head of the file."""
    given = (metadata or {}).get(b"huggingface")
    if given is None or len(given) > LARGEST_STRING:
        return None
    about = json.loads(given)
    for key in ("info", "features", label, "names"):
        about = about.get(key) if isinstance(about, dict) else None
    return [str(name) for name in about] if isinstance(about, list) else None
