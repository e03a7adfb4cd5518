"""Import: files that others made become a run folder, which every verb takes.

Letters: M images, C channels, H rows, W columns.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from datadam import machine, nets
from datadam.data import RealData, Transform
from datadam.data.catalog import wordnet_folders
from datadam.data.whitening import Variant
from datadam.errors import ArtifactError, InvalidInput
from datadam.exchange import limits, place, sidecar
from datadam.exchange.base import Format, Found, Wanted
from datadam.exchange.checked import Sound, number, sound
from datadam.exchange.classes import Order
from datadam.exchange.condensation import EVERY
from datadam.exchange.doubts import doubts, pixels
from datadam.exchange.formats import format_named
from datadam.exchange.spelling import of_program
from datadam.files.whole import write_tensors
from datadam.sets.card import FORMAT, HARD, SOFT, data_card, digest
from datadam.sets.decoders import PLAIN, decoder_named
from datadam.sets.distilled import DistilledSet

UNKNOWN = ("method", "its settings", "network", "seed", "number of iterations", "seconds")
FINEST = 0.02  # a deviation below it makes numbers of pixels that no network is given: they are 0 to 255, or the like
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
    class_order: Order | None = None,
    decoder: str | None = None,
    note: str = "",
    command: str = "",
    overwrite: bool = False,
) -> list[DistilledSet]:
    """Read a set, or the several sets of one file, that another program wrote.

    Arguments: `path`, file or folder; `as_`, a name of FORMATS; `real`, the data that the set was made from, which give class
    names, shape and what else the file leaves unsaid; `out`, the run folder to make (of several sets, OUT/0, OUT/1, ...); `mean`
    and `std`, one number a channel, the normalisation of the numbers (None: what `datadam.json` beside them says, else what the
    format's readers expect of these data); `zca`, the whitening in which the numbers are, or with which the pixels of pictures
    are to be whitened; `hard`, take the most likely class of soft labels; `class_order`, what number 0, 1, ... of a set is that
    does not name its classes: "data", in the order of the data, "sorted", of their WordNet numbers or else of their names, or a
    list of names; `decoder`, what makes training images of stored ones, such as "grid:2" for a set of IDC with factor 2; `note`
    and `command`, kept in the card. Soft labels of npz, ddranking and mtt stay soft, a rate in those files is that of the set's
    students, and classes may be of unequal count. Classes that the set names are those of the data with these names.
    Raises `ArtifactError` with the reason for a file that cannot be believed, `InvalidInput`; then nothing is written.
    """
    form, path = format_named(as_), Path(path)
    if not path.exists():
        raise InvalidInput(f"{path} does not exist; give the file or folder of a distilled set")
    if out is not None:
        place.require_free(Path(out), overwrite=overwrite, marks=CARDS, what="a run")
    beside = sidecar.read(path)
    wanted = Wanted(real.shape, real.classes, len(real.train), wordnet_folders(real))
    files = form.files(path)
    limits.check(files, wanted)
    found_digest = sidecar.digest(files, path if path.is_dir() else path.parent)
    if beside is not None:
        _check_sidecar(beside, as_, found_digest, path)
    if decoder is not None:
        named = decoder_named(decoder)
        if not named.pictures:
            raise InvalidInput(
                f"decoder {decoder} reads frequencies, and these files hold pictures; leave it out, or name a grid"
            )
        named.require_fit(real.shape)
    cards = {"file": _text(path.name), "format": as_, "bytes": sum(file.stat().st_size for file in files), "sha256": found_digest}
    sets, snapshots, found_sets = [], [], _together(form.read(path, wanted), beside)
    limits.check_room([each for one in found_sets for each in (one, *one.earlier)], wanted)

    def believed(one: Found, where: str) -> Sound:
        if one.names is None and beside is not None:
            one = replace(one, names=beside.classes)
        counts = beside.counts if beside else None
        return sound(one, wanted, hard=hard, soft=form.soft, where=where, counts=counts, order=class_order, own=form.ordered)

    for n, found in enumerate(found_sets):
        where = f"{path}, set {n}" if len(found_sets) > 1 else str(path)
        read = believed(found, where)
        labels, notes = read.labels, read.notes
        transform, into, said = _transform(found, form, read.images, real, beside, mean, std, zca)
        images = into(read.images)
        sure = beside is not None or found.transform is not None
        known = mean is not None or form.bare or read.images.dtype == torch.uint8
        notes += doubts(images, transform, said, where, sure=sure, given=known)
        word = decoder or found.decoder or PLAIN.word
        if word != PLAIN.word:
            decoder_named(word).require_fit(real.shape)
        if beside is not None and beside.decoder != PLAIN.word:
            notes.append(f"these images were decoded by {beside.decoder} of fewer stored ones before they were exported")
        rate = beside.rate if beside is not None else number(found.rate, "the rate of students", where)
        temperature = number(found.temperature, "the temperature of soft labels", where) or 1.0
        learned = None if rate is None else torch.tensor(rate)
        card = _card(real, found, read._replace(images=images), transform, beside, note, command, learned, temperature, word)
        card["imported"] = cards | {"normalisation": said, "set": n, "sets": len(found_sets), "unknown": list(_unknown(beside))}
        earlier = [believed(one, f"{where}, set {i} on its way") for i, one in enumerate(found.earlier)]
        if any(not torch.equal(one.labels, labels) for one in earlier):
            raise ArtifactError(f"{where}: the sets on its way have other labels than the last one; they are not of one run")
        if earlier:
            card["iterations_done"] = EVERY * len(earlier)
        snapshots.append([into(one.images) for one in earlier])
        sets.append(DistilledSet(images, labels, transform, card, learned))
    if out is not None:
        with place.whole_folder(Path(out)) as partial:
            for n, one in enumerate(sets):
                folder = partial / str(n) if len(sets) > 1 else partial
                one.save(folder)
                for i, then in enumerate(snapshots[n]):
                    write_tensors(folder / "snapshots" / f"{EVERY * i:08d}.safetensors", {"images": then})
    return sets


def _together(found: list[Found], beside: sidecar.Sidecar | None) -> list[Found]:
    """The sets of a file; those that a reader took for one on its way are sets of their own where the note beside says so."""
    if beside is None or beside.sets == 1:
        return found
    return [replace(one, earlier=(), notes=()) for last in found for one in (*last.earlier, last)]


def _check_sidecar(beside: sidecar.Sidecar, as_: str, found: str, path: Path) -> None:
    faults = []
    if beside.to != as_:
        faults.append(f"{sidecar.NAME} beside {path} says that it was exported --to {beside.to}; import it --as {beside.to}")
    elif beside.digest != found:
        faults.append(
            f"{path} is not what {sidecar.NAME} beside it was written for; it was changed or is another file: export it again, "
            f"or move {sidecar.NAME} away and say what you know with --mean, --std and --zca"
        )
    if faults:
        raise ArtifactError(*faults)


def _transform(
    found: Found, form: Format, images: Tensor, real: RealData, beside: sidecar.Sidecar | None,
    mean: Sequence[float] | None, std: Sequence[float] | None, zca: Variant | None,
) -> tuple[Transform, Callable[[Tensor], Tensor], str]:  # fmt: skip
    """The set's network space, the way there from its numbers, and who says so. Raises `InvalidInput` where the options
    contradict one another."""
    if (mean is None) != (std is None):
        raise InvalidInput("mean and std belong together; give both or neither")
    channels = real.shape[0]
    if mean is not None and std is not None and not len(mean) == len(std) == channels:
        raise InvalidInput(f"mean has {len(mean)} numbers and std {len(std)}; one for each of the {channels} channels is needed")
    coded = images.dtype == torch.uint8
    if coded and mean is not None:
        raise InvalidInput("pictures hold true colours, which need no --mean and --std; leave them out")
    if coded or (form.bare and mean is None):
        variant = zca or (beside.own_zca if beside else None)
        own = whiten(real, variant) if variant else real.transform
        return own, own.bytes_to_network if coded else own.to_network, "pixels, normalised as the data are"
    if found.transform is not None and mean is None and zca is None:
        if len(found.transform.mean) != channels:
            raise ArtifactError(f"the file's normalisation is of {len(found.transform.mean)} channels, its images of {channels}")
        return found.transform, _same, "the file"
    if mean is not None and std is not None:
        base, said = Transform(tuple(mean), tuple(std)), "whoever imported it"
    elif beside is not None and beside.mean is not None and beside.std is not None:
        base, said = Transform(beside.mean, beside.std), sidecar.NAME
        zca = zca or cast(Variant | None, beside.zca)
    elif form.numbers is not None:
        numbers = of_program(form.numbers, found.method)
        base, said = numbers(real.name, real.transform), "what the readers of the format expect"
    else:
        base, said = real.transform, "the data"
    if len(base.mean) != channels:
        raise ArtifactError(f"the normalisation is of {len(base.mean)} channels, the images of {channels}")
    if zca:
        return whiten(replace(real, transform=base), zca), _same, f"{said}; whitened ({zca})"
    if mean is not None and max(base.std) < FINEST:
        return real.transform, lambda x: real.transform.to_network(pixels(x, base)), f"{said}; then normalised as the data are"
    return base, _same, said


def _same(images: Tensor) -> Tensor:
    return images


def whiten(real: RealData, variant: str) -> Transform:
    """The whitening of this variant, fitted on the training images."""
    return real.with_zca(cast(Variant, variant)).transform


def _unknown(beside: sidecar.Sidecar | None) -> tuple[str, ...]:
    return UNKNOWN if beside is None else UNKNOWN[1:]


def _text(name: str) -> str:
    """A name that any text file can hold: file systems allow bytes that are no letters."""
    return name.encode("utf-8", "replace").decode()


def _card(
    real: RealData, found: Found, read: Sound, transform: Transform, beside: sidecar.Sidecar | None, note: str, command: str,
    rate: Tensor | None, temperature: float, decoder: str,
) -> dict[str, Any]:  # fmt: skip
    """The card of an imported set: what is known of it, and nothing made up."""
    method = re.sub(r"[^A-Za-z0-9 .-]", "", beside.method if beside else found.method)[:40] or "unknown"
    source = data_card(real)
    if transform.zca is not None:
        source["options"] = source["options"] | {"zca": transform.zca.variant}
    soft = {"temperature": temperature} if read.labels.ndim == 2 and temperature != 1 else {}
    unequal = {"counts": list(read.counts)} if len(set(read.counts)) > 1 else {}
    stored: dict[str, Any] = {} if decoder == PLAIN.word else {"decoder": decoder}
    return {
        "format": FORMAT, "kind": "imported", "note": note, "command": _text(command),
        "recipe": {
            "method": {"name": method}, "ipc": max(read.counts), "net": nets.canonical("auto", real.shape),
            "protocol": "honest", **stored,
        },
        "data": source, "transform": transform.to_card(), "labels": SOFT if read.labels.ndim == 2 else HARD, **soft, **unequal,
        **stored,
        **({} if rate is None else {"rate": float(rate)}), "warnings": read.notes,
        "versions": machine.versions(), "created": machine.now(), "citations": [],
        "digest": digest(read.images, read.labels, rate),
    }  # fmt: skip
