"""`datadam lossless`: how small a set will do."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from datadam.cli.evaluate import Augment, ProtocolName, Workers
from datadam.cli.options import AS_SAID, Device, Json, Normalised, Note, Reading, Seed


def lossless(
    data: Annotated[str, Parameter(help="as for distill")],
    *,
    out: Annotated[Path, Parameter(help="folder of runs and result; what it holds already is not made again")],
    tolerance: Annotated[float, Parameter(help="points of accuracy that a set may lack")] = 0.5,
    method: Annotated[str, Parameter(help="a word as for compare, such as dm or datadam:power=1")] = "datadam",
    ipc_list: Annotated[str, Parameter(help="images per class to try, such as 1,10,50; auto doubles and then bisects")] = "auto",
    most: Annotated[int | None, Parameter(help="images per class at which auto ends (default: the smallest class)")] = None,
    confidence: Annotated[float, Parameter(help="of the intervals that decide")] = 0.95,
    students: Annotated[int, Parameter(help="of each set, at least 2")] = 5,
    net: Annotated[str, Parameter(help="of matching and of students: auto, convnet3, ...")] = "auto",
    epochs: Annotated[int | None, Parameter(help="of each student, instead of the protocol's")] = None,
    whole_epochs: Annotated[int | None, Parameter(help="of each student of the whole set (default 100)")] = None,
    iterations: Annotated[int | None, Parameter(help="of the method, instead of its preset's")] = None,
    batch_real: Annotated[int | None, Parameter(help="real images per class and iteration, likewise")] = None,
    precision: Annotated[str | None, Parameter(help="of the method, likewise: auto, float32, float64, bfloat16")] = None,
    protocol: ProtocolName = "honest",
    augment: Augment = None,
    seed: Seed = 0,
    workers: Workers = None,
    reading: Reading = AS_SAID,
    normalisation: Normalised = None,
    device: Device = "auto",
    note: Note = "",
    json: Json = False,
) -> None:
    """Find how few images per class will do.

    Sizes are doubled and then bisected, each set begun from the last; random real images are judged beside. Intervals decide,
    and not single numbers. Ctrl-C and worse stop it; the same command goes on.
    """
    from datadam import machine
    from datadam.applications.lossless import Asked, plan
    from datadam.applications.lossless import lossless as find
    from datadam.applications.lossless_page import sentence, sheet, text
    from datadam.applications.place import check_place, save
    from datadam.cli.compare import numbers
    from datadam.cli.options import check_device, command
    from datadam.cli.screen import bar, result, say, table
    from datadam.files.lock import alone_in
    from datadam.where import Where

    machine.tune_allocator()
    check_place(out, "lossless")
    listed = None if ipc_list == "auto" else tuple(numbers(ipc_list, "ipc_list"))
    device = check_device(device)
    real = reading.load(data, normalisation=normalisation)
    asked = Asked(
        method=method, tolerance=tolerance, confidence=confidence, ipc_list=listed, most=most, students=students, net=net,
        epochs=epochs, whole_epochs=whole_epochs, protocol=protocol, augment=augment, iterations=iterations,
        batch_real=batch_real, precision=precision, seed=seed,
    )  # fmt: skip
    made = plan(real, asked, device=device)
    tries = f"{len(made.listed)} sizes at most" if made.listed else f"sizes up to {made.most} images per class"
    say(
        f"{students} students of the whole set ({about(made.seconds_whole)}), then {tries}, each with {students} students "
        f"of a set by {method} (the first {about(made.seconds_set)} to make) and of random images"
    )
    where = Where(device=device, workers=workers)
    try:
        with alone_in(out, command()), bar("lossless") as advance:
            found = find(made, out, where, note=note, command=command(), advance=advance) | {"command": command(), "note": note}
            files = save(out, "lossless", found, sheet(found, command=command(), note=note))
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"What is done is kept; the same command goes on: {command()}") from None
    lines = [table(*text(found)), sentence(found), f"see      {files[1]}, {files[0].name}", f"runs     {out / 'runs'}"]
    result("\n".join(lines), found, as_json=json)


def about(seconds: float) -> str:
    """Seconds that were foreseen, in words."""
    from datadam.cli.screen import duration

    return f"about {duration(seconds)}" if seconds else "moments"
