"""What applications are loops over: a set that is made once, and its students, who are judged once; both found again.

They lie as in a comparison: OUT/runs/METHOD-ipcN/REPEAT, with evaluations inside.
"""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from datadam.comparison.store import Store, of_recipe
from datadam.data import RealData
from datadam.distillation.begin import begin, prepared, resume
from datadam.distillation.checkpoint import clear_folder
from datadam.distillation.recipe import Recipe
from datadam.distillation.shards.fit import require_separable
from datadam.errors import InvalidInput
from datadam.evaluation.evaluate import Progress, evaluate, evaluate_whole
from datadam.evaluation.protocols import Protocol
from datadam.evaluation.statistics import std, t95
from datadam.sets.distilled import DistilledSet
from datadam.where import Where

Json = dict[str, Any]
Advance = Callable[..., Any]


@dataclass(frozen=True)
class Judges:
    """Students: their `net`, in its one spelling; `protocol`, that for the `whole` training set; how many `students`; `seed`."""

    net: str
    protocol: Protocol
    whole: Protocol
    students: int
    seed: int


def made_set(
    store: Store, recipe: Recipe, folder: str, where: Where, *, repeat: int = 0, earlier: Tensor | None = None, note: str = "",
    command: str = "", advance: Advance | None = None,
) -> DistilledSet:  # fmt: skip
    """The set of a recipe: found where an earlier call has finished it, else gone on with, else made.

    Arguments: `store`, the folder and the data, which are put into the recipe's space here; `folder` and `repeat`, its place;
    `earlier`, images to start from; `advance(words, done, total)`, called on the way. Raises `InvalidInput` when another set lies
    there.
    """
    run, words = store.run(folder, repeat), f"making {folder}"
    state = store.state(run, recipe)
    if isinstance(state, dict):
        return DistilledSet.load(run)
    if state and not recipe.method.chooses:
        under_way = resume(run, store.real, device=where.device)
    else:
        if run.exists():  # stopped before its first checkpoint
            clear_folder(run)
        under_way = begin(
            prepared(store.real, recipe), recipe, out=run, device=where.device, memory_limit=where.memory_limit, earlier=earlier,
            note=note, command=command, progress=None,
        )  # fmt: skip
    with closing(under_way.steps()) as steps:
        for step in steps:
            if advance:
                advance(words, step.iteration, step.iterations)
    return under_way.result()


def judged(
    store: Store, run: Path, distilled: DistilledSet | None, judges: Judges, where: Where, *, real: RealData | None = None,
    of: str | None = None, note: str = "", advance: Advance | None = None,
) -> Json:  # fmt: skip
    """The evaluation of a set (None: of the whole training set), found where it is kept in `run`, else made.

    Arguments: `real`, the data that students are tested on (None: those of the store); `of`, what is judged, in a word.
    """
    real = real or store.real
    protocol = judges.protocol if distilled else judges.whole
    name = of or ("whole" if distilled is None else of_recipe(Recipe.from_card(distilled.card["recipe"])))
    path = store.evaluation_file(run, name, judges.net, protocol, judges.students, judges.seed)
    found = store.evaluation(path, judges.net, protocol, judges.students, judges.seed)
    if found is not None and found.get("classes") == list(real.classes):
        return found

    def tell(p: Progress) -> None:
        if advance:
            advance(f"judging {name}", (p.student - 1) * p.epochs + p.epoch, p.students * p.epochs)

    options: dict[str, Any] = {
        "net": judges.net, "protocol": protocol, "students": judges.students, "seed": judges.seed, "device": where.device,
        "note": note, "progress": tell, "keep": path.parent,
    }  # fmt: skip
    if distilled is None:
        evaluation = evaluate_whole(real, **options)
    else:
        evaluation = evaluate(distilled, real, of=name, workers=where.workers, **options)
    evaluation.save(path)
    return evaluation.to_json()


def require_positive(faults: list[str], **values: int | None) -> None:
    """Note a fault for each number that is given and lower than 1."""
    faults += [f"{name} is {value}; it must be at least 1" for name, value in values.items() if value is not None and value < 1]


def require_tested(real: RealData) -> None:
    """Raise `InvalidInput` where there is nothing to judge on."""
    if not len(real.test):
        raise InvalidInput("the data have no test part to judge on; load them with one (test)")


def alone(recipe: Recipe, real: RealData) -> bool:
    """Whether a class gets the same images whichever others stand beside it."""
    if by_number(recipe):
        return False
    if recipe.method.chooses:
        return not recipe.method.behind  # a network that was trained first knows its classes
    try:
        require_separable(recipe, real)
    except InvalidInput:
        return False
    return recipe.method.needs.networks in ("random", "none")


def by_number(recipe: Recipe) -> bool:
    """Whether images are chosen by k-means, whose first centres are drawn from images in an order that goes by class numbers."""
    return "kmeans" in (recipe.method.name, recipe.start)


def over(values: Sequence[float]) -> Json:
    """The mean of several values with its 95 % interval (None for one value)."""
    mean = sum(values) / len(values)
    half = t95(len(values) - 1) * std(values) / len(values) ** 0.5 if len(values) > 1 else None
    return {"value": mean, "low": None if half is None else mean - half, "high": None if half is None else mean + half}
