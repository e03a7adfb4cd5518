"""`datadam continual`: learning class after class from a memory of small sets."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from datadam.cli.evaluate import Augment, ProtocolName, Workers
from datadam.cli.options import AS_SAID, Device, Json, Normalised, Note, Reading, Seed


def continual(
    data: Annotated[str, Parameter(help="as for distill")],
    *,
    out: Annotated[Path, Parameter(help="folder of runs and result; what it holds already is not made again")],
    steps: Annotated[int, Parameter(help="in which the classes come, equally many in each")] = 5,
    ipc: Annotated[int, Parameter(help="images of each class in the memory")] = 20,
    methods: Annotated[
        str, Parameter(help="words as for compare; others are tested against the first")
    ] = "random,herding:features=random,dm,datadam",
    orders: Annotated[int, Parameter(help="orders of the classes; 3 or more for tests")] = 5,
    students: Annotated[int, Parameter(help="networks trained after each step")] = 1,
    net: Annotated[str, Parameter(help="of matching and of students: auto, convnet3:width=32, ...")] = "auto",
    epochs: Annotated[int | None, Parameter(help="of each student, instead of the protocol's")] = None,
    iterations: Annotated[int | None, Parameter(help="of every method that learns, instead of its preset's")] = None,
    batch_real: Annotated[int | None, Parameter(help="real images per class and iteration, likewise")] = None,
    precision: Annotated[str | None, Parameter(help="likewise: auto, float32, float64, bfloat16")] = None,
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
    """Learn class after class from a memory of small sets.

    After each step a network is trained from scratch on the memory alone. Methods that look at one class at a time make each
    class once, for all orders and steps. Ctrl-C and worse stop it; the same command goes on, and one with more orders adds them.
    """
    from datadam import machine
    from datadam.applications.continual import Asked, plan
    from datadam.applications.continual import continual as learn
    from datadam.applications.continual_page import sentence, sheet, text
    from datadam.applications.place import check_place, save
    from datadam.cli.lossless import about
    from datadam.cli.options import check_device, command
    from datadam.cli.screen import bar, result, say, table
    from datadam.files.lock import alone_in
    from datadam.where import Where
    from datadam.wording import plural

    machine.tune_allocator()
    check_place(out, "continual")
    device = check_device(device)
    real = reading.load(data, normalisation=normalisation)
    asked = Asked(
        methods=methods, steps=steps, ipc=ipc, orders=orders, students=students, net=net, epochs=epochs, protocol=protocol,
        augment=augment, iterations=iterations, batch_real=batch_real, precision=precision, seed=seed,
    )  # fmt: skip
    made = plan(real, asked, device=device)
    trained = plural(len(made.methods) * orders * steps * students, "student")
    once = ", ".join(method.word.word for method in made.methods if method.once) or "none"
    say(
        f"{plural(len(made.methods), 'method')}, {plural(orders, 'order')} of {plural(steps, 'step')}: "
        f"sets {about(made.seconds_sets)}, {trained} {about(made.seconds_students)}; made once for all orders: {once}"
    )
    where = Where(device=device, workers=workers)
    try:
        with alone_in(out, command()), bar("continual") as advance:
            found = learn(made, out, where, note=note, command=command(), advance=advance) | {"command": command(), "note": note}
            files = save(out, "continual", found, sheet(found, command=command(), note=note))
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"What is done is kept; the same command goes on: {command()}") from None
    lines = [table(*text(found)), sentence(found), f"see      {files[1]}, {files[0].name}", f"memories {out / 'memory'}"]
    result("\n".join(lines), found, as_json=json)
