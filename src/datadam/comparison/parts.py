"""The pieces of work of a comparison, in the order in which they are done, and what is foreseen of each.

The networks that coresets choose by are trained once for each seed, network and whitening, whichever choice comes first; so they
are foreseen apart from the choices that rest on them.
"""

from collections.abc import Iterable, Set
from dataclasses import dataclass
from typing import NamedTuple

from datadam import machine
from datadam.comparison.clock import Clock, Key
from datadam.comparison.grid import Column, Grid, MethodRow
from datadam.comparison.table import WHOLE
from datadam.data import RealData
from datadam.distillation.forecast import PROBED, SECONDS_MATTER, passes_a_second
from datadam.methods.coresets.cost import passes_behind
from datadam.methods.cost import BACKWARD
from datadam.training.insight import TRAINING, Requirement
from datadam.wording import duration, size


class SharedPiece(NamedTuple):
    """Work that choices rest on and that is done once: `who`, which no other such work equals; `key` and `units` for the clock,
    and a `prior` guess of its seconds; `doing`, what progress says of it."""

    who: tuple[int, str, str, Requirement]
    key: Key
    units: float
    prior: float
    doing: str


@dataclass(frozen=True)
class Piece:
    """A piece of work: to "make" the run of a row and repeat, to "judge" it by students of a column, to judge the "whole" set.

    `key`, `units` and `prior` as `SharedPiece`, without what is `behind` it.
    """

    kind: str
    row: int
    repeat: int
    column: int
    doing: str
    key: Key
    units: float
    prior: float | None = None
    behind: tuple[SharedPiece, ...] = ()


def parts_of(grid: Grid, real: RealData, device: str) -> list[Piece]:
    """Everything, in the order in which it is done: a whole table of one repeat first, then the next repeat."""
    found = []
    test, train = len(real.test), len(real.train)
    for r in range(grid.repeats):
        for i, row in enumerate(grid.rows):
            if row.refused or row.recipe is None:
                continue
            word = f"{row.variant.word}, ipc {row.ipc}" + (f", repeat {r}" if grid.repeats > 1 else "")
            found.append(_making(row, i, r, word, real, device))
            for c, column in enumerate(grid.columns):
                seen = row.ipc * row.recipe.each * len(real.classes)
                images = grid.students * (BACKWARD * seen * column.protocol.training.epochs + test)
                if not column.refused:
                    doing, key = f"{word}, judged by {column.label}", ("judge", column.label)
                    guess = _guess(column, images, real, device)
                    found.append(Piece("judge", i, r, c, doing, key, column.flops * images, guess))
    for c, column in enumerate(grid.columns):
        if column.whole and not column.refused:
            images, doing = BACKWARD * train * column.whole.training.epochs + test, f"{WHOLE}, judged by {column.label}"
            key, guess = ("whole", column.label), _guess(column, images, real, device)
            found.append(Piece("whole", -1, 0, c, doing, key, column.flops * images, guess))
    return found


def _making(row: MethodRow, i: int, r: int, word: str, real: RealData, device: str) -> Piece:
    recipe, foreseen, train = row.of_repeat(r), row.forecast, len(real.train)
    if not recipe.method.chooses:
        units = 1.0 if foreseen is None or recipe.method.samples else foreseen.flops * max(1, recipe.iterations)
        seconds = foreseen.seconds if foreseen else 0.0
        return Piece("make", i, r, -1, word, ("make", row.variant.word), units, seconds or None)
    rate, a_pass = (foreseen.rate, foreseen.a_pass) if foreseen else (0.0, 0.0)
    behind = []
    for one in recipe.method.behind:
        passes = passes_behind(one, train, device)
        key = ("train" if one.what == TRAINING else "look", f"{one.what} {recipe.net}")
        prior = passes / rate if rate else 0.0
        who = (recipe.seed, recipe.net, f"{recipe.normalisation} {recipe.zca}", one)
        behind.append(SharedPiece(who, key, a_pass * passes, prior, one.doing))
    looks = recipe.method.looks * train / rate if rate else 0.0
    return Piece("make", i, r, -1, word, ("choose", row.variant.word), 1.0, looks, tuple(behind))


def _guess(column: Column, images: int, real: RealData, device: str) -> float | None:
    """Seconds for so many forward passes, by a moment's measurement; None where they are moments themselves."""
    if column.flops * images < SECONDS_MATTER:
        return None
    count = min(machine.images_at_once(real.shape), PROBED)
    return images / passes_a_second(column.spec, real.shape, count, device, 4)


def seconds_of(clock: Clock, one: Piece | SharedPiece) -> float | None:
    """Seconds of a piece of work alone; None while too little is known."""
    return clock.expect(one.key, one.units, one.prior)


def expected(clock: Clock, part: Piece, known: Set[object]) -> float | None:
    """Seconds of a part with what it rests on, save what is `known`; None while too little is."""
    return _sum([seconds_of(clock, part), *(seconds_of(clock, one) for one in part.behind if one.who not in known)])


def left(
    clock: Clock, todo: list[Piece], known: Set[object], running: Piece | None = None, rest: float | None = None
) -> float | None:
    """Seconds of all that is to do, of the `running` part only the `rest`; what several rest on counts once."""
    seconds, found = [], set(known)
    for part in todo:
        seconds.append(rest if part is running else expected(clock, part, found))
        found |= {one.who for one in part.behind}
    return _sum(seconds)


def _sum(seconds: Iterable[float | None]) -> float | None:
    total = 0.0
    for one in seconds:
        if one is None:
            return None
        total += one
    return total


def long_words(row: MethodRow, part: Piece, seconds: float) -> str:
    """What to tell of a run that takes so many seconds."""
    memory = f" and about {size(row.forecast.whole)} of memory" if row.forecast else ""
    cure = "--iterations shortens it"
    if part.behind:
        cure = "most of it trains networks to choose by, unless the cache holds them; fewer epochs shorten it"
    if row.recipe and row.recipe.method.samples:
        cure = "it trains the generator, unless the cache holds it; fewer epochs, or a smaller width, shorten it"
    return f"{row.variant.word}, ipc {row.ipc}: about {duration(seconds)}{memory} a set; {cure}"
