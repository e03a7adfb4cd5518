"""`parquet`: a table of PNG images and labels, as the Hugging Face hub keeps data sets."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

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


def files(path: Path) -> list[Path]:
    """The file itself, or all files of a folder."""
    return sorted(path.rglob("*.parquet")) if path.is_dir() else [path]


def read(path: Path, wanted: Wanted) -> list[Found]:
    """Raises `ArtifactError` for a table without images and labels, or that is not sound."""
    try:
        rows, names = _rows(path, wanted)
    except ArtifactError:
        raise
    except Exception as error:  # hostile bytes can make Arrow raise nearly anything
        words = str(error).splitlines()
        raise ArtifactError(
            f"{path} is no sound parquet file ({type(error).__name__}: {words[0][:200] if words else 'no reason given'}); it is "
            "truncated, damaged or something else"
        ) from error
    if not rows:
        raise ArtifactError(f"{path} holds no image")
    labels = [label for _, label in rows]
    if names is not None and set(names) != set(wanted.classes) and len(names) != len(wanted.classes):
        raise ArtifactError(f"{path} names {len(names)} classes, and the data have {len(wanted.classes)}; name their --data")
    if names is not None and set(names) == set(wanted.classes) and all(type(n) is int and 0 <= n < len(names) for n in labels):
        labels = [wanted.classes.index(names[label]) for label in labels]
    if all(isinstance(label, str) for label in labels):
        unknown = sorted(set(labels) - set(wanted.classes))
        if unknown:
            raise ArtifactError(
                f"{path} has labels that are no class of the data, such as {unknown[0][:60]!r}; name their --data"
            )
        labels = [wanted.classes.index(label) for label in labels]
    if not all(type(label) in (int, float) for label in labels):
        raise ArtifactError(f"{path} has labels that are missing, or neither numbers nor words")
    images = [decode(encoded, wanted, f"{path.name}, row {i},") for i, (encoded, _) in enumerate(rows)]
    try:
        return [Found(images=torch.stack(images), labels=torch.tensor(labels))]
    except (ValueError, RuntimeError, OverflowError) as error:
        raise ArtifactError(f"{path} has labels that are no class numbers ({error})") from error


def _rows(path: Path, wanted: Wanted) -> tuple[list[tuple[bytes, Any]], list[str] | None]:
    """(encoded image, label) of each row, and the classes' names if the file has them."""
    found: list[tuple[bytes, Any]] = []
    names: list[str] | None = None
    taken, most = 0, bytes_of(wanted)
    for place in files(path):
        whole = read_whole(place, most)
        unpacked(whole, most, str(place))
        with _open(whole, []) as table:
            image, label, words = _columns(table, place, wanted)
            names = _names(table.schema_arrow.metadata, label) or names
        # A column that points to one image sixty thousand times is read as one image and sixty thousand pointers.
        with _open(whole, [image, label] if words else [image]) as table:
            for batch in table.iter_batches(BATCH, columns=[image, label], use_threads=False):
                cells = _cells(batch.column(0), place, cell(wanted))
                found += zip(cells, _labels(batch.column(1), place), strict=True)
                taken += sum(len(one) for one in cells)
                if len(found) > wanted.most or taken > most:
                    raise ArtifactError(
                        f"{path} has {len(found)} images of {taken} bytes and more; the data have {wanted.most}, and a set as "
                        f"large as they are has {most} bytes at most: that is no distilled set of theirs"
                    )
    return found, names


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
