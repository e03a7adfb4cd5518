"""A recipe for the time there is: our own method, with the networks and the iterations that fit into it on this machine.

Where there is time, what CALM makes in minutes is gone on with by matching trajectories (MTT), which lifts it further than more
of CALM does; else the time is CALM's.
"""

from collections.abc import Sequence
from dataclasses import replace

from datadam import nets
from datadam.arithmetic import fast_precision
from datadam.data import RealData
from datadam.distillation import presets
from datadam.distillation.forecast import forecast, passes_a_second, passes_before, passes_of
from datadam.distillation.made_first import recipe_of_start
from datadam.distillation.presets.calm import calm, fitting
from datadam.distillation.presets.dm import dm
from datadam.distillation.recipe import Recipe
from datadam.errors import InvalidInput
from datadam.machine import can_compile, settle_device
from datadam.methods import CALM
from datadam.methods.cost import compiled_gain
from datadam.training.needs import MEASURED, PASSES

LEAST = 60.0  # seconds below which there is no budget to share out
ASIDE = 0.08  # of the time, for what is neither network nor iteration: reading, the first images, the pictures
COMPILING = 40.0  # seconds, for pool and iterations together, about
FOLLOWED = 80, 400  # iterations of MTT: with fewer the time is CALM's
EXPERTS = (3, 7), (2, 5)  # how many it follows for how many epochs: the first for which there is time
POOL = 0.4  # of what is left, for training the pool
EPOCHS = 12  # of a network of the pool, at most
NETWORKS = ((4, 1), (12, 2), (30, 3))  # so many epochs in all are at most that many networks; above, FULL
FULL = 5
ITERATIONS = 20, 10_000
WIDTHS = 64, 32  # of the matching network where the usual one is too slow for a pool of ENOUGH epochs
ENOUGH = 4
UNITS = {"s": 1, "sec": 1, "min": 60, "m": 60, "h": 3600}


def seconds_of(words: str | float) -> float:
    """Seconds of "300", "90s", "5min" or "2h". Raises `InvalidInput`."""
    text = str(words).replace(" ", "").lower()
    number = text.rstrip("abcdefghijklmnopqrstuvwxyz")
    try:
        seconds = float(number) * UNITS[text[len(number) :] or "s"]
    except (KeyError, ValueError):
        raise InvalidInput(f"the budget is {words!r}; write a time such as 5min, 90s or 2h") from None
    if not LEAST <= seconds < float("inf"):
        raise InvalidInput(f"the budget is {words!r}; it must be at least {LEAST:g} seconds")
    return seconds


def within(
    real: RealData, ipc: int, seconds: float, *, net: str = "auto", decoder: str = "", device: str = "auto", follows: bool = True,
) -> Recipe:  # fmt: skip
    """The recipe that this machine does in about so many seconds.

    Arguments: `real`, the data; `ipc` (IPC); `seconds` of the whole run, all networks included; `net`, the matching network
    ("auto": the usual one of the data, or a narrower one where that leaves no time for it); `decoder` ("": what the preset calm
    takes); `device` ("auto": a graphics card if there is one); `follows`, whether MTT may end it.
    It is MTT from a set of CALM's on the widest network on which there is time for both, with fewer and shorter experts where
    that makes it possible; else CALM on the widest one with time for a good pool; and without the time for one epoch over the
    real images DM on random networks, with the same decoder.
    """
    device, usual = settle_device(device), nets.canonical(net, real.shape)
    narrower = [nets.canonical(f"{usual}:width={width}", real.shape) for width in WIDTHS] if net == "auto" else []
    clocks = [_Clock(real, each, device) for each in (usual, *narrower)]
    followed = (_followed(clock, ipc, seconds, decoder or fitting(real, ipc)) for clock in clocks)
    return (next(filter(None, followed), None) if follows else None) or _alone(
        clocks, ipc, seconds, decoder or fitting(real, ipc)
    )


class _Clock:
    """How fast this machine is on a network: `rate`, forward passes of one image a second, and the `gain` of compiled code."""

    def __init__(self, real: RealData, net: str, device: str) -> None:
        self.real, self.net, self.device, self.precision = real, net, device, fast_precision(device)
        self.gain = compiled_gain(self.precision) if can_compile(device) else 1.0

    @property
    def rate(self) -> float:
        """Measured when it is asked for."""
        told = forecast(self.real, calm(self.real, 1).change({"net": self.net}), device=self.device)
        return told.rate or passes_a_second(self.net, self.real.shape, min(told.plan.chunk, 64), self.device, 4)

    def passes(self, seconds: float, compilings: float) -> float:
        """Plain passes that there is time for, where so often there is something to compile."""
        return self.rate * ((1 - ASIDE) * seconds - compilings * (COMPILING if can_compile(self.device) else 0.0))

    def before(self, recipe: Recipe) -> float:
        """Plain passes that the networks take which a recipe needs first."""
        return passes_before(recipe.method.needs, len(self.real.train), self.precision, self.device)

    def iteration(self, recipe: Recipe) -> float:
        """Plain passes of an iteration."""
        drawn = [min(recipe.batch_real, len(members)) for members in self.real.by_class]
        return passes_of(recipe, drawn) / (self.gain if recipe.method.streams else 1.0)


def _followed(clock: _Clock, ipc: int, seconds: float, decoder: str) -> Recipe | None:
    """MTT from what CALM makes first, if there is time for both on this network."""
    usual = presets.preset("mtt-quick", clock.real, ipc=ipc).change({"net": clock.net, "decoder": decoder})
    start = recipe_of_start(clock.real, usual)
    assert start is not None
    left = clock.passes(seconds, 1.5) - clock.before(start) - start.iterations * clock.iteration(start)
    fewest, most = FOLLOWED
    for count, epochs in EXPERTS:
        recipe = usual.change({"count": count, "max_start": epochs})
        iterations = int((left - clock.before(recipe)) / clock.iteration(recipe))
        if iterations >= fewest:
            return replace(recipe, iterations=min(most, iterations))
    return None


def _alone(clocks: Sequence[_Clock], ipc: int, seconds: float, decoder: str) -> Recipe:
    """CALM, or where there is no time for networks DM."""
    real = clocks[0].real
    for clock in clocks:
        recipe = calm(real, ipc).change({"net": clock.net, "decoder": decoder})
        left = clock.passes(seconds, 1) * clock.gain
        an_epoch = PASSES * 0.8 * len(real.train) + 12 * MEASURED / clock.gain
        epochs = int(POOL * left / an_epoch)
        if epochs >= ENOUGH:
            break
    if epochs < 1:
        recipe = replace(
            dm(real, ipc), decoder=decoder, net=clock.net, lr_images=recipe.lr_images / 2, batch_real=32, precision="auto",
            batch_synthetic=recipe.batch_synthetic,
        )  # fmt: skip
    else:
        count = next((number for most, number in NETWORKS if epochs <= most), FULL)
        each = min(EPOCHS, epochs // count)
        recipe = replace(recipe, method=CALM(count=count, epochs=each))
        left -= count * each * an_epoch
    fewest, most = ITERATIONS
    return replace(recipe, iterations=max(fewest, min(most, int(left / clock.gain / clock.iteration(recipe)))))
