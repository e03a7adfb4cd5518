"""`parquet`: a table of PNG images and labels, as the Hugging Face hub keeps data sets."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from datadam.errors import ArtifactError
from datadam.exchange.base import Found, Outgoing, Wanted
from datadam.exchange.limits import SPARE, bytes_of
from datadam.exchange.pictures import check_channels, decode, encode
from datadam.storage import replacing

PLACE = Path("data") / "train-00000-of-00001.parquet"
LARGEST_STRING = 1 << 20  # bytes of one name in the file's head


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
    images = [decode(cell, wanted, f"{path.name}, row {i},") for i, (cell, _) in enumerate(rows)]
    try:
        return [Found(images=torch.stack(images), labels=torch.tensor(labels))]
    except (ValueError, RuntimeError, OverflowError) as error:
        raise ArtifactError(f"{path} has labels that are no class numbers ({error})") from error


def _rows(path: Path, wanted: Wanted) -> tuple[list[tuple[bytes, Any]], list[str] | None]:
    """(encoded image, label) of each row, and the classes' names if the file has them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    found: list[tuple[bytes, Any]] = []
    names: list[str] | None = None
    most = bytes_of(wanted)
    for place in files(path):
        if place.stat().st_size > most:
            raise ArtifactError(f"{place} has {place.stat().st_size} bytes, more than a set as large as the real data would have")
        with pq.ParquetFile(
            place, thrift_string_size_limit=LARGEST_STRING, thrift_container_size_limit=LARGEST_STRING, pre_buffer=False
        ) as table:
            schema, about = table.schema_arrow, table.metadata
            columns = {name.lower(): name for name in schema.names}
            if not {"image", "label"} <= set(columns):
                raise ArtifactError(f"{place} has the columns {', '.join(schema.names)[:200]}; image and label are needed")
            image, label = schema.field(columns["image"]), schema.field(columns["label"])
            kind = image.type.field("bytes").type if pa.types.is_struct(image.type) else image.type
            if not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
                raise ArtifactError(f"{place} has a column image of {image.type}; encoded images are needed")
            # not by column: Arrow aborts the process when the heads of columns contradict one another
            sizes = [about.row_group(g).total_byte_size for g in range(about.num_row_groups)]
            if about.num_rows > wanted.most or sum(sizes) > 4 * most + SPARE or any(size < 0 for size in sizes):
                raise ArtifactError(
                    f"{place} says that it holds {about.num_rows} rows of {sum(sizes)} bytes; the data have {wanted.most} "
                    "images: that is no distilled set of theirs"
                )
            read = table.read(columns=[image.name, label.name])
            names = _names(schema.metadata, label.name) or names
        cells, labels = read.column(image.name).to_pylist(), read.column(label.name).to_pylist()
        bare = [cell.get("bytes") if isinstance(cell, dict) else cell for cell in cells]
        whole = [cell for cell in bare if isinstance(cell, bytes)]
        if len(whole) < len(bare):
            raise ArtifactError(
                f"{place} lacks the bytes of some images; it may name files that lie elsewhere, which are not read"
            )
        found += zip(whole, labels, strict=True)
        if len(found) > wanted.most:
            raise ArtifactError(f"{path} has more images than the {wanted.most} real ones; that is no distilled set")
    return found, names


def _names(metadata: Any, label: str) -> list[str] | None:
    """The names of the classes, as the hub writes them into the head of the file."""
    given = (metadata or {}).get(b"huggingface")
    if given is None or len(given) > LARGEST_STRING:
        return None
    about = json.loads(given)
    for key in ("info", "features", label, "names"):
        about = about.get(key) if isinstance(about, dict) else None
    return [str(name) for name in about] if isinstance(about, list) else None
