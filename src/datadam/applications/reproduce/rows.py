"""The rows of a table: one for each number, the published beside ours, and what the two say of each other."""

import re
from typing import Any

from datadam.applications.reproduce.scales import Scale
from datadam.applications.reproduce.tables import MEASURES, WHOLE_SET, Part

NUMBER = re.compile(r"(-?\d+(?:\.\d+)?)(?: ± (\d+(?:\.\d+)?))?")
DONE, SKIPPED, ABSENT = "done", "skipped", "not made"
AGREES, OPEN = "agrees", "open"
OF_HARDWARE = ("seconds", "memory", "minutes")
TEXTS = ("data", "row", "net", "published", "note", "status", "reason", "word", "made_on", "verdict")
NUMBERS = ("ipc", "value", "low", "high")
Json = dict[str, Any]


def cells(part: Part) -> list[tuple[str, int | None, str]]:
    """Rows, images per class and networks, in the order of the table."""
    listed = list(dict.fromkeys((*part.published, *part.methods)))
    found: list[tuple[str, int | None, str]] = []
    for ipc in part.ipc:
        found += [(name, ipc, net) for name in listed if name != WHOLE_SET for net in part.nets]
    return found + [(WHOLE_SET, None, net) for net in part.nets if part.whole]


def key(row: Json) -> tuple[Any, ...]:
    """What tells a row from all others of a table."""
    return tuple(row[name] for name in ("data", "measure", "row", "ipc", "net"))


def row_of(part: Part, row: str, ipc: int | None, net: str, *, status: str, reason: str = "") -> Json:
    """A row without a number of ours yet."""
    return {
        "data": part.data, "measure": part.measure, "row": row, "ipc": ipc, "net": net,
        "published": part.printed(row, ipc, net), "note": part.notes.get(row, ""), "status": status, "reason": reason,
        "value": None, "low": None, "high": None, "word": "", "made_on": "", "verdict": "",
    }  # fmt: skip


def verdict(row: Json, scale: Scale) -> str:
    """What the two numbers of a row say of each other."""
    match = NUMBER.fullmatch(row["published"])
    if row["value"] is None or not match:
        return ""
    if scale.part:
        return "no comparison: other data"
    if scale.name != "full":
        return "another scale"
    if row["measure"] in OF_HARDWARE:
        return "other hardware"
    low, high = (row[name] if row[name] is not None else row["value"] for name in ("low", "high"))
    value, spread = float(match[1]), float(match[2] or 0)
    return AGREES if low <= value + spread and value - spread <= high else OPEN


def is_sound(row: Any) -> bool:
    """Whether a row of a file has all that a page shows of it."""
    return (
        isinstance(row, dict)
        and all(isinstance(row.get(name), str) for name in TEXTS)
        and all(isinstance(row.get(name), int | float | None) for name in NUMBERS)
        and row.get("measure") in MEASURES
    )
