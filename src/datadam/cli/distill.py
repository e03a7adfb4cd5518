"""`datadam distill`: make a distilled set, or go on with one."""

import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from datadam.cli import STARTED
from datadam.cli.options import Device, Json, Note, Root

if TYPE_CHECKING:
    from datadam.data import RealData
    from datadam.distill import Distillation
    from datadam.distilled import DistilledSet
    from datadam.recipe import Recipe

Made = list[tuple[Path, "DistilledSet"]]  # run folders and what came of them
FINISHING = 3.0  # seconds kept back from --time-limit for writing the result


def distill(
    data: Annotated[
        str | None, Parameter(help="a named set (datadam list data), a folder of images, .npz, .parquet, hf:owner/name")
    ] = None,
    *,
    ipc: Annotated[int | None, Parameter(help="images per class to make")] = None,
    method: Annotated[str | None, Parameter(help="datadam list methods; its usual preset is taken")] = None,
    preset: Annotated[str | None, Parameter(help="complete published settings: datadam list presets")] = None,
    set_: Annotated[
        list[str] | None, Parameter(name="--set", help="any setting, such as power=2 (datadam show PRESET)", negative="")
    ] = None,
    iterations: Annotated[int | None, Parameter(help="steps of the images")] = None,
    batch_real: Annotated[int | None, Parameter(help="real images per class and iteration")] = None,
    net: Annotated[str | None, Parameter(help="matching network: auto, convnet3, convnet3:norm=batch:width=64, ...")] = None,
    start: Annotated[str | None, Parameter(help="first images: real, kcenter, kmeans, noise, or the folder of a RUN")] = None,
    seed: Annotated[int | None, Parameter(help="names all randomness: same seed, same images")] = None,
    repeats: Annotated[int | None, Parameter(help="independent sets, in RUN/0, RUN/1, ... with seeds counting up")] = None,
    root: Root = None,
    size: Annotated[int | None, Parameter(help="resize images of a folder to this side")] = None,
    fit: Annotated[Literal["crop", "squash", "pad"] | None, Parameter(help="how to make them square")] = None,
    test: Annotated[Path | None, Parameter(help="the test part, when DATA holds only training images")] = None,
    skip_bad: Annotated[bool, Parameter(help="leave out unreadable images instead of refusing", negative="")] = False,
    zca: Annotated[bool | None, Parameter(help="ZCA whitening of the images (--no-zca: none)")] = None,
    device: Device = "cpu",
    precision: Annotated[str | None, Parameter(help="float32, float64, or bfloat16 on the real side")] = None,
    memory_limit: Annotated[str | None, Parameter(help="such as 4GB: larger data stay on disk, larger runs are refused")] = None,
    time_limit: Annotated[float | None, Parameter(help="seconds after which the command has ended with a complete set")] = None,
    snapshots: Annotated[str | None, Parameter(help="iterations after which the images are kept, such as 0,100,500")] = None,
    config: Annotated[Path | None, Parameter(help="YAML file of these options; the command line goes first")] = None,
    out: Annotated[Path | None, Parameter(help="run folder (default: runs/DATA-METHOD-ipcN-seedS)")] = None,
    overwrite: Annotated[bool, Parameter(help="replace the run that is there", negative="")] = False,
    resume: Annotated[Path | None, Parameter(help="go on with this run folder; no other option is needed")] = None,
    note: Note = "",
    json: Json = False,
) -> None:
    """Make a few synthetic images per class from a labelled image set.

    Ctrl-C saves; `datadam distill --resume RUN` goes on and ends with the same images as an uninterrupted run.
    """
    given = {k.rstrip("_"): v for k, v in locals().items() if v is not None and v is not False and v != ""}
    from datadam import machine
    from datadam.cli.config import merge
    from datadam.cli.options import check_device, command
    from datadam.errors import InvalidInput

    machine.tune_allocator()
    check_device(device)
    if resume is None:
        asked = merge(given, config)
        made = _begin(asked, command(), time_limit=asked.get("time_limit"))
        _tell(made, as_json=asked.get("json", False))
        return
    if extra := sorted(set(given) - {"resume", "root", "device", "time_limit", "json"}):
        raise InvalidInput(f"--resume goes on with a run as it was begun; leave out {', '.join(extra)}")
    _tell(_resume(resume, root, device, time_limit), as_json=json)


def _begin(asked: dict[str, Any], command: str, *, time_limit: float | None, again: bool = False) -> "Made":
    """Every run asked for; with `again`, those of a folder of repeats that are not finished."""
    from datadam.cli.options import load_data, size_in_bytes
    from datadam.distill import begin, resume
    from datadam.errors import InvalidInput
    from datadam.storage import write_json

    limit = size_in_bytes(asked.get("memory_limit"))
    options = {k: asked[k] for k in ("root", "size", "fit", "test", "skip_bad") if k in asked}
    real = load_data(asked["data"], options | ({"memory_limit": limit} if limit else {}))
    recipe, earlier = _recipe(asked, real)
    out = Path(asked.get("out") or f"runs/{real.name}-{recipe.preset}-ipc{recipe.ipc}-seed{recipe.seed}")
    repeats, overwrite, device = asked.get("repeats", 1), asked.get("overwrite", False), asked.get("device", "cpu")
    if repeats > 1 and not again:
        if (out / "repeats.json").exists() and not overwrite:
            raise InvalidInput(f"{out} already holds repeats; continue with --resume {out}, or replace them with --overwrite")
        kept = {k: str(v) if isinstance(v, Path) else v for k, v in asked.items() if k != "overwrite"}
        write_json(out / "repeats.json", {"asked": kept | {"out": str(out)}, "command": command})
    made = []
    for r in range(repeats):
        folder = out / str(r) if repeats > 1 else out
        if again and (folder / "checkpoint" / "run.json").exists():
            run = resume(folder, real, device=device)
        else:
            run = begin(
                real, recipe.change({"seed": recipe.seed + r}), out=folder, overwrite=overwrite, device=device, earlier=earlier,
                snapshots=asked.get("snapshots"), memory_limit=limit, note=asked.get("note", ""), command=command,
            )  # fmt: skip
        made.append((folder, _drive(run, folder, out, time_limit)))
    return made


def _recipe(asked: dict[str, Any], real: "RealData") -> "tuple[Recipe, Any]":
    """The recipe asked for, and the images of an earlier run when --start names one."""
    from datadam.cli.options import load_sets
    from datadam.errors import InvalidInput, UnknownName
    from datadam.methods import CATALOG as METHODS
    from datadam.presets import FOR_METHOD, preset
    from datadam.start import STARTS

    method, name = asked.get("method"), asked.get("preset")
    if method is not None and method not in METHODS:
        raise UnknownName("method", method, METHODS)
    name = name or (FOR_METHOD.get(method, method) if method else "datadam")
    recipe = preset(name, real, ipc=asked["ipc"])
    if method is not None and recipe.method.name != method:
        raise InvalidInput(f"preset {name!r} is for method {recipe.method.name!r}, not {method!r}; leave one of them out")
    settings = {k: asked[k] for k in ("iterations", "batch_real", "net", "start", "seed", "precision") if k in asked}
    if "zca" in asked:
        settings["zca"] = "kornia" if asked["zca"] else "none"
    if recipe.method.family == "coreset" and (wrong := {"iterations", "batch_real", "start", "precision"} & set(settings)):
        raise InvalidInput(f"{recipe.method.name} chooses real images and learns nothing; leave out {', '.join(sorted(wrong))}")
    recipe = recipe.change(settings | asked.get("set", {}))
    earlier = None
    if recipe.start not in STARTS:
        if not Path(recipe.start).is_dir():
            raise UnknownName("start", recipe.start, STARTS, "The folder of an earlier run is allowed too.")
        first = load_sets(Path(recipe.start))[0]
        if first.classes != real.classes or first.transform.to_card() != _transform_after(real, recipe).to_card():
            raise InvalidInput(
                f"{recipe.start} was made with other classes or another normalisation; start from a run on the same data"
            )
        earlier = first.images
    return recipe, earlier


def _transform_after(real: "RealData", recipe: "Recipe") -> Any:
    return real.with_zca(recipe.zca).transform if recipe.zca != "none" else real.transform


def _resume(out: Path, root: Path | None, device: str, time_limit: float | None) -> "Made":
    from datadam.checkpoint import Checkpoint
    from datadam.cli.options import data_of_card
    from datadam.distill import resume
    from datadam.storage import read_json

    if (out / "repeats.json").exists():
        kept = read_json(out / "repeats.json")
        asked = kept["asked"] | {"out": str(out), "device": device} | ({"root": root} if root else {})
        return _begin(asked, kept["command"], time_limit=time_limit, again=True)
    real = data_of_card(Checkpoint(out).card(), root)
    run = resume(out, real, device=device)
    return [(out, _drive(run, out, out, time_limit))]


def _drive(run: "Distillation", folder: Path, whole: Path, time_limit: float | None) -> "DistilledSet":
    """Run to the end under a progress bar."""
    from datadam.cli.screen import bar, say

    left = None if time_limit is None else time_limit - (time.monotonic() - STARTED) - FINISHING
    recipe, total, done = run.recipe, run.recipe.iterations, run.state.iteration
    if total:
        say(f"{recipe.method.name}: {recipe.ipc} images for each of {len(run.frame.real.classes)} classes on {recipe.net}, "
            f"{total} iterations of {recipe.batch_real} real images a class, into {folder}")  # fmt: skip
        if done:
            say(f"going on after {done} of {total} iterations")
        for remark in run.remarks:
            say(f"note: {remark}")
        if run.plan.compiled and done < total:
            say("compiling first: the first iterations take about half a minute longer")
    try:
        with bar(recipe.method.name) as advance, contextlib.closing(run.steps(left)) as steps:
            for step in steps:
                advance(f"{recipe.method.name}  loss {step.loss:.4g}  moved {step.moved:.3f}", step.iteration, total)
    except KeyboardInterrupt:
        saved = f"{run.state.iteration} of {total} iterations are saved"
        raise KeyboardInterrupt(f"{saved}. Go on with: datadam distill --resume {whole}") from None
    return run.result()


def _tell(made: "Made", *, as_json: bool) -> None:
    from datadam.cli.screen import duration, result, say

    lines = []
    for folder, small in made:
        card = small.card
        for warning in card["warnings"]:
            say(f"warning: {warning}")
        lines.append(f"{folder}: {len(small.labels)} images, {small.ipc} for each of {len(small.classes)} classes")
        if card["kind"] == "distilled":
            lines.append(
                f"         {card['iterations_done']} iterations in {duration(card['seconds'])}, peak memory "
                f"{card['peak_memory_mb']:.0f} MB, pixels moved {card['moved']:.2f} standard deviations"
            )
        lines += [f"see      {folder / 'preview.png'}", f"judge    datadam evaluate {folder}"]
    cards = [small.card | {"run": str(folder)} for folder, small in made]
    result("\n".join(lines), cards if len(cards) > 1 else cards[0], as_json=as_json)
