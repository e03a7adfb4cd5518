"""From what a file held to a set that can be judged: every image and every label is looked at before it is believed.

Letters: M images, N images per class, K classes, C channels, H rows, W columns.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from datadam.errors import ArtifactError
from datadam.exchange.base import Found, Wanted
from datadam.exchange.classes import Order, place

FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
WHOLE = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
SAME = 1e-4  # labels further apart than this are different: float32 keeps one-hot labels much better
SUMMED = 1e-3  # how far the sum of probabilities may be from 1: half precision keeps it better
LEAST = 1e-30  # a probability below it is taken for it, so that its logarithm is a number
LARGEST = 1e6  # of a rate or a temperature
SHOWN = 8
MOST_CLASSES = 1_000_000  # no class number is larger
SOFTENED = "labels were soft, and students see only the most likely class: the numbers are not those of the soft labels"


class Sound(NamedTuple):
    """Images [M, C, H, W] (float32, or uint8 pixels), class after class; labels, class numbers [M] (int64) or logits [M, K]
    (float32); how many images each class has [K]; and what had to be done to them."""

    images: Tensor
    labels: Tensor
    counts: tuple[int, ...]
    notes: list[str]


def sound(
    found: Found, wanted: Wanted, *, hard: bool, soft: bool, where: str, counts: tuple[int, ...] | None = None,
    order: Order | None = None, own: bool = False,
) -> Sound:  # fmt: skip
    """What can be believed of a set.

    Arguments: `hard`, take the most likely class where labels are soft; `soft`, whether the format may hold such; `counts`, of
    labels that who wrote the file says are soft the images of each class (None: nobody says so); `order` and `own`, as
    `classes.place`. Raises `ArtifactError`, and `InvalidInput` for an order that cannot be.
    """
    notes = list(found.notes)
    images = _images(found, wanted, where, notes)
    numbers, logits = _labels(found, len(images), wanted, where, notes, hard=hard, soft=soft, counts=counts)
    used = set(range(logits.shape[1])) if logits is not None else set(numbers.tolist())
    if found.names is not None and max(used) >= len(found.names):
        raise ArtifactError(f"{where} has labels up to {max(used)}, and names {len(found.names)} classes; it is damaged")
    places, said = place(found.names, used, wanted.classes, wordnet=wanted.wordnet, order=order, own=own, where=where)
    notes += said
    mixed = bool((numbers.diff() < 0).any())  # else whole classes change places, which their names say
    numbers = torch.tensor(places)[numbers]
    if logits is not None and len(places) != len(wanted.classes):
        raise ArtifactError(
            f"{where}: labels are of {len(places)} classes, and the data have {len(wanted.classes)}; name their --data"
        )
    if logits is not None:
        logits = torch.empty_like(logits).index_copy_(1, torch.tensor(places), logits)
    have = torch.bincount(numbers, minlength=len(wanted.classes)).tolist()
    if not min(have):
        named = ", ".join(f"{wanted.classes[k]} {have[k]}" for k in range(min(len(have), SHOWN)))
        raise ArtifactError(
            f"{where} has 0 to {max(have)} images a class ({named}{', ...' if len(have) > SHOWN else ''}); a set has images of "
            f"each of the {len(have)} classes of the data: add the missing classes, or name the --data that it was made from"
        )
    rows = torch.argsort(numbers, stable=True)
    labels = numbers if logits is None else logits
    if not torch.equal(rows, torch.arange(len(rows))):
        if mixed:
            notes.append("the images were put class after class; within a class they keep their order")
        images, labels = images[rows], labels[rows]
    if len(set(have)) > 1:
        notes.append(f"the classes have {min(have)} to {max(have)} images")
    return Sound(images.contiguous(), labels.contiguous(), tuple(have), notes)


def number(given: Any, what: str, where: str) -> float | None:
    """A single number above 0 that a file holds, None for none. Raises `ArtifactError`."""
    if given is None:
        return None
    given = torch.tensor(given) if isinstance(given, float) else given
    plain = _tensor(given, f"the numbers of {what}", where)
    if plain.numel() != 1 or not plain.is_floating_point() or not 0 < float(plain) < LARGEST:
        came = (
            f"{list(plain.shape)} of {plain.dtype}"
            if plain.numel() != 1 or not plain.is_floating_point()
            else f"{float(plain):g}"
        )
        raise ArtifactError(f"{where}: {what} is {came}; one number above 0 is needed")
    return float(plain.float())


def _tensor(given: Any, what: str, where: str) -> Tensor:
    """A plain tensor of an array or tensor. Raises `ArtifactError`."""
    if isinstance(given, np.ndarray):
        if given.dtype.kind not in "fiub" or given.dtype.itemsize > 8:
            raise ArtifactError(f"{where}: {what} are {given.dtype}; numbers are needed")
        plain = given.astype(given.dtype.newbyteorder("="), copy=False)
        wide = {"uint16": np.int32, "uint32": np.int64, "uint64": np.int64}.get(plain.dtype.name)
        return torch.from_numpy(np.array(plain, dtype=wide, order="C"))
    if not isinstance(given, Tensor) or given.layout != torch.strided or given.is_complex() or given.is_quantized:
        raise ArtifactError(f"{where}: {what} are of the kind {type(given).__name__}; a tensor of numbers is needed")
    return given.detach()


def _images(found: Found, wanted: Wanted, where: str, notes: list[str]) -> Tensor:
    images = _tensor(found.images, "images", where)
    c, h, w = wanted.shape
    order = "[M, H, W, C]" if found.last else "[M, C, H, W]"
    expected = (h, w, c) if found.last else (c, h, w)
    if images.ndim != 4 or tuple(images.shape[1:]) != expected or not len(images):
        raise ArtifactError(
            f"{where}: images are {list(images.shape)}; the data have images of {c} channels, {h} x {w}, so {order} with "
            f"{list(expected)} is needed. Name the --data (and --size) that the set was made from"
        )
    if len(images) > wanted.most:
        raise ArtifactError(f"{where}: {len(images)} images, more than the {wanted.most} real ones; that is no distilled set")
    if images.dtype not in (*FLOATS, torch.uint8):
        raise ArtifactError(f"{where}: images are {images.dtype}; floats, or pixels in uint8, are needed")
    if found.last:
        images = images.permute(0, 3, 1, 2)
    if images.dtype == torch.uint8:
        return images
    if not torch.isfinite(images).all():
        bad = int((~torch.isfinite(images)).flatten(1).any(1).nonzero()[0])
        raise ArtifactError(
            f"{where}: image {bad} holds NaN or infinite numbers; the run that made it diverged, or it is damaged"
        )
    rounded = images.float()
    if not torch.isfinite(rounded).all():
        raise ArtifactError(f"{where}: images hold numbers of up to {float(images.abs().max()):.3g}, too large for float32")
    if images.dtype == torch.float64 and not torch.equal(rounded.double(), images):
        notes.append("the images were rounded from float64 to float32")
    return rounded


def _labels(
    found: Found, count: int, wanted: Wanted, where: str, notes: list[str], *, hard: bool, soft: bool,
    counts: tuple[int, ...] | None,
) -> tuple[Tensor, Tensor | None]:  # fmt: skip
    """Class numbers [M], and logits [M, K] where labels are soft."""
    k = len(wanted.classes if found.names is None else found.names)
    if found.labels is None:
        if count % k:
            raise ArtifactError(
                f"{where}: {count} images without labels for {k} classes; they must be N of the first class, N of the second, "
                "...: name the --data that the set was made from"
            )
        notes.append("the format has no labels: the images were taken to stand class after class")
        return torch.arange(k).repeat_interleave(count // k), None
    labels = _tensor(found.labels, "labels", where)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if found.logits is not None:
        scores = _scores(_tensor(found.logits, "logits", where), count, k, where, "logits")
        if labels.ndim != 1:
            raise ArtifactError(
                f"{where}: logits stand beside labels {list(labels.shape)}; class numbers [{count}] are needed there"
            )
        if hard:
            notes.append(SOFTENED)
            return scores.argmax(1), None
        return _numbers(labels, count, wanted, where, notes), _logits(scores, where)
    if labels.ndim != 2:
        return _numbers(labels, count, wanted, where, notes), None
    scores = _scores(labels, count, k, where, "labels")
    if counts is None and (shift := _one_hot(scores)) is not None:
        words = "" if abs(shift) <= SAME else f" shifted by {shift:.3g}"
        notes.append(f"labels were one-hot{words}: read as class numbers")
        return scores.argmax(1), None
    if hard:
        notes.append(SOFTENED)
        return scores.argmax(1), None
    if not soft:
        raise ArtifactError(
            f"{where}: labels are soft (one number for each class, learned or from a teacher), and readers of this format know "
            "class numbers alone. --hard takes the most likely class of each image, which is not what its makers reported; npz, "
            "ddranking and mtt hold soft labels"
        )
    if counts is None and float(scores.min()) >= 0 and float((scores.sum(1) - 1).abs().max()) < SUMMED:
        notes.append("labels were probabilities: read as their logarithms, whose softmax they are")
        scores = scores.clamp(min=LEAST).log()
    return _places(scores, k, counts, where), _logits(scores, where)


def _numbers(labels: Tensor, count: int, wanted: Wanted, where: str, notes: list[str]) -> Tensor:
    """Class numbers [M], int64."""
    k = len(wanted.classes)
    if labels.shape != (count,):
        raise ArtifactError(f"{where}: labels are {list(labels.shape)} for {count} images; one label an image is needed")
    if labels.is_floating_point():
        if not torch.isfinite(labels).all():
            raise ArtifactError(f"{where}: labels hold NaN or infinite numbers; the file is damaged")
        odd = labels[(labels != labels.round()) | (labels.abs() > 2**24)]
        if len(odd):
            raise ArtifactError(f"{where}: labels are no class numbers, such as {float(odd[0]):g}; whole numbers are needed")
        notes.append(f"labels were {str(labels.dtype).removeprefix('torch.')}, all of them whole: read as class numbers")
    elif labels.dtype not in WHOLE:
        raise ArtifactError(f"{where}: labels are {labels.dtype}; class numbers are needed")
    labels = labels.long()
    if int(labels.min()) < 0 or int(labels.max()) > MOST_CLASSES:
        raise ArtifactError(
            f"{where}: labels go from {int(labels.min())} to {int(labels.max())}; the data have {k} classes, 0 to {k - 1}. Name "
            "the --data that the set was made from"
        )
    return labels


def _scores(labels: Tensor, count: int, k: int, where: str, what: str) -> Tensor:
    """One number for each image and class [M, K], float64."""
    if labels.ndim != 2 or len(labels) != count:
        raise ArtifactError(f"{where}: {what} are {list(labels.shape)} for {count} images; one label an image is needed")
    if labels.shape[1] != k:
        raise ArtifactError(f"{where}: {what} are {list(labels.shape)}; the data have {k} classes. Name the --data of the set")
    if labels.is_floating_point() and not torch.isfinite(labels).all():
        raise ArtifactError(f"{where}: {what} hold NaN or infinite numbers; the file is damaged")
    return labels.double()


def _one_hot(scores: Tensor) -> float | None:
    """What labels [M, K] that are one-hot are shifted by as a whole; None for others."""
    high, low = scores.max(1).values, scores.min(1).values
    tall, flat = (high[:, None] - scores) <= SAME, (scores - low[:, None]) <= SAME
    one_hot = (tall.sum(1) == 1) & (tall | flat).all(1) & ((high - low - 1).abs() <= SAME)
    return float(low.mean()) if bool(one_hot.all()) and float(low.max() - low.min()) <= SAME else None


def _places(scores: Tensor, k: int, counts: tuple[int, ...] | None, where: str) -> Tensor:
    """The class numbers [M] of soft labels [M, K]: those of `counts`; else class after class where at least half of the labels
    find their place right, as all programs of the field write them; else the most likely class."""
    if counts is not None:
        if sum(counts) != len(scores):
            raise ArtifactError(f"{where}: {len(scores)} images, and {sum(counts)} are told of; the file was changed")
        return torch.arange(k).repeat_interleave(torch.tensor(counts))
    likely = scores.argmax(1)
    if len(scores) % k == 0:
        placed = torch.arange(k).repeat_interleave(len(scores) // k)
        if int((placed == likely).sum()) * 2 >= len(scores):
            return placed
    return likely


def _logits(scores: Tensor, where: str) -> Tensor:
    """As float32. Raises `ArtifactError` for numbers that are too large."""
    logits = scores.float()
    if not torch.isfinite(logits).all():
        raise ArtifactError(f"{where}: soft labels hold numbers of up to {float(scores.abs().max()):.3g}, too large for float32")
    return logits
