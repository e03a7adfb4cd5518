"""`datadam show` and `datadam list`: what a run or a preset holds, and which names there are."""

import re
from dataclasses import replace
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from datadam.cli.options import Json

if TYPE_CHECKING:
    from datadam.distillation.recipe import Recipe
    from datadam.methods import Method

What = Literal["data", "methods", "presets", "nets", "starts", "decoders", "protocols", "formats"]
EXAMPLE = "cifar10"  # the data for which a preset is shown unless told otherwise
EXAMPLE_IPC = 10
ORIGIN = {"distilled": "distilled", "coreset": "chosen", "generated": "sampled from a generator", "imported": "imported"}
WIDTH = 100  # letters of a line about a method


def show(
    name: Annotated[str, Parameter(help="run folder, or a preset (datadam list presets)")],
    *,
    data: Annotated[str | None, Parameter(help="of a preset: the data it is for (default cifar10)")] = None,
    ipc: Annotated[int | None, Parameter(help="of a preset: images per class (default 10)")] = None,
    json: Json = False,
) -> None:
    """Show a run, or every setting of a preset."""
    from datadam import plugins
    from datadam.cli.screen import result
    from datadam.distillation.presets import CATALOG
    from datadam.errors import InvalidInput, UnknownName
    from datadam.methods import Coreset
    from datadam.methods.catalog import CATALOG as METHODS

    presets = {*CATALOG, *(method for method, kind in METHODS.items() if issubclass(kind, Coreset))}
    if name in presets or (name in plugins.names("methods") and not Path(name).is_dir()):
        text, value = _preset(name, data or EXAMPLE, EXAMPLE_IPC if ipc is None else ipc)
    elif not Path(name).is_dir():
        raise UnknownName("run or preset", name, presets, "The folder of a run is allowed too.")
    elif data is not None or ipc is not None:
        raise InvalidInput(f"{name} is a run, with data and ipc of its own; leave out --data and --ipc")
    else:
        text, value = _run(Path(name))
    result(text, value, as_json=json)


def list_names(
    what: Annotated[What | None, Parameter(help="one of them (default: all)")] = None,
    *,
    json: Json = False,
) -> None:
    """List data, methods, presets, nets, decoders and other names.

    Those that installed packages add are among them.
    """
    from datadam.cli.screen import result, say

    rows, methods, remarks = _names()
    told = {kind: [{"name": n, "description": d} for n, d in lines] for kind, lines in rows.items()} | {"methods": methods}
    for remark in remarks:
        say(f"note: {remark}")
    if what is not None:
        result(_text_of(what, rows[what], told["methods"]), told[what], as_json=json)
        return
    text = "\n\n".join(f"{kind}\n{_text_of(kind, lines, told['methods'], 2)}" for kind, lines in rows.items())
    result(text, told, as_json=json)


def _names() -> tuple[dict[str, list[tuple[str, str]]], list[dict[str, Any]], list[str]]:
    """Every name with a description, by kind; what there is to know of each method; and what must be told of packages."""
    from datadam.data import catalog as data
    from datadam.distillation import presets, start
    from datadam.evaluation import protocols
    from datadam.exchange import FORMATS
    from datadam.methods import catalog as methods
    from datadam.nets import catalog as nets
    from datadam.sets.decoders import DECODERS
    from datadam.wording import plural

    sets, ways, networks = data.listed(), methods.listed(), nets.listed()

    def of(name: str, package: dict[str, str]) -> str:
        return f" (package {package[name]})" if name in package else ""

    rows = {
        "data": [(name, row.title + of(name, sets.package)) for name, row in sets.rows.items()],
        "methods": [(name, method.description) for name, method in ways.rows.items()],
        "presets": [(name, _first(make.__doc__)) for name, make in presets.CATALOG.items()],
        "nets": [
            (name, row.description + _options(row.options) + of(name, networks.package)) for name, row in networks.rows.items()
        ],
        "starts": list(start.STARTS.items()),
        "decoders": list(DECODERS.items()),
        "protocols": [
            (
                name,
                f"{rule.students} students a set, {plural(rule.sets, 'set')}, {rule.training.epochs} epochs: {rule.description}",
            )
            for name, rule in protocols.CATALOG.items()
        ],
        "formats": [(name, f"{form.title}: for {form.readers}") for name, form in FORMATS.items()],
    }
    told = [_method_row(name, method, ways.package.get(name, "")) for name, method in ways.rows.items()]
    return rows, told, [*sets.remarks, *ways.remarks, *networks.remarks]


def _method_row(name: str, method: "type[Method]", package: str) -> dict[str, Any]:
    """What there is to know of a method, and the package that adds it ("" for ours)."""
    return {
        "name": name,
        "package": package,
        "family": method.family,
        "description": method.description,
        **_cost(name, method),
        "source": _sources(method.citation),
        "citation": method.citation,
    }


def _cost(name: str, method: "type[Method]") -> dict[str, Any]:
    """What a method costs: epochs on the whole real set before it chooses, or forward passes of one image an iteration.

    `training` is, for each synthetic image, what training the network on the synthetic set adds in the method's own preset at
    `EXAMPLE_IPC` images per class.
    """
    from datadam.data.catalog import CATALOG as DATA
    from datadam.distillation.forecast import size_of
    from datadam.distillation.presets import FOR_METHOD, Sketch, preset
    from datadam.methods.cost import Size

    if method.chooses or method.samples:
        epochs, before = method().training_epochs, "the choice" if method.chooses else "samples are taken"
        words = f"{epochs} epochs of training on the whole real set, before {before}" if epochs else "none"
        return {"epochs_on_real": epochs, "passes": None, "cost": words}

    def passes_of(size: Size) -> float:
        return recipe.method.cost(size).passes

    recipe = preset(FOR_METHOD.get(name, name), Sketch(EXAMPLE, DATA[EXAMPLE].shape), ipc=EXAMPLE_IPC)
    each_class = passes_of(Size(real=(0,), synthetic=(0,)))
    real, synthetic = (passes_of(Size(real=(r,), synthetic=(s,))) - each_class for r, s in ((1, 0), (0, 1)))
    size = size_of(recipe, (0,))
    training = (passes_of(size) - passes_of(replace(size, trained=0.0, trains=False))) / EXAMPLE_IPC
    passes = {"real": real, "synthetic": synthetic, "each_class": each_class, "training": round(training, 6)}
    parts = [(real, "a real image"), (synthetic, "a synthetic one"), (each_class, "a class")]
    told = ", ".join(f"{number:g} {what}" for number, what in parts if number)
    if round(training, 6):
        told += f"; {training:g} more a synthetic one to train networks (preset {recipe.preset}, ipc {EXAMPLE_IPC})"
    words = f"an iteration, in forward passes: {told}" if told else "an iteration passes no network"
    return {"epochs_on_real": 0, "passes": passes, "cost": words}


def _sources(citation: str) -> str:
    """BibTeX entries in a few words: Zhao and Bilen, WACV 2023; "" without one."""
    found = []
    for entry in re.split(r"^@", citation, flags=re.MULTILINE)[1:]:
        authors, place, year = (
            re.search(rf"{key}=\{{(.*?)\}}", entry, re.DOTALL) for key in ("author", "(?:booktitle|journal)", "year")
        )
        if authors and place and year:
            names = [one.split(",")[0].strip() for one in re.split(r"\s+and\s+", authors[1])]
            who = f"{names[0]} et al." if len(names) > 2 else " and ".join(names)
            found.append(f"{who}, {place[1]} {year[1]}")
    return "; ".join(found)


def _text_of(kind: str, lines: list[tuple[str, str]], methods: list[dict[str, Any]], indent: int = 0) -> str:
    """Names with their descriptions in columns; of each method also family, source and cost, on lines of their own."""
    if kind != "methods":
        return _columns(lines, indent)
    width = max(len(name) for name, _ in lines) + 2
    room = WIDTH - indent - width
    text = []
    for row in methods:
        origin = "; ".join(filter(None, (row["family"], row["source"], row["package"] and f"package {row['package']}")))
        about = [origin, row["description"], f"cost: {row['cost']}"]
        first, *rest = [part for words in about for part in wrap(words, room)]
        text += [" " * indent + row["name"].ljust(width) + first, *(" " * (indent + width) + part for part in rest)]
    return "\n".join(text)


def _options(options: Any) -> str:
    words = (f"{key}={'|'.join(value) if isinstance(value, tuple) else value}" for key, value in options.items())
    return f" [{', '.join(words)}]" if options else ""


def _first(text: str | None) -> str:
    """The first paragraph of a docstring, on one line."""
    return " ".join((text or "").split("\n\n")[0].split())


def _columns(rows: list[tuple[str, str]], indent: int = 0) -> str:
    width = max((len(name) for name, _ in rows), default=0)
    return "\n".join(f"{' ' * indent}{name.ljust(width)}  {words}".rstrip() for name, words in rows)


def _preset(name: str, data: str, ipc: int) -> tuple[str, Any]:
    from datadam.data.catalog import CATALOG as DATA
    from datadam.data.catalog import row_named
    from datadam.distillation.presets import CATALOG, Sketch, preset
    from datadam.errors import UnknownName

    row = row_named(data)
    if row is None:
        raise UnknownName("data set", data, DATA, "Other data get the settings of a named set with images of their size.")
    shape = row.shape
    recipe = preset(name, Sketch(data, shape), ipc=ipc)
    words = _first(CATALOG[name].__doc__) if name in CATALOG else recipe.method.description
    head = [f"{name}: {words}", f"For {data} ({' x '.join(map(str, shape))}), {_images(ipc)} per class:", ""]
    text = _columns([(setting, _shown(value)) for setting, value in _settings(recipe, shape)], indent=2)
    end = ["", f"datadam distill {data} --ipc {ipc} --preset {name}; change any of these with --set NAME=VALUE"]
    return "\n".join([*head, text, *end]), recipe.to_card()


def _settings(recipe: "Recipe", shape: tuple[int, int, int]) -> list[tuple[str, Any]]:
    """The method with its settings, then those of the recipe that mean something to it."""
    from datadam import nets
    from datadam.cli.config import AT_ONCE

    card = recipe.to_card()
    method = card.pop("method")
    left = set(card) - {"ipc", "preset"}
    if recipe.method.at_once:
        left = {*AT_ONCE, *(("precision",) if recipe.method.samples else ())}
    card = {key: value for key, value in card.items() if key in left}
    if card["net"].startswith("auto"):
        card["net"] += f" ({nets.canonical(card['net'], shape)})"
    return [("method", method.pop("name")), *method.items(), *card.items()]


def _shown(value: Any) -> str:
    """A setting as one would write it after --set."""
    if value is None:
        return "auto"
    if isinstance(value, (list, tuple)):
        return ",".join(map(str, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count} images"


def _run(run: Path) -> tuple[str, Any]:
    from datadam.cli.audit import score_lines
    from datadam.cli.evaluations import judged, kept_evaluations, verdicts
    from datadam.cli.options import sets_of
    from datadam.evaluation.ddranking import scores, standing
    from datadam.report.folder import read

    folders = sets_of(run)
    cards = [read(folder).card for folder in folders]
    evaluations = [e for folder in dict.fromkeys((run, *folders)) for _, e in kept_evaluations(folder)]
    compared = ("random", "whole") if _method(cards[0]) != "random" else ("whole",)
    evaluations.sort(key=lambda e: (e["of"] not in compared, standing(cards[0], e)), reverse=True)
    lines = [str(run), _columns(_facts(cards), indent=2)]
    ranked = scores(cards[0], evaluations, str(run)).to_json() if evaluations else None
    if evaluations:
        lines += ["", *("  " + line for line in judged([("", e) for e in evaluations], runs=False).splitlines())]
        lines += [f"  {words}" for words in verdicts(cards[0], evaluations)]
    else:
        lines += ["", f"  not judged yet: datadam evaluate {run}"]
    if ranked:
        lines += ["", *("  " + line for line in score_lines(ranked))]
    value = {"run": str(run), "cards": cards, "evaluations": evaluations, "scores": ranked}
    return "\n".join(lines), value


def _method(card: dict[str, Any]) -> str:
    method = card["recipe"].get("method")
    return str(method.get("name") if isinstance(method, dict) else method)


def _facts(cards: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """What a person wants to know of a run, one line each; of repeats, the first card and the ranges."""
    from datadam.cli.screen import duration
    from datadam.sets.kind import per_class, told

    card = cards[0]
    recipe, data = card["recipe"], card["data"]
    method = dict(recipe["method"]) if isinstance(recipe.get("method"), dict) else {"name": "unknown"}
    name = method.pop("name", "unknown")
    learned = card["kind"] == "distilled"
    count = f"{len(cards)} sets of " if len(cards) > 1 else ""
    seconds, moved = (sum(c.get(key) or 0 for c in cards) / len(cards) for key in ("seconds", "moved"))
    each = " each" if len(cards) > 1 else ""
    keys = ("net", "iterations", "batch_real", "lr_images", "start", "zca") if learned else ("net", "zca")
    settings = [(key, recipe[key]) for key in (*keys, "seed", "preset") if recipe.get(key, "none") != "none"]
    if recipe.get("normalisation", "own") != "own":
        settings.append(("normalisation", recipe["normalisation"]))
    if recipe.get("networks", "random") != "random":
        settings.append(("networks", recipe["networks"].partition("#")[0]))
    size = " x ".join(map(str, data["shape"]))
    facts = [
        ("images", f"{count}{per_class(card)} for each of {len(data['classes'])} classes, {size}, {ORIGIN[card['kind']]}"),
        ("kind", told(card)),
        ("data", f"{data['name']}, {data.get('train', '?')} training and {data.get('test', '?')} test images"),
        ("method", "  ".join([str(name), *(f"{key}={_shown(value)}" for key, value in method.items())])),
        ("settings", "  ".join(f"{key}={_shown(value)}" for key, value in settings)),
    ]  # fmt: skip
    if learned:
        done = "/".join(dict.fromkeys(str(c.get("iterations_done", "?")) for c in cards))
        facts.append(("run", f"{done} iterations in {duration(seconds)}{each}, pixels moved {moved:.2f} in network space"))
    if isinstance(came := card.get("imported"), dict):
        facts.append(("from", f"{came.get('file')}, format {came.get('format')}, {came.get('sha256')}"))
    facts += [("made", f"{card.get('created', '?')}, datadam {(card.get('versions') or {}).get('datadam', '?')}")]
    facts += [("note", text) for text in dict.fromkeys(c.get("note") for c in cards) if text]
    facts += [("data note", text) for text in data.get("notes") or []]
    facts += [("warning", text) for text in dict.fromkeys(text for c in cards for text in c.get("warnings") or [])]
    return facts
