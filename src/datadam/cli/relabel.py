"""`datadam relabel`: a run's images with soft labels of teachers."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from datadam.cli.options import Device, Json, Note, RunRoot, Seed, command


def relabel(
    run: Annotated[Path, Parameter(help="run folder; of repeats, every set")],
    *,
    teacher: Annotated[str, Parameter(help="range of a pool, such as POOL@60-100, or a network to train, such as convnet3")],
    out: Annotated[Path, Parameter(help="the new run folder")],
    count: Annotated[int | None, Parameter(help="of a network: how many are trained (default 3)")] = None,
    epochs: Annotated[int | None, Parameter(help="of each, on the whole training set (default 30)")] = None,
    temperature: Annotated[float, Parameter(help="of the softmax that students learn")] = 1.0,
    seed: Seed = 0,
    overwrite: Annotated[bool, Parameter(help="replace a run that is there", negative="")] = False,
    root: RunRoot = None,
    device: Device = "auto",
    note: Note = "",
    json: Json = False,
) -> None:
    """Give a set soft labels.

    The stored images stay; labels become the mean of the teachers' logits. What is trained is kept in the cache. Sets with soft
    labels are listed beside those with hard ones and never ranked with them.
    """
    from datadam import machine
    from datadam.cli.options import check_device, data_of_card, load_sets, set_line
    from datadam.cli.screen import bar, result
    from datadam.evaluation.relabel import relabel as make
    from datadam.exchange import place
    from datadam.exchange.inward import CARDS
    from datadam.wording import percent, plural

    machine.tune_allocator()
    device = check_device(device)
    sets = load_sets(run)
    place.require_free(out, overwrite=overwrite, marks=CARDS, what="a run")
    real = data_of_card(sets[0].card, root)
    with bar("relabel") as advance:
        made = [
            make(
                one, real, teacher, count=count, epochs=epochs, temperature=temperature, seed=seed, device=device, note=note,
                command=command(), progress=advance,
            )
            for one in sets
        ]  # fmt: skip
    with place.whole_folder(out) as partial:
        for number, one in enumerate(made):
            one.save(partial / str(number) if len(made) > 1 else partial)
    card = made[0].card
    told, many = card["relabelled"]["teacher"], f"{len(made)} sets of " if len(made) > 1 else ""
    how = f"of {told['pool'].partition('#')[0]}" if "pool" in told else f"trained for {plural(told['epochs'], 'epoch')}"
    agree = sum(one.card["relabelled"]["agree"] for one in made) / len(made)
    lines = [
        f"{out}: {many}{set_line(card)}",
        f"teachers: {plural(told['networks'], 'network')} {told['net']}, {how}; they find {percent(agree)} of the images most "
        "likely of the class that they stand for",
        f"judge    datadam evaluate {out}",
    ]
    result("\n".join(lines), {"run": str(out), "cards": [one.card for one in made]}, as_json=json)
