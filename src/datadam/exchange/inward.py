"""Import: files that others made become a run folder, which every verb takes.

Letters: M images, C channels, H rows, W columns.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from datadam import machine, nets
from datadam.data import RealData, Transform
from datadam.data.whitening import Variant
from datadam.errors import ArtifactError, InvalidInput
from datadam.exchange import limits, place, sidecar
from datadam.exchange.base import Format, Found, Wanted
from datadam.exchange.checked import Sound, number, sound
from datadam.exchange.formats import format_named
from datadam.sets.card import FORMAT, HARD, SOFT, data_card, digest
from datadam.sets.decoders import PLAIN
from datadam.sets.distilled import DistilledSet

UNKNOWN = ("method", "its settings", "network", "seed", "number of iterations", "seconds")
ODD = 0.25  # share of pixel values outside [0, 1] above which the normalisation is doubted aloud
LARGEST = 1e4  # of a pixel, where 1 is white: distilled ones go to 10 at times
CARDS = ("card.json", "0/card.json")


def import_(
    path: Path | str,
    as_: str,
    real: RealData,
    out: Path | str | None = None,
    *,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    zca: Variant | None = None,
    hard: bool = False,
    note: str = "",
    command: str = "",
    overwrite: bool = False,
) -> list[DistilledSet]:
    """Read a set, or the several sets of one file, that another program wrote.

    Arguments: `path`, file or folder; `as_`, a name of FORMATS; `real`, the data that the set was made from, which give class
    names, shape and what else the file leaves unsaid; `out`, the run folder to make (of several sets, OUT/0, OUT/1, ...); `mean`
    and `std`, one number a channel, the normalisation of the numbers (None: what `datadam.json` beside them says, else what the
    format's readers expect of these data); `zca`, the whitening in which the numbers are, or with which the pixels of pictures
    are to be whitened; `hard`, take the most likely class of soft labels; `note` and `command`, kept in the card. Soft labels of
    npz, ddranking and mtt stay soft, a rate in those files is that of the set's students, and classes may be of unequal count.
    Raises `ArtifactError` with the reason for a file that cannot be believed, `InvalidInput`; then nothing is written.
    """
    form, path = format_named(as_), Path(path)
    if not path.exists():
        raise InvalidInput(f"{path} does not exist; give the file or folder of a distilled set")
    if out is not None:
        place.require_free(Path(out), overwrite=overwrite, marks=CARDS, what="a run")
    beside = sidecar.read(path)
    wanted = Wanted(real.shape, real.classes, len(real.train))
    files = form.files(path)
    limits.check(files, wanted)
    found_digest = sidecar.digest(files, path if path.is_dir() else path.parent)
    if beside is not None:
        _check_sidecar(beside, as_, found_digest, real, path)
    cards = {"file": _text(path.name), "format": as_, "bytes": sum(file.stat().st_size for file in files), "sha256": found_digest}
    sets, found_sets = [], form.read(path, wanted)
    limits.check_room(found_sets, wanted)
    for n, found in enumerate(found_sets):
        where = f"{path}, set {n}" if len(found_sets) > 1 else str(path)
        read = sound(found, wanted, hard=hard, soft=form.soft, where=where, counts=beside.counts if beside else None)
        images, labels, notes = read.images, read.labels, read.notes
        transform, said = _transform(found, form, images, real, beside, mean, std, zca)
        if images.dtype == torch.uint8:
            images = torch.cat([transform.bytes_to_network(part) for part in images.split(512)])
        notes += _doubts(images, transform, said, where, sure=beside is not None or found.transform is not None)
        if beside is not None and beside.decoder != PLAIN.word:
            notes.append(f"these images were decoded by {beside.decoder} of fewer stored ones before they were exported")
        rate = beside.rate if beside is not None else number(found.rate, "the rate of students", where)
        temperature = number(found.temperature, "the temperature of soft labels", where) or 1.0
        learned = None if rate is None else torch.tensor(rate)
        card = _card(real, found, read._replace(images=images), transform, beside, note, command, learned, temperature)
        card["imported"] = cards | {"normalisation": said, "set": n, "sets": len(found_sets), "unknown": list(_unknown(beside))}
        sets.append(DistilledSet(images, labels, transform, card, learned))
    if out is not None:
        with place.whole_folder(Path(out)) as partial:
            for n, one in enumerate(sets):
                one.save(partial / str(n) if len(sets) > 1 else partial)
    return sets


def _check_sidecar(beside: sidecar.Sidecar, as_: str, found: str, real: RealData, path: Path) -> None:
    faults = []
    if beside.to != as_:
        faults.append(f"{sidecar.NAME} beside {path} says that it was exported --to {beside.to}; import it --as {beside.to}")
    elif beside.digest != found:
        faults.append(
            f"{path} is not what {sidecar.NAME} beside it was written for; it was changed or is another file: export it again, "
            f"or move {sidecar.NAME} away and say what you know with --mean, --std and --zca"
        )
    if beside.classes != real.classes:
        faults.append(
            f"{sidecar.NAME} beside {path} names the classes {', '.join(beside.classes[:5])[:200]}, ...; the data have "
            f"{', '.join(real.classes[:5])}, ...: name the --data that the set was made from"
        )
    if faults:
        raise ArtifactError(*faults)


def _transform(
    found: Found, form: Format, images: Tensor, real: RealData, beside: sidecar.Sidecar | None,
    mean: Sequence[float] | None, std: Sequence[float] | None, zca: Variant | None,
) -> tuple[Transform, str]:  # fmt: skip
    """The set's network space, and who says so. Raises `InvalidInput` where the options contradict one another."""
    if (mean is None) != (std is None):
        raise InvalidInput("mean and std belong together; give both or neither")
    channels = real.shape[0]
    if mean is not None and std is not None and not len(mean) == len(std) == channels:
        raise InvalidInput(f"mean has {len(mean)} numbers and std {len(std)}; one for each of the {channels} channels is needed")
    if images.dtype == torch.uint8:
        if mean is not None:
            raise InvalidInput("pictures hold true colours, which need no --mean and --std; leave them out")
        variant = zca or (beside.own_zca if beside else None)
        return (whiten(real, variant) if variant else real.transform), "pixels, normalised as the data are"
    if found.transform is not None and mean is None and zca is None:
        if len(found.transform.mean) != channels:
            raise ArtifactError(f"the file's normalisation is of {len(found.transform.mean)} channels, its images of {channels}")
        return found.transform, "the file"
    if mean is not None and std is not None:
        base, said = Transform(tuple(mean), tuple(std)), "whoever imported it"
    elif beside is not None and beside.mean is not None and beside.std is not None:
        base, said = Transform(beside.mean, beside.std), sidecar.NAME
        zca = zca or cast(Variant | None, beside.zca)
    elif form.numbers is not None:
        base, said = form.numbers(real.name, real.transform), "what the readers of the format expect"
    else:
        base, said = real.transform, "the data"
    if len(base.mean) != channels:
        raise ArtifactError(f"the normalisation is of {len(base.mean)} channels, the images of {channels}")
    if zca:
        return whiten(replace(real, transform=base), zca), f"{said}; whitened ({zca})"
    return base, said


def whiten(real: RealData, variant: str) -> Transform:
    """The whitening of this variant, fitted on the training images."""
    return real.with_zca(cast(Variant, variant)).transform


def _doubts(images: Tensor, transform: Transform, said: str, where: str, *, sure: bool) -> list[str]:
    """A note when images do not look like images under a normalisation that is not sure; refused when nothing could."""
    x = transform.zca.invert(images) if transform.zca is not None else images
    mean, std = (torch.tensor(numbers)[:, None, None] for numbers in (transform.mean, transform.std))
    values = x * std + mean
    if not float(values.abs().max()) < LARGEST:  # also for NaN
        raise ArtifactError(
            f"{where}: pixels of up to {float(values.abs().max()):.3g} come out under the normalisation of {said}, where 1 is "
            "white; no image looks like that: they are damaged, or normalised otherwise (--mean, --std, --zca)"
        )
    share = float(((values < -0.01) | (values > 1.01)).float().mean())
    if sure or share <= ODD:
        return []
    return [
        f"{100 * share:.0f} % of the pixel values lie outside [0, 1] (from {float(values.min()):.2f} to "
        f"{float(values.max()):.2f}) under the normalisation of {said}; if the images were whitened or normalised otherwise, say "
        "so with --zca, --mean, --std"
    ]


def _unknown(beside: sidecar.Sidecar | None) -> tuple[str, ...]:
    return UNKNOWN if beside is None else UNKNOWN[1:]


def _text(name: str) -> str:
    """A name that any text file can hold: file systems allow bytes that are no letters."""
    return name.encode("utf-8", "replace").decode()


def _card(
    real: RealData, found: Found, read: Sound, transform: Transform, beside: sidecar.Sidecar | None, note: str, command: str,
    rate: Tensor | None, temperature: float,
) -> dict[str, Any]:  # fmt: skip
    """The card of an imported set: what is known of it, and nothing made up."""
    method = re.sub(r"[^A-Za-z0-9 .-]", "", beside.method if beside else found.method)[:40] or "unknown"
    source = data_card(real)
    if transform.zca is not None:
        source["options"] = source["options"] | {"zca": transform.zca.variant}
    soft = {"temperature": temperature} if read.labels.ndim == 2 and temperature != 1 else {}
    unequal = {"counts": list(read.counts)} if len(set(read.counts)) > 1 else {}
    return {
        "format": FORMAT, "kind": "imported", "note": note, "command": _text(command),
        "recipe": {
            "method": {"name": method}, "ipc": max(read.counts), "net": nets.canonical("auto", real.shape),
            "protocol": "honest",
        },
        "data": source, "transform": transform.to_card(), "labels": SOFT if read.labels.ndim == 2 else HARD, **soft, **unequal,
        **({} if rate is None else {"rate": float(rate)}), "warnings": read.notes,
        "versions": machine.versions(), "created": machine.now(), "citations": [],
        "digest": digest(read.images, read.labels, rate),
    }  # fmt: skip
