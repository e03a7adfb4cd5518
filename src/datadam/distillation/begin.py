"""Begin a run, go on with one, or make one from start to end."""

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from datadam import machine, nets
from datadam.data import RealData, fit_zca
from datadam.data.field import Normalisation
from datadam.data.given import real_data
from datadam.data.real import require_members
from datadam.distillation.checkpoint import Checkpoint, RunState, check_folder, clear_folder
from datadam.distillation.forecast import Forecast, forecast
from datadam.distillation.loop import Distillation, supply_of
from datadam.distillation.made_first import folder_of_start, made_start, recipe_of_start
from datadam.distillation.optimisers import require_learnable
from datadam.distillation.presets import preset, remarks
from datadam.distillation.recipe import Recipe
from datadam.distillation.recorder import Folder, Nowhere
from datadam.distillation.run import Run, spread_of
from datadam.distillation.setup import Frame
from datadam.distillation.shards.fit import require_separable
from datadam.distillation.shards.run import Sharded, records_of
from datadam.distillation.start import ASKING, MADE_FIRST, check_earlier, check_ipc, encoded, first_images, sampled
from datadam.errors import InvalidInput
from datadam.files.lock import alone_in
from datadam.files.whole import require_writable
from datadam.methods.plan import Plan
from datadam.parallel.spread import Spread, require_limit
from datadam.progress import Asked, shown
from datadam.sets.decoders import decoder_named
from datadam.sets.distilled import DistilledSet
from datadam.sets.synthetic import SyntheticSet
from datadam.settings import finite
from datadam.training.experts import Experts
from datadam.training.generators import Workshop
from datadam.training.insight import Insight, Progress
from datadam.training.needs import trained_seconds
from datadam.training.pool import RANDOM

OFFICIAL_EVERY = 2000  # iterations after which the released code judges


def begin(
    real: RealData,
    recipe: Recipe,
    *,
    out: Path | str | None = None,
    overwrite: bool = False,
    device: str = "auto",
    plan: Plan | None = None,
    earlier: Tensor | None = None,
    earlier_seconds: float = 0.0,
    snapshots: tuple[int, ...] | None = None,
    memory_limit: int | None = None,
    note: str = "",
    command: str = "",
    progress: Progress | None = None,
    spread: Spread | None = None,
) -> Run:
    """A new run, refused before any work when the recipe cannot run on the data.

    Arguments: `real`, the data, normalised and whitened here as the recipe asks; `recipe`; `out`, the run folder (None: nothing
    is kept on disk), `overwrite` an earlier run in it; `device` ("auto": a graphics card if there is one); `plan`, what adapts to
    the machine (None: decided here);
    `earlier`, stored images [K*n, C, H, W] of another run with the same decoder to start from, and `earlier_seconds`, what
    making them took, which counts as this run's work too; `snapshots`, iterations after which the images are kept (None: the
    quarters); `memory_limit` in bytes, for this process and its workers on this machine together; `note` and `command`, words
    for the card; `progress(what, done, total)`, called while networks are trained that the method needs first; `spread`, over
    which workers the classes go (None: this process). Raises `InvalidInput`, `NotEnoughMemory`.
    """
    if not finite(earlier_seconds) or earlier_seconds < 0 or (earlier_seconds and earlier is None):
        raise InvalidInput(f"earlier_seconds is {earlier_seconds!r}; it must be a number >= 0, and go with `earlier`")
    recipe = replace(recipe, net=nets.canonical(recipe.net, real.shape))
    device = machine.settle_device(device, spread.engine.gpus if spread and spread.engine else None)
    if spread:
        if nets.card_of(recipe.net):
            raise InvalidInput(f"{recipe.net} is known in this process alone; leave out workers and shards, which are others")
        require_separable(recipe, real)
        require_limit(spread.engine, memory_limit)
    if out is not None:
        check_folder(Path(out), overwrite=overwrite)
    places = spread.settle(len(real.classes)) if spread else None
    here = places.workers if places and places.engine is None else 0  # processes of this machine
    with machine.threads(places.threads) if places else nullcontext():  # those of each worker
        foreseen = check(real, recipe, device=device, memory_limit=memory_limit, earlier=earlier, workers=here)
    recipe, real = replace(recipe, precision=foreseen.precision), prepared(real, recipe)
    trains = recipe.networks == RANDOM and recipe.method.needs.networks not in ("random", "none")
    if out is not None and (trains or recipe.start in MADE_FIRST):
        require_writable(Path(out))  # before a training of minutes, and not after
    if earlier is None and (made := _made_first(real, recipe, device, memory_limit, progress)):
        earlier, earlier_seconds = made.images, made.card["seconds"]
    supply = supply_of(real, recipe, device, progress)
    if supply.bucket:  # the card says which networks, and a resumed run draws the same
        recipe = replace(recipe, networks=supply.bucket.spec)
    if isinstance(supply.given, Experts):
        recipe = replace(recipe, networks=supply.given.spec)
    if snapshots is None and recipe.protocol == "official":
        snapshots = tuple(range(0, recipe.iterations + 1, OFFICIAL_EVERY))
    quarters = {round(recipe.iterations * share / 4) for share in range(1, 5)}
    frame = Frame(real, recipe, note, command, tuple(sorted(quarters if snapshots is None else snapshots)), earlier_seconds)
    dtype = torch.float64 if recipe.precision == "float64" else torch.float32
    decoder, seconds = decoder_named(recipe.decoder), 0.0
    facts: dict[str, Any] = {}
    began = time.monotonic()
    if isinstance(insight := supply.given, Insight):
        chosen = recipe.method.choose(insight, recipe.ipc * decoder.each)
        assert chosen is not None
        start = encoded(real, torch.cat(chosen), decoder).to(dtype)
        seconds = time.monotonic() - began + insight.past  # choosing is all its work, also where an earlier run had trained
        facts = {"behind": [one._asdict() for one in insight.met]} if insight.met else {}
    elif isinstance(workshop := supply.given, Workshop):
        start = sampled(workshop, recipe, decoder).to(dtype)
        seconds = time.monotonic() - began + workshop.past
        facts = {"behind": [one._asdict() for one in workshop.met], "networks": workshop.sizes}
    else:
        trained = []
        if recipe.start in ASKING and supply.bucket:
            trained = [network.eval() for network in supply.bucket.networks(supply.bucket.ends)]
        if recipe.start in ASKING and isinstance(supply.given, Experts):
            trained = list(supply.given.finished())
        start = first_images(real, recipe.ipc, recipe.start, recipe.seed, decoder=decoder, earlier=earlier, trained=trained).to(
            dtype
        )
        if recipe.zca == "official" and earlier is None:  # the released code whitens the first images once more, by themselves
            start = fit_zca(start).apply(start)
        seconds = earlier_seconds
        if recipe.method.needs.training:  # what it needs is its work, also where an earlier run had made it
            seconds += (trained_seconds(supply.given) or 0.0) + time.monotonic() - began
    peak = machine.peak_memory_mb() if seconds else 0.0
    checkpoint = Checkpoint(Path(out)) if out is not None else None
    first = start if checkpoint else start.clone()  # which is kept on disk: a thousand classes of images are held once
    synthetic = SyntheticSet({"images": first}, real.classes, recipe.counts(real), decoder)
    learned = {name: value.to(dtype) for name, value in recipe.method.start_values(synthetic, supply.given).items()}
    require_learnable(recipe, synthetic.tensors | learned)
    state = RunState(synthetic.tensors | learned, seconds=seconds, peak_mb=peak)
    parts = (frame, plan or foreseen.plan, spread_of(start), state, torch.device(device))
    recorder = Folder(checkpoint) if checkpoint else Nowhere(start)
    run: Run = Sharded(*parts, recorder, places, supply) if places else Distillation(*parts, recorder, supply)
    run.facts |= facts
    run.remarks = (*foreseen.notes, *remarks(recipe))
    run.expected = (foreseen.seconds - foreseen.before) / (places.workers if places else 1)
    if checkpoint:
        clear_folder(checkpoint.out)
        checkpoint.begin(frame, state.tensors)
        run.save()
        checkpoint.seal(frame, device)
    return run


def _made_first(
    real: RealData, recipe: Recipe, device: str, memory_limit: int | None, progress: Progress | None
) -> DistilledSet | None:  # fmt: skip
    """The set that a start names which is made first; None for every other start."""
    if (first := recipe_of_start(real, recipe)) is None:
        return None
    folder, word = folder_of_start(real, first, device), f"the start of {recipe.preset or recipe.method.name}"
    return made_start(
        folder,
        lambda: begin(
            real, first, out=folder, overwrite=True, device=device, snapshots=(), memory_limit=memory_limit, note=word,
            progress=progress,
        ),
        lambda: resume(folder, real, device=device),
        progress,
    )  # fmt: skip


def check(
    real: RealData, recipe: Recipe, *, device: str = "cpu", memory_limit: int | None = None, earlier: Tensor | None = None,
    workers: int = 0,
) -> Forecast:  # fmt: skip
    """Refuse a run that cannot be made, and do no work; else say what it will cost. The recipe's net is canonical.

    Arguments as `begin`; `workers`, processes of this machine beside this one. Raises `InvalidInput`, `NotEnoughMemory`.
    """
    _check_start(real, recipe, earlier)
    if earlier is not None:
        recipe = replace(recipe, start="real")  # nothing is made first
    return forecast(real, recipe, device=device, memory_limit=memory_limit, workers=workers)


def _check_start(real: RealData, recipe: Recipe, earlier: Tensor | None) -> None:
    """Raise `InvalidInput` unless the data can give the first images."""
    if recipe.method.samples and earlier is not None:
        raise InvalidInput(f"{recipe.method.name} samples a generator; it cannot start from images of an earlier run")
    if recipe.method.samples:
        decoder_named(recipe.decoder).require_fit(real.shape)
    elif recipe.method.chooses:
        decoder_named(recipe.decoder).require_fit(real.shape)
        require_members(real, recipe.ipc, recipe.each)
        if earlier is not None:
            raise InvalidInput(f"{recipe.method.name} chooses real images; it cannot start from those of an earlier run")
    elif earlier is not None:
        check_earlier(real, recipe.ipc, earlier, decoder_named(recipe.decoder))
    else:
        check_ipc(real, recipe.ipc, recipe.start, decoder_named(recipe.decoder))


def resume(out: Path | str, real: RealData, *, device: str | None = None, spread: Spread | None = None) -> Run:
    """Continue a run where its last checkpoint stands.

    Arguments: `out`, the run folder; `real`, the same data as then (its normalisation and whitening are those of the run);
    `device` (None: where the run began); `spread`, over which workers the classes go, however it was before (None: this process,
    or one other where shards were left at different iterations). Raises `ArtifactError`, `InvalidInput`.
    """
    checkpoint = Checkpoint(Path(out))
    records = records_of(checkpoint, len(real.classes))
    frame, start, state, plan = checkpoint.read(real, reached=records.reached() if records else 0)
    gpus = spread.engine.gpus if spread and spread.engine else None
    place = torch.device(machine.settle_device(device or checkpoint.card()["device"], gpus))
    remarks: tuple[str, ...] = ()
    if plan.compiled and spread is None and not machine.can_compile(str(place)):
        plan = replace(plan, compiled=False)
        remarks = ("the run began compiled and no compiler works here: it goes on uncompiled, slower, and rounds otherwise",)
    parts = (frame, plan, spread_of(start), state, place, Folder(checkpoint))
    run: Run
    if spread is None and not records:
        records.clear()
        run = Distillation(*parts)
        run.kept = checkpoint.state.exists()  # written again, it would push out the one before
    else:
        require_separable(frame.recipe, real)
        run = Sharded(*parts, (spread or Spread(workers=1)).settle(len(real.classes)))
        run.recall(checkpoint)
    run.remarks += ((checkpoint.remark,) if checkpoint.remark else ()) + remarks
    return run


def prepared(real: RealData, recipe: Recipe) -> RealData:
    """The data in the network space that a recipe asks for. Raises `InvalidInput` where they are in another by hand."""
    return whitened(real.with_normalisation(cast(Normalisation, recipe.normalisation)), recipe.zca)


def whitened(real: RealData, zca: str) -> RealData:
    """The data as a recipe's `zca` ("none", "kornia", "official") wants them. Raises `InvalidInput` for another whitening."""
    is_now = real.transform.zca.variant if real.transform.zca else "none"
    if zca == is_now or (zca == "none" and is_now != "none"):  # data whitened by hand stay so: the card says it
        return real
    if is_now != "none":
        raise InvalidInput(f"the recipe asks for ZCA {zca!r} but the data are whitened by {is_now!r}; load them without zca")
    return real.with_zca("kornia" if zca == "kornia" else "official")


def distill(
    real: Any,
    recipe: Recipe | str,
    *,
    ipc: int | None = None,
    net: str | Callable[..., nn.Module] | None = None,
    time_limit: float | None = None,
    progress: Asked = None,
    **options: Any,
) -> DistilledSet:
    """Distil `real` by `recipe`, start to end.

    Arguments: `real`, the data, or what `load` reads (a name, a path, a torch data set, arrays); `recipe`, or the name of a
    preset or method with `ipc`, images per class; `net`, another matching network than the recipe's: a word, or what makes an
    `nn.Module` (see `nets.own`); `time_limit` in seconds; `progress`: None, a bar in a terminal or a notebook; False, nothing; or
    called with (what, done, total); `options` as `begin`. Returns the distilled set; with `out`, its run folder is complete on
    disk.
    """
    real = real_data(real, of="distill(real, recipe)")
    recipe = _recipe(recipe, real, ipc)
    if net is not None:
        recipe = replace(recipe, net=nets.spelled(net, shape=real.shape, classes=len(real.classes)))
    name, out = recipe.method.name, options.get("out")
    with alone_in(Path(out), options.get("command", "")) if out is not None else nullcontext(""):
        with shown(progress, name) as advance:
            run = begin(real, recipe, progress=advance, **options)
        with shown(progress, name, run.expected) as advance:
            for step in run.steps(time_limit):
                advance(f"{name}  loss {step.loss:.4g}  moved {step.moved:.3f}", step.iteration, step.iterations)
        return run.result()


def _recipe(given: Any, real: RealData, ipc: int | None) -> Recipe:
    """The recipe that is meant. Raises `InvalidInput`, `UnknownName`."""
    if isinstance(given, Recipe):
        if ipc not in (None, given.ipc):
            raise InvalidInput(f"ipc is {ipc}, and the recipe says {given.ipc}; leave it out, or make the recipe for it")
        return given
    example = 'distill(real, "datadam", ipc=10), or distill(real, datadam.preset("datadam", real, ipc=10))'
    if not isinstance(given, str):
        raise InvalidInput(f"recipe is a {type(given).__name__}; give a recipe or the name of one: {example}")
    if ipc is None:
        raise InvalidInput(f"recipe is {given!r}, and how many images per class is not said; write {example}")
    return preset(given, real, ipc=ipc)
