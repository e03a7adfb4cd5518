"""What a search for the smallest set found, in words and on a page."""

from typing import Any

from datadam.applications.lossless import OPEN, interval
from datadam.report.charts import Band, bands
from datadam.report.sheet import Section, Sheet, cell, settings_of, words
from datadam.wording import count, percent, plural

Json = dict[str, Any]
SETTINGS = ("students", "seed", "net", "protocol", "whole_epochs", "recipe", "hardware", "versions")


def sentence(found: Json) -> str:
    """The answer in a sentence."""
    mean, tolerance, data = interval(found["whole"])[0], f"{found['tolerance']:g}", found["data"]["name"]
    steps = found["steps"]
    if (ipc := found["answer"]) is None:
        last = steps[-1]
        lacks = last["set_lacks"]
        return (
            f"Up to {plural(last['ipc'], 'image')} per class no set of {data} by {found['method']} was shown to train within "
            f"{tolerance} points of the whole set ({percent(mean)}); there it lacks {_points(lacks)}."
        )
    images = ipc * found["classes"]
    rival = found["random_answer"]
    beside = (
        f"random real images do so with {rival}"
        if rival is not None
        else f"random real images do not with up to {max(step['ipc'] for step in steps)}"
    )
    share = percent(images / found["data"]["train"], 2)
    return (
        f"{plural(ipc, 'image')} per class of {data} ({count(images)} in all, {share} of the training set) by {found['method']} "
        f"train {found['net']} within {tolerance} points of the whole set's {percent(mean)}; {beside}."
    )


def _points(rate: Json) -> str:
    return f"{100 * rate['value']:.1f} points ({100 * rate['low']:.1f} to {100 * rate['high']:.1f})"


def sheet(found: Json, *, command: str = "", note: str = "") -> Sheet:
    """The page."""
    steps, level = found["steps"], f"{100 * found['confidence']:g} %"
    whole, low, high = interval(found["whole"])
    answer = found["answer"]
    pays = found["pays_up_to"]
    facts = [
        (str(answer) if answer else "–", "images per class", f"within {found['tolerance']:g} points, {level}"),
        (percent(whole), "whole set", f"{percent(low)} to {percent(high)}, {plural(found['students'], 'student')}"),
        (str(found["random_answer"] or "–"), "random images per class", "within the same tolerance"),
        (str(pays or "–"), "images per class", "the most at which the set is shown to be better than random images"),
    ]
    lines = [_band(found["method"], steps, "set"), _band("random", steps, "random")]
    plot = bands(lines, across="images per class", level=Band("whole set", [1], [whole], [low], [high]), logarithmic=True)
    head = ("Images per class", found["method"], "random real images", "The set lacks", "What that says", "Started from")
    rows = [
        [
            str(step["ipc"]), cell(*interval(step["set"]), digits=2), cell(*interval(step["random"]), digits=2),
            cell(step["set_lacks"]["value"], step["set_lacks"]["low"], step["set_lacks"]["high"], digits=2),
            words(_verdict(step)), words("real images" if step["start"] is None else f"{step['start']} per class"),
        ]
        for step in steps
    ]  # fmt: skip
    told = (
        f"A set is within the tolerance when the whole {level} interval of what it lacks (Welch's) lies below it, and short of "
        "it when the whole interval lies above. All are judged on the test part, which so has a say in what the answer is.",
        "Intervals of accuracies are of 95 %, over students of one set: another set of as many images may differ by more.",
    )
    sections = [
        Section("Accuracy by size", told, [("", plot)], head, rows),
    ]
    settings = settings_of({name: found[name] for name in SETTINGS})
    return Sheet(f"How small a set of {found['data']['name']} will do", sentence(found), facts, sections, command, settings, note)


def _verdict(step: Json) -> str:
    if step["verdict"] != OPEN:
        return str(step["verdict"])
    return f"open; {step['students_needed']} students may decide" if "students_needed" in step else "open"


def _band(label: str, steps: list[Json], name: str) -> Band:
    told = [interval(step[name]) for step in steps]
    return Band(label, [step["ipc"] for step in steps], *([one[i] for one in told] for i in range(3)))


def text(found: Json) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Head and rows of the table for a terminal."""
    head = ("images per class", found["method"], "random", "the set lacks", "verdict")
    rows = []
    for step in found["steps"]:
        accuracies = [f"{percent(mean, 2)} ({percent(low, 2)} .. {percent(high, 2)})" for mean, low, high in
                      (interval(step["set"]), interval(step["random"]))]  # fmt: skip
        rows.append((str(step["ipc"]), *accuracies, _points(step["set_lacks"]), _verdict(step)))
    return head, rows
