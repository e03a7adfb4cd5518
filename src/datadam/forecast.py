"""What a run will cost, told before it starts, and the plan that adapts it to the machine."""

from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from datadam import machine, nets
from datadam.data import RealData
from datadam.errors import NotEnoughMemory
from datadam.machine import can_compile
from datadam.matching import Plan
from datadam.methods import Coreset, FeatureMatching
from datadam.recipe import Recipe

COMPILING_PAYS = 12e12  # floating-point operations of a whole run above which compiling is worth its half minute
REAL_COPIES, SYNTHETIC_COPIES = 4, 5  # how many maps of a block are alive at once: without gradient, and with
ZCA_COPIES = 3  # mean and two matrices [D, D], or what fitting them takes beside
FLOOR = 500_000_000  # bytes: interpreter, torch, compiled code


@dataclass(frozen=True)
class Forecast:
    """`flops` of an iteration, `bytes` of memory at the peak, the `plan`, and `notes` that a user must be told aloud."""

    flops: float
    bytes: int
    plan: Plan
    notes: tuple[str, ...]


def forecast(real: RealData, recipe: Recipe, *, device: str = "cpu", memory_limit: int | None = None) -> Forecast:
    """Cost of a run, and its plan.

    Arguments: `recipe` with a canonical net; `memory_limit` in bytes (None: what this machine has free; a GPU is not checked).
    Raises `NotEnoughMemory` when the run needs more, saying what would help; `InvalidInput` when the net does not fit the images.
    """
    network = nets.build(recipe.net, shape=real.shape, classes=len(real.classes))
    image = torch.zeros(1, *real.shape)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        features = network.eval().features(image)
        if isinstance(recipe.method, FeatureMatching):
            recipe.method.descriptors(features)  # refuses layers that the network has not
    width = 8 if recipe.precision == "float64" else 4
    blocks = [block.numel() * width for block in features.blocks] or [features.embedding.numel() * width]
    counts = [min(recipe.batch_real, len(members)) for members in real.by_class]
    chunk = machine.images_at_once(real.shape)
    classes = len(real.classes)
    needed = FLOOR + 4 * width * classes * recipe.ipc * image.numel()  # images, start, momentum, gradient
    if recipe.zca != "none" or real.transform.zca is not None:
        needed += ZCA_COPIES * 4 * image.numel() ** 2
    learns = not isinstance(recipe.method, Coreset)
    coupled = learns and network.couples_images
    if coupled:
        real_images, synthetic_images = sum(counts), classes * recipe.ipc
    else:
        real_images = min(sum(counts), chunk)
        synthetic_images = min(classes * recipe.ipc, max(chunk, recipe.ipc))
    if learns:
        needed += REAL_COPIES * real_images * max(blocks) + SYNTHETIC_COPIES * synthetic_images * sum(blocks)
    notes = [remark] if (remark := recipe.method.remark(features)) else []
    if coupled:
        notes.append(
            f"{recipe.net} couples the images of a batch (batch norm), so all {real_images} real images of an iteration go "
            f"through it together: about {needed / 1e9:.1f} GB of memory"
        )
    limit = machine.available_memory() if memory_limit is None else memory_limit
    if device == "cpu" and needed > limit:
        cure = "use instance norm (norm=instance)" if coupled else "lower ipc"
        raise NotEnoughMemory(
            f"this run needs about {needed / 1e9:.3g} GB of memory and may take {limit / 1e9:.3g} GB; "
            f"{cure}, lower --batch-real (now {recipe.batch_real}), take a narrower net, or raise --memory-limit"
        )
    flops = counter.get_total_flops() * (sum(counts) + 3 * classes * recipe.ipc)
    uniform = len(set(counts)) == 1  # each new batch size would be compiled again
    pays = isinstance(recipe.method, FeatureMatching) and uniform and flops * recipe.iterations > COMPILING_PAYS
    plan = Plan(compiled=pays and can_compile(), chunk=chunk, threads=torch.get_num_threads())
    if pays and not plan.compiled:
        notes.append("no C++ compiler found: running uncompiled, two to three times slower")
    return Forecast(flops, int(needed), plan, tuple(notes))
