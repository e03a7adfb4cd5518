"""Sets of some classes of another, and sets of different classes as one. Letters: K classes, M stored images."""

from collections.abc import Sequence

import torch

from datadam.errors import InvalidInput
from datadam.sets.card import digest
from datadam.sets.distilled import DistilledSet


def of_classes(whole: DistilledSet, names: Sequence[str]) -> DistilledSet:
    """The images of these classes alone, in this order and renumbered from 0.

    Raises `InvalidInput` for soft labels and learned rates, which belong to all classes, and for a class that is not there.
    """
    _require_plain(whole)
    if missing := [name for name in names if name not in whole.classes]:
        raise InvalidInput(f"the set has no class {missing[0]!r}; it has {', '.join(whole.classes)}")
    rows = [torch.nonzero(whole.labels == whole.classes.index(name)).flatten() for name in names]
    return _made(whole, names, whole.images[torch.cat(rows)], [len(some) for some in rows])


def joined(parts: Sequence[DistilledSet]) -> DistilledSet:
    """One set of the classes of all parts, one part after another, its card that of the first.

    Raises `InvalidInput` unless the parts have different classes, and one decoder and normalisation.
    """
    first = parts[0]
    for part in parts:
        _require_plain(part)
        if part.decoder != first.decoder or part.transform.to_card() != first.transform.to_card():
            raise InvalidInput("the sets have different decoders or normalisations, and cannot be one set")
    names = [name for part in parts for name in part.classes]
    if len(set(names)) < len(names):
        raise InvalidInput("the sets share classes; join sets of different ones")
    return _made(first, names, torch.cat([part.images for part in parts]), [n for part in parts for n in part.counts])


def _require_plain(given: DistilledSet) -> None:
    if given.soft or given.rate is not None:
        raise InvalidInput("soft labels and a learned rate are of all classes together; take a set with hard labels and no rate")
    if given.transform.zca is not None:
        raise InvalidInput("a whitening is fitted on all classes together; take a set that was made without ZCA")


def _made(like: DistilledSet, names: Sequence[str], images: torch.Tensor, counts: Sequence[int]) -> DistilledSet:
    labels = torch.arange(len(names)).repeat_interleave(torch.tensor(counts))
    uneven = {"counts": list(counts)} if len(set(counts)) > 1 else {}
    card = {name: value for name, value in like.card.items() if name != "counts"} | uneven
    card |= {
        "data": like.card["data"] | {"classes": list(names)}, "recipe": like.card["recipe"] | {"ipc": max(counts)},
        "digest": digest(images, labels),
    }  # fmt: skip
    return DistilledSet(images, labels, like.transform, card)
