"""`datadam.json`, which lies beside exported files: normalisation, class names and origin, that the files leave unsaid."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datadam.data import Transform
from datadam.data.whitening import EPS, VARIANTS
from datadam.errors import ArtifactError
from datadam.files.whole import read_json

NAME = "datadam.json"
FORMAT = "datadam-exchange/1"


@dataclass(frozen=True)
class Sidecar:
    """`to`, the format; `digest` of the files; `classes`; `mean`, `std` and `zca` (a variant, or None) of the numbers, None for
    pixels; `method` and `origin`, words about the set before it was exported; `own_zca`, the whitening that it had then; `rate`,
    that of students which the set has learned (None: it has not); `counts`, images of each class, where labels are soft (None:
    they are hard); `decoder`, the word of what made these images of stored ones ("plain": they were stored); `sets`,
    how many the files hold."""

    to: str
    digest: str
    classes: tuple[str, ...]
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    zca: str | None
    own_zca: str | None
    method: str
    origin: str
    rate: float | None = None
    counts: tuple[int, ...] | None = None
    decoder: str = "plain"
    sets: int = 1


def digest(files: Sequence[Path], top: Path) -> str:
    """ "sha256:<hex>": of one file, its own; of several, of their names (below `top`) and digests."""
    hashes = []
    for file in files:
        try:
            with file.open("rb") as stream:
                hashes.append(hashlib.file_digest(stream, "sha256").hexdigest())
        except OSError as error:
            raise ArtifactError(f"{file} cannot be read: {error.strerror}; give the file or folder of a distilled set") from error
    if len(hashes) == 1:
        return f"sha256:{hashes[0]}"
    lines = sorted(f"{file.relative_to(top).as_posix()} {found}\n" for file, found in zip(files, hashes, strict=True))
    return f"sha256:{hashlib.sha256(''.join(lines).encode(errors='surrogateescape')).hexdigest()}"


def describe(transform: Transform | None) -> dict[str, Any]:
    """How the numbers of files come from pixels, as `datadam.json` says it (None: they are 8-bit pixels)."""
    if transform is None:
        return {"kind": "pixels, 8 bits", "mean": None, "std": None, "zca": None}
    return {"kind": "float32", **transform.to_card()}


def read(path: Path) -> Sidecar | None:
    """The file beside `path`, or in it if that is a folder; None without one. Raises `ArtifactError` for one that is not ours."""
    place = (path if path.is_dir() else path.parent) / NAME
    if not place.is_file():
        return None
    if place.stat().st_size > 1 << 24:
        raise _refused(place, "it is far too large")
    found = read_json(place)
    numbers = found.get("numbers") if isinstance(found, dict) else None
    origin = found.get("set") if isinstance(found, dict) else None
    if not isinstance(numbers, dict) or not isinstance(origin, dict) or found.get("format") != FORMAT:
        raise _refused(place, f"it is no {FORMAT}")
    classes, mean, std = found.get("classes"), numbers.get("mean"), numbers.get("std")
    rate, decoder = found.get("rate"), found.get("decoder", "plain")
    counts = found.get("counts", []) if found.get("labels", "hard") == "soft" else None
    sound = (
        all(isinstance(found.get(key), str) for key in ("as", "digest"))
        and isinstance(classes, list)
        and all(isinstance(name, str) for name in classes)
        and (mean is None) == (std is None)
        and all(isinstance(origin.get(key), str) for key in ("method", "origin"))
        and (mean is None or std is None or (_numbers(mean) and _numbers(std) and len(mean) == len(std) > 0 and min(std) > 0))
        and (rate is None or (_numbers([rate]) and rate > 0))
        and (counts is None or (_numbers(counts) and len(counts) == len(classes) and all(n > 0 for n in counts)))
        and isinstance(decoder, str)
        and type(found.get("sets", 1)) is int
    )
    variants = [numbers.get("zca"), origin.get("zca")]
    if not sound or not all(_variant(one) for one in variants):
        raise _refused(place, "parts of it are missing or wrong")
    names = [None if one is None else str(one["variant"]) for one in variants]
    return Sidecar(
        found["as"], found["digest"], tuple(classes), None if mean is None else tuple(map(float, mean)),
        None if std is None else tuple(map(float, std)), names[0], names[1], origin["method"], origin["origin"],
        None if rate is None else float(rate), None if counts is None else tuple(map(int, counts)), decoder,
        found.get("sets", 1),
    )  # fmt: skip


def _numbers(value: Any) -> bool:
    return isinstance(value, list) and all(type(n) in (int, float) and math.isfinite(n) for n in value)


def _variant(value: Any) -> bool:
    return value is None or (isinstance(value, dict) and value.get("variant") in VARIANTS and value.get("eps") == EPS)


def _refused(place: Path, why: str) -> ArtifactError:
    return ArtifactError(
        f"{place} does not say what the files beside it are ({why}). Export them again, or move it away and say what you know "
        "with --mean, --std and --zca"
    )
