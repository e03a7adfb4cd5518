"""`datadam train`: one network to keep and use, trained on a run's images."""

import io
import json as json_format
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from datadam.cli.evaluate import Augment, Epochs, Precision, ProtocolName, progress_of, rule_for
from datadam.cli.options import Device, Json, RunRoot, Seed

SAFETENSORS, TORCH = (".safetensors",), (".pt", ".pth")
LOAD = """    {read}
    from datadam import nets
    net = nets.build({net!r}, shape={shape}, classes={classes}).eval()
    net.load_state_dict({call})"""


def train(
    run: Annotated[Path, Parameter(help="run folder; of repeats, the first set")],
    *,
    out: Annotated[Path, Parameter(help="file of the weights: NAME.safetensors, or NAME.pt as torch.load reads it")],
    net: Annotated[str | None, Parameter(help="such as resnet18 (default: the one it was made with)")] = None,
    protocol: ProtocolName | None = None,
    epochs: Epochs = None,
    augment: Augment = None,
    seed: Seed = 0,
    overwrite: Annotated[bool, Parameter(help="replace the file that is there", negative="")] = False,
    root: RunRoot = None,
    device: Device = "auto",
    precision: Precision = "float32",
    json: Json = False,
) -> None:
    """Train one network on a distilled set and keep it.

    It is tested too: it is the first of the networks that `datadam evaluate --workers 1` trains with the same options, and has
    its accuracy.
    """
    from datadam import machine
    from datadam.cli.options import check_device, check_nets, data_of_card, load_sets, set_line
    from datadam.cli.screen import result
    from datadam.errors import InvalidInput
    from datadam.evaluation.evaluate import train_student
    from datadam.files.whole import replacing, require_writable, write_tensors

    machine.tune_allocator()
    device = check_device(device)
    if out.is_dir():
        raise InvalidInput(f"{out} is a folder; give a file, such as {out / 'model.safetensors'}")
    if out.suffix not in (*SAFETENSORS, *TORCH):
        allowed = ", ".join((*SAFETENSORS, *TORCH))
        raise InvalidInput(f"{out} ends in {out.suffix or 'nothing'!r}, which says no format; end the name in one of {allowed}")
    if out.exists() and not overwrite:
        raise InvalidInput(f"{out} exists; choose another file, or replace it with --overwrite")
    small = load_sets(run)[0]
    rule, _ = rule_for(protocol or str(small.card["recipe"].get("protocol", "honest")), None, epochs, augment, False)
    real = data_of_card(small.card, root)
    spec, *more = check_nets(net or small.card["recipe"]["net"], real)
    if more:
        raise InvalidInput(f"one network is trained, and {1 + len(more)} were named; give one")
    require_writable(out.parent)
    with progress_of(f"{run.name} {spec}") as progress:
        student, evaluation = train_student(
            small, real, net=spec, protocol=rule, seed=seed, device=device, precision=precision, progress=progress
        )
    told = {
        "format": "datadam-student/1", "net": spec, "shape": list(real.shape), "classes": list(real.classes),
        "transform": small.transform.to_card(), "accuracy": evaluation.mean, "protocol": evaluation.words, "seed": seed,
        "data": real.name, "run": str(run), "note": evaluation.note, "labels": evaluation.labels, "decoder": evaluation.decoder,
    }  # fmt: skip
    texts = {name: value if isinstance(value, str) else json_format.dumps(value) for name, value in told.items()}
    if out.suffix in TORCH:
        import torch

        file = io.BytesIO()
        torch.save({name: value.cpu() for name, value in student.state_dict().items()}, file)
        with replacing(out) as partial:
            partial.write_bytes(file.getvalue())
        read, call = "import torch", f"torch.load({str(out)!r}, weights_only=True)"
    else:
        write_tensors(out, student.state_dict(), texts)
        read, call = "from safetensors.torch import load_file", f"load_file({str(out)!r})"
    note = f" [{evaluation.note}]" if evaluation.note else ""
    lines = [
        f"{out}: {spec}, {100 * evaluation.mean:.2f} % of the test images of {real.name} right{note}",
        f"trained on {set_line(small.card)}",
        evaluation.words,
        "load it with",
        LOAD.format(read=read, call=call, net=spec, shape=real.shape, classes=len(real.classes)),
        f"its input: datadam.DistilledSet.load({str(run)!r}).transform.to_network(pixels in [0, 1])",
    ]
    result("\n".join(lines), told | {"file": str(out)}, as_json=json)
