"""A recipe for the time there is: our own method, with the pool and the iterations that fit into it on this machine."""

from dataclasses import replace

from datadam import nets
from datadam.arithmetic import fast_precision
from datadam.data import RealData
from datadam.distillation.forecast import forecast, passes_a_second, passes_of
from datadam.distillation.presets.calm import calm, fitting
from datadam.distillation.presets.dm import dm
from datadam.distillation.recipe import Recipe
from datadam.errors import InvalidInput
from datadam.machine import can_compile, settle_device
from datadam.methods import CALM
from datadam.methods.cost import compiled_gain
from datadam.training.needs import MEASURED, PASSES

LEAST = 60.0  # seconds below which there is no budget to share out
ASIDE = 0.08  # of the time, for what is neither pool nor iteration: reading, the first images, the pictures
COMPILING = 40.0  # seconds, for pool and iterations together, about
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


def within(real: RealData, ipc: int, seconds: float, *, net: str = "auto", decoder: str = "", device: str = "auto") -> Recipe:
    """The recipe that this machine does in about so many seconds.

    Arguments: `real`, the data; `ipc` (IPC); `seconds` of the whole run, pool included; `net`, the matching network ("auto": the
    usual one of the data, or a narrower one where that leaves no time for a good pool); `decoder` ("": what the preset calm
    takes); `device` ("auto": a graphics card if there is one).
    Without the time for one epoch over the real images it is DM on random networks, with the same decoder.
    """
    device, usual = settle_device(device), nets.canonical(net, real.shape)
    narrower = [nets.canonical(f"{usual}:width={width}", real.shape) for width in WIDTHS] if net == "auto" else []
    decoder = decoder or fitting(real, ipc)
    an_epoch = PASSES * 0.8 * len(real.train) + 12 * MEASURED / compiled_gain(fast_precision(device))
    for net in (usual, *narrower):
        recipe = calm(real, ipc).change({"net": net, "decoder": decoder})
        speed = _speed(real, recipe, device)
        left = speed * ((1 - ASIDE) * seconds - (COMPILING if can_compile(device) else 0.0))
        epochs = int(POOL * left / an_epoch)
        if epochs >= ENOUGH:
            break
    if epochs < 1:
        recipe = replace(
            dm(real, ipc), decoder=decoder, net=net, lr_images=recipe.lr_images / 2, batch_real=32, precision="auto",
            batch_synthetic=recipe.batch_synthetic,
        )  # fmt: skip
    else:
        count = next((number for most, number in NETWORKS if epochs <= most), FULL)
        each = min(EPOCHS, epochs // count)
        recipe = replace(recipe, method=CALM(count=count, epochs=each))
        left -= count * each * an_epoch
    drawn = [min(recipe.batch_real, len(members)) for members in real.by_class]
    fewest, most = ITERATIONS
    return replace(recipe, iterations=max(fewest, min(most, int(left / passes_of(recipe, drawn)))))


def _speed(real: RealData, recipe: Recipe, device: str) -> float:
    """Forward passes of one image a second, as compiled code does them in the format that is fast here."""
    told = forecast(real, recipe, device=device)
    width, gain = 4, compiled_gain(fast_precision(device)) if can_compile(device) else 1.0
    rate = told.rate or passes_a_second(recipe.net, real.shape, min(told.plan.chunk, 64), device, width)
    return rate * gain
