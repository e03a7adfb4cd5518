"""The tables of `datadam compare` that results/SCALE/tables holds, as Markdown for the documents; table.py writes them.

No number stands here: all come from table.json. A table that is not there says nothing.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from words import EARLIER, NONE, NOT_YET, TITLES, command, count, earlier, machine, markdown

from datadam.evaluation.statistics import Difference, paired

Json = dict[str, Any]
SCALES = ("full", "small")
PIVOTS = {"ablation"}  # shown as terms of the loss x kinds of network and data
ALONE = "MMD alone"
LONG = 600  # characters of a command above which a reader is sent to the table's own page for it


def shown(results: Path, name: str, up: str) -> str:
    """A comparison at each scale that it was made at; `up` leads from the document to the root of the repository."""
    parts = []
    for scale in SCALES:
        path = results / scale / "tables" / name / "table.json"
        if path.exists():
            parts.append(_block(json.loads(path.read_text("utf-8")), scale, name, f"{up}results/{scale}/tables/{name}"))
    return "\n\n".join(parts) or NOT_YET.format(name=name)


def _block(table: Json, scale: str, name: str, folder: str) -> str:
    progress, data = table["progress"], TITLES.get(table["data"]["name"], table["data"]["name"])
    unfinished = "" if progress["done"] >= progress["parts"] else f", {progress['done']} of {progress['parts']} parts done"
    head = f"**{data}, {scale} scale{unfinished}:** test accuracy in %, students {', '.join(f'`{net}`' for net in table['nets'])}"
    grid = _pivots(table) if name in PIVOTS else [_listed(table), _best(table)]
    return "\n\n".join([f"{head} ([all of it]({folder}/table.md)).", *filter(None, grid), _making(table, scale, name)])


def _listed(table: Json) -> str:
    """A line for each method, a group of columns for each number of images per class."""
    rows = {(row["method"], row["ipc"]): row for row in table["rows"]}
    counts = list(dict.fromkeys(ipc for _, ipc in rows if ipc is not None))
    tested = any(cell["against"] for row in table["rows"] for cell in row["cells"].values())
    head = ["method"]
    for ipc in counts:
        nets = [f", {net}" if len(table["nets"]) > 1 else "" for net in table["nets"]]
        head += [f"ipc {ipc}: accuracy{net}" for net in nets]
        head += [f"against the first{net}" for net in nets] if tested else []
        head += ["iterations x real", "seconds of a set"]
    lines = []
    for method in dict.fromkeys(row["method"] for row in table["rows"] if row["ipc"] is not None):
        line = [f"`{method}`"]
        for ipc in counts:
            row = rows.get((method, ipc))
            if row is None:
                line += [NONE] * ((1 + tested) * len(table["nets"]) + 2)
                continue
            cells = [row["cells"][net] for net in table["nets"]]
            line += [_accuracy(cell) for cell in cells]
            line += [_difference(cell["against"]) for cell in cells] if tested else []
            line += [_steps(row), NONE if row["seconds"] is None else _seconds(row["seconds"])]
        lines.append(line)
    return markdown(head, lines)


def _best(table: Json) -> str:
    """Which method has the highest mean, in a sentence."""
    net, found = table["nets"][0], []
    for ipc in dict.fromkeys(row["ipc"] for row in table["rows"] if row["ipc"] is not None):
        judged = [row for row in table["rows"] if row["ipc"] == ipc and row["cells"][net]["mean"] is not None]
        if judged:
            best = max(judged, key=lambda row: row["cells"][net]["mean"])
            found.append(f"`{best['method']}` with {100 * best['cells'][net]['mean']:.1f} at ipc {ipc}")
    whole = [f"{net} {100 * row['cells'][net]['mean']:.1f}" for row in table["rows"] for net in table["nets"]
             if row["ipc"] is None and row["cells"][net]["mean"] is not None]  # fmt: skip
    words = [f"Highest mean on {net}: {', '.join(found)}."] if found else []
    return " ".join(words + ([f"The whole set: {', '.join(whole)}."] if whole else []))


def _pivots(table: Json) -> list[str]:
    """Accuracies by terms of the loss and by norm layer and whitening; then what the maps add to the MMD."""
    net = table["nets"][0]
    rows = {(_loss(row), _kind(row)): row for row in table["rows"] if row["settings"]}
    losses, kinds = (list(dict.fromkeys(key[i] for key in rows)) for i in (0, 1))

    def filled(cell: Callable[[str, str], str], names: list[str]) -> str:
        return markdown(["loss", *kinds], [[loss, *(cell(loss, kind) for kind in kinds)] for loss in names])

    def accuracy(loss: str, kind: str) -> str:
        row = rows.get((loss, kind))
        if row is None or row["cells"][net]["mean"] is None:
            return NONE if row is None else _accuracy(row["cells"][net])
        return f"{_accuracy(row['cells'][net])}, {_seconds(row['seconds'])} s"

    def gain(loss: str, kind: str) -> str:
        cells = [rows[name, kind]["cells"][net] for name in (loss, ALONE) if (name, kind) in rows]
        difference = paired(*(_means(cell) for cell in cells)) if len(cells) == 2 else None
        return _difference(difference.to_json() if isinstance(difference, Difference) else None)

    steps = dict.fromkeys(f"{_steps(row)}, ipc {row['ipc']}" for row in rows.values())
    others = [loss for loss in losses if loss != ALONE]
    shown = [
        filled(accuracy, losses),
        f"Each cell: accuracy, and seconds of distilling a set. Iterations x real images of a class: {'; '.join(steps)}.",
    ]
    if table["repeats"] < 2:  # no differences of pairs
        return shown
    gains = f"Accuracy less that of {ALONE} in the same column, in points, with its 95 % interval and p:"
    return [*shown, gains, filled(gain, others)]


def _loss(row: Json) -> str:
    method = row["settings"]["method"]
    maps, power = method["layers"] != [], f", p = {method['power']:g}"
    if not maps:
        return ALONE
    return ("SAM + MMD" if method["task_balance"] else "SAM alone") + power


def _kind(row: Json) -> str:
    norm = "batch norm" if "norm=batch" in row["net"] else "instance norm"
    return f"{norm}, {'no ZCA' if row['zca'] == 'none' else 'ZCA'}"


def _making(table: Json, scale: str, name: str) -> str:
    """What must be known to read the numbers and to make them again."""
    repeats, seconds = table["repeats"], table["seconds"]
    if repeats > 1:
        reading = (
            f"After ±: half of the 95 % interval over {repeats} sets; differences are paired by seed. Bold: significantly above "
            "every other method at the same ipc."
        )
    else:
        reading = (
            "One set of each method: after ± stands half of the 95 % interval over its students, nothing is known of another "
            "seed, and no method is marked as best."
        )
    seeds = f"{table['seeds'][0]} to {table['seeds'][-1]}" if repeats > 1 else str(table["seeds"][0])
    reasons = dict.fromkeys(
        f"`{row['method']}`: {' '.join(cell['reason'].split())}"
        for row in table["rows"]
        for cell in row["cells"].values()
        if cell["reason"]
    )
    reading += _precision(table) + _counted(table)
    line = f"{command(table)} --out runs/{name}"
    runs = f"runs\n\n```sh\n{line}\n```\n\n" if len(line) < LONG else "runs the `datadam compare` line at the end of that page "
    lines = [
        f"Judged: {table['words']}. {reading}",
        f"Made by `python results/evidence.py --data FOLDER --scale {scale} {name}`, which {runs}"
        f"with seed{'s' if repeats > 1 else ''} {seeds}, in {count(seconds['distilling'])} s of distilling and "
        f"{count(seconds['judging'])} s of judging: {machine(table)}. The machine may have had other work to do.",
    ]
    told = [note for note in table["notes"] if name not in PIVOTS or "(ZCA)" not in note]  # a pivot has columns for that
    before = dict.fromkeys(
        f"`{row['method']}`" for row in table["rows"]
        if row["settings"] and earlier(row["settings"], table["data"]["name"], whitened=row["zca"] != "none")
    )  # fmt: skip
    told += [f"{', '.join(before)}: {EARLIER}"] if before else []
    notes = "\n".join(f"- {' '.join(note.split())}" for note in (*told, *reasons))
    return "\n\n".join([*lines, notes] if notes else lines)


def _precision(table: Json) -> str:
    """Which rows were computed in another number format than float32, in a sentence; "" for none."""
    formats: dict[str, list[str]] = {}
    learned = [row for row in table["rows"] if row["iterations"] is not None]
    for row in learned:
        settled = [run.get("precision") for run in row.get("runs", ())] or [row["settings"].get("precision")]
        for name in dict.fromkeys(settled):
            if name not in (None, "float32"):
                formats.setdefault(name, []).append(row["method"])
    words = []
    for name, methods in formats.items():
        every = len(methods) == len(learned)
        which = "all methods that learn" if every else ", ".join(f"`{method}`" for method in dict.fromkeys(methods))
        words.append(f" Computed in {name}{' on the real side' if name == 'bfloat16' else ''}: {which}.")
    return "".join(words)


def _counted(table: Json) -> str:
    """How often trainings that several choices share are counted, in a sentence; "" where there are none."""
    if "again" in table["seconds"] or not any(_trains(row) for row in table["rows"]):  # newer tables say so in a note
        return ""
    where = "counted in each cell that rests on it, and as often in the sum of distilling"
    return f" The training behind a choice of real images is {where}."


def _trains(row: Json) -> bool:
    """Whether a row chooses by networks that are trained for it."""
    method = (row["settings"] or {}).get("method", {})
    return row["iterations"] is None and "epochs" in method and method.get("features") != "random"


def _means(cell: Json) -> dict[int, float]:
    return {r: sum(one) / len(one) for r, one in zip(cell["repeats"], cell["accuracies"], strict=True)}


def _accuracy(cell: Json) -> str:
    if cell["mean"] is None:
        return "…" if cell["status"] == "waiting" else str(cell["status"])
    words = f"{100 * cell['mean']:.1f}" + (f" ± {100 * cell['interval']['half']:.1f}" if cell["interval"] else "")
    words += {"part": ", rest failed", "waiting": " …"}.get(cell["status"], "")
    return f"**{words}**" if cell["bold"] else words


def _difference(against: Json | None) -> str:
    if against is None:
        return NONE
    words = f"{100 * against['mean']:+.1f}"
    if against["p"] is None:
        return f"{words}, no spread"
    p = "p < 0.001" if against["p"] < 0.001 else f"p = {against['p']:.3f}"
    return f"{words} ({100 * against['low']:+.1f} to {100 * against['high']:+.1f}), {p}"


def _steps(row: Json) -> str:
    return NONE if row["iterations"] is None else f"{count(row['iterations'])} x {row['batch_real']}"


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f}" if seconds < 10 else count(seconds)
