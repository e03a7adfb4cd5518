"""What a search found, in words, on a page and as a table of its networks."""

import csv
import io
from typing import Any

from datadam.report.charts import scatter
from datadam.report.sheet import Section, Sheet, cell, settings_of, words
from datadam.wording import count, duration, percent, plural

Json = dict[str, Any]
FEWEST = 5  # of the best networks that a picture is drawn of
SETTINGS = (
    "space",
    "students",
    "seed",
    "protocol",
    "precision",
    "workers",
    "threads",
    "held_out",
    "test",
    "hardware",
    "versions",
)


def sentence(found: Json) -> str:
    """The answer in a sentence."""
    networks, ranked = len(found["networks"]), [one for one in found["proxies"] if one["correlation_all"]]
    if not ranked:
        return f"{networks} networks are too few, or too much alike, for a rank correlation."
    best = max(ranked, key=lambda one: one["correlation_all"]["value"] if one["name"] != "whole" else -2)
    rate = best["correlation_all"]
    return (
        f"{networks} networks trained on {best['name']} ({plural(best['images'], 'image')}) are ranked as by the whole set with "
        f"a correlation of {rate['value']:.2f} ({rate['low']:.2f} to {rate['high']:.2f}); the one that it chooses reaches "
        f"{percent(best['chosen_accuracy'])} on the whole set, the best of all {percent(max(found['truth']))}."
    )


def sheet(found: Json, *, command: str = "", note: str = "") -> Sheet:
    """The page."""
    proxies = found["proxies"]
    facts = [(count(len(found["networks"])), "networks", f"of {found['space']}")]
    for one in proxies:
        rate = one["correlation_all"]
        ends = f"{rate['low']:.2f} to {rate['high']:.2f}, chooses {percent(one['chosen_accuracy'])}" if rate else ""
        facts.append((f"{rate['value']:.2f}" if rate else "–", f"rank correlation, {one['name']}", ends))
    trained = found["truth_from"] == "trained"
    source = f"the truth: accuracy on {plural(found['test'], 'test image')} after training on the whole set"
    source = source if trained else f"the truth: accuracies of {found['truth_from']}"
    ranks = f"A proxy ranks by accuracy on {plural(found['held_out'], 'image')} held out of the training part; {source}."
    plain = "A distilled set may have been made with those images in sight; the test part has chosen nothing."
    top = found["top"]
    rows = [
        [
            one["name"], words(count(one["images"]), one["images"]), words(count(one["steps"]), one["steps"]),
            words(duration(one["seconds"]), one["seconds"]), *(_correlation(one[f"correlation_{of}"]) for of in ("all", "top")),
            cell(one["chosen_accuracy"]), words(one["chosen"]),
        ]
        for one in proxies
    ]  # fmt: skip
    head = (
        "Proxy",
        "Images",
        "Steps",
        "Training of all",
        "Correlation",
        f"of the best {len(top)}",
        "Its choice, truth",
        "Its choice",
    )
    sections = [
        Section("How well proxies rank", (ranks, plain, TOLD), head=head, rows=rows),
        Section("Every network", (RING,), _plots(found, range(len(found["truth"])))),
    ]
    if len(top) >= FEWEST:
        told = ("Best on held-out images after the whole set, where that was trained.",)
        sections.append(Section(f"The best {len(top)} of them", told, _plots(found, top)))
    settings = settings_of({name: found[name] for name in SETTINGS})
    title = f"Architecture search on {found['data']['name']}"
    return Sheet(title, sentence(found), facts, sections, command, settings, note)


RING = "A point for each network; the one that the proxy would have chosen is ringed."
TOLD = (
    "Correlation: Spearman's, with its 95 % interval by Bonett and Wright. Seconds of training are summed over networks, each on "
    "its own threads; networks that an earlier search had trained count as they did then."
)


def _correlation(rate: Json | None) -> Json:
    return cell(rate["value"], rate["low"], rate["high"], share=False, digits=2) if rate else cell(None)


def _plots(found: Json, which: Any) -> list[tuple[str, str]]:
    truth = [found["truth"][i] for i in which]
    plots = []
    for one in found["proxies"]:
        scores = [one["accuracies"][i] for i in which]
        names = [found["networks"][i] for i in which]
        chosen = names.index(one["chosen"]) if one["chosen"] in names else None
        plots.append((one["name"], scatter(scores, truth, across=f"on {one['name']}", up="on the whole set", chosen=chosen)))
    return plots


def csv_text(found: Json) -> str:
    """One line for each network: its truth, and its accuracy on each proxy, as shares of 1."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["network", "truth", *(one["name"] for one in found["proxies"])])
    for i, (net, truth) in enumerate(zip(found["networks"], found["truth"], strict=True)):
        writer.writerow([net, truth, *(one["accuracies"][i] for one in found["proxies"])])
    return file.getvalue()


def text(found: Json) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Head and rows of the table for a terminal."""
    head = ("proxy", "images", "steps", "training of all", "correlation (95 %)", "of the best fifth", "its choice")
    rows = []
    for one in found["proxies"]:
        told = [
            "-" if (r := one[f"correlation_{of}"]) is None else f"{r['value']:.2f} ({r['low']:.2f} .. {r['high']:.2f})"
            for of in ("all", "top")
        ]
        chosen = f"{percent(one['chosen_accuracy'])}  {one['chosen']}"
        rows.append((one["name"], count(one["images"]), count(one["steps"]), duration(one["seconds"]), *told, chosen))
    return head, rows
