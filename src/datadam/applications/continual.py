"""Class-incremental learning from a memory of small sets: after each step a network is trained from scratch on the memory alone.

Classes come in steps. Of each new class the memory gets `ipc` images, chosen or distilled from the real images of that step; they
are never changed again. A network of as many outputs as classes were seen is tested on the test images of these. Source: GDumb
(Prabhu et al., ECCV 2020) as DM (Zhao and Bilen, WACV 2023) and DataDAM (ICCV 2023, Section 4.5, Figure 7) use it.

A method that looks at one class at a time, through networks that have seen no class, gives the same images whichever classes
stand beside: its classes are made once and used for all orders and steps. Others make a set for each step of each order.
Letters: K classes, S steps.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from datadam import machine
from datadam.applications.sets import Advance, Judges, alone, judged, made_set, over, require_positive, require_tested
from datadam.comparison.grid import recipe_of
from datadam.comparison.store import Store
from datadam.comparison.variants import Variant, split, variant
from datadam.data import RealData
from datadam.distillation.begin import check
from datadam.distillation.forecast import PROBED, passes_a_second
from datadam.distillation.recipe import Recipe
from datadam.errors import InvalidInput, noting
from datadam.evaluation.panel import Panel, protocol_named
from datadam.evaluation.protocols import Protocol
from datadam.evaluation.statistics import holm, paired
from datadam.files.whole import replacing
from datadam.rng import stream
from datadam.sets.distilled import DistilledSet
from datadam.sets.joined import joined, of_classes
from datadam.settings import refuse
from datadam.training.needs import PASSES
from datadam.where import Where

FORMAT = "datadam-continual/1"
Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is asked for.

    Arguments: `methods`, words as `datadam compare` takes them, the first being that which others are tested against; `steps`
    (S); `ipc`, images of a class in the memory; `orders`, how many orders of the classes, each drawn by a stream of its own;
    `students` after each step; `net` of matching and students; `epochs` of a student by `protocol` and `augment`; `iterations`,
    `batch_real` and `precision` of methods that learn, instead of their presets'; `seed`.
    """

    methods: str
    steps: int = 5
    ipc: int = 20
    orders: int = 5
    students: int = 1
    net: str = "auto"
    epochs: int | None = None
    protocol: str = "honest"
    augment: str | None = None
    iterations: int | None = None
    batch_real: int | None = None
    precision: str | None = None
    seed: int = 0


@dataclass(frozen=True)
class Method:
    """A method of the memory: its `word`, its `recipe`, and whether each class is made `once` for all orders and steps."""

    word: Variant
    recipe: Recipe
    once: bool


@dataclass(frozen=True)
class Plan:
    """A continual run that can be made: `methods`; `orders`, the classes of each step of each order; `judges`; seconds that
    making all sets and training all students takes, about."""

    asked: Asked
    real: RealData
    methods: tuple[Method, ...]
    orders: tuple[tuple[tuple[int, ...], ...], ...]
    judges: Judges
    seconds_sets: float
    seconds_students: float


def plan(real: RealData, asked: Asked, *, device: str = "cpu") -> Plan:
    """What is asked for, settled before any work. Raises `InvalidInput` with every fault at once."""
    faults: list[str] = []
    classes = len(real.classes)
    require_positive(faults, ipc=asked.ipc, orders=asked.orders, students=asked.students, epochs=asked.epochs)
    if asked.steps < 2 or classes % asked.steps:
        fit = [str(n) for n in range(2, classes + 1) if classes % n == 0]
        faults.append(
            f"steps is {asked.steps}, which does not cut {classes} classes into two or more equal parts; take {', '.join(fit)}"
        )
    with noting(faults):
        require_tested(real)
        untested = set(range(classes)) - set(real.test.labels.tolist())
        if untested:
            faults.append(f"class {real.classes[min(untested)]} has no test image to be judged on; leave it out of the data")
    methods: list[Method] = []
    with noting(faults):
        for text in split(asked.methods):
            with noting(faults):
                methods.append(_method(variant(text), real, asked))
    refuse(faults)
    if len({method.word for method in methods}) < len(methods):
        raise InvalidInput(f"a method is named twice in {asked.methods!r}; name each once")
    rule = protocol_named(asked.protocol, epochs=asked.epochs, augment=asked.augment)
    rule.require_usual("learning class after class")
    net = next((method.recipe.net for method in methods if not method.recipe.method.chooses), methods[0].recipe.net)
    net = net if asked.net == "auto" else asked.net
    panel = Panel(net=net, protocol=rule, students=asked.students, seed=asked.seed).settled(real, net)
    assert isinstance(panel.protocol, Protocol)
    assert panel.net is not None
    judges = Judges(panel.net, panel.protocol, panel.protocol.whole_set(), asked.students, asked.seed)
    orders = tuple(_order(real, asked, number) for number in range(asked.orders))
    making = sum(check(real, method.recipe, device=device).seconds * (1 if method.once else asked.orders) for method in methods)
    images = sum(range(1, asked.steps + 1)) * classes // asked.steps * asked.ipc  # of all steps of an order
    passes = len(methods) * asked.orders * asked.students * (
        PASSES * images * judges.protocol.training.epochs + len(real.test) * (asked.steps + 1) / 2
    )  # fmt: skip
    return Plan(
        asked, real, tuple(methods), orders, judges, making, passes / passes_a_second(judges.net, real.shape, PROBED, device, 4)
    )


def _method(word: Variant, real: RealData, asked: Asked) -> Method:
    settings = {
        "iterations": asked.iterations, "batch_real": asked.batch_real, "precision": asked.precision, "net": asked.net,
        "normalisation": None, "zca": False, "seed": asked.seed,
    }  # fmt: skip
    recipe = recipe_of(word, real, asked.ipc, settings)
    if recipe.zca != "none":
        raise InvalidInput(f"{word.word}: a whitening is fitted on all classes, and some are not there yet; leave zca out")
    if {"labels", "rate"} & recipe.method.learns:
        raise InvalidInput(f"{word.word}: it learns labels or a rate for all of its classes together; memories join sets without")
    return Method(word, recipe, alone(recipe, real))


def _order(real: RealData, asked: Asked, number: int) -> tuple[tuple[int, ...], ...]:
    """The classes of each step of an order, those of a step in their usual order."""
    order = torch.randperm(len(real.classes), generator=stream(asked.seed, "continual", "order", number))
    return tuple(tuple(sorted(step)) for step in order.view(asked.steps, -1).tolist())


def continual(plan: Plan, out: Path, where: Where, *, note: str = "", command: str = "", advance: Advance | None = None) -> Json:
    """Learn class after class by every method and order, and say what came of it; what lies in `out` is not made again."""
    doing, done, total = "", 0, len(plan.orders) * len(plan.methods) * plan.asked.steps

    def tell(words: str, share: float, whole: float) -> None:
        if advance and share < whole:
            advance(f"{doing}, {words}", done + share / whole / 2 + words.startswith("judging") / 2, total)

    options: dict[str, Any] = {"note": note, "advance": tell}
    accuracies: dict[str, list[list[list[float]]]] = {method.word.word: [] for method in plan.methods}
    for number, steps in enumerate(plan.orders):
        for method in plan.methods:
            parts: list[DistilledSet] = []
            tables = []
            for place, classes in enumerate(steps):
                doing = f"order {number + 1}, {method.word.word}, step {place + 1}"
                parts.append(_of_step(plan, method, number, place, classes, out, where, options | {"command": command}))
                seen = [k for step in steps[: place + 1] for k in step]
                memory, real = joined(parts), plan.real.subset(seen)
                run = out / "orders" / f"{len(steps)}-ipc{plan.asked.ipc}" / str(number) / method.word.folder / f"step{place + 1}"
                judges = dataclasses.replace(plan.judges, seed=plan.asked.seed + number)
                found = judged(Store(out, real), run, memory, judges, where, real=real, of="memory", **options)
                tables.append(_by_step(found, real, steps[: place + 1]))
                done += 1
            accuracies[method.word.word].append(tables)
            if number == 0:
                _export(joined(parts), steps, out / "memory" / f"{method.word.folder}.npz", plan.real.classes)
    return _found(plan, accuracies, where.device)


def _of_step(
    plan: Plan, method: Method, order: int, place: int, classes: Sequence[int], out: Path, where: Where, options: Json
) -> DistilledSet:
    """The images of the classes of one step."""
    names, folder = [plan.real.classes[k] for k in classes], f"{method.word.folder}-ipc{plan.asked.ipc}"
    if method.once:
        return of_classes(made_set(Store(out, plan.real), method.recipe, folder, where, **options), names)
    store = Store(out, plan.real.subset(classes))
    return made_set(store, method.recipe, f"{folder}-steps{plan.asked.steps}-order{order}", where, repeat=place, **options)


def _by_step(found: Json, real: RealData, steps: Sequence[Sequence[int]]) -> list[float]:
    """The accuracy over all classes seen, then that on the classes of each step so far; of the mean student."""
    counts = np.bincount(real.test.labels, minlength=len(real.classes)).astype(np.float64)
    right = np.array([share or 0.0 for share in found["per_class"]]) * counts
    ends = np.cumsum([len(step) for step in steps])
    of_step = [right[a:b].sum() / counts[a:b].sum() for a, b in zip((0, *ends[:-1]), ends, strict=True)]
    return [float(right.sum() / counts.sum()), *map(float, of_step)]


def forgetting(tables: Sequence[Sequence[float]]) -> float:
    """How much accuracy on the classes of a step falls from its best to the end, averaged over all steps but the last.

    Argument: `tables`, after each step the accuracies [1 + steps so far] of `_by_step`. Source: Chaudhry et al., ECCV 2018.
    """
    last = tables[-1]
    falls = [max(table[step] for table in tables[step - 1 : -1]) - last[step] for step in range(1, len(tables))]
    return sum(falls) / len(falls)


def _found(plan: Plan, accuracies: dict[str, list[list[list[float]]]], device: str) -> Json:
    asked, real = plan.asked, plan.real
    final = {word: {o: tables[-1][0] for o, tables in enumerate(orders)} for word, orders in accuracies.items()}
    first, rows = plan.methods[0].word.word, []
    tests = {word: paired(final[word], final[first]) for word in final if word != first}
    testable = [word for word, test in tests.items() if test is not None and test.p is not None]
    corrected = dict(zip(testable, holm([tests[word].p or 0.0 for word in testable]), strict=True))  # type: ignore[union-attr]
    for method in plan.methods:
        word, orders = method.word.word, accuracies[method.word.word]
        test = tests.get(word)
        rows.append(
            {
                "method": word, "made_once": method.once,
                "curve": [over([tables[s][0] for tables in orders]) for s in range(asked.steps)],
                "final": over(list(final[word].values())),
                "average": over([sum(table[0] for table in tables) / len(tables) for tables in orders]),
                "forgetting": over([forgetting(tables) for tables in orders]),
                "against": None if test is None else test.to_json() | {"p_holm": corrected.get(word)},
                "accuracies": orders, "recipe": method.recipe.to_card(),
            }
        )  # fmt: skip
    return {
        "format": FORMAT, "data": {"name": real.name, "checksum": real.checksum}, "classes": len(real.classes),
        "steps": asked.steps, "ipc": asked.ipc,
        "orders": [[[real.classes[k] for k in step] for step in order] for order in plan.orders],
        "students": asked.students, "net": plan.judges.net, "protocol": plan.judges.protocol.to_card(), "seed": asked.seed,
        "first": first, "methods": rows, "hardware": machine.hardware(torch.device(device)), "versions": machine.versions(),
        "commit": machine.commit(), "created": machine.now(),
    }  # fmt: skip


def _export(memory: DistilledSet, steps: Sequence[Sequence[int]], path: Path, names: Sequence[str]) -> None:
    """The memory at the end of the first order as a plain data set: x, uint8 [N, H, W, C]; y, class numbers of the data; t, the
    step in which a class came, from 0; class_names."""
    pixels: Tensor = (memory.pixels() * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
    known = {names[k]: (k, place) for place, step in enumerate(steps) for k in step}
    pairs = np.array([known[memory.classes[k]] for k in memory.training_labels.tolist()], np.int64)
    with replacing(path) as partial, partial.open("wb") as file:
        np.savez(file, x=pixels.numpy(), y=pairs[:, 0], t=pairs[:, 1], class_names=np.array(names))
