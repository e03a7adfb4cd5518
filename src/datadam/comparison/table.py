"""The table of a comparison: accuracies with intervals, what they cost, what the differences are worth, where all came from."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from datadam.comparison.grid import Column, Grid, MethodRow
from datadam.comparison.notes import not_better, notes
from datadam.comparison.results import Results, trained_first
from datadam.comparison.store import of_recipe
from datadam.data import RealData
from datadam.errors import UnknownName
from datadam.evaluation.protocols import Protocol
from datadam.evaluation.result import Evaluation
from datadam.evaluation.statistics import holm, paired, winner
from datadam.files.whole import replacing, write_json, write_text
from datadam.sets.kind import stored_bytes

FORMAT = "datadam-comparison/1"
WHOLE = "whole set"
FIRST = ("behind", "trained_first_seconds", "earlier_seconds", "experts")  # parts of a card: what comes before iterations
Json = dict[str, Any]


@dataclass(frozen=True)
class Comparison:
    """A comparison as it stands: `table`, the content of table.json; `out`, its folder."""

    table: Json
    out: Path

    @property
    def failed(self) -> int:
        """How many cells broke off; the same command tries them again."""
        return sum(cell["failed"] for row in self.table["rows"] for cell in row["cells"].values())

    def cell(self, method: str, ipc: int | None, net: str) -> Json:
        """One cell: `status`, `mean`, `interval`, `accuracies` by set, `against` the first method of its kind, `bold`.

        Raises `UnknownName` for a method, ipc or network that the table has not.
        """
        rows = {(row["method"], row["ipc"]): row["cells"] for row in self.table["rows"]}
        if (method, ipc) not in rows:
            raise UnknownName("row", f"{method}, {ipc}", [f"{name}, {count}" for name, count in rows])
        if net not in rows[method, ipc]:
            raise UnknownName("column", net, rows[method, ipc])
        return dict(rows[method, ipc][net])

    def to_json(self) -> Json:
        """Everything, as kept in table.json."""
        return self.table

    def to_markdown(self) -> str:
        """The table as Markdown."""
        from datadam.report.table import markdown

        return markdown(self.table)

    def to_latex(self) -> str:
        """The table of accuracies as LaTeX, for `\\usepackage{booktabs}`, with what must be known in its caption."""
        from datadam.report.latex import latex

        return latex(self.table)

    def to_csv(self) -> str:
        """One line for each row and network, with plain numbers."""
        from datadam.report.table import csv_text

        return csv_text(self.table)

    def __str__(self) -> str:
        from datadam.report.table import text

        return text(self.table)

    def save(self, *, picture: bool = True) -> None:
        """Write table.json, table.md, table.tex, table.csv and, with `picture` and where matplotlib is installed, table.png,
        table.svg and table.pdf.

        Each is written whole or not at all. Raises `RunFailed` when one cannot be.
        """
        write_json(self.out / "table.json", self.table)
        write_text(self.out / "table.md", self.to_markdown())
        write_text(self.out / "table.tex", self.to_latex())
        write_text(self.out / "table.csv", self.to_csv())
        if picture and find_spec("matplotlib"):
            from datadam.report.table import picture as draw

            for form in ("png", "svg", "pdf"):
                with replacing(self.out / f"table.{form}") as partial:
                    draw(self.table, partial, form)


def assemble(
    grid: Grid,
    results: Results,
    real: RealData,
    *,
    parts: int,
    done: int,
    left: float | None,
    note: str,
    command: str,
    device: str,
) -> Json:
    """The content of table.json, but for machine and time."""
    rows = [_row(grid, results, real, i) for i in range(len(grid.rows))]
    for column in grid.columns:
        _compare(rows, column.label)
    _correct(rows)
    if grid.whole:
        rows.append(_whole(grid, results, real))
    judged = (*results.evaluations.values(), *results.whole.values())
    return {
        "format": FORMAT, "note": note, "command": command, "asked": grid.asked,
        "data": {
            "name": real.name, "source": real.source, "options": real.options, "checksum": real.checksum,
            "classes": len(real.classes), "shape": list(real.shape), "train": len(real.train), "test": len(real.test),
        },
        "words": _evaluation([[0.0] * grid.students] * grid.repeats, [], grid.protocol, "", "", None, 0, real, grid.seed).words,
        "reference": grid.rows[0].variant.word, "repeats": grid.repeats, "students": grid.students,
        "seeds": [grid.seed + r for r in range(grid.repeats)], "nets": [column.label for column in grid.columns],
        "rows": rows, "notes": [*not_better(rows), *notes(grid, results, device)],
        "progress": {"parts": parts, "done": done, "seconds_left": None if left is None else round(left, 1)},
        "seconds": {
            "distilling": round(sum(card["seconds"] for card in results.cards.values()) - results.again(), 1),
            "again": round(results.again(), 1),
            "judging": round(sum(evaluation["seconds"] for evaluation in judged), 1),
        },
    }  # fmt: skip


def _row(grid: Grid, results: Results, real: RealData, i: int) -> Json:
    row = grid.rows[i]
    recipe, cards = row.recipe, {r: card for (j, r), card in results.cards.items() if j == i}
    learns = recipe is not None and not recipe.method.at_once
    keys = ("digest", "seconds", "peak_memory_mb", "moved", "warnings", "hardware", "versions", "commit", "created")
    return {
        "method": row.variant.word, "ipc": row.ipc, "images": row.ipc * len(real.classes),
        "labels": row.kind.labels, "decoder": row.kind.decoder,
        "stored_bytes": next((stored_bytes(card) for card in cards.values()), None),
        "reference": next(other.variant.word for other in grid.rows if other.kind == row.kind),
        "iterations": recipe.iterations if recipe and learns else None,
        "batch_real": recipe.batch_real if recipe and learns else None,
        "zca": recipe.zca if recipe else None, "net": recipe.net if recipe else None,
        "seconds": _mean([card["seconds"] for card in cards.values()]),
        "trained_first_seconds": _mean([sum(seconds for _, seconds in trained_first(card)) for card in cards.values()]),
        "peak_memory_mb": max((card["peak_memory_mb"] for card in cards.values()), default=None),
        "settings": recipe.to_card() if recipe else None,
        "runs": [
            {
                "folder": f"runs/{row.folder}/{r}", "seed": grid.seed + r, "precision": cards[r]["recipe"].get("precision"),
                "threads": (cards[r].get("plan") or {}).get("threads"),
            }
            | {key: cards[r].get(key) for key in keys}
            | {key: cards[r][key] for key in FIRST if cards[r].get(key)}
            for r in sorted(cards)
        ],
        "cells": {column.label: _cell(grid, results, real, i, row, c, column) for c, column in enumerate(grid.columns)},
    }  # fmt: skip


def _cell(grid: Grid, results: Results, real: RealData, i: int, row: MethodRow, c: int, column: Column) -> Json:
    found = {r: e for (j, r, d), e in sorted(results.evaluations.items()) if (j, d) == (i, c)}
    failed = {r: why for (j, r, d), why in sorted(results.failed.items()) if j == i and d in (-1, c)}
    refused = row.refused or column.refused or results.refused.get(i, "")
    reason = refused or "; ".join(f"repeat {r}: {why}" for r, why in failed.items())
    recipe = row.recipe
    evaluation = None
    if found and recipe is not None:
        accuracies = [e["accuracies"][0] for e in found.values()]
        evaluation = _evaluation(
            accuracies, list(found.values()), column.protocol, of_recipe(recipe), column.spec, row.ipc,
            row.ipc * len(real.classes), real, grid.seed,
        )  # fmt: skip
    waiting = grid.repeats - len(found) - len(failed)
    status = "refused" if refused else "waiting" if waiting else "failed" if not found else "part" if failed else "done"
    files = [results.files[i, r, c] for r in found if (i, r, c) in results.files]
    return _told(evaluation, status, reason, list(found), files) | {"failed": 0 if refused else len(failed)}


def _told(evaluation: Evaluation | None, status: str, reason: str, repeats: list[int], files: list[str]) -> Json:
    cell: Json = {
        "status": status,
        "reason": reason,
        "repeats": repeats,
        "files": files,
        "failed": 0,
        "against": None,
        "bold": False,
    }
    if evaluation is None:
        return cell | {
            "mean": None,
            "std": None,
            "interval": None,
            "accuracies": [],
            "seconds_per_student": None,
            "balanced": None,
        }
    card = evaluation.to_json()
    keys = ("mean", "std", "interval", "accuracies", "seconds_per_student")
    return cell | {key: card[key] for key in keys} | {"balanced": card.get("balanced")}


def _evaluation(
    accuracies: Sequence[Sequence[float]], found: list[Json], protocol: Protocol, of: str, net: str, ipc: int | None, images: int,
    real: RealData, seed: int,
) -> Evaluation:  # fmt: skip
    """Evaluations of single repeats as one over sets, which knows the interval."""
    tables = [e["confusion"] for e in found if e.get("confusion")]
    counts = [[sum(cell) for cell in zip(*rows, strict=True)] for rows in zip(*tables, strict=True)] if tables else []
    kind: Json = {key: found[0][key] for key in ("labels", "decoder", "stored_bytes") if found and key in found[0]}
    made: Json = {
        key: found[0][key] for key in ("threads", "hardware", "versions", "commit", "created") if found and key in found[0]
    }
    return Evaluation(
        of=of, net=net, protocol=protocol, ipc=ipc, images=images, accuracies=tuple(map(tuple, accuracies)),
        confusion=tuple(map(tuple, counts)), classes=real.classes, data=real.name, seed=seed,
        seconds=sum(e["seconds"] for e in found), seconds_per_student=_mean([e["seconds_per_student"] for e in found]) or 0.0,
        made=made, **kind,
    )  # fmt: skip


def over_sets(grid: Grid, results: Results, real: RealData, i: int, c: int) -> Evaluation | None:
    """The evaluation of a row's repeats as sets, once all are there and there are several."""
    row, column = grid.rows[i], grid.columns[c]
    found = [results.evaluations[i, r, c] for r in range(grid.repeats) if (i, r, c) in results.evaluations]
    if len(found) < max(2, grid.repeats) or row.recipe is None:
        return None
    images = row.ipc * len(real.classes)
    accuracies = [e["accuracies"][0] for e in found]
    return _evaluation(accuracies, found, column.protocol, of_recipe(row.recipe), column.spec, row.ipc, images, real, grid.seed)


def _compare(rows: list[Json], net: str) -> None:
    """Write into the cells of a column what they are worth against the first method of their kind, and which one is bold: at one
    number of images per class, among sets of one kind."""
    groups: dict[tuple[Any, ...], list[Json]] = {}
    for row in rows:
        groups.setdefault((row["ipc"], row["decoder"], row["labels"]), []).append(row)
    for group in groups.values():
        cells = [row["cells"][net] for row in group]
        means = [{r: sum(one) / len(one) for r, one in zip(cell["repeats"], cell["accuracies"], strict=True)} for cell in cells]
        first = next((mean for mean, row in zip(means, group, strict=True) if row["method"] == row["reference"]), {})
        for cell, mean in zip(cells, means, strict=True):
            gap = paired(mean, first) if mean is not first else None
            cell["against"] = gap.to_json() if gap else None
        judged = [k for k, cell in enumerate(cells) if cell["status"] not in ("refused", "failed")]
        best = winner([means[k] for k in judged])
        if best is not None:
            cells[judged[best]]["bold"] = True


def _correct(rows: list[Json]) -> None:
    """Write beside each p value of the table the one that is corrected for the number of all of them."""
    tested = [gap for row in rows for cell in row["cells"].values() if (gap := cell["against"]) and gap["p"] is not None]
    for gap, p in zip(tested, holm([gap["p"] for gap in tested]), strict=True):
        gap["p_holm"] = p


def _whole(grid: Grid, results: Results, real: RealData) -> Json:
    cells = {}
    for c, column in enumerate(grid.columns):
        found, why = results.whole.get(c), results.failed.get((-1, 0, c), "")
        evaluation = None
        if found is not None and column.whole is not None:
            evaluation = _evaluation(
                found["accuracies"], [found], column.whole, "whole", column.spec, None, len(real.train), real, grid.seed
            )
        status = "refused" if column.refused else "done" if found else "failed" if why else "waiting"
        files = [results.files[-1, 0, c]] if (-1, 0, c) in results.files else []
        cell = _told(evaluation, status, column.refused or why, [0] if found else [], files)
        cells[column.label] = cell | {"failed": int(bool(why))}
    rule = grid.columns[0].whole
    return {
        "method": WHOLE, "ipc": None, "images": len(real.train), "labels": "hard", "decoder": "plain", "stored_bytes": None,
        "reference": None, "iterations": None, "batch_real": None,
        "zca": "kornia" if grid.zca else "none", "net": None, "seconds": None,
        "trained_first_seconds": None, "peak_memory_mb": None, "settings": None,
        "epochs": rule.training.epochs if rule else None, "runs": [], "cells": cells,
    }  # fmt: skip


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
