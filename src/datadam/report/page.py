"""The report: one HTML page that needs nothing beside it. What is shown is decided here, how it looks in templates/.

Letters: M images, K classes, C channels, H height, W width.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from importlib.resources import files
from math import prod
from pathlib import Path
from typing import Any

from datadam.errors import InvalidInput
from datadam.evaluation.told import images_judged, in_percent
from datadam.report import inspected, plots
from datadam.report.folder import Json, Run, evaluations, read, repeats
from datadam.report.gallery import gallery
from datadam.report.judged import (
    accuracy,
    across,
    by_standing,
    classes,
    confusions,
    headline,
    is_own,
    marked,
    not_better,
    rival,
    title,
    unusual,
)
from datadam.report.scored import scored
from datadam.report.trust import trust
from datadam.sets.decoders import decoder_named
from datadam.sets.kind import per_class, stored_bytes, told
from datadam.wording import count, duration, method_name, percent, plural
from datadam.wording import size as in_bytes

BYTES = 2_500_000  # of pixels in a gallery; as text they take a third more, which keeps the page below 5 MB


def page(runs: Sequence[Path], missing: Mapping[Path, str] | None = None) -> str:
    """A report on one run, or on several side by side, as one HTML page.

    Arguments: `runs`, run folders; the folder of a run with repeats stands for all of them; `missing`, for a folder without an
    inspection why it has none, as the end of a sentence.
    Nothing is fetched when it is opened, nothing of a run can execute in it, and the same files give the same page.
    Raises InvalidInput without runs, ArtifactError for a file that is missing or not what it says it is.
    """
    if not runs:
        raise InvalidInput("no run folder was given; a report needs at least one.")
    folders = [(folder, part) for folder in map(Path, runs) for part in repeats(folder)]
    found = [read(part) for _, part in folders]
    names = [str(part.relative_to(folder.parent)) for folder, part in folders]
    budget = max(BYTES // len(found), 400_000)
    views = [
        _view(f"run{number}", name, run, budget, (missing or {}).get(run.folder, ""))
        for number, (name, run) in enumerate(zip(names, found, strict=True))
    ]
    overview = _overview(views, found, folders) if len(found) > 1 else None
    return str(environment().get_template("page.html.j2").render(views=views, overview=overview))


def environment() -> Any:
    """What templates are filled in by; jinja2 is imported only when a page is made."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined
    from markupsafe import Markup

    templates = files("datadam.report") / "templates"
    loader = FunctionLoader(lambda name: (templates / name).read_text("utf-8"))
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["svg"] = Markup  # our own plots, style and script
    environment.filters["sha256"] = _source_hash
    environment.filters["percent"] = percent
    environment.filters["count"] = count
    environment.globals["script"] = (templates / "page.js").read_text("utf-8")
    environment.globals["style"] = (templates / "page.css").read_text("utf-8")
    return environment


def _view(key: str, name: str, run: Run, budget: int, missing: str) -> Json:
    """Everything that the templates say about one run."""
    card, seen = run.card, inspected.load(run)
    return {
        "key": key,
        "name": name,
        "data": card["data"]["name"],
        "method": method_name(card),
        "chosen": card["kind"] == "coreset",
        "sampled": card["kind"] == "generated",
        "ipc": f"{per_class(card).replace('image', 'stored image' if run.each > 1 else 'image')} per class",
        "images": plural(len(run.labels), "image"),
        "kind": run.kind.short,
        "stored": in_bytes(stored_bytes(card)),
        "told": told(card) if not run.kind.usual or card.get("rate") is not None else "",
        "real": count(card["data"]["train"]) if card["data"].get("train") else "",
        "preset": str(card["recipe"].get("preset") or ""),
        "note": card.get("note") or "",
        "warnings": [*(card.get("warnings") or []), *filter(None, [not_better(run)])],
        "notes": card["data"].get("notes") or [],
        "facts": list(_facts(run)),
        "headline": _headline(run),
        "galleries": list(_galleries(key, run, seen, budget)),
        "searched": count(seen.neighbours["searched"]) if seen else "",
        "accuracy": accuracy([(e, title(e), is_own(e, card)) for e in by_standing(run)]),
        "scores": scored(card, run.evaluations),
        "across": across(run),
        "classes": classes(run),
        "confusions": list(confusions(run)),
        "attention": inspected.attention(run, seen) if seen else None,
        "features": inspected.features(run, seen) if seen else None,
        "inspected": seen is not None,
        "missing": "" if seen else inspected.missing(run, missing),
        "trust": trust(run),
        "curves": [(title, svg) for title, svg in _curves(run.metrics) if svg],
        "command": card.get("command") or "",
        "settings": list(_flat(card["recipe"])),
        "surroundings": list(_surroundings(card)),
        "citations": card.get("citations") or [],
        "card": json.dumps(card, indent=1, ensure_ascii=False),
    }


def _galleries(key: str, run: Run, seen: inspected.Inspected | None, budget: int) -> Iterator[Json]:
    """The images; of a decoded set those that are stored, and then those that students see."""
    if run.each == 1:
        yield {"key": key, "heading": "The images", "words": "", "shown": gallery(run, seen, budget)}
        return
    if not decoder_named(run.kind.decoder).pictures:
        words = f"The decoder {run.kind.decoder} makes {run.each} of each stored one, which is no picture itself."
        shown = gallery(run, seen, budget, training=True)
        yield {"key": f"{key}-training", "heading": "The training images: what students see", "words": words, "shown": shown}
        return
    words = f"What is stored. The decoder {run.kind.decoder} makes {run.each} training images of each."
    yield {"key": key, "heading": "The stored images", "words": words, "shown": gallery(run, None, budget // 2)}
    words = "Those of one stored image stand side by side."
    shown = gallery(run, seen, budget // 2, training=True)
    yield {"key": f"{key}-training", "heading": "The training images: what students see", "words": words, "shown": shown}


def _facts(run: Run) -> Iterator[tuple[str, str, str]]:
    """The few numbers that matter: value, name, what it is to be compared with."""
    card, images = run.card, len(run.labels)
    own = headline(run)
    whole = rival(run, "whole", own) if own else None
    if own:
        against = f"whole training set: {percent(whole['mean'])}" if whole else ""
        yield in_percent(own["mean"], images_judged(own)), f"test accuracy, {own['net']}{unusual(own)}", against
    if own and whole and own.get("seconds_per_student") is not None and whole.get("seconds_per_student") is not None:
        mine, theirs = ((duration(e["seconds_per_student"]), _epochs(e)) for e in (own, whole))
        yield mine[0], f"to train a student{mine[1]}", f"whole training set: {theirs[0]}{theirs[1]}"
    pixels, real = prod(run.shape), card["data"].get("train")
    share = percent(images / real, 2 if images < 0.1 * real else 0) if real else ""
    what, kind = ("stored image" if run.each > 1 else "image"), run.kind
    yield count(images), what if images == 1 else f"{what}s", f"{share} of {count(real)}" if real else ""
    if run.each > 1:
        yield count(run.each * images), "training images", f"{run.each} of each stored one, decoded by {kind.decoder}"
    if kind.labels == "soft":
        yield "soft", "labels", f"logits at temperature {card.get('temperature', 1.0):g}"
    if card.get("rate") is not None:
        yield f"{card['rate']:.3g}", "rate of students", "learned"
    yield in_bytes(stored_bytes(card)), "stored", "images as float32 and labels"
    if decoder_named(kind.decoder).pictures:
        yield in_bytes(images * pixels), "as 8-bit pixels", f"whole training set: {in_bytes(real * pixels)}" if real else ""
    if card.get("seconds") is not None:
        steps, first = card.get("iterations_done"), card.get("trained_first_seconds")
        how = [plural(steps, "iteration")] if steps else []
        how += [f"{duration(first)} of training networks first"] if first else []
        how += [f"{duration(card['earlier_seconds'])} of making what it starts from"] if card.get("earlier_seconds") else []
        yield duration(card["seconds"]), "to make", "; ".join(how)
    speed = _speed(card)
    if speed:
        yield speed, "real images per second", ""
    if card.get("peak_memory_mb"):
        yield in_bytes(card["peak_memory_mb"] * 1e6), "peak memory", ""


def _headline(run: Run) -> str:
    """The accuracy of the run's own images in a word or two."""
    own = headline(run)
    return in_percent(own["mean"], images_judged(own)) + unusual(own) if own else "not evaluated"


def _epochs(evaluation: Json) -> str:
    epochs = (evaluation.get("protocol") or {}).get("epochs")
    return f", {plural(epochs, 'epoch')}" if type(epochs) is int else ""


def _speed(card: Json) -> str:
    """How many real images were matched in a second; "" where the card does not tell."""
    recipe, done, seconds = card["recipe"], card.get("iterations_done"), card.get("seconds")
    batch = recipe.get("batch_real")
    if not done or not seconds or type(batch) is not int:
        return ""
    done = -(-done // recipe.get("real_every", 1))  # iterations that share real images draw them once
    before = (card.get("trained_first_seconds") or 0.0) + (card.get("earlier_seconds") or 0.0)
    rate = done * batch * len(card["data"]["classes"]) / max(seconds - before, 1e-9)
    return count(round(rate)) if rate >= 10 else f"{rate:.2g}"


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
    for part in card.get("merged") or []:
        yield "merged from", f"{plural(sum(part['counts']), 'image')} of {part['data']['name']} by {part['method']}"
    if card["transform"]["zca"] is not None:
        yield "whitening", f"ZCA, {card['transform']['zca']['variant']}"
    if card.get("moved") is not None:
        yield "pixels moved by", f"{card['moved']:.3g} on average, in network space"
    machine = card.get("hardware") or {}
    if machine.get("device"):
        yield "computed on", str(machine["device"])
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
    """Several runs beside each other, in a group for each kind, with the evaluations that belong to all repeats of a run."""
    judged = [
        (evaluation, *_label(view["name"], evaluation, is_own(evaluation, run.card)))
        for view, run in zip(views, runs, strict=True)
        for evaluation in by_standing(run)
    ]
    shared = Counter(folder for folder, part in folders if part != folder)
    together = {folder: evaluations(folder) for folder in shared}
    judged += [(e, *_label(folder.name, e, e["of"] == "distilled")) for folder, found in together.items() for e in found]
    first = {folder: run.card for (folder, _), run in reversed(list(zip(folders, runs, strict=True)))}
    ranked = [(folder.name, scored(first[folder], found)) for folder, found in together.items()]
    kinds = list(dict.fromkeys(view["kind"] for view in views))
    groups = [(kind, [view for view in views if view["kind"] == kind]) for kind in kinds]
    return {"accuracy": accuracy(judged), "scores": [(name, one) for name, one in ranked if one], "groups": groups}


def _label(name: str, evaluation: Json, own: bool) -> tuple[str, bool]:
    """The run's name for its own images, which are what the runs are compared by; else also what was judged."""
    plain = own and evaluation.get("iteration") is None
    return (name + marked(evaluation) if plain else f"{name}: {title(evaluation)}"), own


def _source_hash(script: str) -> str:
    """The name by which the page's rules allow this script, and no other, to run."""
    from base64 import b64encode

    return "sha256-" + b64encode(sha256(script.encode()).digest()).decode()
