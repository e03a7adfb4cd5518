"""A table or figure of a paper as data: the comparisons that it consists of, and the published numbers.

A file of `tables/` names its title and source, how published numbers spread, notes on where paper and protocol differ, and parts:

    [[part]]
    by = "compare"              # what makes it: also "search", "continual", "stages" (a set at several stages of its making)
    data = "cifar10"            # a named data set
    ipc = [1, 10]               # images per class
    nets = ["convnet"]          # students' networks, by the names of scales.py or as `compare` takes them, NET@AUGMENT too
    protocol = "honest"
    whole = true                # a last row, the whole training set
    measure = "accuracy"        # or "seconds" an iteration, "memory", peak MB; of a search also "correlation", "correlation of
                                # the best" fifth, and "minutes" of training
    iterations = 100            # at full scale, instead of the presets'
    pool = true                 # networks trained on the real set first: {pool} in a word
    [part.settings]             # of a search: space, epochs, ...; of learning class after class: steps; of stages: their shares
    [part.methods]              # row -> a word as `compare` takes it; {alexnet} is that network at the scale
    [part.published]            # row -> numbers as printed, for each ipc the networks one after another; "" for none
    [part.absent]               # row that is published and not made -> why
    [part.notes]                # row -> what is to be known of its published numbers
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from typing import Any

from datadam.errors import InvalidInput, UnknownName
from datadam.settings import refuse

WHOLE_SET = "Whole set"
MEASURES = ("accuracy", "seconds", "memory", "correlation", "correlation of the best", "minutes")
NOT_AVAILABLE: dict[str, str] = {
    "course2": "settings and no results: they are the presets course-mnist and course-mhist",
}
"""What is asked for by name and is not made here, and why."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of a table, as the head of this file says."""

    data: str
    ipc: tuple[int, ...]
    methods: Mapping[str, str]
    published: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    nets: tuple[str, ...] = ("convnet",)
    protocol: str = "honest"
    whole: bool = False
    measure: str = "accuracy"
    iterations: int | None = None
    pool: bool = False
    by: str = "compare"
    settings: Mapping[str, Any] = field(default_factory=dict)
    absent: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)

    def printed(self, row: str, ipc: int | None, net: str) -> str:
        """The published number of a row as printed; "" where there is none."""
        numbers = self.published.get(row, ())
        if ipc is not None and ipc not in self.ipc:
            return ""
        place = self.nets.index(net) + (0 if ipc is None else self.ipc.index(ipc) * len(self.nets))
        return numbers[place] if place < len(numbers) else ""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table or figure: its `name` ("table1"), `title` and `source`, how published numbers `spread`, `notes`, `parts` by the
    names of their folders."""

    name: str
    title: str
    source: str
    spread: str
    notes: tuple[str, ...]
    parts: Mapping[str, Part]

    def only(self, asked: str) -> "Table":
        """What `asked` names of it: data, ipcN or data:ipcN, with commas; the whole training set comes with data alone.

        Raises `InvalidInput` for what is not in it.
        """
        chosen: dict[str, set[int]] = {name: set() for name in self.parts}
        entirely: set[str] = set()
        faults = []
        for entry in (one.strip() for one in asked.split(",")):
            data, _, count = ("", "", entry) if re.fullmatch(r"ipc\d+", entry) else entry.partition(":")
            found = {
                name: {ipc for ipc in part.ipc if count in ("", f"ipc{ipc}")}
                for name, part in self.parts.items() if data in ("", part.data)
            }  # fmt: skip
            if not any(found.values()):
                faults.append(f"--only {entry!r} names nothing in {self.name}; there is {', '.join(self.names)}")
            for name, counts in found.items():
                chosen[name] |= counts
            entirely |= set() if count else set(found)
        refuse(faults)
        parts = {
            name: part if name in entirely else _with_ipc(part, tuple(ipc for ipc in part.ipc if ipc in chosen[name]))
            for name, part in self.parts.items() if chosen[name]
        }  # fmt: skip
        return replace(self, parts=parts)

    def fewest(self) -> "Table":
        """Every part at one image per class."""
        return replace(self, parts={name: _with_ipc(part, (1,), whole=part.whole) for name, part in self.parts.items()})

    @property
    def names(self) -> list[str]:
        """What `only` may be asked for: "cifar10:ipc1", ..."""
        return list(dict.fromkeys(f"{part.data}:ipc{ipc}" for part in self.parts.values() for ipc in part.ipc))


def _with_ipc(part: Part, ipc: tuple[int, ...], *, whole: bool = False) -> Part:
    """The same part with these images per class alone, and with the whole set or without."""
    published = {
        row: numbers if row == WHOLE_SET else tuple(part.printed(row, one, net) for one in ipc for net in part.nets)
        for row, numbers in part.published.items() if whole or row != WHOLE_SET
    }  # fmt: skip
    return replace(part, ipc=ipc, published=published, whole=whole)


@cache
def names() -> tuple[str, ...]:
    """The tables and figures that can be made: those of the paper, then its figures, then those of the course report."""
    found = [path.name.removesuffix(".toml") for path in files(__package__).joinpath("tables").iterdir()]
    return tuple(sorted(found, key=order))


def order(name: str) -> tuple[int, int]:
    """The place of a table among the others."""
    kind = name.rstrip("0123456789")
    return ("table", "figure", "course").index(kind), int(name.removeprefix(kind))


def table_named(name: str) -> Table:
    """A table by its name. Raises `UnknownName`, and `InvalidInput` with the reason for one that is not made here."""
    if name in NOT_AVAILABLE:
        raise InvalidInput(f"{name} is not available: {NOT_AVAILABLE[name]}")
    if name not in names():
        raise UnknownName("table", name, names(), "See: datadam reproduce list")
    told = tomllib.loads(files(__package__).joinpath("tables", f"{name}.toml").read_text("utf-8"))
    parts: dict[str, Part] = {}
    for one in told.pop("part"):
        folder = one["data"] if one["data"] not in parts else f"{one['data']}-{one.get('measure', len(parts) + 1)}"
        parts[folder] = _part(one)
    return Table(name=name, parts=parts, notes=tuple(told.pop("notes")), **told)


def _part(told: dict[str, Any]) -> Part:
    lists = {name: tuple(value) for name, value in told.items() if isinstance(value, list)}
    published = {row: tuple(numbers) for row, numbers in told.get("published", {}).items()}
    return Part(**told | lists | {"published": published})
