"""The table of a comparison as text, Markdown, CSV and a picture: the content of table.json in, words and points out.

Bold, and a star in plain text: significantly above every other method of the column at that number of images and of that kind.
"""

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from datadam.evaluation.told import FEW, around
from datadam.sets.kind import Kind
from datadam.wording import count, duration, plural, size

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Json = dict[str, Any]
BOLD = ("\x1b[1m", "\x1b[0m")  # of a terminal: begin and end
COLUMNS = (
    "method", "ipc", "images", "iterations", "batch_real", "zca", "matching_net", "seconds", "peak_memory_mb", "net", "status",
    "mean", "low", "high", "interval_over", "std", "sets", "students", "bold", "against", "difference", "difference_low",
    "difference_high", "p", "pairs", "reason", "runs", "labels", "decoder", "stored_bytes", "p_holm", "balanced",
)  # fmt: skip


def text(table: Json, *, width: int = 0, colour: bool = False) -> str:
    """The table as wide as it needs, in plain letters or with bold; sentences are broken at `width` letters (0: nowhere)."""
    head, rows, reasons = grid_of(table, lambda words, bold: f"{BOLD[0] if colour else ''}{words} *" if bold else words)
    lines: list[str] = []
    for title, names, cells in ((heading(table), head, rows), *_tests(table, str)):
        lines += [title, *_columns([names, *cells]), ""]
    for words in (*reasons, *sentences(table, "A star marks")):
        lines += wrap(words, width) if width else [words]
    return "\n".join(lines)


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Cells below one another, the first of a row to the left and the others to the right; what begins with bold ends with it."""
    widths = [max(len(cell.removeprefix(BOLD[0])) for cell in column) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = []
        for number, (cell, width) in enumerate(zip(row, widths, strict=True)):
            words = cell.removeprefix(BOLD[0])
            placed = words.ljust(width) if number == 0 else words.rjust(width)
            cells.append(placed if words == cell else f"{BOLD[0]}{placed}{BOLD[1]}")
        lines.append("  ".join(cells).rstrip())
    return lines


def markdown(table: Json) -> str:
    """The table as Markdown, with all that must be known to read it."""
    head, rows, reasons = grid_of(table, lambda words, bold: f"**{_plain(words)}**" if bold else _plain(words))
    for row in rows:
        row[0] = _code(row[0])
    parts = [f"# {_plain(heading(table))}", _pipes(head, rows)]
    for title, names, lines in _tests(table, _plain):
        parts += [f"## {_plain(title)}", _pipes(names, [[_code(line[0]), *line[1:]] for line in lines])]
    parts += [_plain(words) for words in (*reasons, *sentences(table, "Bold marks"))]
    if table["command"]:
        parts += [f"```sh\n{table['command']}\n```"]
    return "\n\n".join(parts) + "\n"


def csv_text(table: Json) -> str:
    """One line for each row and network: plain numbers, fractions of 1, nothing where there is none."""
    file = io.StringIO()
    writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in table["rows"]:
        for net, cell in row["cells"].items():
            interval, against = cell["interval"] or {}, cell["against"] or {}
            writer.writerow({
                **{name: row[name] for name in COLUMNS[:6]}, "matching_net": row["net"], "seconds": row["seconds"],
                "peak_memory_mb": row["peak_memory_mb"], "net": net, "status": cell["status"], "mean": cell["mean"],
                "low": interval.get("low"), "high": interval.get("high"), "interval_over": interval.get("over"),
                "std": cell["std"], "sets": len(cell["accuracies"]),
                "students": len(cell["accuracies"][0]) if cell["accuracies"] else 0, "bold": int(cell["bold"]),
                "against": row.get("reference", table["reference"]) if against else None, "difference": against.get("mean"),
                "difference_low": against.get("low"), "difference_high": against.get("high"), "p": against.get("p"),
                "pairs": against.get("pairs"), "reason": cell["reason"], "runs": " ".join(run["folder"] for run in row["runs"]),
                "labels": kind_of(row).labels, "decoder": kind_of(row).decoder, "stored_bytes": row.get("stored_bytes"),
                "p_holm": against.get("p_holm"), "balanced": cell.get("balanced"),
            })  # fmt: skip
    return file.getvalue()


def heading(table: Json) -> str:
    """What the table is of."""
    progress = table["progress"]
    still = "" if progress["done"] >= progress["parts"] else f" ({progress['done']} of {progress['parts']} parts done)"
    tested = table["data"].get("test")
    of = f" of {plural(tested, 'test image')}" if isinstance(tested, int) and tested < FEW else ""
    return f"Test accuracy on {table['data']['name']}, %{of}{still}"


def grid_of(table: Json, dress: Callable[[str, bool], str]) -> tuple[list[str], list[list[str]], list[str]]:
    """Head and rows of the table of accuracies, and the reasons that its cells point to by number."""
    several, weighed = _several(table), any(row.get("stored_bytes") is not None for row in table["rows"])
    middle = [*(["kind"] if several else []), *(["stored"] if weighed else [])]
    head = ["method", "ipc", "images", *middle, "iterations x real", *table["nets"], "distilling", "peak memory"]
    reasons: dict[str, int] = {}
    rows = []
    usual = _usual(table)
    for row in table["rows"]:
        cells = []
        for net in table["nets"]:
            cell = row["cells"][net]
            words = _accuracy(cell, usual if row["ipc"] is not None else "one student")
            if cell["reason"] and cell["status"] != "waiting":
                words += f" [{reasons.setdefault(cell['reason'], len(reasons) + 1)}]"
            cells.append(dress(words, cell["bold"]))
        how = f"{count(row['iterations'])} x {row['batch_real']}" if row["iterations"] is not None else "–"
        if row.get("epochs"):
            how = plural(row["epochs"], "epoch")
        seconds = "–" if row["seconds"] is None else duration(row["seconds"])
        memory = "–" if row["peak_memory_mb"] is None else size(row["peak_memory_mb"] * 1e6)
        ipc = "–" if row["ipc"] is None else str(row["ipc"])
        stored = "–" if row.get("stored_bytes") is None else size(row["stored_bytes"])
        middle = [*([kind_of(row).short] if several else []), *([stored] if weighed else [])]
        rows.append([row["method"], ipc, count(row["images"]), *middle, how, *cells, seconds, memory])
    return head, rows, [f"[{number}] {' '.join(reason.split())}" for reason, number in reasons.items()]


def kind_of(row: Json) -> Kind:
    """Label kind and decoder of a row's sets; tables of earlier versions have plain sets with hard labels alone."""
    return Kind.of_evaluation(row)


def _several(table: Json) -> bool:
    """Whether a row must say of which kind it is."""
    return any(not kind_of(row).usual for row in table["rows"])


def _usual(table: Json) -> str:
    return "sets" if table["repeats"] > 1 else "students only" if table["students"] > 1 else "one student"


def _accuracy(cell: Json, usual: str) -> str:
    """One cell in words; what its interval is over is said where that is not the usual."""
    if cell["mean"] is None:
        return "…" if cell["status"] == "waiting" else str(cell["status"])
    interval = cell["interval"]
    words = around(cell["mean"], interval)
    if cell.get("balanced") is not None:
        words += f", balanced {100 * cell['balanced']:.1f}"
    over = interval["over"] if interval else "one student"
    if over != usual:
        words += f" ({over})"
    return words + {"part": ", rest failed", "waiting": " …"}.get(cell["status"], "")


def _tests(table: Json, dress: Callable[[str], str]) -> list[tuple[str, list[str], list[list[str]]]]:
    """The tables of differences to the first method of each kind: title, head and rows; none where nothing could be tested."""
    groups: dict[str, list[list[str]]] = {}
    for row in table["rows"]:
        cells = [row["cells"][net]["against"] for net in table["nets"]]
        if any(cells):
            rows = groups.setdefault(row.get("reference", table["reference"]), [])
            rows.append([row["method"], str(row["ipc"]), *(dress(_difference(cell)) for cell in cells)])
    head = ["method", "ipc", *table["nets"]]
    return [(f"Against {first}: difference in points, 95 % interval, p", head, rows) for first, rows in groups.items()]


def _difference(against: Json | None) -> str:
    if against is None:
        return "–"
    words = f"{100 * against['mean']:+.1f}"
    if against["p"] is None:
        return f"{words} (no spread, no test)"
    corrected = float(against["p_holm"] if "p_holm" in against else against["p"])  # tables of earlier versions have none
    p = "p < 0.001" if corrected < 0.001 else f"p = {corrected:.3f}"
    return f"{words} ({100 * against['low']:+.1f} to {100 * against['high']:+.1f}), {p}"


def sentences(table: Json, mark: str) -> list[str]:
    """What must be known to read the table."""
    repeats, told = table["repeats"], [table["words"] + "."]
    if repeats > 1:
        told.append(
            f"After ±: half of the 95 % interval of the mean over {repeats} sets (Student's t); in brackets its ends, where it "
            "would reach beyond 0 or 100. Differences are paired by repeat (same repeat, same seed) and tested by Student's t; "
            f"{_corrected(table)}"
            f"{mark} what is significantly above every other method in its column at the same ipc"
            f"{' and of the same kind' if _several(table) else ''}: each paired 95 % interval lies above zero."
        )
    else:
        after = (
            "After ±: half of the 95 % interval of the mean over the students of the one set (Student's t), which covers their "
            "training alone; in brackets its ends, where it would reach beyond 0 or 100. "
        )
        after = after if table["students"] > 1 else ""
        told.append(
            f"{after}One repeat says nothing of another seed: no difference is tested and nothing is marked as best; 3 repeats "
            "or more would."
        )
    total = table["seconds"]
    told.append(
        f"Distilling: seconds of one set (mean over repeats); in all {duration(total['distilling'])} of distilling and "
        f"{duration(total['judging'])} of judging, {_machine(table)}."
    )
    return [*told, *(f"Note: {note}." for note in ([table["note"]] if table["note"] else []) + table["notes"])]


def _corrected(table: Json) -> str:
    """What was done to p values, in a sentence."""
    gaps = [cell["against"] for row in table["rows"] for cell in row["cells"].values() if cell["against"]]
    many = sum("p_holm" in gap for gap in gaps)
    if not many and any(gap["p"] is not None for gap in gaps):
        return "p values are not corrected for their number. "
    return f"the p values of {plural(many, 'test')} are corrected for their number by Holm's way. " if many > 1 else ""


def _machine(table: Json) -> str:
    hardware, versions = table["hardware"], table["versions"]
    device = hardware["gpu"] or hardware["cpu"]
    commit = f" at {table['commit']}" if table["commit"] else ""
    return f"{device}, {hardware['cores']} cores, datadam {versions['datadam']}{commit}, torch {versions['torch']}"


def _plain(words: str) -> str:
    """Text that Markdown shows as it is."""
    for mark in "\\`*_[]<>|":
        words = words.replace(mark, f"\\{mark}")
    return " ".join(words.split())


def _code(words: str) -> str:
    """Text as code within a table, whatever it holds."""
    words = words.replace("|", "\\|")
    return f"`` {words} ``" if "`" in words else f"`{words}`"


def _pipes(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [[_plain(name) for name in head], ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def picture(table: Json, path: Path, form: str = "png") -> None:
    """Accuracies as points with their intervals, one panel a network, rows as in the table: a PNG, SVG or PDF file (`form`)."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows, nets = table["rows"], table["nets"]
    labels = [
        row["method"] + ("" if row["ipc"] is None else f", ipc {row['ipc']}")
        + ("" if kind_of(row).usual else f" ({kind_of(row).short})")
        for row in rows
    ]  # fmt: skip
    left = 0.25 + 0.072 * max(len(label) for label in labels)
    wide, high = left + 2.6 * len(nets) + 0.2, 0.95 + 0.3 * len(rows)
    same: Any = {"svg.hashsalt": "datadam", "svg.fonttype": "none", "pdf.fonttype": 42}  # text as text, the same file each time
    with rc_context({"font.size": 9.0, "text.parse_math": False} | same):
        figure = Figure(figsize=(wide, high), dpi=150, facecolor="white")
        FigureCanvasAgg(figure)
        for number, net in enumerate(nets):
            place = ((left + 2.6 * number + 0.1) / wide, 0.5 / high, 2.4 / wide, 0.3 * len(rows) / high)
            axes = figure.add_axes(place, sharex=figure.axes[0] if number else None)
            _panel(axes, rows, net, labels if number == 0 else [""] * len(labels))
            axes.set_title(net, fontsize=9, loc="left")
        about = f"test accuracy on {table['data']['name']}, %; bars: 95 % interval over {_usual(table)}".replace(
            "students only", "students"
        )
        figure.text(0.1 / wide, 0.1 / high, about, fontsize=8, color="#555555")
        undated = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
        figure.savefig(path, format=form, metadata=undated[form])


def _panel(axes: "Axes", rows: Sequence[Json], net: str, labels: Sequence[str]) -> None:
    """The points of one network."""
    for number, row in enumerate(rows):
        cell = row["cells"][net]
        colour = "#2456c6" if cell["bold"] else "#333333"
        if cell["mean"] is None:
            axes.text(
                0.02, -number, cell["status"], transform=axes.get_yaxis_transform(), va="center", fontsize=8, color="#999999"
            )
            continue
        sets = [100 * sum(one) / len(one) for one in cell["accuracies"]]
        values = sets if len(sets) > 1 else [100 * a for a in cell["accuracies"][0]]
        axes.scatter(values, [-number] * len(values), s=12, color=colour, alpha=0.35, linewidth=0)
        if cell["interval"]:
            low, high = 100 * cell["interval"]["low"], 100 * cell["interval"]["high"]
            axes.plot([max(0, low), min(100, high)], [-number, -number], color=colour, linewidth=1.5)
        axes.plot([100 * cell["mean"]], [-number], "|", markersize=11, markeredgewidth=2, color=colour)
    for number in range(1, len(rows)):
        if (rows[number]["ipc"], kind_of(rows[number])) != (rows[number - 1]["ipc"], kind_of(rows[number - 1])):
            axes.axhline(0.5 - number, color="#cccccc", linewidth=0.8)
    axes.set_ylim(0.5 - len(rows), 0.5)
    axes.set_yticks([-number for number in range(len(rows))], labels)
    axes.tick_params(length=0)
    axes.grid(axis="x", color="#eeeeee")
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
