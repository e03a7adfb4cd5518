"""What a comparison was asked for, checked as a whole before any work: methods x images per class, networks, repeats.

What no cell can have is a fault of the command; what some cells cannot have is written into those cells.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from datadam import nets
from datadam.augment.policies import check_words
from datadam.augment.siamese import strategy_for
from datadam.comparison.variants import Variant, changed, network, split, variant
from datadam.data import RealData
from datadam.data.field import Normalisation
from datadam.distillation.begin import check, prepared
from datadam.distillation.forecast import Forecast
from datadam.distillation.presets import FOR_METHOD, preset
from datadam.distillation.recipe import Recipe
from datadam.errors import CannotDo, InvalidInput, noting
from datadam.evaluation.panel import protocol_named
from datadam.evaluation.protocols import CATALOG, Protocol
from datadam.sets.kind import Kind
from datadam.settings import refuse
from datadam.training.experts import open_experts
from datadam.training.pool import RANDOM, open_bucket

T = TypeVar("T")


@dataclass(frozen=True)
class MethodRow:
    """A method at one number of images per class: its `recipe` (of repeat 0) and `forecast`, or why it was `refused`."""

    variant: Variant
    ipc: int
    recipe: Recipe | None
    forecast: Forecast | None = None
    refused: str = ""

    @property
    def kind(self) -> Kind:
        """Label kind and decoder of its sets: those of different kinds are not ranked against each other."""
        if self.recipe is None:
            return Kind()
        return Kind(self.recipe.decoder, "soft" if "labels" in self.recipe.method.learns else "hard")

    @property
    def folder(self) -> str:
        """The name of its runs."""
        return f"{self.variant.folder}-ipc{self.ipc}"

    def of_repeat(self, r: int) -> Recipe:
        """The recipe of repeat r: the seeds count up."""
        assert self.recipe is not None
        return replace(self.recipe, seed=self.recipe.seed + r)


@dataclass(frozen=True)
class Column:
    """Students of one network, and how they are judged: `label`, as asked for; `spec`, the network; `protocol`; `whole`, that for
    the whole training set, or None; `flops`, operations of a forward pass of one image; or why it was `refused`."""

    label: str
    spec: str
    protocol: Protocol
    whole: Protocol | None
    flops: float = 0.0
    refused: str = ""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A comparison that can be made.

    `rows`, by images per class and then by kind; `columns`; `repeats`; `seed`, of repeat 0; `protocol`, unless a column has
    another, and `students` a set; `whole`, whether the whole training set is a row, and `zca`, whether it is whitened then;
    `asked`, all of it in words.
    """

    rows: tuple[MethodRow, ...]
    columns: tuple[Column, ...]
    repeats: int
    seed: int
    protocol: Protocol
    students: int
    whole: bool
    zca: bool
    asked: dict[str, Any]


def plan(
    real: RealData, methods: Sequence[str] | str, ipc: Sequence[int] | int, nets_: Sequence[str] | str | None, *, repeats: int,
    iterations: int | None, batch_real: int | None, precision: str | None, net: str, normalisation: Normalisation | None,
    zca: bool | None, protocol: Protocol | str, students: int | None, whole: bool, whole_epochs: int | None, seed: int,
    device: str, memory_limit: int | None,
) -> Grid:  # fmt: skip
    """The grid that was asked for; arguments as `compare`. Raises `InvalidInput` with every fault at once."""
    faults: list[str] = []
    counts = [ipc] if isinstance(ipc, int) else list(ipc)
    for name, value in (("repeats", repeats), ("students", students), *(("ipc", count) for count in counts)):
        if value is None:  # students: as the protocol says
            continue
        if type(value) is not int or value < 1:
            faults.append(f"{name} is {value!r}; it must be a whole number, at least 1")
    if type(seed) is not int:
        faults.append(f"seed is {seed!r}; it must be a whole number")
    if not counts:
        faults.append("no number of images per class came; give one or more, such as 1,10")
    if not len(real.test):
        faults.append("the data have no test part to judge on; give one with --test")
    if whole_epochs is not None and not whole:
        faults.append("whole_epochs is of the row of the whole set; ask for it with --whole, or leave it out")
    rule = CATALOG["honest"]
    with noting(faults):
        rule = protocol_named(protocol) if isinstance(protocol, str) else protocol
        rule.require_usual("a comparison")
        rule = _resolved(rule, real)
        students = rule.usual_students if students is None else students
        rule.whole_set().with_epochs(whole_epochs)
    with noting(faults):
        net = _spelled(net, real)
    columns = _each(
        _texts(net if nets_ is None else nets_), lambda text: _column(text, real, rule, whole, whole_epochs), faults,
        "no network of students came; give one",
    )  # fmt: skip
    variants = _each(_texts(methods), variant, faults, "no method came; name one or more, such as random,dm,datadam")
    settings = {
        "iterations": iterations, "batch_real": batch_real, "precision": precision, "net": net, "normalisation": normalisation,
        "zca": zca, "seed": seed,
    }  # fmt: skip
    rows: list[MethodRow] = []
    if not any(fault.startswith(("ipc", "seed", "no number")) for fault in faults):
        counts = list(dict.fromkeys(counts))
        rows = [row for one in variants for row in _rows(one, real, counts, settings, device, memory_limit, faults)]
        kinds = list(dict.fromkeys(row.kind for row in rows))
        rows.sort(key=lambda row: (counts.index(row.ipc), kinds.index(row.kind)))  # stable: methods stay in order
        faults += _twins(rows)
    refuse(list(dict.fromkeys(faults)))
    assert students is not None
    if all(column.refused for column in columns):
        raise InvalidInput(*(column.refused for column in columns))
    asked = {
        "methods": [one.word for one in variants], "ipc": counts, "nets": [column.label for column in columns],
        "repeats": repeats, **settings, "protocol": rule.to_card(), "students": students,
        "whole": rule.whole_set().with_epochs(whole_epochs).to_card() if whole else None, "device": device,
    }  # fmt: skip
    return Grid(
        rows=tuple(rows), columns=tuple(columns), repeats=repeats, seed=seed, protocol=rule, students=students,
        whole=whole, zca=bool(zca), asked=asked,
    )  # fmt: skip


def _texts(given: Sequence[str] | str) -> list[str]:
    return split(given) if isinstance(given, str) else [str(text).strip() for text in given]


def _each(texts: list[str], make: Callable[[str], T], faults: list[str], none: str) -> list[T]:
    """What `make` makes of each text, without doubles; faults are noted."""
    found: list[T] = []
    for text in texts:
        with noting(faults):
            if (one := make(text)) not in found:
                found.append(one)
    if not texts:
        faults.append(none)
    return found


def _spelled(net: str, real: RealData) -> str:
    """A network's one spelling, its options in brackets or not. Raises `UnknownName`, `InvalidInput`."""
    return nets.canonical(network(net), real.shape)


def _resolved(rule: Protocol, real: RealData) -> Protocol:
    """The protocol with the words that "dsa" stands for on these data."""
    return rule.with_augment(strategy_for(real.name, flips=real.flips)) if rule.training.augment == "dsa" else rule


def _column(text: str, real: RealData, rule: Protocol, whole: bool, whole_epochs: int | None) -> Column:
    """A column of `NET` or `NET@AUGMENT`. Raises `InvalidInput` for wrong words; images too small are only noted."""
    name, at, augment = text.partition("@")
    spec, label = _spelled(name, real), _spelled(name, real)
    if at:
        if augment != "dsa":
            check_words(augment)
        label = f"{spec}@{augment}"
        rule = _resolved(rule.with_augment(augment), real)  # epochs that were asked for stay; others may follow it
    overall = rule.whole_set().with_epochs(whole_epochs) if whole else None
    try:
        flops = nets.sizes(spec, shape=real.shape, classes=len(real.classes)).flops
    except InvalidInput as error:  # images too small for it
        return Column(label, spec, rule, overall, refused=str(error))
    return Column(label, spec, rule, overall, flops=flops)


def _rows(
    one: Variant, real: RealData, counts: list[int], settings: dict[str, Any], device: str, memory_limit: int | None,
    faults: list[str],
) -> list[MethodRow]:  # fmt: skip
    """A variant's rows; what its method cannot do is written there. What is wrong at every ipc is noted as a fault of the word,
    and there are no rows."""
    rows: list[MethodRow] = []
    wrong: list[str] = []
    for ipc in counts:
        try:
            recipe = recipe_of(one, real, ipc, settings)
        except InvalidInput as error:
            rows.append(MethodRow(one, ipc, None, refused=str(error)))
            wrong += () if isinstance(error, CannotDo) else error.faults
            continue
        try:
            recipe = _with_digest(recipe, real)
            rows.append(MethodRow(one, ipc, recipe, check(real, recipe, device=device, memory_limit=memory_limit)))
        except InvalidInput as error:
            rows.append(MethodRow(one, ipc, recipe, refused=str(error)))
    if wrong and all(row.recipe is None for row in rows):
        faults += wrong
        return []
    return rows


def _with_digest(recipe: Recipe, real: RealData) -> Recipe:
    """The recipe, which says exactly the networks that it names. Raises `InvalidInput` where they do not fit."""
    if recipe.networks == RANDOM:
        return recipe
    training = recipe.method.needs.training
    experts = open_experts(recipe.networks, prepared(real, recipe), recipe.net, training.epochs) if training else None
    found = experts or open_bucket(recipe.networks, prepared(real, recipe), recipe.net)
    return replace(recipe, networks=found.spec) if found else recipe


def recipe_of(one: Variant, real: RealData, ipc: int, settings: dict[str, Any]) -> Recipe:
    """The recipe of a variant: its preset, in which "auto" stands for the comparison's network; then the settings of all; then
    its own."""
    recipe = preset(FOR_METHOD.get(one.base, one.base), real, ipc=ipc)
    name, *options = recipe.net.split(":")
    given: dict[str, Any] = {"seed": settings["seed"]}
    if name == "auto":
        wide = nets.takes(settings["net"], "widen")  # of one-channel images, which not every network has to be told of
        given["net"] = ":".join((settings["net"], *(one for one in options if wide or not one.startswith("widen="))))
    if settings["normalisation"] is not None:
        given["normalisation"] = settings["normalisation"]
    if settings["zca"] is not None:
        own = "official" if recipe.preset == "official" else "kornia"
        given["zca"] = own if settings["zca"] else "none"
    if not recipe.method.at_once:
        given |= {name: settings[name] for name in ("iterations", "batch_real", "precision") if settings[name] is not None}
    recipe = changed(recipe, one, given)
    return replace(recipe, net=nets.canonical(recipe.net, real.shape))


def _twins(rows: list[MethodRow]) -> list[str]:
    """A fault for each two words that say the same."""
    seen: dict[str, str] = {}
    faults = []
    for row in rows:
        if row.recipe is None:
            continue
        key = str({k: v for k, v in row.recipe.to_card().items() if k not in ("preset", "protocol")})
        if (other := seen.setdefault(key, row.variant.word)) != row.variant.word:
            faults.append(f"{other!r} and {row.variant.word!r} are the same settings here; leave one of them out")
    return faults
