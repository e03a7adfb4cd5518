"""The README.md beside exported files: for whoever finds them without knowing datadam; and the card of a data set of the hub."""

import json
from math import prod
from typing import Any

from datadam.data import Transform
from datadam.exchange.formats import FORMATS
from datadam.sets.decoders import PLAIN
from datadam.sets.kind import Kind, counts_of, each_of, per_class, stored_bytes, training_count
from datadam.sets.readme import MARKS
from datadam.wording import method_name, plural, size

NAMED = 1000  # classes whose names a card lists
UNMEASURED = "What that costs students in accuracy: not measured; add --measure."
"""Stands in the README of files that lost something, until it is measured."""
LOAD = {
    "folder": """import json
from pathlib import Path
from PIL import Image

top = Path("path/to/this/folder")
folders = json.loads((top / "datadam.json").read_text(encoding="utf-8"))["folders"]  # in the order of the class numbers
files = [(file, label) for label, name in enumerate(folders) for file in sorted((top / name).glob("*.png"))]
images = [(Image.open(file).copy(), label) for file, label in files]""",
    "parquet": """from datasets import load_dataset

images = load_dataset("path/to/this/folder", split="train")  # images[0]["image"] is a picture, images[0]["label"] a number""",
    "npz": """import numpy as np

found = np.load("distilled.npz")
images, labels = found["images"], found["labels"]  # [images, channels, height, width], class numbers
if "zca_inverse" in found:                         # undo the whitening first
    images = (images.reshape(len(images), -1) @ found["zca_inverse"] + found["zca_mean"]).reshape(images.shape)
pixels = images * found["std"][:, None, None] + found["mean"][:, None, None]  # true colours, in [0, 1] but for a few""",
    "ddranking": """import torch

images, labels, lr = (torch.load(f"{name}.pt", weights_only=True) for name in ("images", "labels", "lr"))
# LabelRobustScoreHard(...).compute_metrics(image_tensor=images, hard_labels=labels, syn_lr=lr)""",
    "mtt": """import torch

images, labels, lr = (torch.load(f"{name}_best.pt", weights_only=True) for name in ("images", "labels", "lr"))""",
    "dm": """import torch

images, labels = torch.load("{file}", weights_only=True)["data"][-1]""",
    "eccv24": """import torch

images = torch.load("{file}", weights_only=True)  # class after class""",
    "datadam": """import torch

images, labels = torch.load("{file}", weights_only=True)["data"]""",
    "idc": """import torch

images, labels = torch.load("{file}", weights_only=True)  # pixels in [0, 1], to be normalised when they are loaded""",
    "kip": """import numpy as np

found = np.load("{file}")
images, labels = found["images"], found["labels"].argmax(1)  # [images, height, width, channels]""",
}

UNDO = LOAD["npz"].partition("class numbers\n")[2]
SOFT_LOAD = {
    "npz": """import numpy as np
import torch

found = np.load("distilled.npz")
images = found["images"]  # [images, channels, height, width]
labels = torch.softmax(torch.from_numpy(found["logits"]) / float(found["temperature"]), 1)  # a share for each class
"""
    + UNDO,
    "ddranking": """import torch

images, labels, lr = (torch.load(f"{name}.pt", weights_only=True) for name in ("images", "labels", "lr"))
# LabelRobustScoreSoft(...).compute_metrics(image_tensor=images, soft_labels=labels, syn_lr=lr)""",
    "mtt": """import torch

images, logits, lr = (torch.load(f"{name}_best.pt", weights_only=True) for name in ("images", "labels", "lr"))
labels = torch.softmax(logits, 1)  # a share for each class""",
}
"""As `LOAD`, of soft labels."""


def readme(card: dict[str, Any], to: str, target: Transform | None, error: str, notes: tuple[str, ...], files: list[str]) -> str:
    """Markdown: what the files are, how to load them, what their numbers mean. Names and notes appear as plain text."""
    data, soft = card["data"], Kind.of_card(card).labels == "soft"
    channels, height, width = data["shape"]
    classes = [_plain(name) for name in data["classes"]]
    each = each_of(card)
    parts = [
        f"# {_plain(data['name'])}: {per_class(card, each)} per class",
        *(f"> **Note:** {_plain(note)}" for note in (card.get("note"), *notes) if note),
        f"{plural(training_count(card), 'image')} of {channels} x {height} x {width}, class after class, {_verb(card)} "
        f"with {_plain(method_name(card))} and exported by datadam --to {to}: {FORMATS[to].title}.",
        *_kept(card, to),
        f"Classes, in the order of their numbers: {', '.join(classes[:NAMED])}{', ...' if len(classes) > NAMED else '.'}",
        "```python\n" + (SOFT_LOAD if soft else LOAD)[to].replace("{file}", files[0]) + "\n```",
        f"Numbers: {_numbers(target)}. Against the set before: {error}.",
        *([UNMEASURED] if is_other(card, target) else []),
        "`datadam.json` says the same to programs. Back into a run, to be judged: `datadam import PATH --as "
        f"{to} --data {_plain(data['name'])} --out RUN`.",
    ]
    if card.get("citations"):
        parts += ["## Cite", *("```bibtex\n" + str(one).replace("```", "") + "\n```" for one in card["citations"])]
    return "\n\n".join(parts) + "\n"


def _kept(card: dict[str, Any], to: str) -> list[str]:
    """What the run stores, where that is not these very images with class numbers."""
    kind, images, words = Kind.of_card(card), training_count(card), []
    if kind.decoder != PLAIN.word:
        whole = 4 * images * prod(card["data"]["shape"])
        words.append(
            f"The run stores {plural(sum(counts_of(card)), 'image')} ({per_class(card)} per class, {size(stored_bytes(card))}), "
            f"which the decoder {_plain(kind.decoder)} makes these {plural(images, 'training image')} of ({size(whole)} as "
            "float32). Images per class here, and ipc in datadam.json, count training images."
        )
    if kind.labels == "soft":
        temperature = card.get("temperature", 1.0)
        scaled = f"divided by their temperature {temperature:g}, so that" if to != "npz" and temperature != 1 else "of which"
        at = f" at temperature {temperature:g}" if to == "npz" and temperature != 1 else ""
        words.append(f"Labels are soft: one number for each class, logits, {scaled} a softmax{at} is what students learn.")
    if card.get("rate") is not None:
        words.append(f"The set has learned the rate of its students, {card['rate']:.6g}.")
    return words


def is_other(card: dict[str, Any], target: Transform | None) -> bool:
    """Whether readers of the files train on other images than the set has: rounded to 8 bits, or not whitened any more."""
    return target is None or (target.zca is None and card["transform"]["zca"] is not None)


def hub_head(card: dict[str, Any], loaded: int) -> str:
    """What the hub reads at the head of a data set's README: settings in YAML. `loaded`, bytes of the table."""
    data, count = card["data"], training_count(card)
    low = next(f"n<{top}" if not below else f"{below}<n<{top}" for below, top, most in SIZES if count < most)
    names = "".join(f"            '{k}': {json.dumps(str(name))}\n" for k, name in enumerate(data["classes"]))
    return (
        "---\n"
        f"pretty_name: {json.dumps(data['name'] + ', distilled')}\n"
        f"task_categories:\n- image-classification\nsize_categories:\n- {low}\ntags:\n- dataset-distillation\n- datadam\n"
        "configs:\n- config_name: default\n  data_files:\n  - split: train\n    path: data/train-*\n"
        "dataset_info:\n  features:\n  - name: image\n    dtype: image\n  - name: label\n    dtype:\n      class_label:\n"
        f"        names:\n{names}"
        f"  splits:\n  - name: train\n    num_bytes: {loaded}\n    num_examples: {count}\n"
        "---\n\n"
    )


SIZES = (("", "1K", 1000), ("1K", "10K", 10_000), ("10K", "100K", 100_000), ("100K", "1M", 1_000_000), ("1M", "10M", 10**12))


def _numbers(target: Transform | None) -> str:
    if target is None:
        return "pixels in 8 bits, true colours"
    mean, std = (", ".join(f"{number:.6g}" for number in numbers) for numbers in (target.mean, target.std))
    words = f"float32, (pixel - mean) / std with pixels in [0, 1], mean {mean}, std {std}"
    if target.zca is None:
        return words
    return f"{words}, then ZCA whitening (variant {target.zca.variant}, eps {target.zca.eps:g})"


def _verb(card: dict[str, Any]) -> str:
    verbs = {"coreset": "chosen", "distilled": "distilled", "generated": "sampled from a generator"}
    return verbs.get(card["kind"], "made by others,")


def _plain(text: object) -> str:
    """Text on one line that Markdown shows as it is."""
    return MARKS.sub(r"\\\1", " ".join(str(text).split()))
