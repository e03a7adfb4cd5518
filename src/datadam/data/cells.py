"""The cells of a table's picture column: bytes of any of Arrow's kinds, structs of bytes and path, or paths alone."""

from pathlib import Path
from typing import Any

from datadam.data.columns import IMAGE_COLUMNS, pick
from datadam.errors import DataError

PATH_COLUMNS = ("image_path", "path", "file", "file_name", "filename", "filepath")


def picture_column(schema: Any) -> str | None:
    """The column of pictures: one of encoded bytes if there is one, else one of paths."""
    kinds = {field.name: _plain(field.type) for field in schema}
    encoded = [name for name, kind in kinds.items() if _is_bytes(kind) or _holds(kind, "bytes")]
    paths = [name for name, kind in kinds.items() if _is_text(kind) or _holds(kind, "path")]
    only = encoded[0] if len(encoded) == 1 else None
    return pick(IMAGE_COLUMNS, encoded) or only or pick(IMAGE_COLUMNS, paths) or pick(PATH_COLUMNS, paths)


def _plain(kind: Any) -> Any:
    """The type of what is stored, without dictionaries and extensions around it."""
    import pyarrow as pa

    while isinstance(kind, (pa.BaseExtensionType, pa.DictionaryType)):
        kind = kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind.value_type
    return kind


def _is_bytes(kind: Any) -> bool:
    from pyarrow import types

    tests = (types.is_binary, types.is_large_binary, types.is_binary_view, types.is_fixed_size_binary)
    return any(test(kind) for test in tests)


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    return any(test(kind) for test in (types.is_string, types.is_large_string, types.is_string_view))


def _holds(kind: Any, field: str) -> bool:
    """Whether this is a struct with such a field, of bytes or of text."""
    from pyarrow import types

    if not types.is_struct(kind) or kind.get_field_index(field) < 0:
        return False
    inside = _plain(kind.field(field).type)
    return _is_bytes(inside) if field == "bytes" else _is_text(inside)


def source_of(cell: Any, folder: Path) -> str | bytes:
    """The picture in a cell: its bytes, or the file that it names, if that is there; b"" for none."""
    data, path = (cell.get("bytes"), cell.get("path")) if isinstance(cell, dict) else (cell, None)
    if isinstance(data, str):
        data, path = None, data
    return data or (path and _found(path, folder)) or b""


def _found(path: str, folder: Path) -> str | None:
    """A named file, which may be told from where the table lies."""
    place = folder / path
    return str(place) if place.is_file() else None


def named_files(table: Any, column: str, file: Path) -> list[Path]:
    """The files that the cells of a parquet file name where they have no bytes, as far as these are there.

    Raises DataError where no cell has bytes and none of the files named is there.
    """
    found: list[Path] = []
    missing, pictures = "", False
    for group in range(table.num_row_groups):
        without = _without_bytes(table, column, group)
        if without is False or (without is None and pictures):
            pictures = True
            continue
        for cell in table.read_row_group(group, columns=[column]).column(column).to_pylist():
            source = source_of(cell, file.parent)
            if isinstance(source, str):
                found.append(Path(source))
            elif source:
                pictures = True
            else:
                missing = missing or (cell if isinstance(cell, str) else (cell or {}).get("path")) or ""
    if missing and not pictures and not found:
        raise DataError(
            f"{file} holds paths of images and no images (column {column}, such as {missing}), and no such file is there. "
            f"Put the images where the paths say, from {file.parent} on, give the folder of images instead, or write the file "
            "with their bytes in it."
        )
    return found


def _without_bytes(table: Any, column: str, group: int) -> bool | None:
    """Whether a row group has cells without bytes, by the statistics of the file; None where they do not tell."""
    if _is_text(_plain(table.schema_arrow.field(column).type)):
        return True
    about = table.metadata.row_group(group)
    for i in range(about.num_columns):
        if about.column(i).path_in_schema == f"{column}.bytes":
            statistics = about.column(i).statistics
            return None if statistics is None or not statistics.has_null_count else statistics.null_count > 0
    return not _is_bytes(_plain(table.schema_arrow.field(column).type))
