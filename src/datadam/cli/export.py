"""`datadam export`: a run in a format that other programs read."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from datadam.cli.evaluate import Epochs, ProtocolName, Students, progress_of, rule_for
from datadam.cli.options import Device, Json, Prefix, RunRoot, Seed

if TYPE_CHECKING:
    from datadam.exchange import Exported
    from datadam.sets.distilled import DistilledSet


def export(
    run: Annotated[Path, Parameter(help="run folder; of repeats all sets, where the format holds several")],
    *,
    to: Annotated[str, Parameter(help="datadam list formats")],
    out: Annotated[Path, Parameter(help="the new folder")],
    ipc: Prefix = None,
    keep_zca: Annotated[
        bool, Parameter(help="leave whitened images whitened, for readers that whiten likewise", negative="")
    ] = False,
    measure: Annotated[
        bool, Parameter(help="train students on the run and on what was written, and tell what it cost", negative="")
    ] = False,
    students: Students = None,
    epochs: Epochs = None,
    protocol: ProtocolName | None = None,
    net: Annotated[str | None, Parameter(help="of --measure: students' network (default: the one it was made with)")] = None,
    seed: Seed = 0,
    push: Annotated[str | None, Parameter(help="USER/NAME: upload it to the Hugging Face hub (parquet)")] = None,
    overwrite: Annotated[bool, Parameter(help="replace an earlier export", negative="")] = False,
    root: RunRoot = None,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Write a run for other programs.

    Normalisation is converted to what they expect, and datadam.json and README.md beside say what the numbers mean.
    """
    from datadam.cli.options import load_sets, prefixes, set_line
    from datadam.cli.screen import result
    from datadam.errors import InvalidInput
    from datadam.exchange import export as write
    from datadam.exchange import format_named, hub
    from datadam.exchange.cards import is_other

    format_named(to)
    if push is not None:
        if to != "parquet":
            raise InvalidInput(f"the hub takes parquet, and {to} was asked for; say --to parquet, or leave out --push")
        hub.check(push)
    asked = {"students": students, "epochs": epochs, "protocol": protocol, "net": net}
    if not measure and (given := [f"--{name}" for name, value in asked.items() if value is not None]):
        raise InvalidInput(f"{', '.join(given)} say how students are trained, and none are without --measure; add it")
    sets = prefixes(load_sets(run), run, ipc)
    if measure and len(sets) > 1:
        raise InvalidInput(f"{run} holds {len(sets)} sets; measure one of them: {run / '0'}")
    done = write(sets, to, out, keep_zca=keep_zca, overwrite=overwrite)
    told = done.to_json()
    lines = [f"{out}: {to}, {_files(done)}", f"the run: {set_line(sets[0].card)}", f"against the run: {done.error}"]
    lines += [f"note: {note}" for note in done.notes]
    if measure:
        cost = _measure(sets[0], done, root, net, protocol, students, epochs, seed, device)
        told["measured"] = cost
        lines += cost["lines"]
        _keep(out, cost)
    elif is_other(sets[0].card, done.transform):
        told["measured"] = None
        lines.append("accuracy: not measured; add --measure")
    if push is not None:
        told["pushed"] = hub.push(out, push)
        lines.append(f"pushed: {told['pushed']}")
    result("\n".join(lines), told, as_json=json)


def _files(done: "Exported") -> str:
    names = [str(file.relative_to(done.folder)) for file in done.files]
    return ", ".join(names) if len(names) <= 3 else f"{names[0]} ... {names[-1]}, {len(names)} files"


def _measure(
    before: "DistilledSet", done: "Exported", root: Path | None, net: str | None, protocol: str | None, students: int | None,
    epochs: int | None, seed: int, device: str,
) -> dict[str, Any]:  # fmt: skip
    """Students of the set as it was and as it comes back from the files: same seeds, same protocol; and, where pixels were
    clipped, of the set that was rounded and not clipped, so that the two losses can be told apart."""
    from datadam import machine
    from datadam.cli.options import check_device, check_nets, data_of_card
    from datadam.errors import InvalidInput
    from datadam.evaluation.evaluate import evaluate
    from datadam.exchange import import_, rounded

    machine.tune_allocator()
    device = check_device(device)
    rule, count = rule_for(protocol or str(before.card["recipe"].get("protocol", "honest")), students, epochs, None, False)
    real = data_of_card(before.card, root)
    spec, *more = check_nets(net or before.card["recipe"]["net"], real)
    if more:
        raise InvalidInput(f"one network is measured, and {1 + len(more)} were named; give one")
    (after,) = import_(done.folder, done.to, real)
    made, tried = [], [("the run", before), ("the file", after)]
    if done.transform is None and done.error.clipped:
        tried.append(("the run, rounded and not clipped", rounded(before)))
    for name, one in tried:
        with progress_of(f"{name} {spec}") as progress:
            made.append(
                evaluate(
                    one, real, net=spec, protocol=rule, students=count, seed=seed, device=device, workers=None, of=name,
                    progress=progress,
                )
            )  # fmt: skip
    lines, losses = [], []
    for (name, _), later in zip(tried[1:], made[1:], strict=True):
        gaps = [late - early for early, late in zip(made[0].all, later.all, strict=True)]
        losses.append({"gap": later.mean - made[0].mean, "gaps": gaps})
        spread = f" ({', '.join(f'{100 * gap:+.2f}' for gap in gaps)} student by student)" if len(gaps) > 1 else ""
        lines.append(
            f"measured: {100 * made[0].mean:.2f} % from the run, {100 * later.mean:.2f} % from {name}: "
            f"{100 * (later.mean - made[0].mean):+.2f} points{spread}"
        )
    told = {"lines": [*lines, made[0].words], **losses[0], "run": made[0].to_json(), "file": made[1].to_json()}
    if len(made) > 2:
        told["rounding_alone"] = {**losses[1], "set": made[2].to_json()}
    return told


def _keep(out: Path, cost: dict[str, Any]) -> None:
    """The measured lines in datadam.json and README.md."""
    from datadam.exchange.cards import UNMEASURED
    from datadam.exchange.sidecar import NAME
    from datadam.files.whole import read_json, write_json, write_text

    write_json(out / NAME, read_json(out / NAME) | {"measured": cost})
    page, words = out / "README.md", "\n\n".join(cost["lines"])
    text = page.read_text(encoding="utf-8")
    write_text(page, text.replace(UNMEASURED, words) if UNMEASURED in text else f"{text}\n{words}\n")
