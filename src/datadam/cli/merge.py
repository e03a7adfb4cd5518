"""`datadam merge`: the sets of several runs as one."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from datadam.cli.options import AS_SAID, Json, Note, Reading, command


def merge(
    *runs: Annotated[Path, Parameter(help="run folders; of repeats, every set")],
    out: Annotated[Path, Parameter(help="the new run folder")],
    data: Annotated[
        str | None, Parameter(help="the data that the merged set stands for, where the runs were made from different ones")
    ] = None,
    reading: Reading = AS_SAID,
    overwrite: Annotated[bool, Parameter(help="replace a run that is there", negative="")] = False,
    note: Note = "",
    json: Json = False,
) -> None:
    """Put several sets together into one.

    They may be of other classes, or hold more images of the same.
    Classes may end with different numbers of images. Sets of other shapes, decoders, kinds of labels or whitenings are
    refused, and so are learned rates, which hold for one set alone.
    """
    from datadam.cli.options import load_sets, set_line
    from datadam.cli.screen import result
    from datadam.errors import InvalidInput
    from datadam.exchange import place
    from datadam.exchange.inward import CARDS
    from datadam.sets.distilled import DistilledSet

    sets = [one for run in runs for one in load_sets(run)]
    place.require_free(out, overwrite=overwrite, marks=CARDS, what="a run")
    if data is None and (given := reading.given()):
        options = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise InvalidInput(f"{options} says how data are read, and none are; give --data as well, or leave it out")
    real = None if data is None else reading.load(data)
    made = DistilledSet.merge(sets, real, note=note, command=command())
    with place.whole_folder(out) as partial:
        made.save(partial)
    lines = [f"{out}: {set_line(made.card)}; merged from {len(sets)} sets", f"judge    datadam evaluate {out}"]
    result("\n".join(lines), {"run": str(out), "card": made.card}, as_json=json)
