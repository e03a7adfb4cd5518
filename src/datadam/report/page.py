"""The report: one HTML page that needs nothing beside it. What is shown is decided here, how it looks in page.html.j2.

Letters: M images, K classes, C channels, H height, W width.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from importlib.resources import files
from math import prod, sqrt
from pathlib import Path
from typing import Any

from datadam.errors import InvalidInput
from datadam.report import plots
from datadam.report.folder import Json, Run, evaluations, read, repeats
from datadam.report.pictures import data_uri, sheet
from datadam.report.words import count, duration, method_name, percent, plural, shorten
from datadam.report.words import size as in_bytes

BYTES = 3_400_000  # of pixels in a page; as text they take a third more, which keeps the page below 5 MB
LEAST_SIDE = 64  # larger images are made smaller, down to this, before any is left out
FRAMES = 12  # of the way from start to end
LARGEST_TABLE = 20  # classes of a confusion matrix that is shown whole
COLUMNS = 4  # evaluations beside each other in the table of classes


def page(runs: Sequence[Path]) -> str:
    """A report on one run, or on several side by side, as one HTML page.

    Arguments: `runs`, run folders; the folder of a run with repeats stands for all of them.
    Nothing is fetched when it is opened, nothing of a run can execute in it, and the same files give the same page.
    Raises InvalidInput without runs, ArtifactError for a file that is missing or not what it says it is.
    """
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    if not runs:
        raise InvalidInput("no run folder was given; a report needs at least one.")
    folders = [(folder, part) for folder in map(Path, runs) for part in repeats(folder)]
    found = [read(part) for _, part in folders]
    names = [str(part.relative_to(folder.parent)) for folder, part in folders]
    budget = max(BYTES // len(found), 400_000)
    views = [_view(f"run{number}", name, run, budget) for number, (name, run) in enumerate(zip(names, found, strict=True))]
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["svg"] = Markup  # our own plots
    environment.filters["sha256"] = _source_hash
    environment.filters["percent"] = percent
    template = environment.from_string((files("datadam.report") / "page.html.j2").read_text("utf-8"))
    return template.render(views=views, overview=_overview(views, found, folders) if len(found) > 1 else None)


def _view(key: str, name: str, run: Run, budget: int) -> Json:
    """Everything that the template says about one run."""
    card = run.card
    accuracy = _accuracy([(evaluation, _title(evaluation), _is_own(evaluation, card)) for evaluation in run.evaluations])
    return {
        "key": key,
        "name": name,
        "data": card["data"]["name"],
        "method": method_name(card),
        "chosen": card["kind"] == "coreset",
        "ipc": plural(card["recipe"]["ipc"], "image") + " per class",
        "images": plural(len(run.labels), "image"),
        "real": count(card["data"]["train"]) if card["data"].get("train") else "",
        "preset": str(card["recipe"].get("preset") or ""),
        "note": card.get("note") or "",
        "warnings": card.get("warnings") or [],
        "notes": card["data"].get("notes") or [],
        "facts": list(_facts(run)),
        "gallery": _gallery(run, budget),
        "accuracy": accuracy,
        "classes": _classes(run),
        "confusions": list(_confusions(run)),
        "curves": [(title, svg) for title, svg in _curves(run.metrics) if svg],
        "command": card.get("command") or "",
        "settings": list(_flat(card["recipe"])),
        "surroundings": list(_surroundings(card)),
        "citations": card.get("citations") or [],
    }


def _is_own(evaluation: Json, card: Json) -> bool:
    """Whether this run's own images were judged, and not what they are compared with."""
    return bool(evaluation["of"] == "distilled" or (card["kind"] == "coreset" and evaluation["of"] == method_name(card)))


def _title(evaluation: Json) -> str:
    known = {"distilled": "Distilled images", "random": "Random real images", "whole": "Whole training set"}
    title = known.get(evaluation["of"], f"Coreset: {evaluation['of']}")
    return title if evaluation.get("iteration") is None else f"{title}, iteration {count(evaluation['iteration'])}"


def _facts(run: Run) -> Iterator[tuple[str, str, str]]:
    """The few numbers that matter: value, name, what it is to be compared with."""
    card, images = run.card, len(run.labels)
    own = [evaluation for evaluation in run.evaluations if _is_own(evaluation, card) and evaluation.get("iteration") is None]
    if own:
        same = [evaluation for evaluation in own if evaluation["net"] == card["recipe"].get("net")] or own
        whole = [e for e in run.evaluations if e["of"] == "whole" and e["net"] == same[0]["net"]]
        against = f"whole training set: {percent(whole[0]['mean'])}" if whole else ""
        yield percent(same[0]["mean"]), f"test accuracy, {same[0]['net']}", against
    pixels, real = prod(run.shape), card["data"].get("train")
    share = percent(images / real, 2 if images < 0.1 * real else 0) if real else ""
    yield count(images), "image" if images == 1 else "images", f"{share} of {count(real)}" if real else ""
    yield in_bytes(images * pixels), "as 8-bit pixels", f"whole training set: {in_bytes(real * pixels)}" if real else ""
    if card.get("seconds") is not None:
        steps = card.get("iterations_done")
        yield duration(card["seconds"]), "to make", plural(steps, "iteration") if steps else ""
    if card.get("peak_memory_mb"):
        yield in_bytes(card["peak_memory_mb"] * 1e6), "peak memory", ""


@dataclass(frozen=True)
class Gallery:
    """Images to be cut out of one sheet a frame. `tiles`: each class shown, with its images' numbers in the sheet."""

    height: int
    width: int
    columns: int
    rows: int
    frames: list[tuple[str, str]]
    tiles: list[tuple[str, list[int]]]
    remarks: list[str]

    @property
    def dense(self) -> bool:
        """Whether there are so many classes that they stand beside each other, in smaller tiles."""
        return len(self.tiles) > 20

    @property
    def scales(self) -> tuple[int, int]:
        """Whole factors by which a tile is enlarged, on a laptop and on a phone."""
        return max(1, (66 if self.dense else 100) // self.width), max(1, 66 // self.width)


def _gallery(run: Run, budget: int) -> Gallery:
    """The images of the end and of the way there, as many and as large as the budget of bytes allows."""
    done = run.card.get("iterations_done")
    earlier = [(iteration, file) for iteration, file in run.snapshots if done is None or iteration < done]
    members: dict[int, list[int]] = {}
    for number, label in enumerate(run.labels):
        members.setdefault(label, []).append(number)
    channels, height, width = run.shape
    channels, most = (3 if channels == 3 else 1), max(map(len, members.values()))

    room = budget // 3 if earlier else budget  # for one frame
    factor = sqrt(room / (channels * len(members) * most * height * width))
    factor = min(1.0, max(factor, LEAST_SIDE / max(height, width)))
    size = max(1, round(height * factor)), max(1, round(width * factor))
    tile = channels * prod(size)
    each = max(1, min(most, room // (tile * len(members))))
    shown = {label: members[label][:each] for label in sorted(members)[: max(1, room // (tile * each))]}
    indices = [number for numbers in shown.values() for number in numbers]

    frames = min(FRAMES, len(earlier), max(0, budget // (tile * len(indices)) - 1))
    picked = [earlier[round(place * (len(earlier) - 1) / max(1, frames - 1))] for place in range(frames)]
    sources: list[tuple[str, Path | None]] = [
        ("start" if iteration == 0 else f"iteration {count(iteration)}", file) for iteration, file in picked
    ]
    sources.append((f"iteration {count(done)}, the end" if done else "the end", None))

    remarks = {
        f"{len(shown)} of {len(members)} classes are shown.": len(shown) < len(members),
        f"{each} of {most} images of a class are shown.": each < most,
        f"Shown at {size[1]} × {size[0]} pixels; the images have {width} × {height}.": factor < 1,
        f"The mean of the {run.shape[0]} channels is shown as grey.": run.shape[0] not in (1, 3),
    }
    columns = min(each, 10) if len(shown) > 1 else min(len(indices), 32)
    place = iter(range(len(indices)))
    return Gallery(
        height=size[0],
        width=size[1],
        columns=columns,
        rows=-(-len(indices) // columns),
        frames=[(label, data_uri(sheet(run.pixels(indices, file), columns, size))) for label, file in sources],
        tiles=[(run.classes[label], [next(place) for _ in numbers]) for label, numbers in shown.items()],
        remarks=[remark for remark, needed in remarks.items() if needed],
    )


def _accuracy(told: Sequence[tuple[Json, str, bool]]) -> Json | None:
    """Plot and table of evaluations (with title, and whether it is the run's own), the best of a network first."""
    if not told:
        return None
    nets = list(dict.fromkeys([e["net"] for e, _, own in told if own] + [e["net"] for e, _, _ in told]))
    told = sorted(told, key=lambda entry: (nets.index(entry[0]["net"]), -entry[0]["mean"]))
    rows, table = [], []
    for evaluation, title, own in told:
        interval = evaluation.get("interval") or {}
        low, high = interval.get("low"), interval.get("high")
        students = sum(map(len, evaluation["accuracies"]))
        sets = len(evaluation["accuracies"])
        trained = plural(students, "student") + (f", {plural(sets, 'set')}" if sets > 1 else "")
        detail = f"{evaluation['net']}, {trained}"
        rows.append(plots.Row(title, detail, evaluation["accuracies"], evaluation["mean"], low, high, own))
        known = f"{100 * low:.1f} – {percent(high)}" if low is not None and high is not None else ""
        seconds = evaluation.get("seconds_per_student")
        table.append({
            "title": title,
            "own": own,
            "note": evaluation.get("note") or "",
            "images": count(evaluation["images"]) if evaluation.get("images") else "",
            "net": evaluation["net"],
            "mean": percent(evaluation["mean"]),
            "interval": known or "no interval",
            "over": f"over {interval['over']}" if known and interval.get("over") else "",
            "students": trained,
            "words": evaluation.get("words") or trained,
            "seconds": duration(seconds) if seconds is not None else "",
        })  # fmt: skip
    words = {row["words"] for row in table}
    if len(words) == 1 and len(table) > 1:  # said once
        for row in table:
            row["words"] = ""
    return {
        "protocol": words.pop() if len(words) == 1 and len(table) > 1 else "",
        "wide": plots.accuracy(rows, width=1120),
        "narrow": plots.accuracy(
            [replace(row, label=f"{row.label}, {e['net']}") for row, (e, _, _) in zip(rows, told, strict=True)], width=340
        ),
        "table": table,
    }


def _by_class(run: Run) -> list[Json]:
    """The evaluations that tell classes apart, the run's own first."""
    told = [e for e in run.evaluations if e.get("per_class") and e.get("classes")]
    return sorted(told, key=lambda e: (not _is_own(e, run.card), e.get("iteration") is not None))


def _name(evaluation: Json) -> str:
    return f"{_title(evaluation)}, {evaluation['net']}"


def _short(classes: Sequence[str]) -> list[str]:
    return [shorten(name, 32) for name in classes]


def _classes(run: Run) -> Json | None:
    """Accuracy of each class under a few evaluations of the same classes."""
    told = _by_class(run)
    told = [e for e in told if e["classes"] == told[0]["classes"]][:COLUMNS]
    if not told:
        return None
    rows = zip(_short(told[0]["classes"]), *(e["per_class"] for e in told), strict=True)
    return {"columns": [_name(e) for e in told], "own": _is_own(told[0], run.card), "rows": list(rows)}


def _confusions(run: Run) -> Iterator[Json]:
    """For each evaluation what a class (row) was taken for (column), in shares of the row; the commonest mistakes."""
    for evaluation in _by_class(run):
        if not evaluation.get("confusion"):
            continue
        names, table = _short(evaluation["classes"]), evaluation["confusion"]
        shares = [[cell / max(sum(row), 1) for cell in row] for row in table]
        wrong = [
            (cell, names[true], names[taken])
            for true, row in enumerate(shares)
            for taken, cell in enumerate(row)
            if true != taken and cell > 0
        ]
        wrong.sort(key=lambda entry: -entry[0])
        yield {
            "name": _name(evaluation),
            "classes": names,
            "rows": list(zip(names, shares, strict=True)) if len(names) <= LARGEST_TABLE else [],
            "worst": wrong[0][0] if wrong else 1.0,
            "mistakes": wrong[:5] if len(names) <= LARGEST_TABLE else wrong[:20],
        }


def _curves(metrics: Sequence[Json]) -> Iterator[tuple[str, str]]:
    """Loss and its terms, their gradients, and how far the pixels moved."""

    def line(label: str, *path: str) -> plots.Line:
        points = [(float(metric["iteration"]), _number(metric, path)) for metric in metrics]
        known = [(x, y) for x, y in points if y is not None]
        return plots.Line(label, [x for x, _ in known], [y for _, y in known])

    terms = dict.fromkeys(name for m in metrics if isinstance(m.get("terms"), dict) for name in m["terms"])
    parts = [line(name, "terms", name, "loss") for name in terms] if len(terms) > 1 else []
    yield "Loss", plots.curves([line("total", "loss"), *parts], name="Loss over iterations")
    norms = [line(name, "terms", name, "grad_norm") for name in terms]
    yield "Gradient of each term", plots.curves(norms, name="Norm of each term's gradient over iterations")
    yield (
        "Movement of a pixel, in network space",
        plots.curves([line("moved", "moved")], name="Mean change of a pixel over iterations"),
    )


def _number(metric: Json, path: tuple[str, ...]) -> float | None:
    value: Any = metric
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _flat(settings: Json, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Settings in one list: ("method.power", "4.0")."""
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            known = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            yield prefix + key, "auto" if value is None else "none" if value in ("", []) else known


def _surroundings(card: Json) -> Iterator[tuple[str, str]]:
    """What besides the settings decides or describes the result."""
    data = card["data"]
    parts = [
        f"{plural(data[part], word)}" for part, word in (("train", "training image"), ("test", "test image")) if data.get(part)
    ]
    yield "data", ", ".join([data["name"], *parts])
    yield "data checksum", data["checksum"]
    yield "loaded from", data["source"]
    for key, value in _flat({name: value for name, value in data["options"].items() if value is not None}):
        yield f"loaded with {key}", value
    if card["transform"]["zca"] is not None:
        yield "whitening", f"ZCA, {card['transform']['zca']['variant']}"
    if card.get("moved") is not None:
        yield "pixels moved by", f"{card['moved']:.3g} on average, in network space"
    machine = card.get("hardware") or {}
    words = [str(machine[part]) for part in ("cpu", "gpu") if machine.get(part)]
    words += [plural(machine["cores"], "core")] if isinstance(machine.get("cores"), int) else []
    words += [f"{machine['memory_gb']} GB"] if machine.get("memory_gb") else []
    if words:
        yield "machine", ", ".join(words)
    for name, version in (card.get("versions") or {}).items():
        yield name, str(version)
    if card.get("commit"):
        yield "commit", str(card["commit"])
    if card.get("created"):
        yield "made at", card["created"]


def _overview(views: Sequence[Json], runs: Sequence[Run], folders: Sequence[tuple[Path, Path]]) -> Json:
    """Several runs beside each other, with the evaluations that belong to all repeats of a run."""
    told = [
        (evaluation, *_label(view["name"], evaluation, _is_own(evaluation, run.card)))
        for view, run in zip(views, runs, strict=True)
        for evaluation in run.evaluations
    ]
    shared = Counter(folder for folder, part in folders if part != folder)
    told += [(e, *_label(folder.name, e, e["of"] == "distilled")) for folder in shared for e in evaluations(folder)]
    return {"accuracy": _accuracy(told)}


def _label(name: str, evaluation: Json, own: bool) -> tuple[str, bool]:
    """The run's name for its own images, which are what the runs are compared by; else also what was judged."""
    plain = own and evaluation.get("iteration") is None
    return (name if plain else f"{name}: {_title(evaluation)}"), own


def _source_hash(script: str) -> str:
    """The name by which the page's rules allow this script, and no other, to run."""
    from base64 import b64encode

    return "sha256-" + b64encode(sha256(script.encode()).digest()).decode()
