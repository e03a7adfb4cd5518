"""`datadam experts`: networks trained on the real set with their weights after each epoch, for methods that follow them."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from datadam.cli.evaluate import Augment
from datadam.cli.options import AS_SAID, Device, Json, Normalised, Reading, Seed, Whitened


def experts(
    data: Annotated[str, Parameter(help="as for distill")],
    *,
    out: Annotated[Path, Parameter(help="folder of the experts; one that was begun with the same options is gone on with")],
    net: Annotated[str, Parameter(help="their network, and that of the runs to come: auto, convnet3, ...")] = "auto",
    count: Annotated[int, Parameter(help="experts to train")] = 100,
    epochs: Annotated[int, Parameter(help="of each; as many as the last start and the window together reach to")] = 50,
    lr: Annotated[float, Parameter(help="rate of their SGD, without momentum")] = 0.01,
    batch: Annotated[int, Parameter(help="images a step")] = 256,
    augment: Augment = None,
    kept: Annotated[Literal["float32", "float16"], Parameter(help="numbers on the disk")] = "float32",
    precision: Annotated[Literal["float32", "bfloat16"], Parameter(help="of the trainings; weights stay in float32")] = "float32",
    seed: Seed = 0,
    reading: Reading = AS_SAID,
    normalisation: Normalised = "mtt",
    zca: Whitened = "none",
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Train networks and keep their weights after each epoch.

    Methods that match trajectories follow them: --set networks=experts:FOLDER. A run that names none makes its own first.
    """
    import math

    from datadam import machine
    from datadam.cli.options import check_device, check_nets
    from datadam.cli.screen import bar, result, say
    from datadam.distillation.forecast import seconds_of_training
    from datadam.errors import InvalidInput
    from datadam.training.make_experts import bytes_of, make_experts
    from datadam.training.trainer import Training
    from datadam.wording import duration, plural
    from datadam.wording import size as in_words

    machine.tune_allocator()
    device = check_device(device)
    if not (math.isfinite(lr) and lr > 0):
        raise InvalidInput(f"lr is {lr:g}; it must be a number > 0")
    real = reading.load(data, normalisation=normalisation)
    spec, *more = check_nets(net, real)
    if more:
        raise InvalidInput(f"experts are of one network, and {1 + len(more)} were named; make some for each")
    real = real.with_zca(zca) if zca != "none" else real
    training = Training(
        epochs=epochs, batch=batch, lr=lr, momentum=0.0, weight_decay=0.0, drop_after=epochs, augment=augment or "dsa"
    )
    disk, time = bytes_of(real, spec, epochs, count, kept), seconds_of_training(real, spec, count * epochs, device)
    took = f", about {duration(time)} for all" if time else ""
    say(f"{plural(count, 'expert')} {spec} of {plural(epochs, 'epoch')}: {in_words(disk)} on the disk{took}")
    try:
        with bar(f"experts {spec}") as advance:
            made = make_experts(
                real, out, spec, training, count, seed, form=kept, device=device, precision=precision,
                after_step=lambda n, done, steps: advance(f"expert {n + 1} of {count}", n * steps + done, count * steps),
            )  # fmt: skip
    except KeyboardInterrupt:
        raise KeyboardInterrupt("What was trained is kept; the same command goes on") from None
    whitening = real.transform.zca.variant if real.transform.zca else "none"
    alike = "" if normalisation in (None, "mtt") else f" --normalisation {normalisation}"
    lines = [
        f"{out}: {plural(made.networks, 'expert')} {spec}, weights after each of {plural(epochs, 'epoch')}",
        f"use  datadam distill {data} --ipc N --method mtt --net {spec}{alike} --set zca={whitening} "
        f"--set networks=experts:{out}",
    ]
    about = {key: made.about[key] for key in ("net", "training", "seed", "checksum", "form")}
    result("\n".join(lines), {"experts": str(out), "networks": made.networks, "bytes": disk, **about}, as_json=json)
