"""Archives of numpy arrays (.npz), read without running what is in them, and no larger than they may be."""

import io
import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from datadam import machine
from datadam.errors import ArtifactError, InvalidInput, NotEnoughMemory
from datadam.exchange.limits import read_whole
from datadam.files.whole import replacing

LONGEST_HEADER = 10_000
TEXT = "U"
LAST_LETTER = 0x10FFFF  # of Unicode; numpy fails at more


def load(path: Path, wanted: Mapping[str, str], most: int) -> dict[str, npt.NDArray[Any]]:
    """Those of the `wanted` arrays that are there; `wanted` names each with the kinds of numbers it may have (dtype.kind).

    Argument: `most`, bytes that the file, and the arrays together, may have. Raises ArtifactError.
    """
    whole = read_whole(path, most)
    found: dict[str, npt.NDArray[Any]] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(whole)) as archive:
            entries = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
            chosen = {name: entries[name] for name in wanted if name in entries}
            if (total := sum(entry.file_size for entry in chosen.values())) > most:
                raise ArtifactError(f"{path} unpacks to {total} bytes, and a set as large as the real data has {most} at most")
            if total > machine.available_memory() // 4:
                raise NotEnoughMemory(f"{path} unpacks to {total} bytes, and takes four times as many to read; free some memory")
            for name, entry in chosen.items():
                with archive.open(entry) as file:
                    found[name] = _array(file, entry.file_size, wanted[name], f"{path}: {name}")
    except InvalidInput:
        raise
    except Exception as error:  # hostile bytes can make zipfile and numpy raise nearly anything
        words = str(error).splitlines()
        raise ArtifactError(
            f"{path} is no sound .npz ({type(error).__name__}: {words[0][:200] if words else 'no reason given'}); it is "
            "truncated, damaged or something else"
        ) from error
    return found


def save(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write an .npz, whole or not at all."""
    with replacing(path) as partial, partial.open("wb") as file:
        np.savez(file, allow_pickle=False, **dict(arrays))


def _array(file: Any, size: int, kinds: str, what: str) -> npt.NDArray[Any]:
    """One array: its header is judged before its numbers are read."""
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ArtifactError(f"{what} is written in version {version} of numpy's format; 1.0 and 2.0 are read")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file, max_header_size=LONGEST_HEADER)
    if dtype.kind not in kinds or dtype.hasobject or dtype.itemsize > (8 if dtype.kind != TEXT else 4 * LONGEST_HEADER):
        raise ArtifactError(f"{what} is of the kind {dtype}; arrays of plain numbers are read, and objects never")
    bytes_needed = math.prod(shape) * dtype.itemsize
    if any(side < 0 for side in shape) or bytes_needed > size:
        raise ArtifactError(f"{what} says it is {list(shape)} of {dtype}, {bytes_needed} bytes, and {size} are there")
    data = file.read(bytes_needed)
    if dtype.kind == TEXT:
        letters = np.frombuffer(data, dtype=np.dtype("u4").newbyteorder(dtype.byteorder))
        if ((letters > LAST_LETTER) | ((letters >= 0xD800) & (letters <= 0xDFFF))).any():
            raise ArtifactError(f"{what} holds what are no letters; it is damaged")
    array = np.frombuffer(data, dtype=dtype)
    return array.reshape(shape, order="F" if fortran else "C")
