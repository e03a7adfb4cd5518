"""What a run will cost, told before it starts, and the plan that adapts it to the machine."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import torch

from datadam import machine, nets
from datadam.arithmetic import fast_precision, remark_on
from datadam.data import RealData
from datadam.distillation.made_first import recipe_of_start
from datadam.distillation.recipe import Recipe
from datadam.errors import InvalidInput, NotEnoughMemory
from datadam.machine import can_compile
from datadam.methods.cost import Size, compiled_gain
from datadam.methods.plan import Plan
from datadam.training import needs, trainer
from datadam.training.pool import RANDOM
from datadam.training.students import WORKER_BYTES

COMPILING_PAYS = 12e12  # floating-point operations of a whole run above which compiling is worth its half minute
COMPILING = 30.0  # seconds that compiling takes, about
GPU_WORK = 80  # times as much that must be on a GPU, which does so much more in that time; an estimate
MAP_WORK = 1500  # operations that take as long as normalising, pooling and matching one number of a map does, uncompiled
SECONDS_MATTER = 2e12  # floating-point operations of a whole run above which its time is worth measuring
PROBE, PROBED = 0.2, 64  # seconds that measuring takes, about, and images a forward pass
KEEPING_PAYS = 2  # times that a run draws an image, on average, above which whitening all of them first pays
KEPT_SHARE, KEPT_LIMIT = 0.25, 8_000_000_000  # of free memory that they may take; on a CPU at most a share of so many bytes
ZCA_COPIES, FIT_COPIES = 3, 5  # of a matrix [D, D] in float32: while whitening, and while that is fitted (measured)
SENT = 2  # times that what is sent to workers is held beside: where it is used, and on its way
MAPPED_ABOVE = 8  # data larger than this part of a limit that was asked for stay on disk
ENDLESS = 1 << 62  # bytes: no limit
FLOOR = 500_000_000  # bytes: interpreter, torch, compiled code


@dataclass(frozen=True)
class Forecast:
    """`flops` of an iteration, `bytes` of memory at the peak, the `plan`, the `precision` ("auto" resolved), `notes` that a user
    must be told aloud, and about how many `seconds` the whole run takes here, compiling among it (0.0 for moments), of them
    `before` its first iteration; `whole`, bytes with the data and what is given back before the run begins; `a_pass`, operations
    of a forward pass of one image, and `rate`, such passes a second (0.0: not measured)."""

    flops: float
    bytes: int
    plan: Plan
    precision: str
    notes: tuple[str, ...]
    seconds: float
    before: float = 0.0
    whole: int = 0
    a_pass: float = 0.0
    rate: float = 0.0


def forecast(
    real: RealData, recipe: Recipe, *, device: str = "cpu", memory_limit: int | None = None, workers: int = 0
) -> Forecast:
    """Cost of a run, and its plan.

    Arguments: `recipe` with a canonical net; `memory_limit` in bytes (None: what the device has free); `workers`, processes of
    this machine that share the classes out among them and count as well (0: this process computes).
    Raises `NotEnoughMemory` when the run needs more, saying what would help; `InvalidInput` when the net does not fit the images.
    """
    network = nets.sizes(recipe.net, shape=real.shape, classes=len(real.classes))
    features, method, numbers = network.features, recipe.method, math.prod(real.shape)
    remark = method.remark(features)  # refuses layers that the network has not
    couples = network.couples_images and method.needs_network
    drawn = tuple(min(recipe.batch_real, len(members)) for members in real.by_class)
    a_pass, on_gpu = network.flops_of_features, torch.device(device).type == "cuda"
    size = replace(size_of(recipe, drawn, couples=couples, device=device), shape=real.shape)
    cost = method.cost(size)
    passes, operations = cost.passes, cost.operations
    flops = a_pass * passes + operations
    work = flops + MAP_WORK * passes * sum(block.numel() for block in features.blocks)
    uniform = len(set(drawn)) == 1  # each new batch size would be compiled again
    ours = not nets.card_of(recipe.net)  # code of others may do what a compiler does not know
    wanted = ours and (method.compiles or (method.streams and uniform))
    sizes = max(1, len(recipe.ladder))  # for each of which code is compiled
    pays = wanted and work * recipe.iterations > COMPILING_PAYS * sizes * (GPU_WORK if on_gpu else 1)
    compiled = pays and can_compile(device)
    precision = recipe.precision
    if precision == "auto":
        counts = compiled or method.samples or not (method.streams or method.at_once or method.real_gradient)
        precision = fast_precision(device) if counts and not method.real_gradient else "float32"
    width = 8 if precision == "float64" else 4
    blocks = tuple(block.numel() * width for block in features.blocks) or (features.embedding.numel() * width,)
    real_map, together = max(blocks) // (2 if precision == "bfloat16" else 1), machine.images_at_once(real.shape, device)
    chunk = machine.chunk_for(real_map, device) if method.streams and not couples else together
    size = replace(
        size, blocks=blocks, embedding=features.embedding.numel() * width, chunk=chunk,
        weights=network.weights, members=tuple(map(len, real.by_class)),
        at_once=machine.images_at_once(real.shape), image=width * numbers,
    )  # fmt: skip
    cost = method.cost(size)
    needed: float = FLOOR + 4 * width * len(drawn) * recipe.ipc * numbers  # images, start, momentum, gradient
    needed += in_memory(real) if memory_limit is not None else 0  # what is free does not hold them any more
    alone = needed  # of a process that computes nothing
    matrix = 4 * numbers**2 if recipe.zca != "none" or real.transform.zca is not None else 0
    fitting = needed + FIT_COPIES * matrix  # comes first, and gives back what it took
    needed += ZCA_COPIES * matrix + cost.bytes
    if workers:
        needed = alone + beside(workers, needed - alone, alone - FLOOR + (in_memory(real) if memory_limit is None else 0))
    notes = [told for told in (remark, remark_on(precision, device)) if told]
    if couples and method.streams:
        notes.append(
            f"{recipe.net} couples the images of a batch (batch norm), so all {sum(drawn)} real images of an iteration go "
            f"through it together: about {needed / 1e9:.1f} GB of memory"
        )
    needed = max(needed, fitting if memory_limit is not None else 0)
    limit = machine.available_memory(device) if memory_limit is None else memory_limit
    kept = ""
    if method.draws_real and not method.at_once and precision != "float64":
        kept = kept_form(
            real, recipe.zca != "none", precision, device, -(-recipe.iterations // recipe.real_every) * sum(drawn), limit - needed
        )
    needed += kept_bytes(real, kept, device) if kept else 0
    whole = needed if memory_limit is not None else max(needed, fitting) + in_memory(real)
    if needed > limit:
        first = cost.cure or ("use instance norm (norm=instance)" if couples and method.streams else "")
        cures = [first, *lighter(recipe, size), f"use fewer --workers (now {workers})" if workers else ""]
        another = f"raise --memory-limit ({smallest_limit(int(whole), real, 1 + SENT * bool(workers))} is the smallest that does)"
        if on_gpu and memory_limit is None:
            another = "another --device"
        raise NotEnoughMemory(
            f"this run needs about {needed / 1e9:.3g} GB of memory and may take {limit / 1e9:.3g} GB; "
            f"{', '.join(filter(None, cures)) or 'lower ipc'}, or {another}"
        )
    plan = Plan(compiled=compiled, chunk=chunk, threads=torch.get_num_threads(), kept=kept)
    if pays and not compiled:
        missing = "Triton or C" if on_gpu else "C++"
        notes.append(f"no {missing} compiler found: running uncompiled, two to three times slower")
    seconds = before = rate = 0.0
    gain = compiled_gain(precision) if plan.compiled else 1.0
    at_first = (cost.before + cost.operations_before / a_pass) / gain
    if recipe.networks == RANDOM:
        at_first += passes_before(method.needs, len(real.train), precision, device)
    in_all = at_first + recipe.iterations * (passes + operations / a_pass) / gain
    if a_pass * in_all * gain > SECONDS_MATTER:
        rate = passes_a_second(recipe.net, real.shape, min(chunk, PROBED * (machine.GPU_MORE if on_gpu else 1)), device, width)
        seconds, before = in_all / rate + COMPILING * sizes * plan.compiled, at_first / rate
    if start := recipe_of_start(real, replace(recipe, precision=precision)):
        told = forecast(real, start, device=device, memory_limit=memory_limit)
        seconds, before = seconds + told.seconds, before + told.seconds
        needed, whole = max(needed, told.bytes), max(whole, told.whole)
    return Forecast(flops, int(needed), plan, precision, tuple(notes), seconds, before, int(whole), a_pass, rate)


def passes_before(first: needs.Needs, images: int, precision: str, device: str) -> float:
    """Forward passes of one image that training networks first counts, when nothing of it is kept; those of compiled code count
    for less."""
    training, passes = first.training, needs.cost(first, images)
    if training and trainer.pays(training.epochs * -(-images // training.batch), training.batch) and can_compile(device):
        passes /= compiled_gain(precision if precision == "bfloat16" else "float32")
    return passes


def lighter(recipe: Recipe, size: Size) -> list[str]:
    """What of a run of this size takes less memory when it is made smaller: that of its method, and no other."""
    method, smaller = recipe.method, {}
    smaller["lower ipc"] = replace(size, synthetic=(recipe.each,) * len(size.synthetic))
    if not method.at_once:
        smaller[f"lower --batch-real (now {recipe.batch_real})"] = replace(size, real=(1,) * len(size.real))
    thin = replace(size, blocks=tuple(-(-block // 4) for block in size.blocks), embedding=size.embedding // 4)
    smaller["take a narrower net"] = replace(thin, weights=size.weights // 4)
    needed = method.cost(size).bytes
    return [words for words, other in smaller.items() if method.cost(other).bytes < needed]


def seconds_of_training(real: RealData, net: str, epochs: float, device: str = "cpu") -> float:
    """About how long so many epochs over the training images take here, uncompiled; 0.0 for moments."""
    passes = needs.PASSES * epochs * len(real.train)
    if nets.sizes(net, shape=real.shape, classes=len(real.classes)).flops_of_features * passes <= SECONDS_MATTER:
        return 0.0
    return passes / passes_a_second(net, real.shape, PROBED, device, 4)


def size_of(recipe: Recipe, drawn: tuple[int, ...], *, couples: bool = False, device: str = "cpu") -> Size:
    """The size of a run that draws so many real images of each class, as far as its recipe alone says it."""
    synthetic = (recipe.ipc * recipe.each,) * len(drawn)
    trained = recipe.on_the_way.images(sum(synthetic), recipe.iterations_per_network)
    trains = bool(recipe.on_the_way)
    return Size(
        real=drawn, synthetic=synthetic, part=recipe.batch_synthetic, trained=trained, trains=trains, couples=couples,
        device=device, every=recipe.real_every,
    )  # fmt: skip


def passes_of(recipe: Recipe, drawn: Sequence[int]) -> float:
    """Forward passes of one image that an iteration counts which draws so many real images of each class."""
    return recipe.method.cost(size_of(recipe, tuple(drawn))).passes


def foretold_memory(real: RealData, recipe: Recipe, kept: str, device: str) -> int:
    """Bytes at the peak of a run that has begun, whatever is free by now; `kept`, the form in which it keeps images ready."""
    told = forecast(real, recipe, device=device, memory_limit=ENDLESS)
    return told.whole + sum(sign * kept_bytes(real, form, device) for sign, form in ((1, kept), (-1, told.plan.kept)) if form)


def beside(workers: int, computing: float, held: float) -> float:
    """Bytes of worker processes beside the one that started them; as many are `computing` in each.

    What that one has `held` they hold once more between them, and it is held once more on its way.
    """
    return workers * (FLOOR + computing) + SENT * held


def students_within(workers: int | None, real: RealData, memory_limit: int | None) -> int | None:
    """How many processes may train students at once under a limit of memory (None: as many as pay).

    Raises `InvalidInput` when more are asked for than it holds.
    """
    if memory_limit is None:
        return workers
    alone, each = FLOOR + in_memory(real), WORKER_BYTES + real.test.pixels.nbytes
    most = max(1, (memory_limit - alone) // each)
    if workers is None:
        return None if most >= torch.get_num_threads() else most
    if 1 < workers > most:
        needed = alone + workers * each
        raise InvalidInput(
            f"{workers} workers, each of which trains a student, need about {needed / 1e9:.3g} GB of memory and may take "
            f"{memory_limit / 1e9:.3g} GB; use fewer --workers ({most} at most), or raise --memory-limit "
            f"({smallest_limit(needed, real)} is the smallest that does)"
        )
    return workers


def in_memory(real: RealData) -> int:
    """Bytes of the pixels that lie in memory; those of a map on disk do not."""
    return sum(part.pixels.nbytes for part in (real.train, real.test) if getattr(part.pixels, "_mmap", None) is None)


def smallest_limit(needed: int, real: RealData, copies: int = 1) -> str:
    """The limit of a run that needs so many bytes, in words: under it, mapped data may be small enough to be read into memory,
    where so many `copies` of them are held."""
    mapped = real.train.pixels.nbytes + real.test.pixels.nbytes - in_memory(real)
    if mapped * MAPPED_ABOVE <= needed + copies * mapped:
        needed += copies * mapped
    return f"{-(-needed // 1_000_000)}MB"


def kept_form(real: RealData, whitens: bool, precision: str, device: str, drawn: int, free: float) -> str:
    """In which form all training images are kept ready: "" where that does not pay, or takes too much of the `free` bytes.

    A CPU reads bytes from memory faster than it whitens them; a GPU is far from the memory. Arguments: `whitens`, whether the
    recipe asks for ZCA; `drawn`, images that the whole run draws.
    """
    whitens = whitens or real.transform.zca is not None
    cpu = torch.device(device).type == "cpu"
    if cpu and (not whitens or drawn < KEEPING_PAYS * len(real.train)):
        return ""
    form = ("float16" if precision == "bfloat16" else "float32") if whitens else "uint8"  # float16 has three bits more
    room = min(free, KEPT_LIMIT) if cpu else free
    size = len(real.train) * math.prod(real.shape) * getattr(torch, form).itemsize
    return form if size <= KEPT_SHARE * room else ""


def kept_bytes(real: RealData, form: str, device: str) -> int:
    """Bytes of memory that all training images take in that form; beside a CPU they lie in a file."""
    on_gpu = torch.device(device).type == "cuda"
    return len(real.train) * math.prod(real.shape) * getattr(torch, form).itemsize if on_gpu else 0


@cache
@torch.no_grad()
def passes_a_second(net: str, shape: tuple[int, int, int], count: int, device: str, width: int) -> float:
    """Forward passes of one image [C, H, W] a second, `count` at a time in numbers of `width` bytes.

    Measured for a moment and kept for the process: about, since other work shares the machine.
    """
    network = nets.build(net, shape=shape, classes=2).to(device, torch.float64 if width == 8 else torch.float32)
    images = torch.zeros(count, *shape).to(next(network.parameters()))

    def seconds(repeats: int) -> float:
        began = time.monotonic()
        for _ in range(repeats):
            network.features(images)
        if images.is_cuda:
            torch.cuda.synchronize(images.device)
        return time.monotonic() - began

    seconds(1)  # the first call allocates
    repeats, spent = 1, seconds(1)
    while spent < PROBE / 4:
        repeats *= 4
        spent = seconds(repeats)
    return len(images) * repeats / spent
