"""`datadam reproduce`: tables and figures of the papers, made again."""

import gc
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from datadam.cli.evaluate import Workers
from datadam.cli.options import AS_SAID, Device, Json, Reading
from datadam.cli.workers import Address, Engine, Gpus

if TYPE_CHECKING:
    from datadam.applications.reproduce.tables import Table


def reproduce(
    name: Annotated[str, Parameter(help="table5, figure4, course3, ...; several with commas; all; list; page")],
    *,
    scale: Annotated[
        Literal["full", "small", "tiny"],
        Parameter(help="full: as published; small: hours of two cores a table; tiny: seconds, to see that it works"),
    ] = "full",
    only: Annotated[str | None, Parameter(help="a part of the table, such as cifar10:ipc10")] = None,
    out: Annotated[
        Path, Parameter(help="folder of tables, a folder each, and of index.html; what it holds already is not made again")
    ] = Path("runs/reproduce"),
    reading: Reading = AS_SAID,
    device: Device = "auto",
    workers: Workers = None,
    engine: Engine = None,
    gpus_per_worker: Gpus = None,
    address: Address = None,
    json: Json = False,
) -> None:
    """Make the tables and figures of papers again.

    Published numbers stand beside ours. `datadam reproduce list` says which there are, and which are not available and why;
    `datadam reproduce page` writes the page of all that a folder holds. Data that are not there are skipped by name. The same
    command goes on after a stop.
    """
    from datadam import machine
    from datadam.applications.reproduce.bench import How
    from datadam.applications.reproduce.making import check_place
    from datadam.applications.reproduce.making import reproduce as make
    from datadam.applications.reproduce.page import notes, sentence, text, write_page
    from datadam.applications.reproduce.scales import scale_named
    from datadam.cli.compare import grid_progress
    from datadam.cli.options import check_device, command
    from datadam.cli.screen import result, say, table
    from datadam.cli.workers import engine_of
    from datadam.errors import RunFailed, noting
    from datadam.files.lock import alone_in
    from datadam.settings import refuse
    from datadam.wording import plural

    if name == "list":
        _list(as_json=json)
        return
    if name == "page":
        page = write_page(out)
        result(f"see {page}", {"page": str(page)}, as_json=json)
        return
    machine.tune_allocator()
    faults: list[str] = []
    size = scale_named(scale)
    tables: list[Table] = []
    for wanted in _wanted(name):
        with noting(faults):
            tables.append(_table(wanted, only))
    with noting(faults):
        ray = engine_of(engine, gpus_per_worker, address)
        device = check_device(device, ray)
    for one in tables:
        with noting(faults):
            check_place(one, size, out)
    refuse(faults)
    texts, found = [], []
    load = lru_cache(maxsize=1)(reading.load)  # the smallest scale has one data set alone
    try:
        with alone_in(out, command()):
            for one in tables:
                say(f"{one.name}: {one.title}; scale {size.name}: {size.words}")
                if ray and any(part.by != "compare" for part in one.parts.values()):
                    say(f"{one.name}: --engine spreads comparisons alone; what else it consists of is made by this machine")
                with grid_progress() as progress:
                    how = How(device=device, workers=workers, engine=ray, command=command(), progress=progress, root=reading.root)
                    made = make(one, size, out, load, how)
                found.append(made)
                texts.append("\n".join([sentence(made), table(*text(made)), *notes(made)]))
                page = write_page(out)
                gc.collect()
                gc.freeze()  # libraries stay: that each set's memory is told by itself takes a collection for each
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"What is done is kept; the same command goes on: {command()}") from None
    result("\n\n".join([*texts, f"see {page}"]), found, as_json=json)
    if failed := sum(row["status"] in ("failed", "part") for made in found for row in made["rows"]):
        raise RunFailed(f"{plural(failed, 'number')} failed, as the table says; the same command tries again")


def _wanted(name: str) -> list[str]:
    from datadam.applications.reproduce.tables import names

    return list(names()) if name == "all" else list(dict.fromkeys(part.strip() for part in name.split(",")))


def _table(name: str, only: str | None) -> "Table":
    from datadam.applications.reproduce.tables import table_named

    return table_named(name) if only is None else table_named(name).only(only)


def _list(*, as_json: bool) -> None:
    """Which tables there are, and which there are not, and why."""
    from datadam.applications.reproduce.tables import NOT_AVAILABLE, names, order, table_named
    from datadam.cli.screen import result, table

    made = {name: table_named(name) for name in names()}
    there = [(name, one.title, ", ".join(dict.fromkeys(part.data for part in one.parts.values()))) for name, one in made.items()]
    absent = [(name, NOT_AVAILABLE[name]) for name in sorted(NOT_AVAILABLE, key=order)]
    told = f"{table(('name', 'what', 'data'), there)}\n\n{table(('not available', 'why'), absent)}"
    value = {"available": {name: one.title for name, one in made.items()}, "not_available": NOT_AVAILABLE}
    result(told, value, as_json=as_json)
