"""The README.md of a run folder: for whoever finds the folder without knowing datadam."""

import re
from typing import Any

from datadam.sets.decoders import PLAIN, decoder_named
from datadam.sets.kind import Kind, counts_of, per_class, stored_bytes, training_count
from datadam.wording import count, duration, method_name, plural
from datadam.wording import size as in_bytes

MARKS = re.compile(r"([\\`*_{}\[\]<>#|~&])")  # what Markdown or HTML would read as more than itself
LISTED = 30  # class names in the text
VERBS = {
    "distilled": "distilled from", "coreset": "chosen from", "generated": "sampled from a generator trained on",
    "imported": "imported; made from",
}  # fmt: skip


def run_readme(card: dict[str, Any]) -> str:
    """What the images are, how to load them, how they were made and whom to cite, as Markdown.

    Argument: `card`, the content of card.json. Names and notes in it appear as plain text, whatever they hold.
    """
    data = card["data"]
    imported = card["kind"] == "imported"
    classes = [_plain(name) for name in data["classes"]]
    kind, stored = Kind.of_card(card), plural(sum(counts_of(card)), "image")
    channels, height, width = data["shape"]
    real = f"{count(data['train'])} " if data.get("train") else ""
    origin = f"{VERBS[card['kind']]} the {real}training images of {_plain(data['name'])}" + (
        "."
        if card["kind"] != "distilled"
        else ", so that a network trained on them alone learns as much as it can of what all of those teach."
    )
    colours = {1: "grey", 3: "colour"}.get(channels, f"{channels} channels")
    warnings = [card.get("note"), *(card.get("warnings") or []), *(data.get("notes") or [])]
    parts = [
        f"# {_plain(data['name'])}: {per_class(card)} per class",
        *(f"> **Note:** {_plain(warning)}" for warning in warnings if warning),
        f"{stored}, {width} x {height}, {colours}, {origin}",
        *_kept(card, kind),
        f"{plural(len(classes), 'class', 'classes')}: {', '.join(classes[:LISTED])}"
        + (f" and {len(classes) - LISTED} more." if len(classes) > LISTED else "."),
        "![The images, one row a class](preview.png)",
        "## Load them",
        _fence(_load(kind), "python"),
        "`report.html`, where there is one, shows every image, the way to them, and how well networks learn from them.",
        "## How they were made",
        _origin(card) if imported else _making(card),
        *_merged(card),
        *([_fence(card["command"], "sh")] if card.get("command") else []),
        "`card.json` holds every setting, the versions, the seed and the checksum of the data.",
    ]
    if card.get("citations"):
        parts += ["## Cite", *(_fence(citation, "bibtex") for citation in card["citations"])]
    return "\n\n".join(parts) + "\n"


def _load(kind: Kind) -> str:
    """How to get at the images, as Python."""
    decoded = kind.decoder != PLAIN.word
    shown = decoded and decoder_named(kind.decoder).pictures
    what = "logits of its soft label" if kind.labels == "soft" else "class number"
    return (
        'import datadam\n\ndistilled = datadam.DistilledSet.load("path/to/this/folder")\n'
        "distilled.pixels()   # true colours in [0, 1], one tensor [images, channels, height, width]"
        f"{', of the training images' if decoded else ''}\n"
        + ("distilled.stored_pixels()  # likewise, of the stored images\n" if shown else "")
        + f"distilled.dataset()  # a torch Dataset of ({'training ' if decoded else ''}image as networks see it, {what})"
    )


def _kept(card: dict[str, Any], kind: Kind) -> list[str]:
    """What is stored, where a stored image is not a training image with a class number; else only its bytes."""
    size = in_bytes(stored_bytes(card))
    words = [f"Stored in {size}: images as float32 and labels{' with the rate of students' if card.get('rate') else ''}."]
    if kind.decoder != PLAIN.word:
        words.append(
            f"A stored image is no training image: the decoder {_plain(kind.decoder)} makes "
            f"{plural(training_count(card), 'training image')} of the {plural(sum(counts_of(card)), 'stored one')}, and "
            "images per class count stored ones."
        )
    if kind.labels == "soft":
        words.append(
            "The labels are soft, one number for each class: students learn their softmax at temperature "
            f"{card.get('temperature', 1.0):g}."
        )
    if card.get("rate") is not None:
        words.append(f"The rate of students was learned too: {card['rate']:.6g}.")
    return [" ".join(words)]


def _making(card: dict[str, Any]) -> str:
    """Method, network, seed, time and program in one sentence."""
    recipe, learned = card["recipe"], card["kind"] == "distilled"
    words = [f"{'Images chosen with' if card['kind'] == 'coreset' else 'Method'} {_plain(method_name(card))}"]
    if networks := card.get("networks"):
        words.append(" and ".join(f"{_plain(name)} of {plural(size, 'weight')}" for name, size in networks.items()))
    if learned:
        words.append(f"network {_plain(recipe['net'])}")
        words.append(plural(card.get("iterations_done") or 0, "iteration"))
    words.append(f"seed {recipe.get('seed', 0)}")
    if card.get("seconds") is not None:
        before = card.get("earlier_seconds")
        words.append(duration(card["seconds"]) + (f" with {duration(before)} for what it started from" if before else ""))
    version = (card.get("versions") or {}).get("datadam")
    made = f", with datadam {_plain(version)}" if version else ""
    return ", ".join(words) + made + "."


def _merged(card: dict[str, Any]) -> list[str]:
    """What a merged set was put together from."""
    parts = card.get("merged") or []
    told = [
        f"- {plural(sum(part['counts']), 'image')} of {_plain(part['data']['name'])} by {_plain(part['method'])}"
        for part in parts
    ]
    return ["Merged from:\n\n" + "\n".join(told)] if told else []


def _origin(card: dict[str, Any]) -> str:
    """File, format, method and what nobody knows of imported images."""
    came = card.get("imported") or {}
    unknown = ", ".join(map(str, came.get("unknown") or []))
    return (
        f"Imported from {_plain(came.get('file', 'a file'))} (format {_plain(came.get('format', '?'))}, "
        f"{_plain(came.get('sha256', 'no checksum'))}); method {_plain(method_name(card))}. Not known: {unknown or 'nothing'}."
    )


def _plain(text: object) -> str:
    """Text on one line that Markdown shows as it is."""
    return MARKS.sub(r"\\\1", " ".join(str(text).split()))


def _fence(text: str, language: str) -> str:
    """A block of code that its own text cannot close."""
    longest = max((len(ticks) for ticks in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"
