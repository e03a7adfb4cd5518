"""What a nested run costs against single runs: accuracy at each number of images per class, and seconds.

    python results/nested.py mnist --root DATA --out FOLDER    # some minutes; called again it goes on

Four ways to have a set of k images per class, for k = 1, 2, 5, 10: a run of its own; the first k images of a nested run of as
many iterations; those of a nested run of as many as the four single runs together; those of the usual run of 10.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

import datadam
from datadam import machine
from datadam.applications.sets import Judges, judged, made_set, over
from datadam.comparison.store import Store
from datadam.distillation.recipe import Recipe
from datadam.evaluation.panel import Panel, protocol_named
from datadam.evaluation.protocols import Protocol
from datadam.evaluation.statistics import unpaired
from datadam.files.whole import write_json, write_text
from datadam.report.charts import Band, bands
from datadam.report.sheet import Section, Sheet, cell, settings_of, words
from datadam.where import Where
from datadam.wording import duration, percent, plural

Json = dict[str, Any]
LADDER = (1, 2, 5, 10)
ITERATIONS, BATCH_REAL, NET, STUDENTS, EPOCHS = 200, 32, "convnet2:width=16", 3, 150
SINGLE, NESTED, LONG, CUT = "single runs", "nested", "nested, as long as all", "cut from the usual 10"
LABELS = {SINGLE: "single", NESTED: "nested", LONG: "nested, long", CUT: "cut"}  # in the plot
SETTINGS = ("method", "net", "iterations", "batch_real", "students", "seed", "protocol", "hardware", "versions")


def measure(name: str, root: Path | None, out: Path) -> Json:
    """Make and judge all of it; what lies in the folder is not made again."""
    real, where = datadam.load(name, **({"root": root} if root else {})), Where(device="cpu")
    tiny = {"net": NET, "iterations": ITERATIONS, "batch_real": BATCH_REAL}
    of_ten = datadam.preset("dm", real, ipc=LADDER[-1]).change(tiny)
    panel = Panel(net=NET, protocol=protocol_named("honest", epochs=EPOCHS), students=STUDENTS).settled(real, NET)
    assert isinstance(panel.protocol, Protocol)
    assert panel.net is not None
    judges = Judges(panel.net, panel.protocol, panel.protocol.whole_set(), STUDENTS, 0)
    of_ten, store = replace(of_ten, net=panel.net), Store(out, real)

    def accuracies(recipe: Recipe, folder: str, ks: tuple[int, ...]) -> tuple[dict[int, list[float]], float]:
        made = made_set(store, recipe, folder, where)
        found = {}
        for k in ks:
            of = None if k == made.ipc else f"first{k}"
            found[k] = judged(store, store.run(folder, 0), made.prefix(k), judges, where, of=of)["accuracies"][0]
        return found, float(made.card["seconds"])

    ways: Json = {}
    single = [accuracies(replace(of_ten, ipc=k), f"single{k}", (k,)) for k in LADDER]
    ways[SINGLE] = {k: values for found, _ in single for k, values in found.items()}, sum(seconds for _, seconds in single)
    nested = replace(of_ten, nested=LADDER)
    ways[NESTED] = accuracies(nested, "nested", LADDER)
    ways[LONG] = accuracies(replace(nested, iterations=len(LADDER) * ITERATIONS), "long", LADDER)
    ways[CUT] = accuracies(of_ten, f"single{LADDER[-1]}", LADDER)
    return {
        "data": {"name": real.name, "checksum": real.checksum}, "ladder": list(LADDER), "method": "dm", "net": panel.net,
        "iterations": ITERATIONS, "batch_real": BATCH_REAL, "students": STUDENTS, "seed": 0,
        "protocol": panel.protocol.to_card(),
        "ways": [
            {"way": way, "seconds": seconds, "accuracies": [found[k] for k in LADDER], "curve": [over(found[k]) for k in LADDER]}
            for way, (found, seconds) in ways.items()
        ],
        "hardware": machine.hardware(torch.device("cpu")), "versions": machine.versions(), "commit": machine.commit(),
        "created": machine.now(), "command": f"python results/nested.py {name} --root DATA --out {out.name}",
    }  # fmt: skip


def _way(found: Json, name: str) -> Json:
    return next(way for way in found["ways"] if way["way"] == name)


def _against(found: Json, name: str) -> str:
    """What a way has more than single runs, at each number of images."""
    pairs = zip(_way(found, name)["accuracies"], _way(found, SINGLE)["accuracies"], strict=True)
    return ", ".join(f"{100 * unpaired(mine, its).value:+.1f}" for mine, its in pairs)


def sentence(found: Json) -> str:
    """The answer in a sentence."""
    ladder = ", ".join(map(str, found["ladder"][:-1])) + f" and {found['ladder'][-1]}"
    single, nested, long = (duration(_way(found, name)["seconds"]) for name in (SINGLE, NESTED, LONG))
    given, last = f"{found['iterations']} iterations each", found["ladder"][-1]
    short, as_long, cut = (_against(found, name) for name in (NESTED, LONG, CUT))
    return (
        f"on {found['data']['name']} with {ladder} images per class, against single runs of {given} ({single} together), the "
        f"prefixes of a nested run of as many iterations ({nested}) give {short} points, those of one of as many iterations as "
        f"all of them together ({long}) {as_long} points, and the first images of the usual run of {last} {cut} points."
    )


def text(found: Json) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Head and rows of the table."""
    head = ("way", *(plural(k, "image") for k in found["ladder"]), "seconds of distilling")
    rows = []
    for way in found["ways"]:
        told = (f"{percent(one['value'])} ({percent(one['low'])} to {percent(one['high'])})" for one in way["curve"])
        rows.append((way["way"], *told, "-" if way["way"] == CUT else f"{way['seconds']:.0f}"))
    return head, rows


def sheet(found: Json, *, command: str = "", note: str = "") -> Sheet:
    """The page."""
    lines = [
        Band(LABELS[way["way"]], found["ladder"], *([one[end] for one in way["curve"]] for end in ("value", "low", "high")))
        for way in found["ways"]
    ]
    head = ["Way", *(plural(k, "image") for k in found["ladder"]), "Distilling"]
    rows = [
        [way["way"], *(cell(one["value"], one["low"], one["high"]) for one in way["curve"]),
         words(duration(way["seconds"]), way["seconds"])]
        for way in found["ways"]
    ]  # fmt: skip
    told = [f"Intervals are of 95 %, over {plural(found['students'], 'student')} of one set."]
    plot = bands(lines, across="images per class", logarithmic=True)
    section = Section("Accuracy over images per class", told, [("", plot)], head, rows)
    best = _way(found, LONG)["curve"]
    facts = [(percent(one["value"]), f"nested, {plural(k, 'image')}", "") for k, one in zip(found["ladder"], best, strict=True)]
    settings = settings_of({name: found[name] for name in SETTINGS})
    return Sheet(f"Nested sets of {found['data']['name']}", sentence(found), facts, [section], command, settings, note)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("--root", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    result = measure(asked.name, asked.root, asked.out)
    write_json(asked.out / "nested.json", result)
    write_text(asked.out / "nested.html", sheet(result, command=result["command"]).html())
