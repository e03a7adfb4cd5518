"""Several sets as one: other classes, or more images of the same.

Letters: K classes, M stored images, C channels, H rows, W columns.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from datadam import machine
from datadam.data import RealData, Transform
from datadam.errors import InvalidInput
from datadam.sets.card import FORMAT, data_card, digest
from datadam.sets.decoders import PLAIN
from datadam.sets.distilled import DistilledSet
from datadam.wording import method_name

MERGED = "merged"  # the method of a set whose parts were made by several


def merge(sets: Sequence[DistilledSet], real: RealData | None = None, *, note: str = "", command: str = "") -> DistilledSet:
    """One set of all images: those of a class stand together, in the order of `sets`; their numbers need not be equal.

    Arguments: `sets`, two or more; `real`, the data that the merged set stands for and is judged on, which has the classes of all
    sets and gives their order (None: the data that every set was made from); `note` and `command`, for the card.
    Plain images of another normalisation are brought into that of the first set. Raises `InvalidInput`, with everything that does
    not fit, before anything is made.
    """
    if len(sets) < 2:
        raise InvalidInput(f"{len(sets)} set came; merging takes two or more")
    names = list(dict.fromkeys(name for one in sets for name in one.classes))
    if faults := [*_faults(sets), *_faults_of_data(sets, names, real)]:
        raise InvalidInput(*faults)
    first, classes = sets[0], names if real is None else list(real.classes)
    stored = [_into(one, first.transform) for one in sets]
    told = [_labels(one, classes) for one in sets]
    rows = [[_rows(one, name) for one in sets] for name in classes]
    counts = [sum(map(len, of_class)) for of_class in rows]
    images, labels = (
        torch.cat([tensor[own] for of_class in rows for tensor, own in zip(tensors, of_class, strict=True)])
        for tensors in (stored, told)
    )
    data = first.card["data"] if real is None else data_card(real)
    card = _card(sets, data, counts) | {"digest": digest(images, labels), "note": note, "command": command}
    return DistilledSet(images, labels, first.transform, card)


def _faults(sets: Sequence[DistilledSet]) -> Iterable[str]:
    """What of the sets themselves cannot be one set."""
    first = sets[0]
    for number, one in enumerate(sets[1:], start=2):
        who = f"set {number} and the first"
        for what, mine, its in (
            ("images of one shape", one.card["data"]["shape"], first.card["data"]["shape"]),
            ("one decoder", one.decoder.word, first.decoder.word),
            ("one kind of labels", one.label_kind, first.label_kind),
            ("one temperature of soft labels", one.temperature, first.temperature),
        ):
            if mine != its:
                yield f"{who} need {what}; {mine} and {its} came"
        if one.soft and first.soft and set(one.classes) != set(first.classes):
            yield f"{who} have soft labels of other classes: a soft label is of all classes together; merge sets with hard labels"
        if not _alike(one.transform, first.transform):
            if one.transform.zca is not None or first.transform.zca is not None:
                yield f"{who} are whitened differently, so that their numbers mean other colours; make them with one whitening"
            elif first.decoder != PLAIN or one.soft:
                yield f"{who} are normalised differently, which only plain images with hard labels can be; make them alike"
    if rated := [str(number) for number, one in enumerate(sets, start=1) if one.rate is not None]:
        yield f"a rate of students was learned with set {', '.join(rated)} and holds for it alone; merge sets without one"


def _faults_of_data(sets: Sequence[DistilledSet], names: Sequence[str], real: RealData | None) -> Iterable[str]:
    """Why the merged set would stand for no data, or not for `real`."""
    if real is None:
        if len({one.card["data"]["checksum"] for one in sets}) > 1:
            made = ", ".join(dict.fromkeys(str(one.card["data"]["name"]) for one in sets))
            yield f"the sets were made from different data ({made}); say with --data which data the merged set stands for"
        return
    shape = tuple(sets[0].card["data"]["shape"])
    if real.shape != shape:
        yield f"the sets have images of {list(shape)}, and the data of {list(real.shape)}"
    if missing := [name for name in real.classes if name not in names]:
        yield f"the data have classes of which no set has an image: {', '.join(missing)}; merge sets of these as well"
    if unknown := [name for name in names if name not in real.classes]:
        yield f"the data lack classes of the sets: {', '.join(unknown)}; give data that have them all"


def _alike(a: Transform, b: Transform) -> bool:
    """Whether two network spaces are one."""
    if a.to_card() != b.to_card():
        return False
    if a.zca is None or b.zca is None:
        return True
    mine, its = a.zca.tensors(), b.zca.tensors()
    return all(torch.equal(mine[name], its[name]) for name in mine)


def _into(one: DistilledSet, space: Transform) -> Tensor:
    """Its stored images in another network space without whitening: float64, rounded once; the same where it is theirs."""
    if _alike(one.transform, space):
        return one.images
    mean, std, to_mean, to_std = (
        torch.tensor(numbers, dtype=torch.float64).reshape(-1, 1, 1)
        for numbers in (one.transform.mean, one.transform.std, space.mean, space.std)
    )
    return ((one.images.double() * std + mean - to_mean) / to_std).float()


def _labels(one: DistilledSet, classes: Sequence[str]) -> Tensor:
    """Its labels, as the merged set numbers the classes: the columns of soft ones follow them."""
    if one.soft:
        return one.labels[:, [one.classes.index(name) for name in classes]]
    return torch.tensor([classes.index(name) for name in one.classes])[one.labels]


def _rows(one: DistilledSet, name: str) -> Tensor:
    """Where the images of a class stand in a set; none for a class that it lacks."""
    if name not in one.classes:
        return torch.empty(0, dtype=torch.int64)
    return torch.nonzero(one.numbers == one.classes.index(name)).flatten()


def _card(sets: Sequence[DistilledSet], data: dict[str, Any], counts: Sequence[int]) -> dict[str, Any]:
    """What is true of all sets, what they took together, and what each of them was."""
    cards = [one.card for one in sets]
    first = cards[0]
    methods = list(dict.fromkeys(method_name(card) for card in cards))
    kinds = {card["kind"] for card in cards}
    kept = {
        name: value
        for name, value in first.items()
        if name in ("labels", "decoder", "temperature", "transform", "iterations_done")
        and all(c.get(name) == value for c in cards)
    }
    recipe = {k: v for k, v in first["recipe"].items() if all(k in c["recipe"] and c["recipe"][k] == v for c in cards)}
    recipe["net"] = first["recipe"]["net"]  # that students are judged with, where none is asked for
    if "method" not in recipe:
        recipe["method"] = first["recipe"]["method"] if len(methods) == 1 else {"name": MERGED}
    told = [
        {
            "digest": digest(one.images, one.labels), "method": method_name(one.card), "kind": one.card["kind"],
            "recipe": one.card["recipe"], "counts": list(one.counts), "data": one.card["data"],
            "transform": one.card["transform"], "seconds": one.card.get("seconds"), "command": one.card.get("command", ""),
            "created": one.card.get("created"), "note": one.card.get("note", ""), "imported": one.card.get("imported"),
        }
        for one in sets
    ]  # fmt: skip
    took = [card["seconds"] for card in cards if card.get("seconds") is not None]
    return kept | {
        "format": FORMAT, "kind": first["kind"] if len(kinds) == 1 else "distilled", "data": data,
        "transform": first["transform"], "recipe": recipe | {"ipc": max(counts)},
        **({"counts": list(counts)} if len(set(counts)) > 1 else {}),
        **({"seconds": sum(took)} if len(took) == len(cards) else {}),
        **({"imported": _imported(cards)} if kinds == {"imported"} else {}),
        "hardware": machine.hardware(torch.device("cpu")), "versions": machine.versions(), "commit": machine.commit(),
        "created": machine.now(), "merged": told,
        "citations": list(dict.fromkeys(text for card in cards for text in card.get("citations") or [])),
        "warnings": list(dict.fromkeys(text for card in cards for text in card.get("warnings") or [])),
    }  # fmt: skip


def _imported(cards: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Where imported sets came from, all of them."""
    came = [card.get("imported") or {} for card in cards]
    return {
        name: ", ".join(dict.fromkeys(str(each.get(name, "?")) for each in came))
        for name in ("file", "format", "sha256", "normalisation")
    } | {"unknown": list(dict.fromkeys(word for each in came for word in each.get("unknown") or []))}
