"""`datadam pretrain`: a pool of trained networks at all accuracies, to match through."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from datadam.cli.evaluate import Augment
from datadam.cli.options import (
    Background,
    Bits,
    DataLayout,
    Device,
    Flip,
    Json,
    LabelsAsNumbers,
    Normalised,
    Root,
    Seed,
    SkipUnlabelled,
)


def pretrain(
    data: Annotated[str, Parameter(help="as for distill")],
    *,
    out: Annotated[Path, Parameter(help="folder of the pool; one that was begun with the same options is gone on with")],
    net: Annotated[str, Parameter(help="matching network: auto, convnet3, ...")] = "auto",
    count: Annotated[int, Parameter(help="networks to train")] = 100,
    epochs: Annotated[int, Parameter(help="of each")] = 30,
    augment: Augment = None,
    seed: Seed = 0,
    root: Root = None,
    size: Annotated[int | None, Parameter(help="as for distill")] = None,
    fit: Annotated[str | None, Parameter(help="as for distill")] = None,
    test: Annotated[Path | None, Parameter(help="as for distill")] = None,
    skip_bad: Annotated[bool, Parameter(help="as for distill", negative="")] = False,
    labels_as_numbers: LabelsAsNumbers = False,
    skip_unlabelled: SkipUnlabelled = False,
    bits: Bits = None,
    background: Background = None,
    layout: DataLayout = None,
    normalisation: Normalised = None,
    zca: Annotated[Literal["none", "kornia", "official"], Parameter(help="whitening; that of the runs to come")] = "none",
    flip: Flip = None,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Train networks to distil through, and keep them by accuracy.

    A run draws from a range of them with --set networks=POOL@20-40. Accuracy is measured on training images that are held out.
    """
    from datadam import machine
    from datadam.cli.options import check_device, check_nets, load_data
    from datadam.cli.screen import bar, result
    from datadam.errors import InvalidInput
    from datadam.training.pretrain import Progress
    from datadam.training.pretrain import pretrain as make

    machine.tune_allocator()
    device = check_device(device)
    given = {
        "root": root,
        "size": size,
        "fit": fit,
        "test": test,
        "skip_bad": skip_bad or None,
        "bits": bits,
        "background": background,
        "layout": layout,
        "labels_as_numbers": labels_as_numbers or None,
        "skip_unlabelled": skip_unlabelled or None,
        "normalisation": normalisation,
        "flip": flip,
    }
    real = load_data(data, {k: v for k, v in given.items() if v is not None})
    spec, *more = check_nets(net, real)
    if more:
        raise InvalidInput(f"a pool is of one network, and {1 + len(more)} were named; make one pool for each")
    real = real.with_zca(zca) if zca != "none" else real
    try:
        with bar(f"pretrain {spec}") as advance:

            def show(p: Progress) -> None:
                done = (p.network - 1) * p.epochs + p.epoch
                advance(f"network {p.network} of {p.networks}", done, p.networks * p.epochs)

            options = {"count": count, "epochs": epochs, "augment": augment or "dsa", "seed": seed, "device": device}
            pool = make(real, out, net=spec, **options, progress=show)  # type: ignore[arg-type]
    except KeyboardInterrupt:
        raise KeyboardInterrupt("What was trained is kept; the same command goes on") from None
    counts = pool.counts()
    lines = [f"{out}: {len(pool.states)} states of {pool.networks} networks {spec}, by accuracy on held-out training images"]
    lines += [f"  {cut.rjust(6)} %  {count}" for cut, count in counts.items()]
    most = max(counts, key=lambda cut: counts[cut])
    zca = real.transform.zca.variant if real.transform.zca else "none"
    alike = "" if normalisation in (None, "own") else f" --normalisation {normalisation}"
    lines.append(f"use  datadam distill {data} --ipc N --net {spec}{alike} --set zca={zca} --set networks={out}@{most}")
    about = {key: pool.about[key] for key in ("net", "training", "seed", "checksum")}
    value = {"pool": str(out), "networks": pool.networks, "states": len(pool.states), "buckets": counts, **about}
    result("\n".join(lines), value, as_json=json)
