"""A part of a table that learns class after class from a memory of small sets."""

from datadam.applications import place
from datadam.applications.continual import Asked, Plan, continual, plan
from datadam.applications.continual_page import sheet
from datadam.applications.reproduce.bench import Bench
from datadam.applications.reproduce.comparing import in_percent
from datadam.applications.reproduce.rows import DONE, Json, cells, row_of
from datadam.comparison.store import Store
from datadam.where import Where
from datadam.wording import plural


def learned(bench: Bench) -> tuple[list[Json], str]:
    """The rows of a part, final accuracies, and the protocol in words."""
    part, scale, how = bench.part, bench.scale, bench.how
    words = {row: bench.word(word) for row, word in part.methods.items()}
    steps = scale.steps.get(part.settings["steps"], part.settings["steps"])
    asked = Asked(
        methods=",".join(words.values()), steps=steps, ipc=part.ipc[0], orders=scale.repeats if scale.part else 5,
        students=1, net=scale.net(part.nets[0]), epochs=scale.epochs, protocol=part.protocol,
        iterations=scale.iterations or part.iterations, batch_real=scale.batch_real,
    )  # fmt: skip
    out = bench.folder / f"continual-{part.data}"
    made = plan(bench.real, asked, device=how.device)
    _take(bench, made, Store(out, bench.real))
    where = Where(device=how.device, workers=how.workers)
    found = continual(made, out, where, note=bench.note, command=how.command, advance=bench.advance())
    found |= {"command": how.command, "note": bench.note}
    place.save(out, f"steps{steps}", found, sheet(found, command=how.command, note=bench.note))
    finals = {one["method"]: one["final"] for one in found["methods"]}
    rows = []
    for row, ipc, net in cells(part):
        given = row_of(part, row, ipc, net, status=DONE) | {"word": words[row], "made_on": found["net"]}
        rows.append(given | in_percent(finals[words[row]]["value"], finals[words[row]]))
    told = f"{plural(asked.orders, 'order')} of the classes in {plural(steps, 'step')}, {plural(asked.students, 'student')} each"
    return rows, f"{told}: {made.judges.protocol.name}, {made.judges.protocol.training.epochs} epochs"


def _take(bench: Bench, made: Plan, store: Store) -> None:
    """Sets of all classes that other tables have made serve here too, where each class is made once."""
    folders = {f"{method.word.folder}-ipc{made.asked.ipc}": method.recipe for method in made.methods if method.once}
    bench.take(store, folders)
