"""What learning class after class gave, in words and on a page."""

from typing import Any

from datadam.report.charts import Band, bands
from datadam.report.sheet import Section, Sheet, cell, settings_of, words
from datadam.wording import percent, plural

Json = dict[str, Any]
SETTINGS = ("steps", "ipc", "students", "seed", "net", "protocol", "hardware", "versions")
PUBLISHED = {  # DataDAM, ICCV 2023, Section 4.5: CIFAR-100, 20 images a class, final accuracy in %, by steps
    "random": {5: 24.8, 10: 24.8}, "herding": {5: 28.1, 10: 27.4}, "dsa": {5: 31.7, 10: 30.3}, "dm": {5: 34.4, 10: 34.7},
    "datadam": {5: 39.7, 10: 39.7},
}  # fmt: skip


def published(found: Json, word: str) -> float | None:
    """The final accuracy that the paper prints for this method and setting, as a share of 1."""
    if (found["data"]["name"], found["ipc"]) != ("cifar100", 20):
        return None
    value = PUBLISHED.get(word.partition(":")[0], {}).get(found["steps"])
    return None if value is None else value / 100


def sentence(found: Json) -> str:
    """The answer in a sentence."""
    best = max(found["methods"], key=lambda row: row["final"]["value"])
    each = plural(found["classes"] // found["steps"], "class", "classes")
    of = f"after {found['steps']} steps of {each}, {found['ipc']} images of each"
    told = (
        f"{best['method']} ends highest: {_ends(best['final'])} on all {found['classes']} classes of {found['data']['name']} {of}"
    )
    test = best["against"]
    if best["method"] == found["first"] or test is None or test["p_holm"] is None:
        return f"{told}."
    points = (
        f"{100 * test['mean']:.1f} points above {found['first']} (p = {test['p_holm']:.2g}, paired over {test['pairs']} orders)"
    )
    return f"{told}, {points}."


def _ends(rate: Json) -> str:
    ends = _interval(rate)
    return percent(rate["value"]) + (f" ({ends})" if ends else "")


def _interval(rate: Json) -> str:
    return "" if rate["low"] is None else f"{percent(rate['low'])} to {percent(rate['high'])}"


def sheet(found: Json, *, command: str = "", note: str = "") -> Sheet:
    """The page."""
    rows = found["methods"]
    facts = [(percent(row["final"]["value"]), f"at the end, {row['method']}", _interval(row["final"])) for row in rows]
    each = found["classes"] // found["steps"]
    places = [each * (s + 1) for s in range(found["steps"])]
    lines = [
        Band(row["method"], places, *([one[end] for one in row["curve"]] for end in ("value", "low", "high"))) for row in rows
    ]
    beside = any(published(found, row["method"]) is not None for row in rows)
    head = ["Method", "At the end", "Mean over steps", "Forgetting", f"Above {found['first']}", "p"]
    head += ["Published, at the end"] if beside else []
    table = []
    for row in rows:
        test = row["against"]
        less = cell(None) if test is None else cell(test["mean"], test["low"], test["high"])
        p = test and (test["p_holm"])
        line = [
            row["method"],
            *(cell(row[n]["value"], row[n]["low"], row[n]["high"]) for n in ("final", "average", "forgetting")),
        ]
        line += [less, words("–") if p is None else words(f"{p:.2g}", p)]
        table.append(line + ([cell(published(found, row["method"]))] if beside else []))
    once = [row["method"] for row in rows if row["made_once"]]
    again = [row["method"] for row in rows if not row["made_once"]]
    told = [
        f"After each step a new network {found['net']} is trained on the memory alone, and tested on the test images of all "
        f"classes seen. Bands and intervals are of 95 %, over {plural(len(found['orders']), 'order')} of the classes.",
        "Forgetting: how much accuracy on the classes of a step falls from its best to the end. Differences are paired over "
        "orders, their p values corrected by Holm's method.",
    ]
    if once:
        told.append(f"Made once for all orders and steps, since each class gets the same images alone: {', '.join(once)}.")
    if again:
        told.append(f"Made anew for each step of each order, since classes are looked at together: {', '.join(again)}.")
    if beside:
        told.append("Published: DataDAM (ICCV 2023), ConvNet-3 of width 128, its own protocol; not measured here.")
    sections = [Section("Accuracy on all classes seen", told, [("", bands(lines, across="classes seen"))], head, table)]
    settings = settings_of({name: found[name] for name in SETTINGS})
    title = f"{found['data']['name']}, learned in {found['steps']} steps"
    return Sheet(title, sentence(found), facts, sections, command, settings, note)


def text(found: Json) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Head and rows of the table for a terminal."""
    head = ("method", "at the end", "mean over steps", "forgetting", f"above {found['first']}", "p", "sets")
    rows = []
    for row in found["methods"]:
        test = row["against"]
        less = "-" if test is None else f"{100 * test['mean']:+.1f} points"
        p = "-" if test is None or test["p_holm"] is None else f"{test['p_holm']:.2g}"
        sets = "made once" if row["made_once"] else "made for each step"
        rows.append((row["method"], *(_ends(row[name]) for name in ("final", "average", "forgetting")), less, p, sets))
    return head, rows
