"""Export: a distilled set as files that other programs read, with a note of what their numbers mean.

Letters: M images of the files, C channels, H rows, W columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from datadam.data import Transform
from datadam.errors import InvalidInput
from datadam.evaluation.protocols import CATALOG as PROTOCOLS
from datadam.exchange import parquet, place, sidecar
from datadam.exchange.base import Format, Outgoing
from datadam.exchange.cards import hub_head, readme
from datadam.exchange.formats import FORMATS, format_named
from datadam.exchange.spelling import folder_names, of_program
from datadam.exchange.tensors import ECCV, ECCV_IPC
from datadam.files.whole import write_json, write_text
from datadam.sets.distilled import DistilledSet


@dataclass(frozen=True)
class Error:
    """How far the pixels of a file are from those of the set, in [0, 1]: the `largest` and the `mean` difference; and how many of
    the `values` lay outside [0, 1] and were `clipped`."""

    largest: float
    mean: float
    clipped: int
    values: int

    @property
    def exact(self) -> bool:
        """Whether nothing was lost."""
        return self.largest == 0

    def __str__(self) -> str:
        if self.exact:
            return "every number is kept as it is"
        out = f"; {self.clipped} of {self.values} values lay outside [0, 1] and were clipped" if self.clipped else ""
        return f"pixels differ by {self.largest:.2g} at most and {self.mean:.2g} on average, of 1{out}"


@dataclass(frozen=True)
class Exported:
    """What was written: `folder`, `files` in it (without note and README), the format's name `to`, the `transform` of the
    numbers (None: 8-bit pixels), the `error` of the pixels, and `notes` for the user."""

    folder: Path
    files: tuple[Path, ...]
    to: str
    transform: Transform | None
    error: Error
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """As JSON-able values."""
        return {
            "format": self.to, "folder": str(self.folder), "files": [str(f) for f in self.files],
            "numbers": sidecar.describe(self.transform), "error": vars(self.error), "notes": list(self.notes),
        }  # fmt: skip


def export(
    sets: DistilledSet | Sequence[DistilledSet],
    to: str,
    out: Path | str,
    *,
    keep_zca: bool = False,
    overwrite: bool = False,
) -> Exported:
    """Write a set in a format of others, with `datadam.json` and README.md beside, which say what the numbers mean.

    Readers train on the images of the files: those that stored images decode to are written, and what was stored is told beside.
    Arguments: `sets`, one set, or several of one recipe for a format that holds several; `to`, a name of FORMATS; `out`, the new
    folder; `keep_zca`, leave whitened images as they are, for readers that whiten alike; `overwrite`, replace an earlier export.
    Raises `InvalidInput` for what a format cannot hold, `RunFailed` when the folder cannot be written; then nothing is.
    """
    form, out = format_named(to), Path(out)
    sets = [sets] if isinstance(sets, DistilledSet) else list(sets)
    _check(sets, to, form)
    first = sets[0]
    target = _target(first, form, keep_zca)
    place.require_free(out, overwrite=overwrite, marks=(sidecar.NAME,), what="an export")
    outgoing = [_outgoing(one, target) for one in sets]
    error = _error([(one, each.images, target) for one, each in zip(sets, outgoing, strict=True)])
    notes = tuple(_notes(first, to, form, target, error))
    with place.whole_folder(out) as partial:
        form.write(partial, outgoing)
        files = sorted(file for file in partial.rglob("*") if file.is_file())
        about = _about(sets, to, target, error) | {"digest": sidecar.digest(form.files(partial), partial)}
        write_json(partial / sidecar.NAME, about)
        page = readme(first.card, to, target, str(error), notes, [file.name for file in files])
        if to == "parquet":
            page = hub_head(first.card, parquet.size(partial)) + page
        write_text(partial / "README.md", page)
    return Exported(out, tuple(out / file.relative_to(partial) for file in files), to, target, error, notes)


def _check(sets: list[DistilledSet], to: str, form: Format) -> None:
    if not sets:
        raise InvalidInput("no set to export came; give one")
    if len(sets) > 1 and not form.several:
        many = ", ".join(name for name, one in FORMATS.items() if one.several)
        raise InvalidInput(f"{to} holds one set and {len(sets)} came; export one of them (RUN/0), or all of them --to {many}")
    for one in sets[1:]:
        if one.images.shape != sets[0].images.shape or one.transform.to_card() != sets[0].transform.to_card():
            raise InvalidInput("the sets have different sizes or normalisations; export them one by one")
        if one.kind != sets[0].kind:
            raise InvalidInput("the sets have different kinds of labels, or decoders; export them one by one")
    if sets[0].soft and not form.soft:
        able = " or ".join(name for name, one in FORMATS.items() if one.soft)
        raise InvalidInput(f"{to} holds class numbers and no soft labels, and this set has soft ones; export it to {able}")
    if form.equal and len(set(sets[0].counts)) > 1:
        raise InvalidInput(
            f"{to} tells classes by their order alone, equally many images of each, and this set has {min(sets[0].counts)} to "
            f"{max(sets[0].counts)}; export it to npz, or to folder"
        )


def _target(one: DistilledSet, form: Format, keep_zca: bool) -> Transform | None:
    """The space in which the file's numbers shall be (None: pixels)."""
    whitened = one.transform.zca is not None
    if keep_zca and not whitened:
        raise InvalidInput("keep_zca is for sets that are ZCA-whitened, and this one is not; leave it out")
    if form.numbers is None:
        if keep_zca:
            raise InvalidInput("pictures hold true colours, no whitened numbers; leave --keep-zca out, or export to npz or mtt")
        return None
    if whitened and (keep_zca or form.own_space):
        return one.transform
    return of_program(form.numbers, _method(one))(str(one.card["data"]["name"]), one.transform)


def _method(one: DistilledSet) -> str:
    method = one.card["recipe"].get("method")
    return str(method.get("name") if isinstance(method, dict) else method)


def _outgoing(one: DistilledSet, target: Transform | None) -> Outgoing:
    card = one.card
    if target is None:
        images = (pixels(one.training_images, one.transform) * 255).round().clamp(0, 255).to(torch.uint8)
    elif target.to_card() == one.transform.to_card():
        images = one.training_images
    else:
        mean, std = (torch.tensor(numbers, dtype=torch.float64)[:, None, None] for numbers in (target.mean, target.std))
        images = ((pixels(one.training_images, one.transform) - mean) / std).float()
    protocol = PROTOCOLS.get(str(card["recipe"].get("protocol")), PROTOCOLS["honest"])
    return Outgoing(
        images=images.contiguous(), labels=one.training_numbers, classes=one.classes,
        logits=one.training_labels if one.soft else None, temperature=one.temperature, data=str(card["data"]["name"]),
        method=_method(one), net=str(card["recipe"]["net"]),
        ipc=one.ipc * one.decoder.each, lr=protocol.training.lr if one.rate is None else float(one.rate),
        learned=one.rate is not None, space=target,
    )  # fmt: skip


def pixels(images: Tensor, transform: Transform) -> Tensor:
    """Network space -> pixels, in float64 and not clamped: [M, C, H, W]."""
    x = images.double()
    if transform.zca is not None:
        x = transform.zca.invert(x)
    mean, std = (torch.tensor(numbers, dtype=torch.float64)[:, None, None] for numbers in (transform.mean, transform.std))
    return x * std + mean


def rounded(one: DistilledSet) -> DistilledSet:
    """The set as pictures would hold it if they could also hold what lies outside [0, 1]: rounded to steps of 1 / 255."""
    plain = one.as_plain()
    images = ((pixels(plain.images, plain.transform) * 255).round() / 255).float()
    return replace(plain, images=plain.transform.to_network(images).contiguous())


def _error(parts: list[tuple[DistilledSet, Tensor, Transform | None]]) -> Error:
    largest, total, clipped, values = 0.0, 0.0, 0, 0
    for one, images, target in parts:
        values += images.numel()
        if target is not None and target.to_card() == one.transform.to_card():
            continue
        before = pixels(one.training_images, one.transform)
        after = images.double() / 255 if target is None else pixels(images, target)
        gap = (after - before).abs()
        if target is None:
            # real pixels went through float32 and came back to their very level
            gap[gap < 1e-6] = 0
            clipped += int(((before < -1e-6) | (before > 1 + 1e-6)).sum())
        largest, total = max(largest, float(gap.max())), total + float(gap.sum())
    return Error(largest, total / values, clipped, values)


def _notes(one: DistilledSet, to: str, form: Format, target: Transform | None, error: Error) -> list[str]:
    notes = []
    if error.clipped:
        notes.append(
            f"pictures hold 8 bits from black to white: {error.clipped} of the {error.values} numbers of this set lie outside "
            "and were clipped, so that students of these files see other images than those of the run; npz keeps every number"
        )
    zca, data = one.transform.zca, str(one.card["data"]["name"])
    if zca is not None and target is None:
        notes.append(
            "the set is ZCA-whitened; pictures show its true colours, and a reader that does not whiten them again trains in "
            "another space than the set was made for: datadam import whitens them again"
        )
    elif zca is not None and target is not None and target.zca is None:
        notes.append(
            "the set is ZCA-whitened; the whitening was undone, so that any reader takes it, but trains in another space than "
            "the set was made for. --keep-zca leaves it in, for readers that whiten the same way"
        )
    elif zca is not None and not form.own_space:
        kornia = zca.variant == "kornia"
        fitted = "pixels in [0, 1]" if kornia else "normalised pixels"
        switch = "use_zca of ddranking, --zca of MTT and DATM" if kornia else "--zca of the authors' code of DataDAM"
        notes.append(
            f"the numbers are ZCA-whitened (eps {zca.eps:g}, fitted on the {fitted} of the training images): a reader must "
            f"whiten its test images likewise ({switch}); without, it sees images of another "
            "kind"
        )
    if one.rate is not None and not form.rated:
        notes.append(
            f"{to} has no place for the rate of students that the set has learned, {float(one.rate):.3g}; {sidecar.NAME} has"
        )
    if to == "eccv24" and (data not in ECCV or one.ipc * one.decoder.each != ECCV_IPC):
        notes.append(f"the challenge takes {ECCV_IPC} images per class of {' and '.join(ECCV)}; this set is for one's own use")
    if zca is not None and target is not None and target.zca is None and set(target.mean) == {0.0}:
        notes.append("what mean and deviation the data have is not known here: the numbers are plain pixels in [0, 1]")
    return notes


def _rate(sets: list[DistilledSet]) -> float | None:
    """The rate of students that the sets have learned; None for none, or for sets that differ in it."""
    rates = {None if one.rate is None else float(one.rate) for one in sets}
    return rates.pop() if len(rates) == 1 else None


def _about(sets: list[DistilledSet], to: str, target: Transform | None, error: Error) -> dict[str, Any]:
    """What `datadam.json` says, but for the digest."""
    one = sets[0]
    card = one.card
    try:
        ours = version("datadam")
    except PackageNotFoundError:
        ours = "not installed"
    data = card["data"]
    folders = {"folders": folder_names(one.classes)} if to == "folder" else {}
    return {
        "format": sidecar.FORMAT, "as": to, "data": data["name"], "checksum": data["checksum"], "classes": list(one.classes),
        **folders,
        "shape": list(one.images.shape[1:]), "images": len(one.training_images), "ipc": one.ipc * one.decoder.each,
        "counts": [n * one.decoder.each for n in one.counts], "labels": one.label_kind, "decoder": one.decoder.word,
        "rate": _rate(sets), "stored": {"images": len(one.images), "bytes": one.stored_bytes},
        "sets": len(sets), "order": "class after class", "numbers": sidecar.describe(target), "error": vars(error),
        "set": {
            "kind": card["kind"], "method": _method(one),
            "origin": str(card.get("command") or ""), "digest": card.get("digest"), "created": card.get("created"),
            "zca": one.transform.to_card()["zca"],
        },
        "datadam": ours,
    }  # fmt: skip
