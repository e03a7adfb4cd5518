"""What table.py and comparisons.py both need to say."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

NONE = "–"
NOT_YET = "Not measured yet: `python results/evidence.py --data FOLDER --scale small {name}` does."
PLACES = {"--root", "--out"}  # options that say where files lie: they change no number
TITLES = {
    "mnist": "MNIST", "fashion-mnist": "Fashion-MNIST", "cifar10": "CIFAR-10", "cifar100": "CIFAR-100",
    "tiny-imagenet": "Tiny ImageNet", "imagenette": "ImageNette", "lc25000-lung": "LC25000, lung",
    "cifar10-held-out": "CIFAR-10's training part alone",
}  # fmt: skip


RELEASED = ("official", "dm", "pixel", "dc", "dsa", "cafe")  # presets that take the numbers of released code
GRIDS = (
    "measured when CALM's presets stored colour images by grid:4 or grid:2 and looked at all their parts in an iteration; today "
    "they take dct:e, and 64 of a class"
)
EARLIER = (
    "measured when the presets of released code still normalised CIFAR-10 by the data's own deviations (0.2470, 0.2435, 0.2616); "
    "today they take the field's (0.2023, 0.1994, 0.2010), and give other numbers. --normalisation own gives these"
)


def earlier(recipe: dict[str, Any], data: str, *, whitened: bool) -> bool:
    """Whether a preset of released code ran under the data's own numbers, before there were the field's."""
    return data == "cifar10" and not whitened and recipe.get("preset") in RELEASED and "normalisation" not in recipe


def command(made: dict[str, Any]) -> str:
    """The command of a card or table without the options that only say where files lie."""
    words = shlex.split(made["command"])
    kept = [
        word
        for before, word in zip(["", *words], words, strict=False)
        if word not in PLACES and before not in PLACES and word != "--overwrite"
    ]
    return shlex.join(Path(word).name if word.startswith(("/", "~")) else word for word in kept)


def machine(made: dict[str, Any]) -> str:
    """Hardware, versions and commit of a card or table in words."""
    hardware, versions = made["hardware"], made["versions"]
    parts = [
        hardware["cpu"], f"{hardware['cores']} cores", f"{hardware['memory_gb']} GB", hardware["gpu"] or "no GPU",
        f"datadam {versions['datadam']}" + (f" at {made['commit']}" if made.get("commit") else ""), f"torch {versions['torch']}",
        f"Python {versions['python']}",
    ]  # fmt: skip
    return ", ".join(parts)


def count(number: float) -> str:
    """Thousands apart."""
    return f"{number:,.0f}".replace(",", " ")


def markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ("---",) * len(head), *lines))
