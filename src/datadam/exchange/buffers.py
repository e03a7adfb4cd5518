"""Experts that released code has trained, `replay_buffer_N.pt` of MTT, TESLA, FTD, DATM and PAD, as a folder of ours.

A file is a list of experts; an expert is a list of its weights before training and after each epoch; these are a list of
tensors, in the order of the network's parameters. With which data, whitening and class order they were trained is in none of
them: the folder says those that it is imported for.

Letters: E epochs, P weights.
"""

import hashlib
import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from datadam import nets
from datadam.data import RealData
from datadam.errors import ArtifactError, InvalidInput
from datadam.exchange.torch_file import load
from datadam.files.lock import alone_in
from datadam.files.whole import require_writable, write_json, write_tensors
from datadam.training.experts import FORMS, STAMPS, Experts
from datadam.training.pool import about
from datadam.wording import size

NAME = re.compile(r"replay_buffer_(\d+)\.pt")
MOST = 1 << 34  # bytes of a file; ten experts of a hundred epochs of the usual network are 1.3 GB


def import_experts(
    source: Path | str, real: RealData, folder: Path | str, *, net: str = "auto", form: str = "float32"
) -> Experts:
    """Write the experts of released files as a folder that runs can follow.

    Arguments: `source`, a file, or a folder of `replay_buffer_N.pt`, read one after another; `real`, the data that they were
    trained on, whitened as then; `folder`, new; `net`; `form` of the numbers on disk, "float32" or "float16".
    Raises `ArtifactError` for files that hold anything else, `InvalidInput` when the folder is taken.
    """
    source, folder, net = Path(source), Path(folder), nets.canonical(net, real.shape)
    if form not in FORMS:
        raise InvalidInput(f"form is {form!r}; allowed: {', '.join(FORMS)}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InvalidInput(f"{folder} is not empty; choose another folder with --out")
    network = nets.build(net, shape=real.shape, classes=len(real.classes))
    shapes = [parameter.shape for parameter in network.parameters()]
    files = files_of(source)
    require_writable(folder)
    of: dict[str, Any] = {"seed": None, "form": form, "weights": sum(shape.numel() for shape in shapes)}
    of["imported"] = [path.name for path in files]
    with alone_in(folder):
        experts = Experts(folder, about(real, net) | of, ())
        try:
            for path in files:
                for expert in _experts(path, net, shapes):
                    experts = _with(experts, expert, path)
        except BaseException:  # half of them would be taken for all
            shutil.rmtree(folder / "states", ignore_errors=True)
            raise
        write_json(folder / "index.json", experts.to_json())
    return experts


def _with(experts: Experts, weights: Tensor, path: Path) -> Experts:
    """The experts and one more [E + 1, P], which is written. Raises `ArtifactError` where it has other epochs."""
    training = {"epochs": len(weights) - 1}
    if (others := experts.about.setdefault("training", training)) != training:
        raise ArtifactError(
            f"{path} has an expert of {training['epochs']} epochs, and others have {others['epochs']}; import them apart"
        )
    to = experts.file(experts.networks)
    write_tensors(to, {STAMPS: weights.to(FORMS[experts.about["form"]])})
    return replace(experts, digests=(*experts.digests, hashlib.sha256(to.read_bytes()).hexdigest()))


def files_of(source: Path) -> list[Path]:
    """The files of a source, by their numbers. Raises `ArtifactError` where there are none."""
    if source.is_file():
        return [source]
    found = (
        {int(match[1]): path for path in source.glob("*.pt") if (match := NAME.fullmatch(path.name))} if source.is_dir() else {}
    )
    if not found:
        raise ArtifactError(f"{source} is no file and has no replay_buffer_N.pt; give one, or the folder of the network's name")
    return [found[number] for number in sorted(found)]


def _experts(path: Path, net: str, shapes: Sequence[torch.Size]) -> list[Tensor]:
    """The experts [E + 1, P] of a file. Raises `ArtifactError`."""
    if (many := path.stat().st_size) > MOST:
        raise ArtifactError(f"{path} has {size(many)}; files of experts have at most {size(MOST)}")
    found = load(path, MOST, "experts")
    if not isinstance(found, list) or not found or not all(isinstance(expert, list) and len(expert) > 1 for expert in found):
        raise ArtifactError(f"{path} is no list of experts with their weights after each epoch; give a file of released code")
    return [_expert(expert, path, net, shapes) for expert in found]


def _expert(stamps: list[Any], path: Path, net: str, shapes: Sequence[torch.Size]) -> Tensor:
    """One expert [E + 1, P]."""
    rows = []
    for stamp in stamps:
        if not isinstance(stamp, list) or not all(isinstance(part, Tensor) and part.is_floating_point() for part in stamp):
            raise ArtifactError(f"{path} has weights that are no list of tensors of numbers; it is damaged, or something else")
        if [part.shape for part in stamp] != list(shapes):
            came = ", ".join(str(list(part.shape)) for part in stamp[:3])
            raise ArtifactError(
                f"{path} has weights of another network than {net} ({len(stamp)} tensors: {came}, ...; {net} has {len(shapes)}: "
                f"{', '.join(str(list(shape)) for shape in shapes[:3])}, ...); name theirs with --net"
            )
        rows.append(torch.cat([part.detach().float().flatten() for part in stamp]))
    weights = torch.stack(rows)
    if not torch.isfinite(weights).all():
        raise ArtifactError(f"{path} has weights that are not finite; that training ran away")
    if (weights == weights[0]).all():
        raise ArtifactError(
            f"{path} has the same weights after every epoch, as files have whose weights were not copied on a CPU; train others"
        )
    return weights
