"""`dm`: res_METHOD_DATASET_NET_Nipc.pt of DatasetCondensation (DC, DSA, DM), DataDAM and DC-Bench; `datadam`: released sets;
`idc`: data.pt of IDC and DREAM."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from datadam.errors import ArtifactError
from datadam.exchange import torch_file
from datadam.exchange.base import Found, Outgoing, Wanted
from datadam.exchange.limits import bytes_of
from datadam.exchange.sidecar import NAME as SIDECAR
from datadam.exchange.spelling import of_data, of_method, of_net

MOST_SETS = 100
EVERY = 2000  # iterations between two evaluations in the authors' code of DataDAM, which appends the images at each
FACTOR = re.compile(r"(?:^|_)factor([0-9]{1,2})(?=_|$)")
NAMED = re.compile(r"res_([A-Za-z0-9-]{1,40})_.*ipc_?\.pt")


def write(folder: Path, sets: Sequence[Outgoing]) -> None:
    """{"data": [[images, labels], ...], "accs_all_exps": {}}: one pair for each set; no accuracy of theirs is claimed."""
    one = sets[0]
    end = "ipc_" if one.method == "datadam" else "ipc"  # the authors of DataDAM end it so
    name = f"res_{of_method(one.method)}_{of_data(one.data)}_{of_net(one.net)}_{one.ipc}{end}.pt"
    pairs = [[each.images.clone(), each.labels.clone()] for each in sets]
    torch_file.save(folder / name, {"data": pairs, "accs_all_exps": {}})


def files(path: Path) -> list[Path]:
    """The file itself, or the one res_*.pt of a folder."""
    return _one(path, "res_*.pt")


def read(path: Path, wanted: Wanted) -> list[Found]:
    """Every set of the file; of the authors' code of DataDAM the last one, and the others as the same set on its way. Raises
    `ArtifactError`."""
    (place,) = files(path)
    pairs = _data(place, wanted, MOST_SETS)
    if not isinstance(pairs, list | tuple) or not 1 <= len(pairs) <= MOST_SETS:
        raise ArtifactError(
            f'{place}: ["data"] must list pairs of images and labels, 1 to {MOST_SETS} of them; {_came(pairs)} came'
        )
    _check_own(pairs, place)
    named = NAMED.fullmatch(place.name)
    found = [_pair(pair, place, wanted, named[1] if named else "") for pair in pairs]
    if named is None or named[1] != "DataDAM" or len(found) == 1:
        return found
    note = (
        f"{place.name} holds {len(found)} sets: the code of DataDAM appends the images at every evaluation of one run, each "
        f"{EVERY} iterations, the first before any. So the last one is the set, and the others were kept as its snapshots"
    )
    return [replace(found[-1], earlier=tuple(found[:-1]), notes=(*found[-1].notes, note))]


def write_released(folder: Path, sets: Sequence[Outgoing]) -> None:
    """syn_data_DATASET_ipc_N.pt with ["data"] = [images, labels], as the authors of DataDAM released theirs."""
    (one,) = sets
    name = f"syn_data_{of_data(one.data).lower()}_ipc_{one.ipc}.pt"
    torch_file.save(folder / name, {"data": [one.images.clone(), one.labels.clone()]})


def files_released(path: Path) -> list[Path]:
    """The file itself, or the one syn_data_*.pt of a folder."""
    return _one(path, "syn_data_*.pt")


def read_released(path: Path, wanted: Wanted) -> list[Found]:
    """One set. Raises `ArtifactError`."""
    (place,) = files_released(path)
    pair = _data(place, wanted, 1)
    _check_own([pair], place)
    return [_pair(pair, place, wanted, "DataDAM" if place.name.startswith("syn_data_") else "")]


def write_pair(folder: Path, sets: Sequence[Outgoing]) -> None:
    """data.pt with [images, labels]: pixels in [0, 1]."""
    (one,) = sets
    torch_file.save(folder / "data.pt", [one.images.clone(), one.labels.clone()])


def files_pair(path: Path) -> list[Path]:
    """The file itself, or data.pt of a folder."""
    return [path / "data.pt" if path.is_dir() else path]


def read_pair(path: Path, wanted: Wanted) -> list[Found]:
    """One set. IDC writes its factor into the name of the folder: parts of an image that are training images of their own. Raises
    `ArtifactError`."""
    (place,) = files_pair(path)
    pair = torch_file.load(place, bytes_of(wanted))
    if not isinstance(pair, list | tuple):
        raise ArtifactError(f"{place} is no pair of images and labels; {_came(pair)} came. Look with datadam list formats")
    _check_own([pair], place)
    found = _pair(pair, place, wanted, "")
    named = FACTOR.search(place.resolve().parent.name)
    factor = int(named[1]) if named else 1
    if factor > 1:
        note = (
            f"the folder's name says factor {factor}: each image was read as {factor} x {factor} training images (grid:{factor})"
        )
        return [replace(found, decoder=f"grid:{factor}", notes=(note,))]
    if named or (place.parent / SIDECAR).is_file():
        return [found]
    note = (
        "each image was read as one training image; if the set was made with a factor of 2, as IDC and DREAM mostly are, say so "
        "with decoder grid:2 (--decoder grid:2)"
    )
    return [replace(found, notes=(note,))]


def _one(path: Path, pattern: str) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(path.glob(pattern))
    if len(found) != 1:
        raise ArtifactError(f"{path} has {len(found)} files {pattern}; give the file itself")
    return found


def _data(place: Path, wanted: Wanted, sets: int) -> Any:
    whole = torch_file.load(place, bytes_of(wanted, sets))
    if not isinstance(whole, dict) or "data" not in whole:
        keys = ", ".join(str(key)[:20] for key in list(whole)[:5]) if isinstance(whole, dict) else type(whole).__name__
        cure = " Those are the weights of a network, not images." if isinstance(whole, dict) and "net_parameters" in whole else ""
        raise ArtifactError(f'{place} holds {keys or "nothing"}, and no "data".{cure} Look with datadam list formats')
    return whole["data"]


def _check_own(pairs: Sequence[Any], place: Path) -> None:
    """Raise `ArtifactError` when the sets together show more images than lie in the file: each set is laid out on its own, so one
    image that many sets share, or that a list names often, would fill the memory from a short file."""
    shown, held, seen = 0, 0, set()
    for pair in pairs:
        images = pair[0] if isinstance(pair, list | tuple) and pair else None
        for part in images if isinstance(images, list) else [images]:
            if isinstance(part, torch.Tensor):
                storage = part.untyped_storage()
                key, size, whole = storage.data_ptr(), part.numel() * part.element_size(), storage.nbytes()
            elif isinstance(part, np.ndarray):
                key, size, whole = id(part), part.nbytes, part.nbytes
            else:
                continue
            shown, held = shown + size, held + (0 if key in seen else whole)
            seen.add(key)
            if shown > held:
                raise ArtifactError(
                    f"{place} shows the same images in more than one place: {len(pairs)} sets need more bytes of images than the "
                    "file holds. Save each set with images of its own: images.clone()"
                )


def _pair(pair: Any, place: Path, wanted: Wanted, method: str) -> Found:
    if not isinstance(pair, list | tuple) or len(pair) != 2:
        raise ArtifactError(f"{place}: a set is a pair of images and labels; {_came(pair)} came")
    shapes: tuple[tuple[int, ...], ...] = (wanted.shape, ())
    images, labels = (torch.stack(part) if _listed(part, s, wanted) else part for part, s in zip(pair, shapes, strict=True))
    return Found(images=images, labels=labels, method=method)


def _listed(part: Any, shape: tuple[int, ...], wanted: Wanted) -> bool:
    """Whether this is a list of tensors of this shape, no longer than it may be."""
    tensors = isinstance(part, list) and 0 < len(part) <= wanted.most and all(isinstance(t, torch.Tensor) for t in part)
    return tensors and all(tuple(t.shape) == shape and t.dtype == part[0].dtype for t in part)


def _came(value: Any) -> str:
    return f"{len(value)} items" if isinstance(value, list | tuple) else type(value).__name__
