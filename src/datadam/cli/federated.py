"""`datadam federated`: clients distil once, and a server trains on all their sets."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from datadam.cli.evaluate import Augment, ProtocolName, Workers
from datadam.cli.options import AS_SAID, Device, Json, Normalised, Note, Reading, Seed


def federated(
    data: Annotated[str, Parameter(help="as for distill")],
    *,
    out: Annotated[Path, Parameter(help="folder of runs and result; what it holds already is not made again")],
    clients: Annotated[int, Parameter(help="among whom the training images are dealt out")] = 10,
    split: Annotated[
        str, Parameter(help="how: iid, dirichlet:ALPHA (the smaller, the more uneven), classes:N for each client")
    ] = "dirichlet:0.1",
    method: Annotated[str, Parameter(help="a word as for compare, such as dm or datadam:power=1")] = "dm",
    ipc: Annotated[int, Parameter(help="images of each class that a client has")] = 10,
    students: Annotated[int, Parameter(help="networks trained on the union, and trainings of FedAvg")] = 3,
    rounds: Annotated[
        int | None, Parameter(help="of FedAvg (default: as many as the bytes of the sets pay for, at least 10)")
    ] = None,
    local_epochs: Annotated[int, Parameter(help="of a client in a round of FedAvg")] = 1,
    local_batch: Annotated[int, Parameter(help="images of a step there")] = 64,
    local_lr: Annotated[float, Parameter(help="rate there, with momentum 0.9")] = 0.01,
    net: Annotated[str, Parameter(help="of matching, of students and of FedAvg: auto, convnet3:width=32, ...")] = "auto",
    epochs: Annotated[int | None, Parameter(help="of each student, instead of the protocol's")] = None,
    iterations: Annotated[int | None, Parameter(help="of the method, instead of its preset's")] = None,
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
    """Let clients distil their own images and send sets once.

    The training images are dealt out to clients; a server trains on the union of their sets. Random images and FedAvg are held
    beside at equal bytes. Ctrl-C and worse stop it; the same command goes on, and one with more rounds adds them.
    """
    from datadam import machine
    from datadam.applications.federated import Asked, plan
    from datadam.applications.federated import federated as learn
    from datadam.applications.federated_page import sentence, sheet, text
    from datadam.applications.place import check_place, save
    from datadam.cli.lossless import about
    from datadam.cli.options import check_device, command
    from datadam.cli.screen import bar, result, say, table
    from datadam.files.lock import alone_in
    from datadam.where import Where
    from datadam.wording import plural, size

    machine.tune_allocator()
    check_place(out, "federated")
    device = check_device(device)
    real = reading.load(data, normalisation=normalisation)
    asked = Asked(
        clients=clients, split=split, method=method, ipc=ipc, students=students, rounds=rounds, local_epochs=local_epochs,
        local_batch=local_batch, local_lr=local_lr, net=net, epochs=epochs, protocol=protocol, augment=augment,
        iterations=iterations, batch_real=batch_real, precision=precision, seed=seed,
    )  # fmt: skip
    made = plan(real, asked, device=device)
    sets, trained = plural(clients, "set"), plural(students, "student")
    say(
        f"{sets} of {size(sum(made.set_bytes))} together ({about(made.seconds_sets)}), {trained} of these and as many of random "
        f"images ({about(made.seconds_students)}), {students} times {plural(made.rounds, 'round')} of FedAvg "
        f"({about(made.seconds_fedavg)})"
    )
    say(f"the bytes of the sets pay for {made.bought:.2g} rounds of FedAvg, of {size(made.round_bytes)} each")
    where = Where(device=device, workers=workers)
    try:
        with alone_in(out, command()), bar("federated") as advance:
            found = learn(made, out, where, note=note, command=command(), advance=advance) | {"command": command(), "note": note}
            files = save(out, "federated", found, sheet(found, command=command(), note=note))
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"What is done is kept; the same command goes on: {command()}") from None
    lines = [
        table(*text(found)),
        sentence(found),
        f"see      {files[1]}, {files[0].name}",
        f"union    {out / 'union' / made.folder}",
    ]
    result("\n".join(lines), found, as_json=json)
