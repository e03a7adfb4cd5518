"""Tables that were made, in words, and all of a folder on one page."""

from pathlib import Path
from typing import Any

from datadam.applications.reproduce.making import read
from datadam.applications.reproduce.rows import AGREES, OPEN, SKIPPED
from datadam.applications.reproduce.tables import order
from datadam.errors import InvalidInput
from datadam.files.whole import write_text
from datadam.report.sheet import Section, Sheet, settings_of, words
from datadam.wording import plural

Json = dict[str, Any]
PAGE = "index.html"
UNITS = {
    "accuracy": "%", "seconds": "s an iteration", "memory": "MB", "correlation": "correlation",
    "correlation of the best": "correlation, best fifth", "minutes": "min",
}  # fmt: skip
DIGITS = {"accuracy": 1, "seconds": 3, "memory": 0, "correlation": 2, "correlation of the best": 2, "minutes": 1}
HEAD = ("Row", "Data", "ipc", "Students' network", "Published", "Ours", "What that says")
SETTINGS = ("protocols", "hardware", "versions", "commit", "created", "command")


def _ours(row: Json) -> tuple[str, str]:
    """Our number, and its interval."""
    if row["value"] is None:
        return "–", ""
    digits = DIGITS[row["measure"]]
    interval = "" if row["low"] is None else f"{row['low']:.{digits}f} – {row['high']:.{digits}f}"
    return f"{row['value']:.{digits}f} {UNITS[row['measure']]}", interval


def _says(row: Json) -> str:
    """The verdict, or why there is none."""
    why = f"{row['status']}: {row['reason']}" if row["reason"] else "" if row["status"] == "done" else row["status"]
    return "; ".join(text for text in (row["verdict"], "skipped" if row["status"] == SKIPPED else why, row["note"]) if text)


def sentence(found: Json) -> str:
    """A table in a sentence."""
    done = [row for row in found["rows"] if row["value"] is not None]
    beside = [row for row in done if row["published"]]
    counts = {verdict: sum(row["verdict"] == verdict for row in beside) for verdict in (AGREES, OPEN)}
    told = f"{len(done)} of {plural(len(found['rows']), 'number')} made, {len(beside)} of them beside a published one"
    if found["scale"] == "full":
        told += f": {counts[AGREES]} agree, {counts[OPEN]} do not and are open"
    return f"{found['title']} ({found['source']}), scale {found['scale']}: {told}."


def text(found: Json) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Head and rows of a table for a terminal."""
    rows: list[tuple[str, ...]] = []
    for row in found["rows"]:
        value, interval = _ours(row)
        ours = f"{value} ({interval})" if interval else value
        ipc = "–" if row["ipc"] is None else str(row["ipc"])
        rows.append((row["row"], row["data"], ipc, row["made_on"] or row["net"], row["published"] or "–", ours, _says(row)))
    return HEAD, rows


def notes(found: Json) -> list[str]:
    """What must be known beside the numbers."""
    protocols = sorted(set(found["protocols"].values()))
    missing = [f"{data} is skipped. {why}" for data, why in found["skipped"].items()]
    scale = f"Scale {found['scale']}: {found['scale_words']}."
    return [scale, *missing, f"Published: {found['spread']}.", *(f"Ours: {told}." for told in protocols), *found["notes"]]


def _section(found: Json) -> Section:
    rows: list[list[Any]] = []
    for row, (name, *cells) in zip(found["rows"], text(found)[1], strict=True):
        value, interval = _ours(row)
        shown = [words(cell) for cell in cells]
        shown[-2] = {"text": value, "interval": interval, "sort": "" if row["value"] is None else row["value"]}
        rows.append([name, *shown])
    return Section(f"{found['name']}: {found['title']}", (f"{found['source']}.", *notes(found)), (), HEAD, rows)


def sheet(tables: list[Json]) -> Sheet:
    """The page of some tables."""
    made = sum(row["value"] is not None for found in tables for row in found["rows"])
    open_ = sum(row["verdict"] == OPEN for found in tables for row in found["rows"])
    skipped = sorted({data for found in tables for data in found["skipped"]})
    facts = [
        (str(len(tables)), "tables and figures", "in this folder"),
        (str(made), "numbers", "made here"),
        (str(open_), "open", "intervals apart from what is published, at full scale"),
        (str(len(skipped)), "data sets skipped", ", ".join(skipped)),
    ]
    settings = [(f"{found['name']}.{name}", value) for found in tables for name, value in
                settings_of({name: found[name] for name in SETTINGS})]  # fmt: skip
    lead = "Published numbers beside those made here. They agree where the 95 % interval and the published spread touch."
    small = sorted({f"{found['scale']}: {found['scale_words']}" for found in tables if found["scale"] != "full"})
    note = "" if not small else "Not made at the published size. " + "; ".join(small) + "."
    return Sheet("Tables of the papers, made again", lead, facts, [_section(found) for found in tables], "", settings, note)


def write_page(out: Path) -> Path:
    """Write OUT/index.html with all tables of OUT. Raises `InvalidInput` where there are none."""
    tables = [found for folder in sorted(out.iterdir()) if folder.is_dir() and (found := read(folder))] if out.is_dir() else []
    if not tables:
        raise InvalidInput(f"{out} holds no tables yet; make one: datadam reproduce table5 --out {out}")
    write_text(out / PAGE, sheet(sorted(tables, key=lambda found: order(found["name"]))).html())
    return out / PAGE
