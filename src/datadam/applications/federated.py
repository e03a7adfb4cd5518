"""One-shot federated learning: each client distils its own images, and the server trains on the union of the sets.

The training images are dealt out to clients (clients.py). Each client distils the classes that it has, by a seed of its own, and
sends its set once; students are trained on all of them together. Beside it stand, at the bytes that the sets took:

    random images    real ones of each client, one byte a number, as many as the bytes of its set pay for
    FedAvg           rounds that send the network's weights to every client and back (fedavg.py)

Letters: C clients, K classes, M images of a set.
"""

from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from datadam import machine
from datadam.applications import fedavg
from datadam.applications.clients import Indices, counts, deal, dealing, kept, part_of
from datadam.applications.sets import Advance, Judges, alone, judged, made_set, over, require_positive, require_tested
from datadam.comparison.grid import recipe_of
from datadam.comparison.store import Store
from datadam.comparison.variants import Variant, variant
from datadam.data import RealData
from datadam.distillation.begin import check, prepared
from datadam.distillation.forecast import PROBED, passes_a_second
from datadam.distillation.recipe import Recipe
from datadam.errors import InvalidInput, noting
from datadam.evaluation.panel import Panel, protocol_named
from datadam.evaluation.protocols import Protocol
from datadam.evaluation.statistics import unpaired
from datadam.methods.coresets import random
from datadam.sets.card import digest
from datadam.sets.decoders import PLAIN
from datadam.sets.distilled import DistilledSet
from datadam.settings import finite, refuse
from datadam.training.needs import PASSES
from datadam.training.trainer import Training
from datadam.where import Where

FORMAT = "datadam-federated/1"
LABEL_BYTES = 8
ROUNDS = 10  # of FedAvg, unless the bytes of the sets pay for more
SETS, RANDOM, ROUNDS_AT_EQUAL, ROUNDS_AT_END = "sets", "random", "fedavg at equal bytes", "fedavg at the end"
Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is asked for.

    Arguments: `clients` (C); `split`, how the images are dealt (clients.py); `method`, a word as `datadam compare` takes it;
    `ipc`, images of each class that a client has; `students` on the union, and trainings of FedAvg; `rounds` of FedAvg (None: as
    many as the bytes of the sets pay for, at least 10); `local_epochs`, `local_batch` and `local_lr` of a client in a round;
    `net` of matching, students and FedAvg; `epochs` of a student by `protocol` and `augment`; `iterations`, `batch_real` and
    `precision` of the method, instead of its preset's; `seed`.
    """

    clients: int = 10
    split: str = "dirichlet:0.1"
    method: str = "dm"
    ipc: int = 10
    students: int = 3
    rounds: int | None = None
    local_epochs: int = 1
    local_batch: int = 64
    local_lr: float = 0.01
    net: str = "auto"
    epochs: int | None = None
    protocol: str = "honest"
    augment: str | None = None
    iterations: int | None = None
    batch_real: int | None = None
    precision: str | None = None
    seed: int = 0


@dataclass(frozen=True)
class Plan:
    """A federation that can be made: `real`, in network space; `dealt`, the training images of each client; `distilled`, those of
    the classes that it distils; `recipe` of client 0; `judges`; `local`, the training of a client in a round of FedAvg; `rounds`;
    `weight_bytes` of the network; seconds that making the sets, the students and FedAvg take, about."""

    asked: Asked
    real: RealData
    word: Variant
    dealt: tuple[Indices, ...]
    distilled: tuple[Indices, ...]
    recipe: Recipe
    judges: Judges
    local: Training
    rounds: int
    weight_bytes: int
    seconds_sets: float
    seconds_students: float
    seconds_fedavg: float

    @property
    def set_bytes(self) -> list[int]:
        """Bytes of each client's set."""
        classes = [len(np.unique(self.real.train.labels[own])) for own in self.distilled]
        return [self.asked.ipc * many * (4 * prod(self.real.shape) + LABEL_BYTES) for many in classes]

    @property
    def image_bytes(self) -> int:
        """Bytes of a real image with its label."""
        return prod(self.real.shape) + LABEL_BYTES

    @property
    def round_bytes(self) -> int:
        """Bytes of a round of FedAvg: the weights to every client and back."""
        return 2 * len(self.dealt) * self.weight_bytes

    @property
    def bought(self) -> float:
        """Rounds of FedAvg that the bytes of all sets pay for."""
        return sum(self.set_bytes) / self.round_bytes

    @property
    def folder(self) -> str:
        """A name of what the clients make."""
        split = dealing(self.asked.split).word.replace(":", "")
        return f"{self.word.folder}-ipc{self.asked.ipc}-{len(self.dealt)}clients-{split}"

    def recipe_of(self, client: int) -> Recipe:
        """The recipe of a client: the seeds count up."""
        return replace(self.recipe, seed=self.recipe.seed + client)


def plan(real: RealData, asked: Asked, *, device: str = "cpu") -> Plan:
    """What is asked for, settled before any work. Raises `InvalidInput` with every fault at once."""
    faults: list[str] = []
    require_positive(
        faults, ipc=asked.ipc, students=asked.students, rounds=asked.rounds, epochs=asked.epochs,
        local_epochs=asked.local_epochs, local_batch=asked.local_batch,
    )  # fmt: skip
    if not (finite(asked.local_lr) and asked.local_lr > 0):
        faults.append(f"local_lr is {asked.local_lr}; it must be a number above 0")
    with noting(faults):
        require_tested(real)
    dealt: tuple[Indices, ...] = ()
    with noting(faults):
        dealt = deal(real, dealing(asked.split), asked.clients, asked.seed)
    recipe, word = None, None
    with noting(faults):
        word = variant(asked.method)
        recipe = _recipe(word, real, asked)
    refuse(faults)
    assert recipe is not None
    assert word is not None
    real = prepared(real, recipe)
    own = kept(real, dealt, asked.ipc * recipe.each)
    held = (counts(real, own) > 0).sum(1).tolist()  # classes of each client
    _require_two_classes(held, recipe, real)
    rule = protocol_named(asked.protocol, epochs=asked.epochs, augment=asked.augment)
    net = recipe.net if asked.net == "auto" else asked.net
    panel = Panel(net=net, protocol=rule, students=asked.students, seed=asked.seed).settled(real, net)
    assert isinstance(panel.protocol, Protocol)
    assert panel.net is not None
    judges = Judges(panel.net, panel.protocol, panel.protocol.whole_set(), asked.students, asked.seed)
    local = Training(epochs=asked.local_epochs, batch=asked.local_batch, lr=asked.local_lr, drop_after=asked.local_epochs)
    weights = fedavg.weight_bytes(judges.net, real)
    making = sum(
        check(part_of(real, indices), replace(recipe, seed=recipe.seed + client), device=device).seconds
        for client, indices in enumerate(own)
    )
    made = Plan(asked, real, word, dealt, own, recipe, judges, local, asked.rounds or ROUNDS, weights, making, 0.0, 0.0)
    rounds = asked.rounds or max(ROUNDS, int(made.bought))
    images = sum(asked.ipc * recipe.each * many for many in held) + sum(made.set_bytes) // made.image_bytes
    passes = asked.students * (PASSES * images * judges.protocol.training.epochs + 2 * len(real.test))
    averaging = asked.students * rounds * (PASSES * len(real.train) * asked.local_epochs + len(real.test))
    speed = passes_a_second(judges.net, real.shape, PROBED, device, 4)
    return replace(made, rounds=rounds, seconds_students=passes / speed, seconds_fedavg=averaging / speed)


def _recipe(word: Variant, real: RealData, asked: Asked) -> Recipe:
    settings = {
        "iterations": asked.iterations, "batch_real": asked.batch_real, "precision": asked.precision, "net": asked.net,
        "normalisation": None, "zca": False, "seed": asked.seed,
    }  # fmt: skip
    recipe = recipe_of(word, real, asked.ipc, settings)
    if recipe.zca != "none":
        raise InvalidInput(f"{word.word}: a whitening is fitted on all images, which no client has; leave zca out")
    if {"labels", "rate"} & recipe.method.learns:
        raise InvalidInput(
            f"{word.word}: it learns labels or a rate for one set alone, and the server joins several; take another"
        )
    return recipe


def _require_two_classes(held: list[int], recipe: Recipe, real: RealData) -> None:
    """Raise `InvalidInput` where a client has a single class and the method tells classes apart."""
    single = [str(client) for client, many in enumerate(held) if many == 1]
    if single and not alone(recipe, real):
        raise InvalidInput(
            f"{recipe.method.name} looks at classes together, and client {', '.join(single[:5])} has a single one; take a method "
            "that treats each class alone, such as dm or datadam, or a --split that gives each client two"
        )


def federated(plan: Plan, out: Path, where: Where, *, note: str = "", command: str = "", advance: Advance | None = None) -> Json:
    """Let the clients distil, the server train, and FedAvg run beside; what lies in `out` is not made again."""
    doing, done, total = "", 0, len(plan.dealt) + 2 + plan.asked.students

    def tell(words: str, share: float, whole: float) -> None:
        if advance and share < whole:
            advance(f"{doing}, {words}", done + share / whole, total)

    options: dict[str, Any] = {"note": note, "advance": tell}
    sets: list[DistilledSet] = []
    for client, own in enumerate(plan.distilled):
        doing, done = f"client {client}", client
        store = Store(out, part_of(plan.real, own))
        sets.append(made_set(store, plan.recipe_of(client), plan.folder, where, repeat=client, command=command, **options))
    union = DistilledSet.merge(sets, plan.real, note=note, command=command)
    folder = out / "union" / plan.folder
    if not (folder / "card.json").exists() or DistilledSet.load(folder).card["digest"] != union.card["digest"]:
        union.save(folder)
    store, doing, done = Store(out, plan.real), "server", len(sets)
    of_sets = judged(store, folder, union, plan.judges, where, of="union", **options)
    beside, done = real_images(plan, union), done + 1
    of_random = judged(store, out / "random" / plan.folder, beside, plan.judges, where, of="random", **options)
    curves = []
    for number in range(plan.asked.students):
        doing, done = f"FedAvg {number + 1}", len(sets) + 2 + number
        curves.append(
            fedavg.curve(
                plan.real, plan.dealt, plan.judges.net, plan.local, plan.rounds, seed=plan.asked.seed, number=number,
                folder=out / "fedavg", device=where.device, advance=lambda step, steps: tell("rounds", step, steps),
            )
        )  # fmt: skip
    return _found(plan, union, beside, of_sets["accuracies"][0], of_random["accuracies"][0], curves, where.device)


def real_images(plan: Plan, union: DistilledSet) -> DistilledSet:
    """Random real images of each client's classes, as many as the bytes of its set pay for, together as a set like the union."""
    rows: list[list[npt.NDArray[np.int64]]] = [[] for _ in plan.real.classes]
    for client, own in enumerate(plan.distilled):
        part = part_of(plan.real, own)
        wanted = evenly(plan.set_bytes[client] // plan.image_bytes, [len(members) for members in part.by_class])
        chosen = random.select(part, max(wanted), plan.asked.seed + client)
        for name, some, many in zip(part.classes, chosen, wanted, strict=True):
            rows[plan.real.classes.index(name)].append(own[some[:many].numpy()])
    of_class = [np.concatenate(some) for some in rows]
    images = plan.real.images(np.concatenate(of_class))
    per_class = [len(some) for some in of_class]
    labels = torch.arange(len(per_class)).repeat_interleave(torch.tensor(per_class))
    card = union.card | {
        "kind": "coreset", "counts": per_class, "decoder": PLAIN.word, "digest": digest(images, labels),
        "recipe": union.card["recipe"] | {"method": {"name": RANDOM}, "ipc": max(per_class)},
    }  # fmt: skip
    return DistilledSet(images, labels, plan.real.transform, card)


def evenly(total: int, room: list[int]) -> list[int]:
    """`total` things shared out as evenly as the `room` of each place allows; the first places get what does not divide."""
    given = [0] * len(room)
    while total and (open_ := [place for place, most in enumerate(room) if given[place] < most]):
        each = max(1, total // len(open_))
        for place in open_[:total]:
            more = min(each, room[place] - given[place])
            given[place] += more
            total -= more
    return given


def _found(
    plan: Plan, union: DistilledSet, beside: DistilledSet, of_sets: list[float], of_random: list[float],
    curves: list[list[float]], device: str,
) -> Json:  # fmt: skip
    asked, real, total = plan.asked, plan.real, sum(plan.set_bytes)
    table, used = counts(real, plan.dealt), counts(real, plan.distilled)
    left_out = {"classes": int(((table > 0) & (used == 0)).sum()), "images": int((table - used).sum())}
    by_round = [[curve[number] for curve in curves] for number in range(plan.rounds)]
    ways = [
        _way(SETS, of_sets, None, total, len(union.images)),
        _way(RANDOM, of_random, of_sets, len(beside.images) * plan.image_bytes, len(beside.images)),
    ]
    if 1 <= int(plan.bought) < plan.rounds:
        equal = int(plan.bought)
        ways.append(_way(ROUNDS_AT_EQUAL, by_round[equal - 1], of_sets, equal * plan.round_bytes, rounds=equal))
    last = ROUNDS_AT_EQUAL if int(plan.bought) == plan.rounds else ROUNDS_AT_END
    ways.append(_way(last, by_round[-1], of_sets, plan.rounds * plan.round_bytes, rounds=plan.rounds))
    mean = sum(of_sets) / len(of_sets)
    reached = next((n for n, values in enumerate(by_round, start=1) if sum(values) / len(values) >= mean), None)
    return {
        "format": FORMAT, "data": {"name": real.name, "checksum": real.checksum, "train": len(real.train)},
        "classes": list(real.classes), "clients": asked.clients, "split": dealing(asked.split).word, "method": asked.method,
        "ipc": asked.ipc, "students": asked.students, "net": plan.judges.net, "protocol": plan.judges.protocol.to_card(),
        "seed": asked.seed, "local": {"epochs": asked.local_epochs, "batch": asked.local_batch, "lr": asked.local_lr},
        "dealt": table.tolist(), "left_out": left_out,
        "weight_bytes": plan.weight_bytes, "round_bytes": plan.round_bytes, "image_bytes": plan.image_bytes,
        "set_bytes": plan.set_bytes, "bought": plan.bought, "rounds": plan.rounds, "reached": reached, "ways": ways,
        "curve": [over(values) for values in by_round], "recipe": plan.recipe.to_card(),
        "hardware": machine.hardware(torch.device(device)), "versions": machine.versions(), "commit": machine.commit(),
        "created": machine.now(),
    }  # fmt: skip


def _way(
    name: str, accuracies: list[float], of_sets: list[float] | None, size: int, images: int | None = None,
    rounds: int | None = None,
) -> Json:  # fmt: skip
    """One way to learn: its accuracy, the bytes that are sent, and what the union of the sets has more."""
    more = None
    if of_sets is not None and min(len(of_sets), len(accuracies)) > 1:
        more = unpaired(of_sets, accuracies).to_json()
    return {
        "way": name, "accuracy": over(accuracies), "accuracies": accuracies, "bytes": size, "images": images, "rounds": rounds,
        "sets_more": more,
    }  # fmt: skip
