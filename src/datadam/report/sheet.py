"""A page of results that belong to no single run: what sets are used for. It looks as a report does, and needs nothing beside."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from datadam.report.page import environment
from datadam.wording import percent

Json = dict[str, Any]


@dataclass(frozen=True)
class Section:
    """A part of the page: plots as SVG text by their names, a table, whose rows begin with a name that `cell`s follow, and
    paragraphs."""

    heading: str
    words: Sequence[str] = ()
    plots: Sequence[tuple[str, str]] = ()
    head: Sequence[str] = ()
    rows: Sequence[Sequence[Any]] = ()


@dataclass(frozen=True)
class Sheet:
    """All that the page says: `lead`, the answer in a sentence; `facts`, value, name and what it is to be compared with."""

    title: str
    lead: str
    facts: Sequence[tuple[str, str, str]]
    sections: Sequence[Section]
    command: str = ""
    settings: Sequence[tuple[str, str]] = ()
    note: str = ""
    warnings: Sequence[str] = field(default=())

    def html(self) -> str:
        """The page."""
        return str(environment().get_template("sheet.html.j2").render(sheet=self))


def cell(
    value: float | None, low: float | None = None, high: float | None = None, *, share: bool = True, digits: int = 1
) -> Json:
    """A number of a table with its interval as text, and as what it is sorted by; a dash for none."""
    if value is None:
        return {"text": "–", "interval": "", "sort": ""}

    def text(number: float) -> str:
        return percent(number, digits) if share else f"{number:.{digits}f}"

    interval = "" if low is None or high is None else f"{text(low)} – {text(high)}"
    return {"text": text(value), "interval": interval, "sort": f"{value:.9g}"}


def words(text: str, sort: float | str = "") -> Json:
    """A cell of a table that is no plain number."""
    return {"text": text, "interval": "", "sort": sort}


def settings_of(value: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Settings in one list, inner ones by their way: ("protocol.epochs", "200")."""
    found: list[tuple[str, str]] = []
    for name, inner in value.items():
        if isinstance(inner, Mapping):
            found += settings_of(inner, f"{prefix}{name}.")
        elif inner is not None:
            listed = isinstance(inner, list | tuple)
            found.append((prefix + name, ", ".join(map(str, inner)) if listed else str(inner)))
    return found
