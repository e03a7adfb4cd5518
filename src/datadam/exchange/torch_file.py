"""Files of `torch.save`, written by others: read without running what is in them."""

import io
import warnings
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from datadam.errors import ArtifactError, NotEnoughMemory
from datadam.exchange import pickles
from datadam.exchange.limits import read_whole
from datadam.files.whole import replacing

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # of torch before 1.6, which wrote no archives
DTYPES = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?")
KEPT = ("data.pkl", "version", "byteorder")  # records besides data/*: what else torch writes is not needed to read


def load(path: Path, most: int, what: str = "images") -> Any:
    """What was saved: tensors, numbers, numpy's numbers and arrays, in lists, tuples and mappings.

    Arguments: `most`, bytes that the file may have; `what` is looked for, in words.
    Raises ArtifactError for a file that is damaged, is something else, or needs
    anything beyond these to be loaded; NotEnoughMemory.
    """
    whole = read_whole(path, most)

    def refuse(name: str) -> ArtifactError:
        return ArtifactError(
            f"{path} wants {name!r}, which {what} do not need, and which could run a program hidden in the file; only tensors of "
            f"real numbers and numpy's numbers are read. {pickles.RESAVE}"
        )

    scan = partial(pickles.Scan, str(path), most, refuse)
    clean = _archive(whole, path, scan) if whole.startswith(b"PK") else _old(whole, path, scan)
    try:
        with torch.serialization.safe_globals(_safe()), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of storages that are to be renamed some day
            return torch.load(clean, map_location="cpu", weights_only=True)
    except MemoryError as error:
        raise NotEnoughMemory(f"{path} does not fit into the memory") from error
    except Exception as error:  # hostile bytes can make torch raise nearly anything
        why = str(error).strip().splitlines()
        raise ArtifactError(
            f"{path} cannot be loaded as tensors ({type(error).__name__}: {why[0][:200] if why else 'no reason given'}); it is "
            f"damaged, or made by a torch that is newer than {torch.__version__}"
        ) from error


def save(path: Path, value: Any) -> None:
    """Write with `torch.save`, whole or not at all."""
    with replacing(path) as unfinished:
        torch.save(value, unfinished)


def _archive(whole: bytes, path: Path, make: Callable[[], pickles.Scan]) -> io.BytesIO:
    """A clean copy of an archive whose records were checked, so that no other reading of its directory counts."""
    try:
        with zipfile.ZipFile(io.BytesIO(whole)) as archive:
            entries = archive.infolist()
            top = next((e.filename.removesuffix("data.pkl") for e in entries if e.filename.count("/") == 1
                        and e.filename.endswith("/data.pkl")), None)  # fmt: skip
            if top is None:
                raise ArtifactError(f"{path} is an archive, but not of torch.save; give the file that holds the images")
            if any(entry.filename == f"{top}constants.pkl" for entry in entries):
                raise ArtifactError(f"{path} is a program of TorchScript, not a set of images")
            wanted = [e for e in entries if e.filename.removeprefix(top) in KEPT or e.filename.startswith(f"{top}data/")]
            names = [entry.filename for entry in wanted]
            if len(set(names)) < len(names):
                raise ArtifactError(f"{path} holds two records of one name; it is damaged or was tampered with")
            if any(e.compress_type != zipfile.ZIP_STORED for e in wanted) or sum(e.file_size for e in wanted) > len(whole):
                raise ArtifactError(
                    f"{path} is packed, or says that it is larger than it is; torch.save packs nothing: it was tampered with"
                )
            records = {entry.filename.removeprefix(top): archive.read(entry) for entry in wanted}
    except ArtifactError:
        raise
    except Exception as error:  # hostile bytes can make zipfile raise nearly anything
        raise ArtifactError(f"{path} is truncated or damaged ({type(error).__name__}: {error}); fetch it again") from error
    if records.get("byteorder", b"little") not in (b"little", b"big"):
        raise ArtifactError(f"{path} names no order of bytes that there is; it is damaged")
    scan = make()
    scan.run(io.BytesIO(records["data.pkl"]))
    for claim in scan.claims:
        held = len(records.get(f"data/{claim.key}", b""))
        if held < claim.bytes:
            raise ArtifactError(f"{path} holds {held} bytes of a tensor of {claim.bytes}; it is truncated or was tampered with")
    clean = io.BytesIO()
    with zipfile.ZipFile(clean, "w") as out:
        for name, record in records.items():
            out.writestr(f"archive/{name}", record)
    clean.seek(0)
    return clean


def _old(whole: bytes, path: Path, make: Callable[[], pickles.Scan]) -> io.BytesIO:
    """A file of torch before 1.6: five pickles, then the storages one after the other."""
    stream = io.BytesIO(whole)
    scans = [make() for _ in range(5)]
    if not whole.startswith(b"\x80\x02"):
        raise ArtifactError(f"{path} is no file of torch.save; it is truncated, renamed or something else")
    head = [scan.run(stream) for scan in scans]
    if head[:2] != [MAGIC, PROTOCOL]:
        raise ArtifactError(f"{path} is a pickle, but not of torch.save; only tensors are read. {pickles.RESAVE}")
    claimed: dict[str, int] = {}
    for claim in (claim for scan in scans for claim in scan.claims):
        claimed[claim.key] = max(claim.bytes, claimed.get(claim.key, 0))
    if sum(claimed.values()) + 8 * len(claimed) > len(whole) - stream.tell():
        raise ArtifactError(f"{path} lacks the end of its tensors; it is truncated: fetch it again")
    return io.BytesIO(whole)


def _safe() -> list[Any]:
    """The allow-list: numpy's numbers and arrays of numbers, under the names that numpy 1 and numpy 2 give them."""
    from numpy._core import multiarray

    found: list[Any] = [np.ndarray, np.dtype, *(type(np.dtype(name)) for name in DTYPES)]
    found += [(getattr(multiarray, name.rpartition(".")[2]), name) for name in pickles.NUMPY]
    return found
