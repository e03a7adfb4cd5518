"""Archives of numpy arrays (.npz) with real images."""

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from datadam import machine
from datadam.errors import DataError, NotEnoughMemory


def load_npz(path: Path) -> dict[str, npt.NDArray[Any]]:
    """The arrays of an .npz, without running anything. Raises DataError, also where a head says that there is more than there is,
    and NotEnoughMemory."""
    try:
        with zipfile.ZipFile(path) as packed:
            held = {item.filename.removesuffix(".npy"): item.file_size for item in packed.infolist()}
        if (needed := sum(held.values())) > (free := machine.available_memory() // 2):
            raise NotEnoughMemory(
                f"{path} unpacks to {needed} bytes, and {free} are free for it; give the images as a folder or as parquet, which "
                "are read in pieces"
            )
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {key: arrays[key] for key in arrays.files}
    except MemoryError as error:  # numpy makes room for what a head says before it reads what there is
        raise DataError(
            f"{path} says that it holds more than the {needed} bytes that are in it: it is damaged, or somebody has changed it. "
            "Fetch or write it again."
        ) from error
    except NotEnoughMemory:
        raise
    except (OSError, ValueError, EOFError, TypeError, OverflowError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path} cannot be read as an .npz of plain arrays: {error}.") from error
