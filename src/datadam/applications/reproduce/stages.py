"""A part of a table that judges a set at several stages of its making."""

from datadam import nets
from datadam.applications.reproduce.bench import Bench
from datadam.applications.reproduce.comparing import in_percent
from datadam.applications.reproduce.rows import DONE, Json, cells, row_of
from datadam.applications.sets import Judges, judged
from datadam.comparison.store import Store
from datadam.evaluation.panel import Panel, protocol_named
from datadam.evaluation.protocols import Protocol
from datadam.evaluation.snapshots import at
from datadam.where import Where


def judged_on_the_way(bench: Bench) -> tuple[list[Json], str]:
    """The rows of a part, one for each stage, and the protocol in words."""
    part, scale, how = bench.part, bench.scale, bench.how
    out, (text,) = bench.folder / bench.name, set(part.methods.values())
    word, rule = bench.word(text), protocol_named(part.protocol).with_epochs(scale.epochs)
    run, distilled = bench.sets([word], out)[word]
    store, where = Store(out, bench.real), Where(device=how.device, workers=how.workers)
    panel = Panel(
        net=nets.canonical(scale.net(part.nets[0]), bench.real.shape), protocol=rule,
        students=min(scale.students or rule.students, rule.students),
    ).settled(bench.real, "auto")  # fmt: skip
    assert isinstance(panel.protocol, Protocol)
    assert panel.net is not None
    judges = Judges(panel.net, panel.protocol, panel.protocol.whole_set(), panel.students or 1, panel.seed)
    rows = []
    words = ""
    for place, (row, ipc, net) in enumerate(cells(part)):
        iteration = round(bench.recipe(word).iterations * part.settings["stages"][row])
        (then,) = at([distilled], [run], iteration)
        found = judged(
            store, run, then, judges, where, of=f"iteration{iteration}", note=bench.note,
            advance=bench.advance(place, len(cells(part))),
        )  # fmt: skip
        given = row_of(part, row, ipc, net, status=DONE) | {"word": word, "made_on": judges.net}
        rows.append(given | in_percent(found["mean"], found["interval"]))
        words = str(found["words"])
    return rows, words
