"""How small a set will do: the fewest images per class that train within a tolerance of the whole training set.

Images per class are doubled until a set is within the tolerance, then bisected; each set starts from the images of the next
smaller one. A set is within it when the whole interval of what it lacks, mean(whole) - mean(set) over students, lies below the
tolerance, and short of it when the whole interval lies above. Random real images are judged at the same sizes: they catch up as
sets grow.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from datadam import machine, nets
from datadam.applications.sets import Advance, Judges, judged, made_set, require_positive, require_tested
from datadam.comparison.grid import recipe_of
from datadam.comparison.store import Store
from datadam.comparison.variants import variant
from datadam.data import RealData
from datadam.data.real import require_members
from datadam.distillation.begin import check
from datadam.distillation.forecast import seconds_of_training
from datadam.distillation.recipe import Recipe
from datadam.errors import InvalidInput, noting
from datadam.evaluation.panel import Panel, protocol_named
from datadam.evaluation.protocols import Protocol
from datadam.evaluation.statistics import needed, std, t95, unpaired
from datadam.sets.distilled import DistilledSet
from datadam.settings import refuse
from datadam.where import Where

FORMAT = "datadam-lossless/1"
WITHIN, SHORT, OPEN = "within", "short", "open"
RANDOM = "random"
Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is asked for.

    Arguments: `method`, a word as `datadam compare` takes it; `tolerance`, points of accuracy; `confidence` of intervals;
    `ipc_list`, images per class to try, ascending (None: doubling and bisection, up to `most`); `students` of each set;
    `net` of matching and students; `epochs` of a student by `protocol` and `augment`, `whole_epochs` on the whole set;
    `iterations`, `batch_real` and `precision` instead of the preset's; `seed`.
    """

    method: str = "datadam"
    tolerance: float = 0.5
    confidence: float = 0.95
    ipc_list: tuple[int, ...] | None = None
    most: int | None = None
    students: int = 5
    net: str = "auto"
    epochs: int | None = None
    whole_epochs: int | None = None
    protocol: str = "honest"
    augment: str | None = None
    iterations: int | None = None
    batch_real: int | None = None
    precision: str | None = None
    seed: int = 0


@dataclass(frozen=True)
class Plan:
    """A search for the smallest set that can be made: `judges`; the `most` images per class there are; `listed`, those to try
    (None: by doubling); seconds of the whole set's students and of making the first set."""

    asked: Asked
    real: RealData
    judges: Judges
    most: int
    listed: tuple[int, ...] | None
    seconds_whole: float
    seconds_set: float

    def recipe(self, ipc: int, word: str | None = None) -> Recipe:
        """The recipe of a set."""
        return _recipe(self.asked, self.real, ipc, word)


def _recipe(asked: Asked, real: RealData, ipc: int, word: str | None = None) -> Recipe:
    settings = {
        "iterations": asked.iterations, "batch_real": asked.batch_real, "precision": asked.precision, "net": asked.net,
        "normalisation": None, "zca": None, "seed": asked.seed,
    }  # fmt: skip
    return recipe_of(variant(word or asked.method), real, ipc, settings)


def plan(real: RealData, asked: Asked, *, device: str = "cpu") -> Plan:
    """What is asked for, settled before any work. Raises `InvalidInput` with every fault at once."""
    faults: list[str] = []
    if not 0 < asked.tolerance < 100:
        faults.append(f"tolerance is {asked.tolerance:g} points of accuracy; it must lie between 0 and 100")
    if not 0.5 <= asked.confidence < 1:
        faults.append(f"confidence is {asked.confidence:g}; it must lie in [0.5, 1), such as 0.95")
    if asked.students < 2:
        faults.append(f"students is {asked.students}; an interval needs at least 2")
    require_positive(faults, most=asked.most, epochs=asked.epochs, whole_epochs=asked.whole_epochs)
    listed = None if asked.ipc_list is None else tuple(sorted(set(asked.ipc_list)))
    if listed is not None and (not listed or listed[0] < 1):
        faults.append(f"ipc_list is {', '.join(map(str, listed)) or 'empty'}; give whole numbers of at least 1, or auto")
    if listed is not None and asked.most is not None:
        faults.append("most ends a search that is free; with an ipc_list leave it out")
    with noting(faults):
        require_tested(real)
    recipe: Recipe | None = None
    with noting(faults):
        recipe = _recipe(asked, real, listed[0] if listed else 1)
    refuse(faults)
    assert recipe is not None
    limit = min(real.members, asked.most or real.members)
    most = min(real.members // _recipe(asked, real, limit).each, limit)  # a preset's decoder may change with ipc
    if listed and listed[-1] > most:
        raise InvalidInput(
            f"ipc_list asks for {listed[-1]} images per class, and the smallest class gives {most}; leave that out"
        )
    require_members(real, listed[0] if listed else 1, recipe.each)
    rule = protocol_named(asked.protocol, epochs=asked.epochs, augment=asked.augment)
    rule.require_usual("this search for the fewest images")
    settled = Panel(net=None, protocol=rule, students=asked.students, seed=asked.seed).settled(real, recipe.net)
    protocol = settled.protocol
    assert isinstance(protocol, Protocol)
    assert settled.net is not None
    nets.build(settled.net, shape=real.shape, classes=len(real.classes))
    whole = protocol.whole_set().with_epochs(asked.whole_epochs)
    judges = Judges(settled.net, protocol, whole, asked.students, asked.seed)
    time_whole = seconds_of_training(real, judges.net, whole.training.epochs * asked.students, device)
    return Plan(asked, real, judges, most, listed, time_whole, check(real, recipe, device=device).seconds)


def next_ipc(verdicts: Mapping[int, bool], most: int, listed: Sequence[int] | None = None) -> int | None:
    """Which number of images per class is tried next; None when the answer is known.

    Arguments: `verdicts`, for each number tried whether its set is within the tolerance; `most`; `listed`, the numbers to try, in
    ascending order (None: doubling, then bisection between the largest that is not and the smallest that is).
    """
    if listed is not None:
        return None if any(verdicts.values()) else next((ipc for ipc in listed if ipc not in verdicts), None)
    if not any(verdicts.values()):
        largest = max(verdicts, default=0)
        return min(2 * largest or 1, most) if largest < most else None
    first = min(ipc for ipc, within in verdicts.items() if within)
    last = max((ipc for ipc in verdicts if ipc < first), default=0)
    return (first + last) // 2 if first - last > 1 else None


def lossless(plan: Plan, out: Path, where: Where, *, note: str = "", command: str = "", advance: Advance | None = None) -> Json:
    """Find the smallest set, and say what was found; what lies in `out` already is not made again.

    Raises `InvalidInput` when the students of the whole set spread so much that nothing could be shown within the tolerance.
    """
    asked, store = plan.asked, Store(out, plan.real)
    doing = "the whole set"

    def tell(words: str, done: float, total: float) -> None:
        if advance:
            advance(f"{doing}, {words}: {100 * done / total:.0f} %", len(steps), None)

    options: dict[str, Any] = {"note": note, "advance": tell}
    steps: dict[int, Json] = {}
    whole = judged(store, out / "whole", None, plan.judges, where, **options)["accuracies"][0]
    _require_resolved(asked, whole)
    sets: dict[int, DistilledSet] = {}
    while (ipc := next_ipc({n: step["verdict"] == WITHIN for n, step in steps.items()}, plan.most, plan.listed)) is not None:
        doing, decoder = f"{ipc} per class", plan.recipe(ipc).decoder  # whose numbers are other images in another one
        smaller = [n for n in steps if n < ipc and plan.recipe(n).decoder == decoder]
        warm = max(smaller) if smaller and not plan.recipe(ipc).method.chooses else None
        step: Json = {"ipc": ipc, "start": warm}
        for name, word in (("set", asked.method), ("random", RANDOM)):
            start = warm if name == "set" else None
            folder = f"{variant(word).folder}-ipc{ipc}" + ("" if start is None else f"-from{start}")
            earlier = None if start is None else sets[start].images
            made = made_set(store, plan.recipe(ipc, word), folder, where, earlier=earlier, command=command, **options)
            step[name] = judged(store, store.run(folder, 0), made, plan.judges, where, **options)["accuracies"][0]
            sets |= {ipc: made} if name == "set" else {}
        steps[ipc] = _weighed(step, whole, asked)
    return _found(plan, whole, [steps[ipc] for ipc in sorted(steps)], where.device)


def _require_resolved(asked: Asked, whole: Sequence[float]) -> None:
    """Raise `InvalidInput` where so many students could not show that the whole set is as good as itself."""
    count = needed(std(whole), asked.tolerance / 100, asked.confidence)
    if count > len(whole):
        raise InvalidInput(
            f"the {len(whole)} students of the whole set spread by {100 * std(whole):.2f} points, too much for a tolerance of "
            f"{asked.tolerance:g}: it takes {count} students to show that little; ask for --students {count}, or for a wider "
            "--tolerance"
        )


def _weighed(step: Json, whole: Sequence[float], asked: Asked) -> Json:
    """A step with what its set and the random one lack, and what that says."""
    for name in ("set", "random"):
        gap = unpaired(whole, step[name], asked.confidence)
        step[f"{name}_lacks"] = gap.to_json()
    gap, tolerance = unpaired(whole, step["set"], asked.confidence), asked.tolerance / 100
    step["verdict"] = WITHIN if gap.high <= tolerance else SHORT if gap.low > tolerance else OPEN
    if step["verdict"] == OPEN and (distance := abs(tolerance - gap.value)) > 0:
        spread = ((std(whole) ** 2 + std(step["set"]) ** 2) / 2) ** 0.5
        step["students_needed"] = max(needed(spread, distance, asked.confidence), asked.students + 1)
    step["better_than_random"] = unpaired(step["set"], step["random"], asked.confidence).to_json()
    return step


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean and 95 % interval of students."""
    mean = sum(values) / len(values)
    half = t95(len(values) - 1) * std(values) / len(values) ** 0.5
    return mean, mean - half, mean + half


def _found(plan: Plan, whole: Sequence[float], steps: Sequence[Json], device: str) -> Json:
    real, asked = plan.real, plan.asked
    within = [step["ipc"] for step in steps if step["verdict"] == WITHIN]
    random = [step["ipc"] for step in steps if step["random_lacks"]["high"] <= asked.tolerance / 100]
    pays = [step["ipc"] for step in steps if step["better_than_random"]["low"] > 0]
    return {
        "format": FORMAT, "classes": len(real.classes),
        "data": {"name": real.name, "checksum": real.checksum, "train": len(real.train), "test": len(real.test)},
        "method": asked.method, "tolerance": asked.tolerance, "confidence": asked.confidence,
        "answer": min(within, default=None), "random_answer": min(random, default=None), "pays_up_to": max(pays, default=None),
        "whole": list(whole), "steps": list(steps), "most": plan.most, "net": plan.judges.net, "students": asked.students,
        "protocol": plan.judges.protocol.to_card(), "whole_epochs": plan.judges.whole.training.epochs, "seed": asked.seed,
        "recipe": replace(plan.recipe(steps[0]["ipc"]), ipc=1).to_card(), "hardware": machine.hardware(torch.device(device)),
        "versions": machine.versions(), "commit": machine.commit(), "created": machine.now(),
    }  # fmt: skip
