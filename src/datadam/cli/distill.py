"""`datadam distill`: make a distilled set, or go on with one."""

import contextlib
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from datadam.cli import STARTED
from datadam.cli.earlier import earlier_set, seconds_of_start
from datadam.cli.options import AS_SAID, Device, Json, Normalised, Note, Reading, TakeOver
from datadam.cli.workers import FINISHING, MANY, Address, Engine, Gpus

if TYPE_CHECKING:
    from torch import Tensor

    from datadam.data import RealData
    from datadam.distillation.recipe import Recipe
    from datadam.distillation.run import Run
    from datadam.distillation.tensorboard import Board
    from datadam.parallel.spread import Spread
    from datadam.sets.distilled import DistilledSet
    from datadam.training.insight import Progress

Events = str | bool | None  # the folder for TensorBoard's events, or whether they go into the run's
Made = list[tuple[Path, "DistilledSet"]]  # run folders and what came of them
LONG = 1800.0  # seconds above which a person is asked before a run begins
TELL = 60.0  # seconds above which a run's time is told before it starts


def distill(
    data: Annotated[
        str | None, Parameter(help="a named set (datadam list data), a folder of images, .npz, .parquet, hf:owner/name")
    ] = None,
    *,
    ipc: Annotated[int | None, Parameter(help="images per class to make")] = None,
    method: Annotated[str | None, Parameter(help="datadam list methods; its usual preset is taken")] = None,
    preset: Annotated[str | None, Parameter(help="complete published settings: datadam list presets")] = None,
    budget: Annotated[
        str | None, Parameter(help="the time there is, such as 5min or 2h: our own method, in settings that fit into it here")
    ] = None,
    set_: Annotated[
        list[str] | None, Parameter(name="--set", help="any setting, such as power=2 (datadam show PRESET)", negative="")
    ] = None,
    iterations: Annotated[int | None, Parameter(help="steps of the images")] = None,
    batch_real: Annotated[int | None, Parameter(help="real images per class and iteration")] = None,
    net: Annotated[str | None, Parameter(help="matching network: auto, convnet3, convnet3:norm=batch:width=64, ...")] = None,
    start: Annotated[
        str | None,
        Parameter(help="first images: real, sure (calm), kcenter, kmeans, noise, calm-quick (made first), or a RUN's folder"),
    ] = None,
    nested: Annotated[
        bool, Parameter(help="the first 1, 2, 5, 10, ... images of each class are to be good sets by themselves", negative="")
    ] = False,
    seed: Annotated[int | None, Parameter(help="names all randomness: same seed, same images")] = None,
    repeats: Annotated[int | None, Parameter(help="independent sets, in RUN/0, RUN/1, ... with seeds counting up")] = None,
    reading: Reading = AS_SAID,
    normalisation: Normalised = None,
    zca: Annotated[bool | None, Parameter(help="ZCA whitening of the images (--no-zca: none)")] = None,
    device: Device | None = None,
    precision: Annotated[str | None, Parameter(help="auto, float32, float64, or bfloat16 on the real side")] = None,
    memory_limit: Annotated[str | None, Parameter(help="such as 4GB: larger data stay on disk, larger runs are refused")] = None,
    time_limit: Annotated[float | None, Parameter(help="seconds after which the command has ended with a complete set")] = None,
    snapshots: Annotated[str | None, Parameter(help="iterations after which the images are kept, such as 0,100,500")] = None,
    engine: Engine = None,
    workers: Annotated[int | None, Parameter(help="processes, or workers on Ray, that share the classes out among them")] = None,
    shards: Annotated[int | None, Parameter(help="pieces that the classes are cut into (default: one a worker)")] = None,
    gpus_per_worker: Gpus = None,
    address: Address = None,
    config: Annotated[Path | None, Parameter(help="YAML file of these options; the command line goes first")] = None,
    tensorboard: Annotated[
        list[Path] | None,
        Parameter(consume_multiple=(0, 1), help="scalars and pictures for it, in RUN/tensorboard or FOLDER/RUN", negative=""),
    ] = None,
    out: Annotated[Path | None, Parameter(help="run folder (default: runs/DATA-METHOD-ipcN-seedS)")] = None,
    overwrite: Annotated[bool, Parameter(help="replace the run that is there", negative="")] = False,
    resume: Annotated[Path | None, Parameter(help="go on with this run folder; no other option is needed")] = None,
    take_over: TakeOver = False,
    yes: Annotated[bool, Parameter(help="begin a run of more than half an hour without asking", negative="")] = False,
    note: Note = "",
    json: Json = False,
) -> None:
    """Make a few synthetic images per class.

    Ctrl-C saves; `datadam distill --resume RUN` goes on and ends with the same images as an uninterrupted run.
    """
    given = {k.rstrip("_"): v for k, v in locals().items() if v is not None and v != ""}
    given |= given.pop("reading").given()
    if tensorboard is not None:
        given["tensorboard"] = str(tensorboard[0]) if tensorboard else True
    given = {k: v for k, v in given.items() if v is not False or k in ("zca", "flip")}  # of switches, --no-zca says something
    from datadam import machine
    from datadam.cli.config import check_seconds, merge
    from datadam.cli.options import check_device, command
    from datadam.cli.workers import engine_named
    from datadam.errors import InvalidInput

    machine.tune_allocator()
    if resume is None:
        asked = merge({k: v for k, v in given.items() if k not in ("take_over", "yes")}, config)  # they say nothing of the run
        asked["device"] = check_device(asked.get("device", "auto"), engine_named(asked))
        _check_events(asked.get("tensorboard"))
        _tell(
            _begin(asked, command(), asked.get("time_limit"), take_over=take_over, ask=not yes), as_json=asked.get("json", False)
        )
        return
    if extra := sorted(set(given) - {"resume", "root", "device", "time_limit", "tensorboard", "json", "take_over", "yes", *MANY}):
        raise InvalidInput(f"--resume goes on with a run as it was begun; leave out {', '.join(extra)}")
    check_seconds(time_limit)
    if device is not None:
        device = check_device(device, engine_named(given))
    _check_events(given.get("tensorboard"))
    many = {name: given[name] for name in MANY if name in given}
    _tell(_resume(resume, reading.root, device, time_limit, given.get("tensorboard"), many, take_over=take_over), as_json=json)


def _begin(
    asked: dict[str, Any], command: str, time_limit: float | None, *, again: bool = False, take_over: bool = False,
    ask: bool = False,
) -> "Made":  # fmt: skip
    """Every run asked for; with `again`, those of a folder of repeats that are not finished."""
    from datadam.cli.config import recipe_for
    from datadam.cli.options import READING, check_device, data_limit, load_data, size_in_bytes
    from datadam.cli.repeats import check_repeats, keep_repeats
    from datadam.cli.workers import spread_of
    from datadam.distillation.begin import begin, prepared, resume
    from datadam.distillation.start import STARTS

    limit = size_in_bytes(asked.get("memory_limit"))
    options = {k: asked[k] for k in READING if k in asked}
    real = load_data(asked["data"], options | data_limit(limit))
    recipe, repeats = recipe_for(asked, real), asked.get("repeats", 1)
    if "budget" in asked:
        recipe, time_limit = _budgeted(asked, recipe, real, time_limit)
    if repeats > 1 or recipe.start not in STARTS:
        real = prepared(real, recipe)  # once for all
    earlier = earlier_set(recipe, real)
    out = Path(
        asked.get("out") or f"runs/{real.name}-{recipe.preset}-{'nested-' * bool(recipe.ladder)}ipc{recipe.ipc}-seed{recipe.seed}"
    )
    overwrite, spread = asked.get("overwrite", False), spread_of(asked)
    device = check_device(asked.get("device", "auto"), spread.engine if spread else None)
    if repeats > 1 and not again:
        check_repeats(out, overwrite=overwrite)
    if ask and not again:
        _ask(recipe, real, device, limit, spread, repeats, time_limit)
    made = []
    with _held(out, command, take_over=take_over):
        for r in range(repeats):
            folder = out / str(r) if repeats > 1 else out
            if again and (folder / "checkpoint" / "run.json").exists():
                run = resume(folder, real, device=device, spread=spread)
            else:
                images = earlier.images if earlier else None
                with _choosing(recipe, real, device, limit, images) as advance:
                    run = begin(
                        real, recipe.change({"seed": recipe.seed + r}), out=folder, overwrite=overwrite, device=device,
                        earlier=images, earlier_seconds=seconds_of_start(earlier),
                        snapshots=asked.get("snapshots"), memory_limit=limit, note=asked.get("note", ""), command=command,
                        progress=advance, spread=spread,
                    )  # fmt: skip
            if repeats > 1 and r == 0 and not again:  # not before: what cannot begin leaves nothing behind
                keep_repeats(out, asked, command)
            left = None if time_limit is None else time_limit - (time.monotonic() - STARTED) - FINISHING
            share = None if left is None else left / (repeats - r)
            made.append((folder, _drive(run, folder, out, share, asked.get("tensorboard"))))
    return made


def _ask(
    recipe: "Recipe", real: "RealData", device: str, limit: int | None, spread: "Spread | None", repeats: int, most: float | None
) -> None:
    """Ask a person at a terminal before a long run of at `most` so many seconds begins. Raises `RunFailed` for a no."""
    from datadam import nets
    from datadam.cli.screen import agreed, duration
    from datadam.distillation.forecast import forecast
    from datadam.errors import RunFailed

    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return
    workers = spread.settle(len(real.classes)).workers if spread else 1
    told = forecast(real, recipe.change({"net": nets.canonical(recipe.net, real.shape)}), device=device, memory_limit=limit)
    seconds = min(repeats * told.seconds / workers, most or math.inf)
    if seconds > LONG and not agreed(f"this takes about {duration(seconds)} here. Begin?"):
        if recipe.method.at_once:
            smaller = ", and a smaller --set width=N" if recipe.method.samples else ""
            raise RunFailed(f"nothing was begun. --set epochs=N shortens it{smaller}; --yes begins without asking")
        raise RunFailed(
            "nothing was begun. --iterations and --batch-real shorten it, such as --iterations 300 --batch-real 64; a narrower "
            "--net, such as convnet3:width=32, does too; --time-limit ends it with what there is; --yes begins without asking"
        )


def _budgeted(
    asked: dict[str, Any], recipe: "Recipe", real: "RealData", time_limit: float | None
) -> "tuple[Recipe, float]":  # fmt: skip
    """The recipe, said aloud, and the seconds after which all is over."""
    from datadam import nets
    from datadam.cli.screen import say
    from datadam.distillation.budget import seconds_of
    from datadam.distillation.start import MADE_FIRST
    from datadam.wording import plural

    needs, seconds = recipe.method.needs, seconds_of(asked["budget"]) * asked.get("repeats", 1)
    first = [f"a set of {recipe.start}"] if recipe.start in MADE_FIRST else []
    if needs.training:
        first += [f"{plural(needs.count, 'network')} of {plural(needs.training.epochs, 'epoch')} over the real images"]
    last = f"{plural(recipe.iterations, 'iteration')} of {recipe.method.name}, decoder {recipe.decoder}"
    say(f"in {asked['budget']}: {', then '.join([*first, last])}")
    usual = nets.canonical("auto", real.shape)
    if "net" not in asked.get("set", {}) and recipe.net != usual:
        say(f"on {recipe.net}, as {usual} takes more time here; evaluate RUN --net {usual} judges on that one")
    return recipe, seconds if time_limit is None else time_limit


def _choosing(
    recipe: "Recipe", real: "RealData", device: str, limit: int | None, earlier: "Tensor | None"
) -> "contextlib.AbstractContextManager[Progress | None]":
    """A progress bar for what is made before the first iteration, or before a choice: networks, or a set to go on from; nothing
    for other methods."""
    from datadam import nets
    from datadam.cli.screen import bar, duration, say
    from datadam.distillation.begin import check
    from datadam.distillation.start import MADE_FIRST
    from datadam.training.pool import RANDOM
    from datadam.wording import plural, size

    epochs, needs = recipe.method.training_epochs, recipe.method.needs
    what = [f"goes on from a set of {recipe.start}"] if recipe.start in MADE_FIRST and earlier is None else []
    if needs.training and recipe.networks == RANDOM:  # else they are there already
        what += [f"matches in {needs.count} networks on their way through {needs.training.epochs} epochs of the training set"]
    elif recipe.method.samples:
        what += [f"samples a generator that is trained for {plural(epochs, 'epoch')} on the whole training set"]
    elif epochs:
        what += [f"chooses by what networks learn in {plural(epochs, 'epoch')} on the whole training set"]
    if not what:
        return contextlib.nullcontext()
    say(f"{recipe.method.name} {' and '.join(what)}; that comes first, unless an earlier run has left it in the cache")
    recipe = recipe.change({"net": nets.canonical(recipe.net, real.shape)})
    told = check(real, recipe, device=device, memory_limit=limit, earlier=earlier)
    if told.before > TELL:
        words = f"about {duration(told.before)} here and about {size(told.whole)} of memory"
        fewer = "epochs" if "epochs" in recipe.method.settings() else "count"
        say(f"this takes {words}, if it is not there yet; --set {fewer}=N shortens it")
    return bar(recipe.method.name)


def _resume(
    out: Path, root: Path | None, device: str | None, time_limit: float | None, events: Events, many: dict[str, Any], *,
    take_over: bool,
) -> "Made":  # fmt: skip
    from datadam.cli.options import command, data_of_card
    from datadam.cli.workers import spread_of
    from datadam.distillation.begin import resume
    from datadam.distillation.checkpoint import Checkpoint
    from datadam.errors import ArtifactError
    from datadam.files.whole import read_json

    if (out / "repeats.json").exists():
        kept = read_json(out / "repeats.json")
        asked = kept.get("asked") if isinstance(kept, dict) else None
        if not isinstance(asked, dict) or not {"data", "ipc", "repeats", "set"} <= set(asked):
            raise ArtifactError(f"{out / 'repeats.json'} lacks what was asked for; it was changed: make the runs again")
        asked = asked | {"out": str(out)} | ({"root": root} if root else {}) | ({"device": device} if device else {})
        asked |= many | ({"tensorboard": events} if events else {})
        return _begin(asked, str(kept.get("command", "")), time_limit, again=True, take_over=take_over)
    real = data_of_card(Checkpoint(out).card(), root)
    with _held(out, command(), take_over=take_over):
        run = resume(out, real, device=device, spread=spread_of(many))
        left = None if time_limit is None else time_limit - (time.monotonic() - STARTED) - FINISHING
        return [(out, _drive(run, out, out, left, events))]


@contextlib.contextmanager
def _held(out: Path, command: str, *, take_over: bool) -> Iterator[None]:
    """Keep other processes out of the run folder, and say where a killed one, or one of another machine, was in it."""
    from datadam.cli.screen import say
    from datadam.files.lock import alone_in

    with alone_in(out, command, take_over=take_over) as taken_over:
        if taken_over:
            say(f"note: {taken_over}")
        yield


def _check_events(events: Events) -> None:
    """Raise `InvalidInput` where TensorBoard is asked for and not installed."""
    if events:
        from datadam.distillation.tensorboard import require_tensorboard

        require_tensorboard()


def _board(run: "Run", folder: Path, whole: Path, events: Events) -> "contextlib.AbstractContextManager[Board] | None":
    """What writes for TensorBoard, where that was asked for now or when the run was begun."""
    from datadam.distillation.tensorboard import Board, kept_folder
    from datadam.sets.decoders import decoder_named

    name = whole.resolve().name
    if isinstance(events, str):
        place: Path | None = Path(events) / name if folder == whole else Path(events) / name / folder.name
    else:
        place = kept_folder(folder) or (folder / "tensorboard" if events else None)
    if place is None:
        return None
    real = run.frame.real
    decoder = decoder_named(run.recipe.decoder)
    board = Board(folder, place, real.transform, real.classes, run.recipe.counts(real), run.state.iteration, decoder)
    return contextlib.closing(board)


def _drive(run: "Run", folder: Path, whole: Path, left: float | None, events: Events) -> "DistilledSet":
    """Run to the end, or for the seconds left, under a progress bar."""
    from datadam.cli.screen import bar, duration, say
    from datadam.distillation.forecast import foretold_memory
    from datadam.distillation.shards.run import Sharded
    from datadam.wording import plural, size

    recipe, total, done = run.recipe, run.recipe.iterations, run.state.iteration
    if total:
        members = [len(indices) for indices in run.frame.real.by_class]
        most = min(recipe.batch_real, max(members))
        drawn = f"{'up to ' if min(members) < most else ''}{most}"
        say(f"{recipe.method.name}: {plural(recipe.ipc, 'image')} for each of {len(members)} classes "
            f"on {recipe.net}, {plural(total, 'iteration')} of {drawn} real images a class, into {folder}")  # fmt: skip
        if done:
            say(f"going on after {done} of {total} iterations")
        if run.device.type != "cpu":
            say(f"computing on {run.device}; --device cpu takes the processor instead")
        for remark in run.remarks:
            say(f"note: {remark}")
        if run.expected > TELL:
            memory = size(foretold_memory(run.frame.real, recipe, run.plan.kept, str(run.device)))
            memory += " of memory in each worker" if isinstance(run, Sharded) else " of memory"
            say(f"this takes about {duration(run.expected)} here; --iterations shortens it. It needs about {memory}")
        if run.plan.compiled and done < total:
            say("compiling first: the first iterations take about half a minute longer")
    try:
        with (
            _board(run, folder, whole, events) or contextlib.nullcontext() as board,
            bar(recipe.method.name, run.expected) as advance,
            contextlib.closing(run.steps(left)) as steps,
        ):
            for step in steps:
                if board:
                    board.update()
                advance(f"{recipe.method.name}  loss {step.loss:.4g}  moved {step.moved:.3f}", step.iteration, total)
    except KeyboardInterrupt:
        saved = f"{run.saved} of {total} iterations are saved"
        raise KeyboardInterrupt(f"{saved}. Go on with: datadam distill --resume {whole}") from None
    return run.result()


def _tell(made: "Made", *, as_json: bool) -> None:
    from datadam.cli.options import set_line
    from datadam.cli.screen import duration, result, say

    lines = []
    for folder, small in made:
        card = small.card
        for warning in card["warnings"]:
            say(f"warning: {warning}")
        lines.append(f"{folder}: {set_line(card)}")
        if card["kind"] == "distilled":
            before = f" ({duration(card['earlier_seconds'])} for its start)" if card.get("earlier_seconds") else ""
            lines.append(
                f"         {card['iterations_done']} iterations in {duration(card['seconds'])}{before}, peak memory "
                f"{card['peak_memory_mb']:.0f} MB, pixels moved {card['moved']:.2f} (network space)"
            )
        lines.append(f"see      {folder / 'preview.png'}")
    lines.append(f"judge    datadam evaluate {made[0][0] if len(made) == 1 else made[0][0].parent}")
    cards = [small.card | {"run": str(folder)} for folder, small in made]
    result("\n".join(lines), cards if len(cards) > 1 else cards[0], as_json=as_json)
