"""`datadam search`: whether a small set ranks networks as the whole set does."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from datadam.cli.evaluate import Augment, ProtocolName
from datadam.cli.options import AS_SAID, Device, Json, Normalised, Note, Reading, Seed


def search(
    data: Annotated[str, Parameter(help="as for distill")],
    *,
    proxy: Annotated[
        str, Parameter(help="run folders, random (real images) or early (the whole set, stopped early), with commas")
    ],
    space: Annotated[
        str, Parameter(help="convnet720, or a part (convnet720:width=32,64); nasbench201; or a file with a network on each line")
    ],
    out: Annotated[Path, Parameter(help="folder of the result: search.json, search.csv and the page search.html")],
    count: Annotated[int | None, Parameter(help="networks drawn from the space (default: all; of nasbench201 100)")] = None,
    ipc: Annotated[int | None, Parameter(help="random real images per class (default: as many as the first run has)")] = None,
    epochs: Annotated[int, Parameter(help="of each network on a proxy")] = 200,
    whole_epochs: Annotated[int, Parameter(help="of each network on the whole set")] = 100,
    whole_images: Annotated[
        int | None, Parameter(help="training images that stand for the whole set, drawn (default: all)")
    ] = None,
    truth: Annotated[
        str | None, Parameter(help="table of NAS-Bench-201, FILE or FILE@COLUMN, instead of training the truth")
    ] = None,
    students: Annotated[int, Parameter(help="trainings of each network, ranked by their mean")] = 1,
    protocol: ProtocolName = "honest",
    augment: Augment = None,
    seed: Seed = 0,
    precision: Annotated[
        Literal["auto", "float32", "float64", "bfloat16"], Parameter(help="auto: bfloat16 where it is measured to be faster here")
    ] = "auto",
    workers: Annotated[int | None, Parameter(help="processes, each with a network of its own (default: one a core)")] = None,
    reading: Reading = AS_SAID,
    normalisation: Normalised = None,
    device: Device = "auto",
    note: Note = "",
    json: Json = False,
) -> None:
    """Rank networks by a small set, beside the whole set.

    Every network is trained on each proxy and on the whole set; Spearman's correlation, what a proxy would have chosen, and what
    it costs. Trainings are kept in the cache: the same command goes on after a stop, one with more proxies trains those alone.
    """
    from datadam import machine
    from datadam.applications.place import check_place, save
    from datadam.applications.search import Asked, plan
    from datadam.applications.search import search as make
    from datadam.applications.search_page import csv_text, sentence, sheet, text
    from datadam.cli.options import check_device, command
    from datadam.cli.screen import bar, duration, result, say, table
    from datadam.files.lock import alone_in
    from datadam.files.whole import write_text
    from datadam.wording import plural

    machine.tune_allocator()
    check_place(out, "search")
    device = check_device(device)
    real = reading.load(data, normalisation=normalisation)
    asked = Asked(
        proxies=tuple(word.strip() for word in proxy.split(",")), space=space, count=count, ipc=ipc, epochs=epochs,
        whole_epochs=whole_epochs, whole_images=whole_images, students=students, truth=truth, protocol=protocol, augment=augment,
        seed=seed, precision=precision,
    )  # fmt: skip
    made = plan(real, asked, device=device, workers=workers)
    took = f", about {duration(made.seconds)} on {plural(made.workers, 'process', 'processes')}" if made.seconds else ""
    there = f"; {made.kept} of them are there" if made.kept else ""
    say(f"{plural(len(made.networks), 'network')}, {plural(made.trainings, 'training')}{there}{took}")
    try:
        with alone_in(out, command()), bar("search", made.seconds) as advance:
            found = make(made, real, advance) | {"command": command(), "note": note}
            files = save(out, "search", found, sheet(found, command=command(), note=note))
            write_text(out / "search.csv", csv_text(found))
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"What was trained is kept; the same command goes on: {command()}") from None
    lines = [table(*text(found)), sentence(found), f"see      {files[1]}, {files[0].name}, search.csv"]
    result("\n".join(lines), found, as_json=json)
