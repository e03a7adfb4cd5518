"""A run folder, read and checked: the only door by which a report takes anything in.

Letters: M stored images, N training images that they decode to, K classes, C channels, H height, W width. Nothing in the files
is trusted; all faults of a card or evaluation are told at once, as an ArtifactError.
"""

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from datadam.data.whitening import Transform
from datadam.errors import ArtifactError
from datadam.files.whole import read_json, read_tensors
from datadam.sets.card import read_card
from datadam.sets.decoders import Shown, decoder_named
from datadam.sets.kind import Kind, counts_of, each_of

Json = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """One finished or interrupted run.

    `labels`: the class of each of the M stored images; `shape`: (C, H, W); `metrics`: one dictionary an iteration told, in
    order; `evaluations`: in the order of their file names; `snapshots`: (iteration, file), in order. Pixels are read
    when asked for.
    """

    folder: Path
    card: Json
    labels: list[int]
    shape: tuple[int, int, int]
    transform: Transform
    metrics: list[Json]
    evaluations: list[Json]
    snapshots: list[tuple[int, Path]]

    @property
    def classes(self) -> list[str]:
        """The K names."""
        return list(self.card["data"]["classes"])

    @property
    def kind(self) -> Kind:
        """Label kind and decoder."""
        return Kind.of_card(self.card)

    @property
    def each(self) -> int:
        """Training images of a stored one."""
        return each_of(self.card)

    @property
    def training_labels(self) -> list[int]:
        """The class of each of the N training images; those of one stored image stand side by side."""
        return [label for label in self.labels for _ in range(self.each)]

    def pixels(self, indices: Iterable[int], snapshot: Path | None = None) -> torch.Tensor:
        """True colours in [0, 1] of the stored images asked for, of the end or of a snapshot: [len(indices), C, H, W]."""
        return self.transform.to_pixels(self._stored(indices, snapshot))

    def training_pixels(self, indices: Iterable[int], snapshot: Path | None = None) -> torch.Tensor:
        """Likewise of training images."""
        shown = Shown(
            decoder_named(self.kind.decoder),
            lambda rows: self._stored(rows, snapshot),
            len(self.labels),
            self.transform.to_pixels,
        )
        return shown[list(indices)]

    def _stored(self, indices: Iterable[int], snapshot: Path | None) -> torch.Tensor:
        """Stored images in network space."""
        file = snapshot or self.folder / "distilled.safetensors"
        with _tensors(file) as tensors:
            images = _images(tensors, file)
            if images.get_shape() != [len(self.labels), *self.shape]:
                raise ArtifactError(f"{file}: images of shape {images.get_shape()}, not {[len(self.labels), *self.shape]}.")
            network = torch.cat([images[index : index + 1] for index in indices]).float()
        if not network.isfinite().all():
            raise ArtifactError(f"{file} holds NaN or infinite pixels: the run diverged, or the file is damaged.")
        return network


def read(folder: Path) -> Run:
    """The run in a folder. Without evaluations, snapshots or metrics it is a run too; without card or images, none.

    Raises ArtifactError, naming the file and every fault found in it.
    """
    card = read_card(folder)
    _check(card, CARD, folder / "card.json")
    file = folder / "distilled.safetensors"
    with _tensors(file) as tensors:
        shape = _images(tensors, file).get_shape()
        if "labels" not in tensors.keys():  # noqa: SIM118 (not a dictionary)
            raise ArtifactError(f"{file} holds no tensor 'labels'.")
        labels = tensors.get_tensor("labels")
    classes = len(card["data"]["classes"])
    if shape[1:] != card["data"]["shape"]:
        raise ArtifactError(f"{file}: images of shape {shape}, but card.json says {card['data']['shape']} for each.")
    if labels.ndim == 2 and sum(counts_of(card)) == shape[0]:  # soft labels: the class that each image stands for
        labels = torch.arange(classes).repeat_interleave(torch.tensor(counts_of(card)))
    if labels.ndim != 1 or len(labels) != shape[0] or ((labels < 0) | (labels >= classes)).any():
        raise ArtifactError(f"{file}: labels must be {shape[0]} numbers of 0..{classes - 1}, one for each image.")
    return Run(
        folder=folder,
        card=card,
        labels=[int(label) for label in labels],
        shape=(shape[1], shape[2], shape[3]),
        transform=_transform(card["transform"], folder, shape[1:]),
        metrics=_metrics(folder / "metrics.jsonl"),
        evaluations=evaluations(folder),
        snapshots=sorted((int(file.stem), file) for file in folder.glob("snapshots/*.safetensors") if file.stem.isdecimal()),
    )


def repeats(folder: Path) -> list[Path]:
    """The runs in a folder: itself, or RUN/0, RUN/1, ... of a run with repeats."""
    inside = sorted((int(path.parent.name), path.parent) for path in folder.glob("*/card.json") if path.parent.name.isdecimal())
    return [folder] if (folder / "card.json").exists() or not inside else [path for _, path in inside]


def evaluations(folder: Path) -> list[Json]:
    """Every evaluation in a run folder, checked."""
    found = []
    for file in sorted(folder.glob("evaluations/*.json")):
        evaluation = read_json(file)
        if not isinstance(evaluation, dict):
            raise ArtifactError(f"{file} holds {type(evaluation).__name__}, not a JSON object.")
        _check(evaluation, EVALUATION, file)
        classes = len(evaluation.get("classes") or ())
        for name in ("per_class", "confusion"):
            table = evaluation.get(name) or []
            if table and {len(table)} | {len(row) for row in table if isinstance(row, list)} != {classes}:
                raise ArtifactError(f"{file}: {name} does not fit its {classes} classes.")
        found.append(evaluation)
    return found


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_positive(value: Any) -> bool:
    return _is_number(value) and value >= 0


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_share(value: Any) -> bool:
    return _is_number(value) and 0 <= value <= 1


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _list_of(check: Callable[[Any], bool], least: int = 0) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and len(value) >= least and all(check(item) for item in value)


def _are_classes(value: Any) -> bool:
    return _list_of(_is_text, 1)(value) and len(set(value)) == len(value)


# Where, what is allowed there, whether it must be there.
Rule = tuple[str, Callable[[Any], bool], str, bool]
CARD: list[Rule] = [  # beside what read_card has seen to
    ("data.name", _is_text, "text", True),
    ("data.classes", _are_classes, "a list of different names", True),
    ("data.checksum", _is_text, "text", False),
    ("data.train", _is_whole, "a number of images", False),
    ("data.test", _is_whole, "a number of images", False),
    ("data.notes", _list_of(_is_text), "a list of texts", False),
    ("note", _is_text, "text", False),
    ("iterations_done", _is_whole, "a whole number", False),
    ("moved", _is_positive, "a number", False),
    ("seconds", _is_positive, "a number", False),
    ("trained_first_seconds", _is_positive, "a number", False),
    ("earlier_seconds", _is_positive, "a number", False),
    ("experts", _is_object, "an object", False),
    ("peak_memory_mb", _is_positive, "a number", False),
    ("hardware", _is_object, "an object", False),
    ("versions", _is_object, "an object", False),
    ("labels", _is_text, "text", False),
    ("command", _is_text, "text", False),
    ("created", _is_text, "text", False),
    ("citations", _list_of(_is_text), "a list of texts", False),
    ("warnings", _list_of(_is_text), "a list of texts", False),
]
EVALUATION: list[Rule] = [
    ("format", lambda value: value == "datadam-evaluation/1", '"datadam-evaluation/1"', True),
    ("of", _is_text, "text", True),
    ("net", _is_text, "text", True),
    ("mean", _is_share, "a number of 0..1", True),
    ("accuracies", _list_of(_list_of(_is_share, 1), 1), "lists of numbers of 0..1", True),
    ("interval", _is_object, "an object", False),
    ("interval.low", _is_number, "a number", False),
    ("interval.high", _is_number, "a number", False),
    ("interval.over", _is_text, "text", False),
    ("std", _is_positive, "a number", False),
    ("protocol", _is_object, "an object", False),
    ("note", _is_text, "text", False),
    ("words", _is_text, "text", False),
    ("images", _is_whole, "a number of images", False),
    ("labels", lambda value: value in ("hard", "soft"), '"hard" or "soft"', False),
    ("decoder", _is_text, "text", False),
    ("stored_bytes", _is_whole, "a number of bytes", False),
    ("iteration", _is_whole, "a whole number", False),
    ("seconds_per_student", _is_positive, "a number", False),
    ("classes", _are_classes, "a list of different names", False),
    ("per_class", _list_of(lambda value: value is None or _is_share(value)), "a list of numbers of 0..1", False),
    ("confusion", _list_of(_list_of(_is_positive)), "a table of counts", False),
]


def _check(found: Json, rules: list[Rule], file: Path | str) -> None:
    faults = []
    for where, allowed, words, needed in rules:
        value: Any = found
        for key in where.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        if needed if value is None else not allowed(value):
            came = "is missing" if value is None else f"is {str(value)[:60]!r}"
            faults.append(f"{file}: {where} {came}; {words} is needed.")
    if faults:
        raise ArtifactError(*faults)


def _metrics(file: Path) -> list[Json]:
    """The lines of a metrics file in order of iterations; of an iteration told twice (a resumed run) the later counts.

    A broken last line is what an interruption leaves behind and is passed over.
    """
    if not file.exists():
        return []
    lines = [line for line in file.read_bytes().split(b"\n") if line.strip()]
    told = {}
    for number, line in enumerate(lines, 1):
        try:
            metric = json.loads(line)
            told[int(metric["iteration"])] = metric
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            if number < len(lines):
                raise ArtifactError(f"{file}, line {number}: not an object with a whole number 'iteration'.") from error
    return [told[iteration] for iteration in sorted(told)]


def _tensors(file: Path) -> Any:  # safe_open has no types
    try:
        return safe_open(file, framework="pt")
    except (SafetensorError, OSError) as error:
        raise ArtifactError(f"{file} cannot be read as safetensors: {error}. It is missing or damaged.") from error


def _images(tensors: Any, file: Path) -> Any:
    """The slice of the tensor "images", not read yet."""
    images = tensors.get_slice("images") if "images" in tensors.keys() else None  # noqa: SIM118 (not a dictionary)
    if images is None or len(images.get_shape()) != 4 or 0 in images.get_shape():
        raise ArtifactError(f"{file} holds no tensor 'images' of shape [M, C, H, W].")
    return images


def _transform(card: Json, folder: Path, shape: list[int]) -> Transform:
    """The card's way from network space back to pixels."""
    zca = read_tensors(folder / "zca.safetensors")[0] if card.get("zca") is not None else None
    try:
        transform = Transform.from_card(card, zca)
    except ArtifactError as error:
        raise ArtifactError(f"{folder / 'card.json'}: {error}") from error
    whitened = math.prod(shape) if transform.zca is None else transform.zca.mean.numel()
    if len(transform.mean) != shape[0] or whitened != math.prod(shape):
        raise ArtifactError(f"{folder / 'card.json'}: the transform does not fit images of shape {shape}.")
    return transform
