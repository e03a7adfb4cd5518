"""`datadam evaluate` and `datadam baseline`: train students and test them."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from datadam.cli.options import Device, Json, Note, Root, Seed

if TYPE_CHECKING:
    from datadam.data import RealData
    from datadam.distilled import DistilledSet
    from datadam.evaluate import Evaluation, Progress
    from datadam.protocols import Protocol

Nets = Annotated[str | None, Parameter(help="students' networks, separated by commas (default: the one it was made with)")]
ProtocolName = Annotated[str, Parameter(help="datadam list protocols")]
Students = Annotated[int | None, Parameter(help="students a set (default 5; the whole set: 1)")]
Epochs = Annotated[int | None, Parameter(help="epochs of each, instead of the protocol's")]
Augment = Annotated[str | None, Parameter(help="of the students' images: dsa, none, or words such as color_crop_flip")]
Full = Annotated[bool, Parameter(help="all students that the protocol asks for", negative="")]


def evaluate(
    runs: Annotated[list[Path], Parameter(help="run folders; one of repeats counts as one row over its sets", negative="")],
    *,
    net: Nets = None,
    protocol: ProtocolName | None = None,
    students: Students = None,
    epochs: Epochs = None,
    augment: Augment = None,
    full: Full = False,
    snapshots: Annotated[bool, Parameter(help="also judge the images kept on the way", negative="")] = False,
    seed: Seed = 0,
    root: Root = None,
    device: Device = "cpu",
    note: Note = "",
    json: Json = False,
) -> None:
    """Train networks from scratch on distilled sets and test them on the real test images.

    Each evaluation is kept in RUN/evaluations and printed beside those kept there under the same protocol.
    """
    from datadam import machine
    from datadam.cli.options import check_device, data_of_card, load_sets, sets_of
    from datadam.cli.screen import result, say
    from datadam.evaluate import evaluate as judge

    machine.tune_allocator()
    check_device(device)
    loaded = [(run, load_sets(run)) for run in runs]
    names = {sets[0].card["recipe"].get("protocol", "honest") for _, sets in loaded}
    name = protocol or (names.pop() if len(names) == 1 else "honest")
    rule, count = _rule(name, students, epochs, augment, full)
    made: list[tuple[Path, Evaluation]] = []
    for run, sets in loaded:
        real = data_of_card(sets[0].card, root)
        for spec in (net or sets[0].card["recipe"]["net"]).split(","):

            def one(
                sets: "list[DistilledSet]",
                iteration: int | None = None,
                real: "RealData" = real,
                spec: str = spec,
                run: Path = run,
            ) -> "Evaluation":
                with _progress(f"{run.name} {spec}" + ("" if iteration is None else f" @{iteration}")) as progress:
                    return judge(
                        sets, real, net=spec, protocol=rule, students=count, seed=seed, device=device, note=note,
                        iteration=iteration, progress=progress,
                    )  # fmt: skip

            final = one(sets)
            final.save(_file(run, final))
            made.append((run, final))
            if snapshots or rule.selects:
                way = [one(_at(sets, sets_of(run), i), i) for i in _kept(sets_of(run))]
                for evaluation in way:
                    evaluation.save(_file(run, evaluation))
                    made.append((run, evaluation))
                if rule.selects and way:
                    best = max([*way, final], key=lambda e: e.mean)
                    where = "the end" if best.iteration is None else f"iteration {best.iteration}"
                    say(
                        f"{run}: {100 * best.mean:.2f} % is the best of {len(way) + 1} iterations ({where}): SELECTED ON THE TEST SET"
                    )
    result(_rows(made), [{"run": str(run), **evaluation.to_json()} for run, evaluation in made], as_json=json)


def baseline(
    data: Annotated[str, Parameter(help="as for distill")],
    *,
    ipc: Annotated[int | None, Parameter(help="random real images per class")] = None,
    whole: Annotated[bool, Parameter(help="the whole training set instead", negative="")] = False,
    beside: Annotated[Path | None, Parameter(help="keep the result in the evaluations of this run")] = None,
    sets: Annotated[int, Parameter(help="independent random choices")] = 1,
    net: Nets = None,
    protocol: ProtocolName = "honest",
    students: Students = None,
    epochs: Epochs = None,
    augment: Augment = None,
    full: Full = False,
    seed: Seed = 0,
    root: Root = None,
    size: Annotated[int | None, Parameter(help="as for distill")] = None,
    fit: Annotated[str | None, Parameter(help="as for distill")] = None,
    test: Annotated[Path | None, Parameter(help="as for distill")] = None,
    skip_bad: Annotated[bool, Parameter(help="as for distill", negative="")] = False,
    zca: Annotated[bool, Parameter(help="ZCA whitening", negative="")] = False,
    device: Device = "cpu",
    note: Note = "",
    json: Json = False,
) -> None:
    """Judge random real images, or the whole training set, by the same code as a distilled set."""
    from datadam import machine
    from datadam.cli.options import check_device, load_data
    from datadam.cli.screen import result
    from datadam.distill import distill
    from datadam.distilled import read_card
    from datadam.errors import InvalidInput
    from datadam.evaluate import evaluate as judge
    from datadam.evaluate import evaluate_whole
    from datadam.presets import preset

    if whole == (ipc is not None):
        raise InvalidInput("a baseline is either --ipc N random images per class or the --whole set; give one of them")
    if sets < 1:
        raise InvalidInput(f"sets is {sets}; it must be at least 1")
    machine.tune_allocator()
    check_device(device)
    if beside is not None:
        read_card(beside)
    given = {"root": root, "size": size, "fit": fit, "test": test, "skip_bad": skip_bad or None}
    real = load_data(data, {k: v for k, v in given.items() if v is not None})
    real = real.with_zca("kornia") if zca else real
    rule, count = _rule(protocol, students, None if whole else epochs, augment, full)
    if whole:
        rule, count = rule.whole_set().with_epochs(epochs), students or 1
    made = []
    for spec in (net or "auto").split(","):
        with _progress(f"{'whole' if whole else 'random'} {spec}") as progress:
            if whole:
                made.append(
                    evaluate_whole(
                        real, net=spec, protocol=rule, students=count, seed=seed, device=device, note=note, progress=progress
                    )
                )
            else:
                recipe = preset("random", real, ipc=ipc or 1)
                chosen = [distill(real, recipe.change({"seed": seed + s})) for s in range(sets)]
                made.append(
                    judge(
                        chosen,
                        real,
                        net=spec,
                        protocol=rule,
                        students=count,
                        seed=seed,
                        device=device,
                        note=note,
                        progress=progress,
                    )
                )
        if beside is not None:
            made[-1].save(_file(beside, made[-1]))
    result("\n".join(map(str, made)), [e.to_json() for e in made], as_json=json)


def _rule(name: str, students: int | None, epochs: int | None, augment: str | None, full: bool) -> "tuple[Protocol, int]":
    from datadam.errors import InvalidInput
    from datadam.evaluate import DEFAULT_STUDENTS, protocol_named

    if full and students is not None:
        raise InvalidInput("--full asks for all students of the protocol and --students for some; give one of them")
    rule = protocol_named(name, epochs=epochs, augment=augment)
    return rule, rule.students if full else DEFAULT_STUDENTS if students is None else students


class _progress:
    """A progress bar over the epochs of all students, which tells the expected time after the first ones."""

    def __init__(self, what: str) -> None:
        from datadam.cli.screen import bar

        self.what, self.context = what, bar(what)

    def __enter__(self) -> "Callable[[Progress], None]":
        import time

        from datadam.cli.screen import duration, say

        advance, began, told = self.context.__enter__(), time.monotonic(), False

        def show(p: "Progress") -> None:
            nonlocal told
            done, total = (p.student - 1) * p.epochs + p.epoch, p.students * p.epochs
            seconds = time.monotonic() - began
            if not told and seconds > 10 and done > 3:
                told = True
                say(f"{self.what}: {p.students} students of {p.epochs} epochs, expected {duration(seconds / done * total)}")
            advance(f"{self.what}  student {p.student} of {p.students}", done, total)

        return show

    def __exit__(self, *what: object) -> None:
        self.context.__exit__(*what)  # type: ignore[arg-type]


def _file(run: Path, e: "Evaluation") -> Path:
    net = e.net.replace(":", "-").replace("=", "")
    when = "" if e.iteration is None else f"-at{e.iteration:08d}"
    protocol, training = e.protocol, e.protocol.training
    plain = training.augment == "none"
    return run / "evaluations" / f"{e.of}-{net}-{protocol.name}{training.epochs}{'-plain' if plain else ''}{when}.json"


def _kept(folders: list[Path]) -> list[int]:
    """Iterations whose images every set has kept."""
    kept = [{int(path.stem) for path in (folder / "snapshots").glob("*.safetensors")} for folder in folders]
    return sorted(set.intersection(*kept)) if kept else []


def _at(sets: "list[DistilledSet]", folders: list[Path], iteration: int) -> "list[DistilledSet]":
    from dataclasses import replace

    from datadam.storage import read_tensors

    files = [folder / "snapshots" / f"{iteration:08d}.safetensors" for folder in folders]
    return [replace(one, images=read_tensors(file)[0]["images"].float()) for one, file in zip(sets, files, strict=True)]


def _rows(made: "list[tuple[Path, Evaluation]]") -> str:
    """Our rows, and below them what the runs' folders hold under the same protocol and network (random, whole)."""
    from datadam.cli.screen import table
    from datadam.storage import read_json

    rows, notes, shown = [], [], set()
    for run, e in made:
        rows.append(_row(str(run), e.to_json()))
        shown.add(_file(run, e))
        notes.append(e.words)
    for run, e in made:
        for path in sorted((run / "evaluations").glob("*.json")):
            other = read_json(path)
            same = other["net"] == e.net and other["protocol"]["name"] == e.protocol.name
            if path not in shown and same and other["of"] != e.of:
                shown.add(path)
                rows.append(_row(str(run), other))
                notes.append(other["words"])
    head = ("run", "of", "images", "net", "accuracy", "95 % interval", "s a student")
    return table(head, rows) + "\n" + "\n".join(dict.fromkeys(notes))


def _row(run: str, e: dict[str, object]) -> tuple[str, ...]:
    interval = e["interval"]
    spread = f"+- {100 * interval['half']:.2f} ({interval['over']})" if isinstance(interval, dict) else "one student"
    of = f"{e['of']}" + (f" @{e['iteration']}" if e["iteration"] is not None else "") + (f" [{e['note']}]" if e["note"] else "")
    return (
        run,
        of,
        str(e["images"]),
        str(e["net"]),
        f"{100 * float(str(e['mean'])):.2f} %",
        spread,
        f"{e['seconds_per_student']:.1f}",
    )
