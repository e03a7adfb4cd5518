"""`datadam experts`: networks trained on the real set with their weights after each epoch, for methods that follow them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from datadam.cli.evaluate import Augment
from datadam.cli.options import AS_SAID, Device, Json, Normalised, Reading, Seed, Whitened
from datadam.cli.workers import Address, Engine, Gpus, TimeLimit, Trainers

if TYPE_CHECKING:
    from datadam.training.curriculum import Curriculum
    from datadam.training.flat import Flat


def experts(
    data: Annotated[str, Parameter(help="as for distill")],
    *,
    out: Annotated[Path, Parameter(help="folder of the experts; one that was begun with the same options is gone on with")],
    net: Annotated[str, Parameter(help="their network, and that of the runs to come: auto, convnet3, ...")] = "auto",
    count: Annotated[int, Parameter(help="experts to train")] = 100,
    epochs: Annotated[int, Parameter(help="of each; as many as the last start and the window together reach to")] = 50,
    lr: Annotated[float, Parameter(help="rate of their SGD, without momentum")] = 0.01,
    batch: Annotated[int, Parameter(help="images a step")] = 256,
    optimizer: Annotated[Literal["sgd", "gsam"], Parameter(help="gsam seeks flat minima, as FTD's, at twice the time")] = "sgd",
    rho: Annotated[float | None, Parameter(help="of gsam: how far it climbs (0.01)")] = None,
    alpha: Annotated[float | None, Parameter(help="of gsam: weight of the gradient at right angles (0.3)")] = None,
    curriculum: Annotated[
        Literal["none", "el2n", "grand"],
        Parameter(help="easy images first, and late without the easiest, as PAD's; ranked by this score"),
    ] = "none",
    first: Annotated[float | None, Parameter(help="of a curriculum: share of each class in the first epoch (0.75)")] = None,
    whole: Annotated[int | None, Parameter(help="of a curriculum: epoch from which classes are whole (20)")] = None,
    drop: Annotated[
        str | None, Parameter(help="of a curriculum: after which epochs which share of the easiest is left out (40:0.1,60:0.2)")
    ] = None,
    averaged: Annotated[int | None, Parameter(help="of a curriculum: networks that rank the images (3)")] = None,
    looked: Annotated[int | None, Parameter(help="of a curriculum: epochs that these are trained for (5)")] = None,
    augment: Augment = None,
    kept: Annotated[Literal["float32", "float16"], Parameter(help="numbers on the disk")] = "float32",
    precision: Annotated[
        Literal["auto", "float32", "bfloat16"],
        Parameter(help="of the trainings, auto: the faster one here; weights stay in float32"),
    ] = "float32",
    buffers: Annotated[
        Path | None, Parameter(help="train none, but take those of released code: a file or folder of replay_buffer_N.pt")
    ] = None,
    seed: Seed = 0,
    reading: Reading = AS_SAID,
    normalisation: Normalised = "mtt",
    zca: Whitened = "none",
    device: Device = "auto",
    time_limit: TimeLimit = None,
    workers: Trainers = None,
    engine: Engine = None,
    gpus_per_worker: Gpus = None,
    address: Address = None,
    json: Json = False,
) -> None:
    """Train networks and keep their weights after each epoch.

    Methods that match trajectories follow them: --set networks=experts:FOLDER. A run that names none makes its own first.
    """
    import math

    from datadam import machine
    from datadam.arithmetic import settled
    from datadam.cli.options import check_device, check_nets
    from datadam.cli.screen import bar, result, say
    from datadam.cli.workers import crew_of, left_of, still_to_do, tally
    from datadam.distillation.forecast import seconds_of_training
    from datadam.errors import InvalidInput
    from datadam.exchange.buffers import import_experts
    from datadam.training.make_experts import bytes_of, make_experts
    from datadam.training.needs import PASSES, Needs, cost
    from datadam.training.trainer import Training
    from datadam.wording import duration, plural
    from datadam.wording import size as in_words

    machine.tune_allocator()
    crew = crew_of(workers, engine, gpus_per_worker, address)
    device = check_device(device, crew["engine"])
    left = left_of(time_limit)
    if not (math.isfinite(lr) and lr > 0):
        raise InvalidInput(f"lr is {lr:g}; it must be a number > 0")
    real = reading.load(data, normalisation=normalisation)
    spec, *more = check_nets(net, real)
    if more:
        raise InvalidInput(f"experts are of one network, and {1 + len(more)} were named; make some for each")
    real = real.with_zca(zca) if zca != "none" else real
    turning = {"rho": rho, "alpha": alpha}
    ordering = {"first": first, "whole": whole, "drop": drop, "averaged": averaged, "looked": looked}
    if buffers:
        own: dict[str, tuple[object, object]] = {
            "count": (count, 100), "epochs": (epochs, 50), "lr": (lr, 0.01), "batch": (batch, 256), "seed": (seed, 0),
            "augment": (augment, None), "precision": (precision, "float32"), "optimizer": (optimizer, "sgd"),
            "curriculum": (curriculum, "none"), "workers": (workers, None), "engine": (engine, None),
            "time_limit": (time_limit, None),
            **{name: (value, None) for name, value in (turning | ordering).items()},
        }  # fmt: skip
        if said := [name for name, (value, default) in own.items() if value != default]:
            raise InvalidInput(f"--buffers: nothing is trained, and {', '.join(said)} belong to a training; leave them out")
        made = import_experts(buffers, real, out, net=spec, form=kept)
    else:
        training = Training(
            epochs=epochs, batch=batch, lr=lr, momentum=0.0, weight_decay=0.0, drop_after=epochs, augment=augment or "dsa"
        )
        flat, order = _flat(optimizer, turning), _curriculum(curriculum, ordering)
        disk = bytes_of(real, spec, epochs, count, kept)
        passes = cost(Needs("experts", training, max(1, count), flat, order), len(real.train))
        time = seconds_of_training(real, spec, passes / PASSES / len(real.train), device)
        took = f", about {duration(time)} for all" if time else ""
        say(f"{plural(count, 'expert')} {spec} of {plural(epochs, 'epoch')}: {in_words(disk)} on the disk{took}")
        try:
            with bar(f"experts {spec}") as advance:
                made = make_experts(
                    real, out, spec, training, count, seed, form=kept, device=device, precision=settled(precision, device),
                    flat=flat, curriculum=order, after_step=tally("expert", count, advance), **crew, time_limit=left(),
                )  # fmt: skip
        except KeyboardInterrupt:
            raise KeyboardInterrupt("What was trained is kept; the same command goes on") from None
    whitening = real.transform.zca.variant if real.transform.zca else "none"
    alike = "" if normalisation in (None, "mtt") else f" --normalisation {normalisation}"
    short = "" if buffers else still_to_do(made.networks, count, "expert")
    if short:
        say(short)
    lines = [
        f"{out}: {plural(made.networks, 'expert')} {spec}, weights after each of {plural(made.epochs, 'epoch')}",
        f"use  datadam distill {data} --ipc N --method mtt --net {spec}{alike} --set zca={whitening} "
        f"--set networks=experts:{out}",
    ]
    about = {key: made.about.get(key) for key in ("net", "training", "optimizer", "curriculum", "seed", "checksum", "form")}
    kept_bytes = bytes_of(real, spec, made.epochs, made.networks, made.about["form"])
    result("\n".join(lines), {"experts": str(out), "networks": made.networks, "bytes": kept_bytes, **about}, as_json=json)


def _flat(optimizer: str, given: dict[str, float | None]) -> "Flat | None":
    """What turns the gradient. Raises `InvalidInput` for settings of an optimiser that is not asked for."""
    from datadam.training.flat import Flat

    named = _named(given, optimizer == "gsam", "optimizer", "gsam")
    return Flat(**named) if optimizer == "gsam" else None


def _curriculum(by: str, given: dict[str, Any]) -> "Curriculum | None":
    """Which images an epoch trains on. Raises `InvalidInput` likewise."""
    from datadam.errors import InvalidInput
    from datadam.training.curriculum import Curriculum

    named = _named(given, by != "none", "curriculum", "el2n")
    if text := named.pop("drop", None):
        try:
            pairs = [part.split(":") for part in text.split(",")]
            named["drops"] = tuple((int(epoch), float(share)) for epoch, share in pairs)
        except ValueError:
            raise InvalidInput(f"drop is {text!r}; it must be epochs with shares, such as 40:0.1,60:0.2") from None
    return Curriculum(by=by, **named) if by != "none" else None


def _named(given: dict[str, Any], asked: bool, option: str, word: str) -> dict[str, Any]:
    """Those that were given. Raises `InvalidInput` where they belong to what is not asked for."""
    from datadam.errors import InvalidInput

    named = {name: value for name, value in given.items() if value is not None}
    if named and not asked:
        raise InvalidInput(f"{', '.join(named)}: for --{option} {word} alone; name it, or leave this out")
    return named
