"""What one-shot federated learning gave, in words and on a page."""

from typing import Any

from datadam.applications.federated import RANDOM, ROUNDS_AT_EQUAL, SETS
from datadam.report.charts import Band, bands
from datadam.report.sheet import Section, Sheet, cell, settings_of, words
from datadam.wording import count, percent, plural, size

Json = dict[str, Any]
SETTINGS = ("clients", "split", "method", "ipc", "students", "seed", "net", "local", "protocol", "hardware", "versions")
SHOWN = 20  # clients, and classes of each, in the table of who has what
KILO = 1000


def sentence(found: Json) -> str:
    """The answer in a sentence."""
    sets = _way(found, SETS)
    told = (
        f"The sets of {found['clients']} clients ({found['method']}, {plural(found['ipc'], 'image')} of each class that a client "
        f"has), sent once in {size(sets['bytes'])}, train to {_ends(sets['accuracy'])} on {found['data']['name']}"
    )
    beside = [f"random images in as many bytes to {percent(_way(found, RANDOM)['accuracy']['value'])}"]
    if equal := _way(found, ROUNDS_AT_EQUAL):
        beside.append(f"{plural(equal['rounds'], 'round')} of FedAvg in as many bytes to {percent(equal['accuracy']['value'])}")
    return f"{told}; {', '.join(beside)}. {bought(found)} {reached(found)}"


def bought(found: Json) -> str:
    """How many rounds of FedAvg the bytes of the sets pay for, in a sentence."""
    rounds, each = found["bought"], size(found["round_bytes"])
    if rounds < 1:
        return f"A round of FedAvg takes {each}, so that these bytes pay for {rounds:.2g} of a round."
    lacks = f", of which {found['rounds']} were made" if rounds >= found["rounds"] + 1 else ""
    return f"A round of FedAvg takes {each}, so that these bytes pay for {plural(int(rounds), 'round')}{lacks}."


def reached(found: Json) -> str:
    """When FedAvg is as good as the sets, in a sentence."""
    if found["reached"] is None:
        return f"FedAvg is not as good within {plural(found['rounds'], 'round')}."
    times = found["reached"] * found["round_bytes"] / _way(found, SETS)["bytes"]
    return f"FedAvg is as good after {plural(found['reached'], 'round')}, {times:.2g} times the bytes."


def _way(found: Json, name: str) -> Json:
    return next((way for way in found["ways"] if way["way"] == name), {})


def _ends(rate: Json) -> str:
    ends = _interval(rate)
    return percent(rate["value"]) + (f" ({ends})" if ends else "")


def _interval(rate: Json) -> str:
    return "" if rate["low"] is None else f"{percent(rate['low'])} to {percent(rate['high'])}"


def name_of(way: Json, method: str) -> str:
    """A way to learn, in words."""
    if way["way"] == SETS:
        return f"sets by {method}"
    if way["way"] == RANDOM:
        return "random images, equal bytes"
    return f"FedAvg, {plural(way['rounds'], 'round')}" + (", equal bytes" if way["way"] == ROUNDS_AT_EQUAL else "")


def sheet(found: Json, *, command: str = "", note: str = "") -> Sheet:
    """The page."""
    ways, local = found["ways"], found["local"]
    facts = [(percent(way["accuracy"]["value"]), name_of(way, found["method"]), f"{size(way['bytes'])} sent") for way in ways[:3]]
    head = ["Way", "Accuracy", "Bytes sent", "Images", "Rounds", "Sets have more"]
    rows = []
    for way in ways:
        more = way["sets_more"]
        rows.append(
            [
                name_of(way, found["method"]), cell(way["accuracy"]["value"], way["accuracy"]["low"], way["accuracy"]["high"]),
                words(size(way["bytes"]), way["bytes"]), _number(way["images"]), _number(way["rounds"]),
                cell(more["value"], more["low"], more["high"]) if more else cell(None),
            ]
        )  # fmt: skip
    told = [
        bought(found) + " " + reached(found),
        f"Intervals are of 95 %, over {plural(found['students'], 'student')} of one set of sets, and over as many trainings of "
        "FedAvg from other first weights: one dealing of the images, and one distillation, lies behind them.",
        "Bytes: sets as they are stored, four bytes a number, from the clients to the server; real images with one byte a "
        "number; FedAvg's weights to every client and back. Each class label of an image counts eight bytes.",
        f"In a round of FedAvg each client makes {plural(local['epochs'], 'epoch')} in batches of {local['batch']}, by SGD with "
        f"rate {local['lr']:g} and momentum 0.9, without augmentation.",
        "Means and deviations of the pixels are those of all images, and known to every client.",
    ]
    sections = [
        Section("Accuracy over what is sent", told, [("", bands(_lines(found), across="kB sent", logarithmic=True))], head, rows),
        _who_has_what(found),
    ]
    settings = settings_of({name: found[name] for name in SETTINGS})
    title = f"{found['data']['name']}, learned by {found['clients']} clients"
    return Sheet(title, sentence(found), facts, sections, command, settings, note)


def _lines(found: Json) -> list[Band]:
    """The union and the random images as points, FedAvg as a curve over the kilobytes of its rounds."""
    lines = []
    for name, label in ((SETS, "sets"), (RANDOM, "random")):
        way = _way(found, name)
        rate = way["accuracy"]
        lines.append(Band(label, [way["bytes"] / KILO], [rate["value"]], [rate["low"]], [rate["high"]]))
    curve = found["curve"]
    sent = [found["round_bytes"] * (number + 1) / KILO for number in range(len(curve))]
    return [*lines, Band("FedAvg", sent, *([one[end] for one in curve] for end in ("value", "low", "high")))]


def _who_has_what(found: Json) -> Section:
    table, names = found["dealt"], found["classes"]
    told = [f"Training images of each client and class, split {found['split']}."]
    left = found["left_out"]
    if left["images"]:
        told.append(
            f"{plural(left['images'], 'image')} of classes of which a client has fewer than a set needs are left out of the "
            "sets and of the random images; FedAvg trains on them."
        )
    if len(table) > SHOWN or len(names) > SHOWN:
        told.append(f"The first {SHOWN} clients and classes of {len(table)} and {len(names)} are shown.")
    rows = [
        [f"client {client}", *(_number(value) for value in own[:SHOWN]), _number(sum(own))]
        for client, own in enumerate(table[:SHOWN])
    ]
    return Section("Who has what", told, (), ["Client", *names[:SHOWN], "All"], rows)


def _number(value: int | None) -> Json:
    return words("–") if value is None else words(count(value), value)


def text(found: Json) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Head and rows of the table for a terminal."""
    head = ("way", "accuracy", "bytes sent", "images", "rounds", "sets have more")
    rows = []
    for way in found["ways"]:
        more = way["sets_more"]
        points = "-"
        if more:
            points = f"{100 * more['value']:+.1f} points ({100 * more['low']:+.1f} to {100 * more['high']:+.1f})"
        numbers = ("-" if way[name] is None else count(way[name]) for name in ("images", "rounds"))
        rows.append((name_of(way, found["method"]), _ends(way["accuracy"]), size(way["bytes"]), *numbers, points))
    return head, rows
