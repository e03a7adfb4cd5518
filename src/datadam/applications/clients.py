"""How training images are dealt out to the clients of a federation, and the data that each of them has.

    iid              all images in a random order, cut into equal parts
    dirichlet:ALPHA  of each class a client has the share p_c, where p ~ Dirichlet(ALPHA, ..., ALPHA) is drawn for the class
    classes:N        each client has N classes, and the images of a class are cut into equal parts for those who have it

Sources: iid and a number of classes: McMahan et al., AISTATS 2017, Section 3; Dirichlet: Yurochkin et al., ICML 2019, Section 4.
Letters: K classes, N training images, C clients.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from datadam.data import RealData
from datadam.data.real import Split
from datadam.errors import InvalidInput, UnknownName
from datadam.rng import stream

KINDS = {"iid": "", "dirichlet": "ALPHA", "classes": "N"}
EXAMPLES = "iid, dirichlet:0.1 or classes:2"
NAMED = 5  # clients or classes in an error

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Dealing:
    """A way to deal images out: its `kind`, a word of KINDS, and its `number` (0 for iid)."""

    kind: str
    number: float = 0.0

    @property
    def word(self) -> str:
        """As it is written."""
        return f"{self.kind}:{self.number:g}" if KINDS[self.kind] else self.kind


def dealing(text: str) -> Dealing:
    """What a word such as "dirichlet:0.1" says. Raises `InvalidInput`, `UnknownName`."""
    kind, colon, number = text.strip().partition(":")
    if kind not in KINDS:
        raise UnknownName("split", kind, KINDS, f"Write {EXAMPLES}.")
    if bool(colon) != bool(KINDS[kind]):
        raise InvalidInput(f"split is {text!r}; write {EXAMPLES}")
    if not colon:
        return Dealing(kind)
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if kind == "classes" and not (value >= 1 and value == int(value)):
        raise InvalidInput(f"split is {text!r}; classes takes a whole number of at least 1, such as classes:2")
    if not (0 < value < math.inf):
        raise InvalidInput(f"split is {text!r}; dirichlet takes a number above 0, such as dirichlet:0.1")
    return Dealing(kind, value)


def deal(real: RealData, how: Dealing, clients: int, seed: int) -> tuple[Indices, ...]:
    """For each of C `clients` the indices of its training images, in ascending order; each image goes to one client.

    Raises `InvalidInput` where the images or classes do not suffice, or where a client is left without an image.
    """
    images, classes = len(real.train), len(real.classes)
    if clients < 2:
        raise InvalidInput(f"clients is {clients}; a federation has at least 2")
    if clients > images:
        raise InvalidInput(f"clients is {clients}, and there are {images} training images; ask for at most that many clients")
    if how.kind == "iid":
        order = torch.randperm(images, generator=stream(seed, "federated", "iid")).numpy()
        return tuple(np.sort(part) for part in np.array_split(order, clients))
    parts: list[list[Indices]] = [[] for _ in range(clients)]
    holders = _holders(how, classes, clients, seed) if how.kind == "classes" else [list(range(clients))] * classes
    for name, members, those in zip(real.classes, real.by_class, holders, strict=True):
        mixed = members[torch.randperm(len(members), generator=stream(seed, "federated", "class", name)).numpy()]
        shares = _shares(how.number, clients, seed, name) if how.kind == "dirichlet" else np.full(len(those), 1 / len(those))
        ends = np.rint(np.cumsum(shares)[:-1] * len(members)).astype(np.int64)
        for client, part in zip(those, np.split(mixed, ends), strict=True):
            parts[client].append(part)
    dealt = tuple(np.sort(np.concatenate(part)) for part in parts)
    if empty := [str(client) for client, part in enumerate(dealt) if not len(part)]:
        wider = "a larger ALPHA, " if how.kind == "dirichlet" else "more classes for each, "
        raise InvalidInput(
            f"split {how.word} leaves {len(empty)} of {clients} clients without an image ({_some(empty)}); take {wider}fewer "
            "--clients, or another --seed"
        )
    return dealt


def _shares(alpha: float, clients: int, seed: int, name: str) -> npt.NDArray[np.float64]:
    """The share [C] of a class that each client has."""
    drawn = torch.randint(2**62, (), generator=stream(seed, "federated", "dirichlet", name))
    return np.random.default_rng(int(drawn)).dirichlet(np.full(clients, alpha))


def _holders(how: Dealing, classes: int, clients: int, seed: int) -> list[list[int]]:
    """For each class the clients that have it: each client takes those that the fewest have so far, at random among equals."""
    many = int(how.number)
    if many > classes:
        raise InvalidInput(f"split is {how.word}, and the data have {classes} classes; ask for at most classes:{classes}")
    if clients * many < classes:
        raise InvalidInput(
            f"{clients} clients of {many} classes each have at most {clients * many} of {classes} classes; ask for at least "
            f"{-(-classes // many)} --clients, or for classes:{-(-classes // clients)}"
        )
    holders: list[list[int]] = [[] for _ in range(classes)]
    for client in range(clients):
        order = torch.randperm(classes, generator=stream(seed, "federated", "classes", client)).tolist()
        for k in sorted(order, key=lambda k: len(holders[k]))[:many]:
            holders[k].append(client)
    return holders


def counts(real: RealData, dealt: Sequence[Indices]) -> npt.NDArray[np.int64]:
    """Training images [C, K] of each client and class."""
    return np.stack([np.bincount(real.train.labels[own], minlength=len(real.classes)) for own in dealt])


def kept(real: RealData, dealt: Sequence[Indices], least: int) -> tuple[Indices, ...]:
    """The same without the classes of which a client has fewer than `least` images, which it cannot distil.

    Raises `InvalidInput` where a client, or a class, is left without any.
    """
    table = counts(real, dealt)
    enough = table >= least
    of_class, of_client = (np.asarray(enough.any(axis=axis)) for axis in (0, 1))
    faults = []
    if lost := [name for name, any_ in zip(real.classes, of_class, strict=True) if not any_]:
        faults.append(f"no client has {least} images of {_some(lost)}")
    if poor := [str(client) for client, any_ in enumerate(of_client) if not any_]:
        faults.append(f"client {_some(poor)} has {least} images of no class")
    if faults:
        cure = "lower --ipc, take fewer --clients, or a --split that deals the classes more evenly"
        raise InvalidInput(*(f"{fault}, and a set needs that many; {cure}" for fault in faults))
    return tuple(own[enough[client][real.train.labels[own]]] for client, own in enumerate(dealt))


def part_of(real: RealData, own: Indices) -> RealData:
    """The data of one client: its training images and the classes that it has; test images of these, which it never uses.

    Normalised as the whole: means and deviations of the pixels are known to all.
    """
    held = np.unique(real.train.labels[own])
    tested = np.flatnonzero(np.isin(real.test.labels, held))
    train, test = real.train.take(own), real.test.take(tested)
    train, test = (Split(part.pixels, np.searchsorted(held, part.labels)) for part in (train, test))
    return replace(real, classes=tuple(real.classes[k] for k in held), train=train, test=test)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
