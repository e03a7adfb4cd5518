"""What a reader must know beside the numbers of a comparison."""

from typing import Any

from datadam.comparison.grid import Grid
from datadam.comparison.results import Results
from datadam.evaluation.told import better
from datadam.training.pool import RANDOM

Json = dict[str, Any]
NAMED = 4  # methods that a note names one by one at most


def notes(grid: Grid, results: Results, device: str) -> list[str]:
    """What a reader must know beside the numbers."""
    told = []
    if len({row.kind for row in grid.rows}) > 1:
        told.append(
            "rows of another decoder or label kind stand below the others of their ipc and are not ranked with them: an image "
            "that is stored is not the same there; each is tested against the first method of its own kind"
        )
    if any(column.protocol != grid.protocol for column in grid.columns):
        told.append("a column NET@AUGMENT judges by students whose images are augmented so, and in all else as said above")
    for column in grid.columns:
        if (epochs := column.protocol.training.epochs) != (usual := grid.protocol.training.epochs):
            told.append(
                f"students of {column.label} are trained for {epochs} epochs, and not for {usual}, as their protocol has it"
            )
    told += [
        departs
        for row in grid.rows for column in grid.columns
        if row.recipe is not None
        and (departs := column.protocol.departures(ipc=row.ipc, net=column.spec, zca=row.recipe.zca != "none"))
    ]  # fmt: skip
    told += _trained(grid, results)
    recipes = [row.recipe for row in grid.rows if row.recipe is not None]
    white = dict.fromkeys(row.variant.word for row in grid.rows if row.recipe is not None and row.recipe.zca != "none")
    if white and any(recipe.zca == "none" for recipe in recipes):
        which = ", ".join(white) if len(white) <= NAMED else f"{len(white)} of the methods are"
        told.append(
            f"{which} distilled and judged on whitened images (ZCA), the others not, as their presets or words say; "
            "--zca or --no-zca treats all alike"
        )
    spaces = {str((t["mean"], t["std"])) for t in (card["transform"] for card in results.cards.values()) if not t["zca"]}
    if len(spaces) > 1:
        other = dict.fromkeys(
            row.variant.word for row in grid.rows if row.recipe is not None and row.recipe.normalisation != "own"
        )
        which = ", ".join(other) if len(other) <= NAMED else f"{len(other)} of the methods are"
        told.append(
            f"{which} distilled and judged on images normalised by the numbers of the field's released code, the others by the "
            "data's own, as their presets or words say; --normalisation treats all alike"
        )
    if grid.whole and not grid.zca and white:
        told.append("the whole set is judged without whitening")
    if device != "cpu":
        told.append("peak memory is the host's, not that of the graphics card")
    for i, row in enumerate(grid.rows):
        warnings = [card["warnings"][0] for (j, _), card in sorted(results.cards.items()) if j == i and card.get("warnings")]
        if warnings:
            sets = f" ({len(warnings)} of {grid.repeats} sets)" if grid.repeats > 1 else ""
            told.append(f"{row.variant.word}, ipc {row.ipc}: {warnings[0]}{sets}")
    return list(dict.fromkeys([*told, *results.remarks]))


def not_better(rows: list[Json]) -> list[str]:
    """Sentences on the methods whose sets are not better than random real images of their ipc and kind, by network."""
    found: dict[str, list[str]] = {}
    bars = {(row["ipc"], row["decoder"], row["labels"]): row["cells"] for row in rows if row["method"] == "random"}
    for row in rows:
        bar = bars.get((row["ipc"], row["decoder"], row["labels"]))
        if bar is None or row["method"] == "random":
            continue
        for net, cell in row["cells"].items():
            if cell["accuracies"] and bar[net]["accuracies"] and not better(cell["accuracies"], bar[net]["accuracies"]):
                found.setdefault(f"{row['method']}, ipc {row['ipc']}", []).append(net)
    several = len({net for row in rows for net in row["cells"]}) > 1
    words = "is not better than random real images"
    return [f"{who} {words}" + (f" for {', '.join(nets)}" if several else "") for who, nets in found.items()]


def _trained(grid: Grid, results: Results) -> list[str]:
    """Sentences on the networks that sets rest on: whether their training is in the seconds, and how often."""
    told = []
    if results.again() >= 1:
        told.append(
            "networks and first sets that several sets rest on are made once: they count in the seconds of each of these sets, "
            "and once in the sum of distilling"
        )
    named = dict.fromkeys(
        row.variant.word for i, row in enumerate(grid.rows)
        if row.recipe is not None and row.recipe.networks != RANDOM and (i, 0) in results.cards
        and "trained_first_seconds" not in results.cards[i, 0]
    )  # fmt: skip
    if named:
        told.append(f"seconds of {', '.join(named)} do not hold the training of the networks that are named there")
    return told
