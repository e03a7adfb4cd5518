"""`datadam add-class`: a run with the classes that it lacks."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from datadam.cli.options import AS_SAID, Device, Json, Note, Reading


def add_class(
    run: Annotated[Path, Parameter(help="the run folder, which stays as it is")],
    data: Annotated[str, Parameter(help="data of the old and the new classes, as for distill")],
    *,
    out: Annotated[Path, Parameter(help="the new run folder, of all classes")],
    reading: Reading = AS_SAID,
    device: Device = "auto",
    note: Note = "",
    json: Json = False,
) -> None:
    """Add the classes of DATA that a run lacks, by its own recipe.

    Exact for methods that treat each class alone: the images are those of one run of all classes; others are refused.
    Ctrl-C and worse stop it; the same command goes on.
    """
    from datadam import machine
    from datadam.applications.adding import add, plan
    from datadam.cli.lossless import about
    from datadam.cli.options import check_device, command, load_sets, set_line
    from datadam.cli.screen import bar, result, say
    from datadam.errors import InvalidInput
    from datadam.files.lock import LOCK, alone_in
    from datadam.files.partial import END
    from datadam.where import Where
    from datadam.wording import plural

    machine.tune_allocator()
    if out.exists() and not out.is_dir():
        raise InvalidInput(f"{out} is a file; choose a folder with --out")
    if out.is_dir() and {path.name for path in out.iterdir() if not path.name.endswith(END)} - {LOCK, "runs"}:
        raise InvalidInput(f"{out} is not empty; choose another folder with --out")
    earlier, *more = load_sets(run)
    if more:
        raise InvalidInput(f"{run} holds {1 + len(more)} sets; add to each of them, such as {run / '0'}")
    device = check_device(device)
    made = plan(earlier, reading.load(data), device=device)
    names = plural(len(made.names), "class", "classes")
    say(f"{names} to add: {', '.join(made.names)}; by {made.recipe.method.name} ({about(made.forecast.seconds)})")
    if not made.exact:
        say("note: the images of the old classes are not those that the run was made from; its own images stay as they are")
    try:
        with alone_in(out, command()), bar("add-class") as advance:
            whole = add(made, out, Where(device=device), note=note, command=command(), advance=advance)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"What is done is kept; the same command goes on: {command()}") from None
    exact = "as one run of all classes would have made it" if made.exact else "beside the run's own classes"
    lines = [f"{out}: {set_line(whole.card)}; {names} added, {exact}", f"judge    datadam evaluate {out}"]
    told = {"run": str(out), "added": list(made.names), "exact": made.exact, "card": whole.card}
    result("\n".join(lines), told, as_json=json)
