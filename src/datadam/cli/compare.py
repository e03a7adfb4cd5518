"""`datadam compare`: many methods under one protocol, and the table."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from datadam.cli.evaluate import Augment, Full, ProtocolName, Students, Workers
from datadam.cli.options import AS_SAID, Device, Json, Normalised, Note, Reading, Seed
from datadam.cli.workers import Address, Engine, Gpus

if TYPE_CHECKING:
    from datadam.comparison.making import GridProgress

EVERY = 15.0  # seconds between two lines where no bar can be drawn


def compare(
    data: Annotated[str, Parameter(help="as for distill")],
    *,
    methods: Annotated[
        str, Parameter(help="words such as random,dm,datadam:power=1:layers=none; others are tested against the first")
    ],
    ipc: Annotated[str, Parameter(help="images per class, such as 1,10")],
    out: Annotated[Path, Parameter(help="folder of runs and table; what it holds already is not made again")],
    nets: Annotated[
        str | None,
        Parameter(help="students' networks, such as convnet3,alexnet,vgg11; NET@AUGMENT for other augmentation (default: --net)"),
    ] = None,
    earlier: Annotated[
        str | None, Parameter(help="folders of other comparisons, with commas: what they have made already is copied")
    ] = None,
    pictures: Annotated[bool, Parameter(help="draw table.png, table.svg and table.pdf (--no-pictures: faster)")] = True,
    repeats: Annotated[int, Parameter(help="independent sets of each, with seeds counting up; 3 or more for tests")] = 1,
    iterations: Annotated[int | None, Parameter(help="of every method that learns, instead of its preset's")] = None,
    batch_real: Annotated[int | None, Parameter(help="real images per class and iteration, likewise")] = None,
    precision: Annotated[str | None, Parameter(help="likewise: auto, float32, float64, or bfloat16 on the real side")] = None,
    net: Annotated[str, Parameter(help="matching network where a preset says auto: convnet3:width=32, ...")] = "auto",
    normalisation: Normalised = None,
    zca: Annotated[bool | None, Parameter(help="ZCA whitening for all (--no-zca: for none; default: as the presets say)")] = None,
    protocol: ProtocolName = "honest",
    students: Students = None,
    epochs: Annotated[int | None, Parameter(help="of each student, instead of the protocol's")] = None,
    augment: Augment = None,
    full: Full = False,
    whole: Annotated[bool, Parameter(help="a last row: the whole training set", negative="")] = False,
    whole_epochs: Annotated[int | None, Parameter(help="epochs of that row (default 100)")] = None,
    seed: Seed = 0,
    reading: Reading = AS_SAID,
    device: Device = "auto",
    workers: Workers = None,
    engine: Engine = None,
    gpus_per_worker: Gpus = None,
    address: Address = None,
    memory_limit: Annotated[str | None, Parameter(help="as for distill")] = None,
    note: Note = "",
    json: Json = False,
) -> None:
    """Compare methods on your data in one table.

    All go through the same draws, networks and judging. Ctrl-C and worse stop it; the same command goes on, and a longer
    one adds methods, images per class, networks or repeats.
    """
    from datadam import machine
    from datadam.cli.evaluate import rule_for
    from datadam.cli.options import check_device, command, data_limit, size_in_bytes
    from datadam.cli.screen import result
    from datadam.cli.workers import engine_of
    from datadam.comparison.compare import compare as run
    from datadam.comparison.store import check_place
    from datadam.comparison.variants import split, variant
    from datadam.errors import InvalidInput, RunFailed, noting
    from datadam.wording import plural

    machine.tune_allocator()
    faults: list[str] = []
    counts: list[int] = []
    words: list[str] = []
    rule, limit, ray = None, None, None
    with noting(faults):
        check_place(out)
    with noting(faults):
        rule, each = rule_for(protocol, students, epochs, augment, full)
    with noting(faults):
        ray = engine_of(engine, gpus_per_worker, address)
        device = check_device(device, ray)
    with noting(faults):
        counts = numbers(ipc, "ipc")
    with noting(faults):
        limit = size_in_bytes(memory_limit)
    if workers is not None and workers < 1:
        faults.append(f"workers is {workers}; it must be at least 1")
    with noting(faults):
        words = split(methods)
    for word in words:
        with noting(faults):
            variant(word)  # before the data are read
    if faults or rule is None:
        raise InvalidInput(*faults)
    real = reading.load(data, **data_limit(limit))
    try:
        with grid_progress() as progress:
            made = run(
                real, words, ipc=counts, nets=nets, repeats=repeats, iterations=iterations, batch_real=batch_real,
                precision=precision, net=net, normalisation=normalisation, zca=zca, protocol=rule, students=each, whole=whole,
                whole_epochs=whole_epochs, seed=seed, device=device,
                workers=workers, engine=ray, memory_limit=limit, out=out, note=note, command=command(), progress=progress,
                pictures=pictures, earlier=[Path(folder.strip()) for folder in earlier.split(",")] if earlier else (),
            )  # fmt: skip
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"What is done stands in {out / 'table.md'}. Go on with the same command: {command()}") from None
    drawn = ", table.png, table.svg, table.pdf" if pictures else ""
    where = f"see      {out / 'table.md'}, table.tex, table.csv, table.json{drawn}\nruns     {out / 'runs'}"
    terminal = sys.stdout.isatty()
    result(f"{_text(made.table, terminal)}\n\n{where}", made.to_json(), as_json=json)
    if made.failed:
        raise RunFailed(f"{plural(made.failed, 'cell')} of the table failed, as it says; the same command tries again")


def _text(table: dict[str, object], terminal: bool) -> str:
    from shutil import get_terminal_size

    from datadam.report.table import text

    return text(table, width=get_terminal_size().columns if terminal else 0, colour=terminal)


def numbers(text: str, name: str) -> list[int]:
    """Whole numbers with commas between them, of the option `name`. Raises `InvalidInput`."""
    from datadam.errors import InvalidInput

    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise InvalidInput(f"{name} is {text!r}; write whole numbers such as 1,10") from None


@contextmanager
def grid_progress() -> "Iterator[Callable[[GridProgress], None]]":
    """The whole grid as one bar, which knows the time left by what the parts took; remarks on lines of their own."""
    import time

    from datadam.cli.screen import bar, duration, say
    from datadam.wording import shorten

    began = time.monotonic()
    last = -EVERY
    if sys.stderr.isatty():
        with bar("compare") as advance:

            def draw(p: "GridProgress") -> None:
                spent = time.monotonic() - began
                if p.remark:
                    say(p.remark)
                advance(
                    f"{p.done} of {p.parts}; {shorten(p.doing, 40)}", spent, None if p.left is None else spent + p.left, p.left
                )

            yield draw
        return

    def write(p: "GridProgress") -> None:
        nonlocal last
        spent = time.monotonic() - began
        if p.remark:
            say(p.remark)
        if p.remark or spent - last >= EVERY:
            last = spent
            left = "" if p.left is None else f", about {duration(p.left)} left"
            doing = f"; {p.doing}, {100 * p.share:.0f} %" if p.doing and not p.remark else ""
            say(f"{p.done} of {p.parts} parts done, {duration(spent)} so far{left}{doing}")

    yield write
