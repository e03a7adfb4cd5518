"""Compare methods on one data set through the same draws, networks and judging: what is asked is settled, then made."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from datadam.comparison.earlier import Earlier
from datadam.comparison.grid import plan
from datadam.comparison.making import GridProgress, Making
from datadam.comparison.store import Store, check_place, require_same, settled
from datadam.comparison.table import Comparison
from datadam.data.field import Normalisation
from datadam.data.given import real_data
from datadam.distillation.forecast import students_within
from datadam.errors import noting
from datadam.evaluation.protocols import Protocol
from datadam.files.lock import alone_in
from datadam.parallel import Ray
from datadam.parallel.spread import require_limit
from datadam.progress import Asked, shown
from datadam.settings import refuse
from datadam.where import Where
from datadam.wording import shorten


def compare(
    real: Any,
    methods: list[str] | str,
    *,
    ipc: list[int] | int,
    nets: list[str] | str | None = None,
    repeats: int = 1,
    iterations: int | None = None,
    batch_real: int | None = None,
    precision: str | None = None,
    net: str = "auto",
    normalisation: Normalisation | None = None,
    zca: bool | None = None,
    protocol: Protocol | str = "honest",
    students: int | None = None,
    whole: bool = False,
    whole_epochs: int | None = None,
    seed: int = 0,
    device: str = "auto",
    workers: int | None = 1,
    engine: Ray | None = None,
    memory_limit: int | None = None,
    out: Path | str,
    earlier: Sequence[Path | str] = (),
    pictures: bool = True,
    note: str = "",
    command: str = "",
    progress: Asked = None,
) -> Comparison:
    """Compare methods on the real data (or on what `load` reads).

    What the folder holds already is not made again; an interrupted call, repeated, goes on.

    Arguments: `methods`, words such as "dm" or "datadam:power=1:layers=()", the first being the one that others are tested
    against; `ipc` (IPC), images per class; `nets`, the students' networks (None: `net`); `repeats`, independent sets of each,
    with seeds from `seed` on; `iterations`, `batch_real` and `precision`, instead of those of the presets, for methods that
    learn; `net`, the network that "auto" in a preset stands for; `normalisation` and `zca`, whitening, for all (None: as the
    presets say); `protocol` and `students` a set (None: 5, or all of a protocol that has fewer); `whole`, a last row of the whole
    training set, of `whole_epochs`; `workers`, as `evaluate`, or of `engine`, a Ray cluster on which whole cells go side by side
    (all its machines must see `out`); `memory_limit` in bytes, for this process and those of its workers together (of a cluster:
    for each process); `out`, the folder; `earlier`, folders of other comparisons, from which finished runs of the same recipes on
    the same data are copied instead of being made; `pictures`, whether table.png, table.svg and table.pdf are drawn, which
    takes a second each time; `note` and `command`, words for the table; `progress`: None, a bar in a terminal or a notebook;
    False, nothing; or called often with a `GridProgress`.
    A cell that cannot be made is refused, and one that breaks off failed, with the reason in the table; the rest is made.
    Raises `InvalidInput`, before any work, for what no cell can have or what `out` holds otherwise; `RunFailed` when the table
    cannot be written.
    """
    real = real_data(real, of='compare(real, "random,dm", ipc=10, out="runs/table")')
    out, device = Path(out), Where(device=device, engine=engine).device
    faults: list[str] = []
    grid = None
    with noting(faults):
        check_place(out)
    faults += [
        f"{folder} of earlier comparisons holds no runs; name the folder of one, in which runs/ lies"
        for folder in earlier if not (Path(folder) / "runs").is_dir()
    ]  # fmt: skip
    with noting(faults):
        real = real if normalisation is None else real.with_normalisation(normalisation)
    with noting(faults):
        require_limit(engine, memory_limit)
        workers = workers if engine is not None else students_within(workers, real, memory_limit)
    with noting(faults):
        grid = plan(
            real, methods, ipc, nets, repeats=repeats, iterations=iterations, batch_real=batch_real, precision=precision,
            net=net, normalisation=normalisation, zca=zca, protocol=protocol, students=students, whole=whole,
            whole_epochs=whole_epochs, seed=seed, device=device, memory_limit=memory_limit,
        )  # fmt: skip
    refuse(faults)
    assert grid is not None
    store = Store(out, real)
    with noting(faults):
        require_same(grid, store)
    refuse(faults)
    grid = settled(grid, store)
    with alone_in(out), _telling(progress) as told:
        Earlier(map(Path, earlier)).take_all(store, grid)
        where = Where(device=device, workers=workers, engine=engine, memory_limit=memory_limit, progress=told)
        return Making(grid, store, where, note, command, pictures=pictures).run()


@contextmanager
def _telling(asked: Asked) -> Iterator[Callable[[GridProgress], Any] | None]:
    """Who is told how far it is: whoever asked, or a bar where a person looks on, in seconds."""
    if callable(asked) or asked is False:
        yield asked or None
        return
    began = time.monotonic()

    def tell(p: GridProgress) -> None:
        spent = time.monotonic() - began
        advance(f"{p.done} of {p.parts}; {shorten(p.doing, 40)}", spent, None if p.left is None else spent + p.left, p.left)

    with shown(asked, "compare") as advance:
        yield tell
