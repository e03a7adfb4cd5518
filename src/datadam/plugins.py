"""What installed packages add: methods, networks and data sets, by entry points of their own.

    [project.entry-points."datadam.methods"]
    tiny = "tiny_datadam:Tiny"              # a subclass of datadam.methods.Method
    [project.entry-points."datadam.nets"]
    tinynet = "tiny_datadam:TINYNET"        # a datadam.nets.Row
    [project.entry-points."datadam.data"]
    tinydata = "tiny_datadam:TINYDATA"      # a datadam.data.Row

A package is imported when a name of its is asked for that none of our catalogs has, or when names are listed.
"""

import re
import sys
from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from datadam.errors import InvalidInput

T = TypeVar("T")
Check = Callable[[str, object], T]  # gives what was loaded under a name; raises InvalidInput where it is of another kind
KINDS = {"methods": "method", "nets": "network", "data": "data set"}
NAME = re.compile(r"[a-z][a-z0-9_-]*")
LOADED: dict[tuple[str, str], tuple[str, str, object]] = {}  # package, version, what it gave: by kind and name


class Listed(NamedTuple, Generic[T]):
    """A catalog with what packages add: the `rows` by name, the `package` of each that is not ours, and in `remarks` what cannot
    be used, and why."""

    rows: dict[str, T]
    package: dict[str, str]
    remarks: list[str]


def names(kind: str) -> list[str]:
    """The names that installed packages offer; none of them is imported."""
    return sorted({point.name for point in _offered(kind)})


def find(kind: str, name: str, check: Check[T]) -> T | None:
    """What an installed package offers under this name, or None.

    Arguments: `kind`, "methods", "nets" or "data"; `check`, which knows what is of this kind.
    Raises `InvalidInput`, with package and entry point, for what cannot be imported, is no such thing, or is offered twice.
    """
    if (kind, name) in LOADED:
        return check(name, LOADED[kind, name][2])
    points = [point for point in _offered(kind) if point.name == name]
    if not points:
        return None
    if len(points) > 1:
        both = " and ".join(_package(point) for point in points)
        raise InvalidInput(
            f"the {KINDS[kind]} {name!r} is offered by {both}; keep one of these packages and uninstall the others"
        )
    return _load(kind, points[0], check)


def listed(kind: str, ours: Mapping[str, T], check: Check[T]) -> Listed[T]:
    """Our catalog, then what installed packages add to it; a name of ours stays ours."""
    found: Listed[T] = Listed(dict(ours), {}, [])
    for name in names(kind):
        if name in ours:
            packages = " and ".join(_package(point) for point in _offered(kind) if point.name == name)
            found.remarks.append(f"{packages} offers a {KINDS[kind]} {name!r}, which datadam has itself: datadam's own is used")
            continue
        try:
            row = find(kind, name, check)
            if row is not None:
                found.rows[name] = row
            found.package[name] = " ".join(LOADED[kind, name][:2])
        except InvalidInput as error:
            found.remarks.append(str(error))
    return found


def versions() -> dict[str, str]:
    """The packages from which something was taken, with their versions."""
    return {package: version for package, version, _ in LOADED.values()}


def _offered(kind: str) -> list[EntryPoint]:
    return list(_installed(tuple((place, _changed(place)) for place in sys.path))[kind])


@lru_cache(maxsize=1)
def _installed(places: tuple[tuple[str, int], ...]) -> dict[str, list[EntryPoint]]:
    """The entry points of each kind: read anew where packages came or went, since reading those of all takes long."""
    found = entry_points()
    return {kind: list(found.select(group=f"datadam.{kind}")) for kind in KINDS}


def _changed(place: str) -> int:
    """When a folder of packages was changed last."""
    try:
        return Path(place or ".").stat().st_mtime_ns
    except OSError:
        return 0


def _load(kind: str, point: EntryPoint, check: Check[T]) -> T:
    where = f"the {KINDS[kind]} {point.name!r} of {_package(point)} (entry point {point.group}: {point.name} = {point.value})"
    if not NAME.fullmatch(point.name):
        raise InvalidInput(f"{where} cannot be used: a name is lower-case letters, digits, - and _, and begins with a letter")
    try:
        loaded = point.load()
    except Exception as error:  # whatever a foreign package does when it is imported
        cure = "update the package or uninstall it"
        raise InvalidInput(f"{where} cannot be loaded: {type(error).__name__}: {error}; {cure}") from error
    try:
        value = check(point.name, loaded)
    except InvalidInput as error:
        raise InvalidInput(f"{where} cannot be used: {error}") from error
    LOADED[kind, point.name] = (*_parts(point), loaded)
    return value


def _parts(point: EntryPoint) -> tuple[str, str]:
    return (point.dist.name, point.dist.version) if point.dist else ("without a name", "")


def _package(point: EntryPoint) -> str:
    return " ".join(("the package", *_parts(point))).strip()
