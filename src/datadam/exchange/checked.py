"""From what a file held to a set that can be judged: every image and every label is looked at before it is believed.

Letters: M images, N images per class, K classes, C channels, H rows, W columns.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from datadam.errors import ArtifactError
from datadam.exchange.base import Found, Wanted

FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
WHOLE = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
SAME = 1e-4  # labels further apart than this are different: float32 keeps one-hot labels much better
SHOWN = 8


def sound(found: Found, wanted: Wanted, *, hard: bool, where: str) -> tuple[Tensor, Tensor, list[str]]:
    """Images [M, C, H, W] (float32, or uint8 pixels) and labels [M] (int64), class after class, and what had to be done to them.

    Argument: `hard`, take the most likely class where labels are soft. Raises `ArtifactError` with every fault.
    """
    notes = list(found.notes)
    images = _images(found, wanted, where, notes)
    labels = _labels(found.labels, len(images), wanted, where, notes, hard=hard)
    counts = torch.bincount(labels, minlength=len(wanted.classes)).tolist()
    if len(set(counts)) > 1:
        few, many = min(counts), max(counts)
        named = ", ".join(f"{wanted.classes[k]} {counts[k]}" for k in range(min(len(counts), SHOWN)))
        raise ArtifactError(
            f"{where} has {few} to {many} images a class ({named}{', ...' if len(counts) > SHOWN else ''}); a set has equally "
            f"many of each of the {len(counts)} classes of the data: "
            f"{f'keep {few} of each' if few else 'add the missing classes'}, or name the --data that it was made from"
        )
    order = torch.argsort(labels, stable=True)
    if not torch.equal(order, torch.arange(len(order))):
        notes.append("the images were put class after class; within a class they keep their order")
        images, labels = images[order], labels[order]
    return images.contiguous(), labels.contiguous(), notes


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


def _labels(given: Any, count: int, wanted: Wanted, where: str, notes: list[str], *, hard: bool) -> Tensor:
    k = len(wanted.classes)
    if given is None:
        if count % k:
            raise ArtifactError(
                f"{where}: {count} images without labels for {k} classes; they must be N of the first class, N of the second, "
                "...: name the --data that the set was made from"
            )
        notes.append("the format has no labels: the images were taken to stand class after class")
        return torch.arange(k).repeat_interleave(count // k)
    labels = _tensor(given, "labels", where)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.shape[:1] != (count,) or labels.ndim > 2:
        raise ArtifactError(f"{where}: labels are {list(labels.shape)} for {count} images; one label an image is needed")
    if labels.ndim == 2 and labels.shape[1] != k:
        raise ArtifactError(f"{where}: labels are {list(labels.shape)}; the data have {k} classes. Name the --data of the set")
    if labels.is_floating_point() and not torch.isfinite(labels).all():
        raise ArtifactError(f"{where}: labels hold NaN or infinite numbers; the file is damaged")
    if labels.ndim == 2:
        labels = _of_scores(labels, where, notes, hard=hard)
    elif labels.is_floating_point():
        odd = labels[(labels != labels.round()) | (labels.abs() > 2**24)]
        if len(odd):
            raise ArtifactError(f"{where}: labels are no class numbers, such as {float(odd[0]):g}; whole numbers are needed")
        notes.append(f"labels were {str(labels.dtype).removeprefix('torch.')}, all of them whole: read as class numbers")
        labels = labels.long()
    elif labels.dtype not in WHOLE:
        raise ArtifactError(f"{where}: labels are {labels.dtype}; class numbers are needed")
    labels = labels.long()
    if int(labels.min()) < 0 or int(labels.max()) >= k:
        raise ArtifactError(
            f"{where}: labels go from {int(labels.min())} to {int(labels.max())}; the data have {k} classes, 0 to {k - 1}. Name "
            "the --data that the set was made from"
        )
    return labels


def _of_scores(scores: Tensor, where: str, notes: list[str], *, hard: bool) -> Tensor:
    """Class numbers of labels [M, K]: one-hot ones, also shifted as a whole; soft ones only when asked to."""
    scores = scores.double()
    high, low = scores.max(1).values, scores.min(1).values
    tall, flat = (high[:, None] - scores) <= SAME, (scores - low[:, None]) <= SAME
    one_hot = (tall.sum(1) == 1) & (tall | flat).all(1) & ((high - low - 1).abs() <= SAME)
    if bool(one_hot.all()) and float(low.max() - low.min()) <= SAME:
        shift = "" if float(low.abs().max()) <= SAME else f" shifted by {float(low.mean()):.3g}"
        notes.append(f"labels were one-hot{shift}: read as class numbers")
    elif hard:
        notes.append(
            "labels were soft, and students see only the most likely class: the numbers are not those of the soft labels"
        )
    else:
        raise ArtifactError(
            f"{where}: labels are soft (one number for each class, learned or from a teacher), and students here are trained on "
            "class numbers. --hard takes the most likely class of each image, which is not what its makers reported"
        )
    return scores.argmax(1)
