"""A part of a table that is a comparison of methods, with the pool of networks that some of them match on."""

from datadam.applications.reproduce.bench import Bench
from datadam.applications.reproduce.rows import ABSENT, Json, cells, row_of
from datadam.applications.reproduce.tables import WHOLE_SET, Part
from datadam.comparison.compare import compare
from datadam.comparison.making import GridProgress
from datadam.comparison.table import WHOLE
from datadam.distillation.begin import prepared
from datadam.distillation.presets import preset
from datadam.evaluation.panel import protocol_named
from datadam.training.pretrain import Progress as Trained
from datadam.training.pretrain import pretrain
from datadam.wording import plural


def compared(bench: Bench) -> tuple[list[Json], str]:
    """The rows of a part, and the protocol in words."""
    part, scale, how = bench.part, bench.scale, bench.how
    if part.pool:
        _train_pool(bench)
    words = {row: bench.word(word) for row, word in part.methods.items()}
    rule = protocol_named(part.protocol).with_epochs(scale.epochs)
    table = compare(
        bench.real, list(words.values()), ipc=list(part.ipc), nets=[scale.net(net) for net in part.nets],
        repeats=min(scale.repeats, rule.sets),
        iterations=scale.iterations or part.iterations, batch_real=scale.batch_real, net=scale.net("convnet"), protocol=rule,
        students=min(scale.students or rule.students, rule.students), whole=part.whole,
        whole_epochs=scale.whole_epochs if part.whole else None, device=how.device, workers=how.workers, engine=how.engine,
        out=bench.folder / bench.name, earlier=bench.earlier, pictures=scale.pictures,
        note=bench.note, command=how.command, progress=how.progress,
    ).table  # fmt: skip
    made = {(row["method"], row["ipc"]): row for row in table["rows"]}
    rows = []
    for row, ipc, net in cells(part):
        if row in part.absent or (row not in words and row != WHOLE_SET):
            rows.append(row_of(part, row, ipc, net, status=ABSENT, reason=part.absent.get(row, "")))
            continue
        of_row = made[WHOLE, None] if row == WHOLE_SET else made[words[row], ipc]
        label = table["nets"][part.nets.index(net)]
        cell = of_row["cells"][label]
        given = row_of(part, row, ipc, net, status=cell["status"], reason=cell["reason"])
        given |= {"word": words.get(row, ""), "made_on": label}
        rows.append(given | _measured(part, of_row, cell))
    return rows, str(table["words"])


def _train_pool(bench: Bench) -> None:
    """Train the networks of a table's pool, or what of them is missing; how many is told first."""
    count, epochs = bench.scale.pool
    told, pool = bench.how.progress, bench.folder.resolve() / f"pool-{bench.part.data}"
    whitened = prepared(bench.real, preset("datadam", bench.real, ipc=bench.part.ipc[0]))

    def tell(at: Trained) -> None:
        doing = f"network {at.network} of {at.networks}, epoch {at.epoch} of {at.epochs}"
        if callable(told):
            told(GridProgress(at.network - 1, at.networks, doing, at.epoch / at.epochs, None))

    if callable(told):
        first = f"{plural(count, 'network')} of {plural(epochs, 'epoch')} on the real set come first, in {pool}"
        told(GridProgress(0, count, "", 0.0, None, first))
    pretrain(whitened, pool, net=bench.scale.net("convnet"), count=count, epochs=epochs, device=bench.how.device, progress=tell)


def _measured(part: Part, row: Json, cell: Json) -> Json:
    """What was measured in the unit of the published numbers: %, seconds an iteration, or MB."""
    if part.measure == "accuracy":
        return in_percent(cell["mean"], cell["interval"])
    if row["seconds"] is None:
        return {}
    return {"value": round(row["seconds"] / row["iterations"], 6) if part.measure == "seconds" else row["peak_memory_mb"]}


def in_percent(mean: float | None, interval: Json | None) -> Json:
    """Value, low and high end of an accuracy."""
    ends = interval or {"low": None, "high": None}
    values = {"value": mean, "low": ends["low"], "high": ends["high"]}
    return {name: None if value is None else round(100 * value, 4) for name, value in values.items()}
