"""`datadam pretrain`: a pool of trained networks at all accuracies, to match through."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from datadam.cli.evaluate import Augment
from datadam.cli.options import AS_SAID, Device, Json, Normalised, Reading, Seed, Whitened
from datadam.cli.workers import Address, Engine, Gpus, TimeLimit, Trainers


def pretrain(
    data: Annotated[str, Parameter(help="as for distill")],
    *,
    out: Annotated[Path, Parameter(help="folder of the pool; one that was begun with the same options is gone on with")],
    net: Annotated[str, Parameter(help="matching network: auto, convnet3, ...")] = "auto",
    count: Annotated[int, Parameter(help="networks to train")] = 100,
    epochs: Annotated[int, Parameter(help="of each")] = 30,
    augment: Augment = None,
    seed: Seed = 0,
    reading: Reading = AS_SAID,
    normalisation: Normalised = None,
    zca: Whitened = "none",
    device: Device = "auto",
    time_limit: TimeLimit = None,
    workers: Trainers = None,
    engine: Engine = None,
    gpus_per_worker: Gpus = None,
    address: Address = None,
    json: Json = False,
) -> None:
    """Train networks to distil through, and keep them by accuracy.

    A run draws from a range of them with --set networks=POOL@20-40. Accuracy is measured on training images that are held out.
    """
    from datadam import machine
    from datadam.cli.options import check_device, check_nets
    from datadam.cli.screen import bar, result, say
    from datadam.cli.workers import crew_of, left_of, still_to_do, tally
    from datadam.errors import InvalidInput
    from datadam.training.pretrain import Progress
    from datadam.training.pretrain import pretrain as make
    from datadam.wording import plural

    machine.tune_allocator()
    crew = crew_of(workers, engine, gpus_per_worker, address)
    device = check_device(device, crew["engine"])
    left = left_of(time_limit)
    real = reading.load(data, normalisation=normalisation)
    spec, *more = check_nets(net, real)
    if more:
        raise InvalidInput(f"a pool is of one network, and {1 + len(more)} were named; make one pool for each")
    real = real.with_zca(zca) if zca != "none" else real
    try:
        with bar(f"pretrain {spec}") as advance:
            told = tally("network", count, advance)

            def show(p: Progress) -> None:
                told(p.network - 1, p.epoch, p.epochs)

            pool = make(
                real, out, net=spec, count=count, epochs=epochs, augment=augment or "dsa", seed=seed, device=device,
                progress=show, **crew, time_limit=left(),
            )  # fmt: skip
    except KeyboardInterrupt:
        raise KeyboardInterrupt("What was trained is kept; the same command goes on") from None
    if short := still_to_do(pool.networks, count, "network"):
        say(short)
    counts, networks = pool.counts(), plural(pool.networks, "network")
    lines = [f"{out}: {len(pool.states)} states of {networks} {spec}, by accuracy on held-out training images"]
    lines += [f"  {cut.rjust(6)} %  {count}" for cut, count in counts.items()]
    most = max(counts, key=lambda cut: counts[cut])
    zca = real.transform.zca.variant if real.transform.zca else "none"
    alike = "" if normalisation in (None, "own") else f" --normalisation {normalisation}"
    lines.append(f"use  datadam distill {data} --ipc N --net {spec}{alike} --set zca={zca} --set networks={out}@{most}")
    about = {key: pool.about[key] for key in ("net", "training", "seed", "checksum")}
    value = {"pool": str(out), "networks": pool.networks, "states": len(pool.states), "buckets": counts, **about}
    result("\n".join(lines), value, as_json=json)
