"""Classes that come later: distilled by the recipe of an earlier run and put beside its own, which stay as they are.

A method that looks at one class at a time gives each class the same images whichever others stand beside it, since all that is
drawn is named by the class. So a run of the new classes alone, in the earlier run's network space and by its seed, makes what one
run of all classes would have made: the same bits in float64, and but for rounding in float32.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from datadam import nets
from datadam.applications.sets import Advance, by_number, made_set
from datadam.comparison.store import Store
from datadam.data import RealData
from datadam.distillation.begin import check, prepared
from datadam.distillation.forecast import Forecast
from datadam.distillation.recipe import Recipe
from datadam.distillation.shards.fit import coupling
from datadam.distillation.start import MADE_FIRST, STARTS
from datadam.errors import InvalidInput, noting
from datadam.sets.distilled import DistilledSet
from datadam.settings import refuse
from datadam.training.pool import RANDOM
from datadam.where import Where

FOLDER = "added"  # of the run of the new classes, in the folder of the whole
MADE = ("distilled", "coreset")  # kinds of sets that a recipe makes again
NAMED = 12  # classes in an error


@dataclass(frozen=True)
class Plan:
    """New classes that can be added: `earlier`, the set that is there; `real`, the data of all classes in its network space;
    `names` of the new ones; `recipe`; `exact`, whether the data hold the very images that the set was made from; `forecast`."""

    earlier: DistilledSet
    real: RealData
    names: tuple[str, ...]
    recipe: Recipe
    exact: bool
    forecast: Forecast

    @property
    def new(self) -> RealData:
        """The data of the new classes."""
        return self.real.subset([self.real.classes.index(name) for name in self.names])


def plan(earlier: DistilledSet, real: RealData, *, device: str = "cpu") -> Plan:
    """What adding the classes of `real` that a set lacks would take. Raises `InvalidInput` with every reason against it."""
    faults = [*_faults_of_data(earlier, real), *_faults_of_set(earlier)]
    recipe: Recipe | None = None
    with noting(faults):
        recipe = _recipe(earlier)
        faults += _couplings(recipe, replace(real, transform=earlier.transform))
    refuse(faults)
    assert recipe is not None
    real = replace(real, transform=earlier.transform)
    if prepared(real, recipe).transform.to_card() != real.transform.to_card():  # numbers of the field for data of another name
        recipe = replace(recipe, normalisation="own")
    names = tuple(name for name in real.classes if name not in earlier.classes)
    own = real.subset([real.classes.index(name) for name in earlier.classes])
    told = check(real.subset([real.classes.index(name) for name in names]), recipe, device=device)
    return Plan(earlier, real, names, recipe, own.checksum == earlier.card["data"]["checksum"], told)


def _faults_of_data(earlier: DistilledSet, real: RealData) -> Iterator[str]:
    shape = tuple(earlier.card["data"]["shape"])
    if shape != real.shape:
        yield f"the run has images of {list(shape)}, and the data of {list(real.shape)}; load them in the run's size"
    if lost := [name for name in earlier.classes if name not in real.classes]:
        yield (
            f"the data lack classes that the run has: {_some(lost)}. Give data of the old and the new classes, on which the set "
            "is then judged; or distil the new ones alone and put the runs together: datadam merge RUN NEW --data ALL"
        )
    if not set(real.classes) - set(earlier.classes):
        yield f"the data have no class that the run lacks; both have {_some(earlier.classes)}"


def _faults_of_set(earlier: DistilledSet) -> Iterator[str]:
    if earlier.card["kind"] not in MADE:
        yield f"the run's images were {earlier.card['kind']}, and no recipe of a method that treats each class alone made them"
    if earlier.soft or earlier.rate is not None:
        yield "the run has soft labels or a learned rate, which are of all its classes together; add to a run with hard labels"
    if len(set(earlier.counts)) > 1:
        yield (
            f"the run has {min(earlier.counts)} to {max(earlier.counts)} images a class, which leaves open how many the new ones "
            "get; distil them alone and use datadam merge"
        )


def _recipe(earlier: DistilledSet) -> Recipe:
    """The recipe that made the set, with as many iterations as were made."""
    try:
        recipe = Recipe.from_card(earlier.card["recipe"])
    except InvalidInput as error:
        raise InvalidInput(f"the run has no recipe of its own, such as one merged from runs of several: {error}") from error
    done = earlier.card.get("iterations_done", recipe.iterations)
    return replace(recipe, iterations=done, net=nets.canonical(recipe.net, tuple(earlier.card["data"]["shape"])))


def _couplings(recipe: Recipe, real: RealData) -> Iterator[str]:
    """What ties the new classes to the old ones, with the cure."""
    cure = "distil all classes anew, or take a method that treats each class alone, such as dm or datadam with a ConvNet"
    method, found = recipe.method, None
    if method.chooses:
        if method.behind:
            yield f"{method.name} chooses by networks that were trained on the run's own classes; {cure}"
    elif found := coupling(recipe, real):
        yield f"{found.why}, so that new ones would have changed the others; {cure}"
    if not method.chooses and (recipe.networks != RANDOM or (not found and method.needs.networks not in ("random", "none"))):
        yield f"{method.name} looked through networks that were trained on the run's own classes; {cure}"
    if recipe.start in MADE_FIRST:
        yield f"the run began with a set of {recipe.start}, which was made of the run's own classes together; {cure}"
    if recipe.start not in STARTS:
        yield f"the run began with the images of {recipe.start}, which has none of the new classes; {cure}"
    if by_number(recipe):
        yield f"k-means begins with images in an order that goes by class numbers, which would be others; {cure}, start=real"
    if recipe.zca == "official":
        yield f"zca=official whitened the first images of all classes together; {cure}, and without whitening"


def _some(names: tuple[str, ...] | list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def add(
    plan: Plan, out: Path, where: Where, *, note: str = "", command: str = "", advance: Advance | None = None
) -> DistilledSet:  # fmt: skip
    """Distil the new classes in a run of their own, which is gone on with where one was stopped, and put them beside the others.

    The set is written to `out` when it is complete; its classes are in the order of the data.
    """
    made = made_set(Store(out, plan.new), plan.recipe, FOLDER, where, note=note, command=command, advance=advance)
    whole = DistilledSet.merge([plan.earlier, made], plan.real, note=note, command=command)
    whole.save(out)
    return whole
