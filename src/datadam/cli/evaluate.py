"""`datadam evaluate` and `datadam baseline`: train students and test them."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from cyclopts import Parameter

from datadam.cli.options import AS_SAID, Device, Json, Normalised, Note, Prefix, Reading, RunRoot, Seed
from datadam.cli.workers import Address, Engine, Gpus

if TYPE_CHECKING:
    from datadam.data import RealData
    from datadam.evaluation.evaluate import Progress
    from datadam.evaluation.protocols import Protocol
    from datadam.evaluation.result import Evaluation
    from datadam.sets.distilled import DistilledSet

Nets = Annotated[str | None, Parameter(help="students' networks, separated by commas (default: the one it was made with)")]
ProtocolName = Annotated[str, Parameter(help="datadam list protocols")]
Students = Annotated[int | None, Parameter(help="students a set (default 5, eccv24 3; the whole set: 1)")]
Epochs = Annotated[int | None, Parameter(help="epochs of each, instead of the protocol's")]
Augment = Annotated[
    str | None, Parameter(help="of students' images: dsa, none, autoaugment, randaugment, or words such as color_crop")
]
Precision = Annotated[
    str,
    Parameter(help="of the students: float32, float64, bfloat16 for convolutions and products, or auto, the faster one here"),
]
Workers = Annotated[int | None, Parameter(help="processes that train students side by side (default: as many as pay)")]
Full = Annotated[bool, Parameter(help="all students that the protocol asks for", negative="")]


class Job(NamedTuple):
    """One run to judge: its folder, its sets (several for repeats), the data, and the students' networks."""

    run: Path
    sets: "list[DistilledSet]"
    real: "RealData"
    nets: list[str]


def evaluate(
    runs: Annotated[list[Path], Parameter(help="run folders; one of repeats counts as one row over its sets", negative="")],
    *,
    net: Nets = None,
    protocol: ProtocolName | None = None,
    students: Students = None,
    epochs: Epochs = None,
    augment: Augment = None,
    full: Full = False,
    ipc: Prefix = None,
    snapshots: Annotated[bool, Parameter(help="also judge the images kept on the way", negative="")] = False,
    seed: Seed = 0,
    root: RunRoot = None,
    device: Device = "auto",
    precision: Precision = "float32",
    workers: Workers = None,
    engine: Engine = None,
    gpus_per_worker: Gpus = None,
    address: Address = None,
    note: Note = "",
    json: Json = False,
) -> None:
    """Train networks on distilled sets and test them.

    They start from scratch and are tested on the real test images. Each evaluation is kept in RUN/evaluations and
    printed beside those kept there under the same protocol.
    """
    from datadam import machine
    from datadam.cli.options import check_device, prefixes, sets_of
    from datadam.cli.screen import result, say
    from datadam.cli.workers import engine_of
    from datadam.evaluation.evaluate import evaluate as judge
    from datadam.evaluation.snapshots import at, kept

    machine.tune_allocator()
    ray = engine_of(engine, gpus_per_worker, address)
    device = check_device(device, ray)
    jobs = _jobs(runs, net, root)
    for job in jobs:
        prefixes(job.sets, job.run, ipc)
    names = {str(job.sets[0].card["recipe"].get("protocol", "honest")) for job in jobs}
    name = protocol or (names.pop() if len(names) == 1 else "honest")
    rule, count = rule_for(name, students, epochs, augment, full)
    made: list[tuple[Path, Evaluation]] = []
    for run, sets, real, specs in jobs:
        for spec in specs:
            if departs := rule.departures(ipc=ipc or sets[0].ipc, net=spec, zca=sets[0].transform.zca is not None):
                say(f"note: {departs}")

            def one(
                sets: "list[DistilledSet]",
                iteration: int | None = None,
                real: "RealData" = real,
                spec: str = spec,
                run: Path = run,
            ) -> "Evaluation":
                of = None if ipc in (None, sets[0].ipc) else f"first{ipc}"
                sets = prefixes(sets, run, ipc)
                with progress_of(f"{run.name} {spec}" + ("" if iteration is None else f" @{iteration}")) as progress:
                    evaluation = judge(
                        sets, real, net=spec, protocol=rule, students=count, seed=seed, device=device, precision=precision,
                        workers=workers, engine=ray, note=note, iteration=iteration, progress=progress, of=of,
                        keep=run / "evaluations",
                    )  # fmt: skip
                evaluation.save(_file(run, evaluation))
                made.append((run, evaluation))
                return evaluation

            final = one(sets)
            if snapshots or rule.selects:
                way = [one(at(sets, sets_of(run), i), i) for i in kept(sets, sets_of(run))]
                if rule.selects and way:
                    best = max([*way, final], key=lambda e: e.mean)
                    where = "the end" if best.iteration is None else f"iteration {best.iteration}"
                    best_of = f"the best of {len(way) + 1} iterations ({where})"
                    say(f"{run}: {100 * best.mean:.2f} % is {best_of}: SELECTED ON THE TEST SET")
    _remarks([evaluation for _, evaluation in made])
    result(_rows(made), [{"run": str(run), **evaluation.to_json()} for run, evaluation in made], as_json=json)


def baseline(
    data: Annotated[str, Parameter(help="as for distill")],
    *,
    ipc: Annotated[int | None, Parameter(help="random real images per class")] = None,
    whole: Annotated[bool, Parameter(help="the whole training set instead", negative="")] = False,
    beside: Annotated[Path | None, Parameter(help="keep the result in the evaluations of this run, judged as it is")] = None,
    sets: Annotated[int | None, Parameter(help="independent random choices (default 1)")] = None,
    net: Annotated[
        str | None, Parameter(help="students' networks, separated by commas (default: that of the run, or auto)")
    ] = None,
    protocol: ProtocolName = "honest",
    students: Students = None,
    epochs: Epochs = None,
    augment: Augment = None,
    full: Full = False,
    seed: Seed = 0,
    reading: Reading = AS_SAID,
    normalisation: Normalised = None,
    zca: Annotated[bool, Parameter(help="ZCA whitening", negative="")] = False,
    device: Device = "auto",
    precision: Precision = "float32",
    workers: Workers = None,
    engine: Engine = None,
    gpus_per_worker: Gpus = None,
    address: Address = None,
    note: Note = "",
    json: Json = False,
) -> None:
    """Judge random real images, or the whole training set.

    The code is that of `datadam evaluate`, so the numbers can be compared; beside a run they are stored by its decoder.
    """
    from datadam import machine
    from datadam.cli.evaluations import judged
    from datadam.cli.options import check_device, check_nets
    from datadam.cli.screen import result
    from datadam.cli.workers import engine_of
    from datadam.distillation.begin import distill
    from datadam.distillation.presets import preset
    from datadam.errors import InvalidInput
    from datadam.evaluation.evaluate import evaluate as judge
    from datadam.evaluation.evaluate import evaluate_whole

    if whole == (ipc is not None):
        raise InvalidInput("a baseline is either --ipc N random images per class or the --whole set; give one of them")
    if whole and (full or sets is not None):
        raise InvalidInput("the whole set is one set with one student, or --students N; leave out --full and --sets")
    ray = engine_of(engine, gpus_per_worker, address)
    if whole and ray is not None:
        raise InvalidInput("students of the whole set are trained in one process; leave out --engine")
    if whole and workers not in (None, 1):
        raise InvalidInput(f"workers is {workers}, and students of the whole set are trained in one process; leave out --workers")
    if sets is not None and sets < 1:
        raise InvalidInput(f"sets is {sets}; it must be at least 1")
    machine.tune_allocator()
    device = check_device(device, ray)
    rule, count = rule_for(protocol, students, None if whole else epochs, augment, full)
    if whole:
        rule, count = rule.whole_set().with_epochs(epochs), 1 if students is None else students
    real = reading.load(data, normalisation=normalisation)
    card = _card_beside(beside, real) if beside is not None else None
    of_run = card["transform"]["zca"] if card else None
    if card:
        if normalisation is not None or reading.flip is not None:
            raise InvalidInput(
                "beside a run, images are normalised and augmented as its own; leave out --normalisation and --flip"
            )
        real = _in_space(real, card)
    if zca or of_run:
        real = real.with_zca(of_run["variant"] if of_run else "kornia")
    made = []
    for spec in check_nets(net or (card["recipe"]["net"] if card else "auto"), real):
        with progress_of(f"{'whole' if whole else 'random'} {spec}") as progress:
            words: dict[str, Any] = {
                "net": spec,
                "protocol": rule,
                "students": count,
                "seed": seed,
                "device": device,
                "precision": precision,
                "note": note,
            }
            words["keep"] = beside / "evaluations" if beside is not None else None
            if whole:
                made.append(evaluate_whole(real, **words, progress=progress))
            else:
                recipe = preset("random", real, ipc=ipc or 0).change(
                    {"decoder": card.get("decoder", "plain") if card else "plain"}
                )
                chosen = [
                    distill(real, recipe.change({"seed": seed + s}), progress=False)
                    for s in range(sets or (rule.sets if full else 1))
                ]
                made.append(judge(chosen, real, **words, workers=workers, engine=ray, progress=progress))
        if beside is not None:
            made[-1].save(_file(beside, made[-1]))
    _remarks(made)
    result(judged([("", e.to_json()) for e in made], runs=False), [e.to_json() for e in made], as_json=json)


def _remarks(made: "list[Evaluation]") -> None:
    """Say what users should know of how students were trained, once."""
    from datadam.cli.screen import say

    for remark in dict.fromkeys(e.made["remark"] for e in made if "remark" in e.made):
        say(f"note: {remark}")


def rule_for(name: str, students: int | None, epochs: int | None, augment: str | None, full: bool) -> "tuple[Protocol, int]":
    """The protocol asked for, and how many students a set. Raises `InvalidInput`."""
    from datadam.errors import InvalidInput
    from datadam.evaluation.panel import protocol_named

    if full and students is not None:
        raise InvalidInput("--full asks for all students of the protocol and --students for some; give one of them")
    if students is not None and students < 1:
        raise InvalidInput(f"students is {students}; it must be at least 1")
    rule = protocol_named(name, epochs=epochs, augment=augment)
    return rule, rule.students if full else rule.usual_students if students is None else students


CALIBRATION = 5  # epochs before the expected time is measured


class progress_of:
    """A progress bar over the epochs of all students, which tells the expected time after the first ones."""

    def __init__(self, what: str) -> None:
        from datadam.cli.screen import bar

        self.what, self.context = what, bar(what)

    def __enter__(self) -> "Callable[[Progress], None]":
        import time

        from datadam.cli.screen import duration, say

        advance, began, told = self.context.__enter__(), 0.0, False

        def show(p: "Progress") -> None:
            nonlocal began, told
            done, total = (p.student - 1) * p.epochs + p.epoch, p.students * p.epochs
            if done == CALIBRATION:  # the first epochs compile
                began = time.monotonic()
            seconds = time.monotonic() - began
            if not told and done > CALIBRATION and seconds > 3:
                told = True
                expected = duration(seconds / (done - CALIBRATION) * (total - done))
                say(f"{self.what}: {p.students} students of {p.epochs} epochs, about {expected}")
            advance(f"{self.what}  student {p.student} of {p.students}", done, total)

        return show

    def __exit__(self, *what: object) -> None:
        self.context.__exit__(*what)  # type: ignore[arg-type]


def _jobs(runs: list[Path], net: str | None, root: Path | None) -> list[Job]:
    """Everything to judge; every name, file and folder is checked before the first student is trained."""
    from datadam.cli.options import check_nets, data_of_card, load_sets
    from datadam.files.whole import require_writable

    jobs: list[Job] = []
    loaded: dict[str, RealData] = {}
    for run in dict.fromkeys(runs):
        sets = load_sets(run)
        card = sets[0].card
        if (key := card["data"]["checksum"]) not in loaded:
            loaded[key] = data_of_card(card, root)
        jobs.append(Job(run, sets, loaded[key], check_nets(net or card["recipe"]["net"], loaded[key])))
        require_writable(run / "evaluations", cure="results are kept in the run; copy it to where you may write")
    return jobs


def _card_beside(run: Path, real: "RealData") -> dict[str, Any]:
    """The card of the run that a baseline is kept beside. Raises `InvalidInput` when it was made from other data."""
    from datadam.cli.options import sets_of
    from datadam.errors import InvalidInput
    from datadam.files.whole import require_writable
    from datadam.sets.card import read_card

    card = read_card(sets_of(run)[0])
    if card["data"]["checksum"] != real.checksum:
        raise InvalidInput(f"{run} was made from other data ({card['data']['source']}); a baseline beside it needs the same")
    require_writable(run / "evaluations", cure="results are kept in the run; copy it to where you may write")
    return card


def _in_space(real: "RealData", card: dict[str, Any]) -> "RealData":
    """The data as a run's are normalised, and mirrored by no augmentation where its are not; whitening is left to the caller."""
    from dataclasses import replace

    from datadam.data import Transform

    still = {"flip": False} if card["data"]["options"].get("flip", True) is False else {}
    transform = Transform.from_card(card["transform"] | {"zca": None})
    return replace(real, transform=transform, options=real.options | still)


def _file(run: Path, e: "Evaluation") -> Path:
    """Where an evaluation is kept: one asked for differently never takes the place of another."""
    from datadam.augment.siamese import STRATEGY, strategy_for

    net = e.net.replace(":", "-").replace("=", "")
    when = "" if e.iteration is None else f"-at{e.iteration:08d}"
    protocol, training, students = e.protocol, e.protocol.training, len(e.accuracies[0])
    usual = training.augment in (STRATEGY, strategy_for(e.data))
    augment = "" if usual else f"-{training.augment}"
    seed = f"-seed{e.seed}" if e.seed else ""
    precision = "" if e.precision == "float32" else f"-{e.precision}"
    name = f"{e.of}-{net}-{protocol.name}{training.epochs}x{students}{augment}{precision}{seed}{when}.json"
    return run / "evaluations" / name


def _rows(made: "list[tuple[Path, Evaluation]]") -> str:
    """Our rows, and below them what the runs' folders hold under the same protocol, number format and network."""
    from datadam.cli.evaluations import judged, kept_evaluations, verdicts
    from datadam.cli.options import sets_of
    from datadam.sets.card import read_card

    told: list[tuple[str, dict[str, Any]]] = [(str(run), e.to_json()) for run, e in made]
    shown = {_file(run, e) for run, e in made}
    for run, e in made:
        for path, other in kept_evaluations(run):
            alike = other["of"] == "whole" or (other["of"] != e.of and other["protocol"] == e.protocol.to_card())
            computed = other.get("precision", "float32") == e.precision
            if path not in shown and alike and computed and other["net"] == e.net:
                shown.add(path)
                told.append((str(run), other))
    lines = []
    for run in dict.fromkeys(run for run, _ in made):
        of_run = [other for where, other in told if where == str(run)]
        lines += verdicts(read_card(sets_of(run)[0]), of_run, str(run))
    return "\n".join([judged(told), *lines])
