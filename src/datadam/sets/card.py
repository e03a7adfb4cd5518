"""The card of a set: everything about its making, and what makes one sound.

Letters: K classes, M stored images.
"""

import hashlib
import re
from pathlib import Path
from typing import Any

from torch import Tensor

from datadam.data import RealData
from datadam.errors import ArtifactError, InvalidInput
from datadam.files.whole import read_json
from datadam.sets.decoders import PLAIN, decoder_named
from datadam.settings import finite

FORMAT = "datadam/2"
READ = ("datadam/1", FORMAT)  # the first had no decoder, no soft labels and no classes of unequal count
HARD, SOFT = "class", "soft"  # kinds of labels: class numbers, or logits
OTHER_FOLDERS = {
    "table.json": "a comparison: read its table.md, or name a run in its folder runs",
    "index.json": "a pool of trained networks: distil through it with --set networks=POOL@20-40",
}


def data_card(real: RealData) -> dict[str, Any]:
    """What a card says of the data that a set was made from."""
    return {
        "name": real.name,
        "source": real.source,
        "options": real.options,
        "checksum": real.checksum,
        "classes": list(real.classes),
        "shape": list(real.shape),
        "train": len(real.train),
        "test": len(real.test),
        "notes": list(real.notes),
    }


def of_today(recipe: dict[str, Any]) -> dict[str, Any]:
    """The recipe of a card in today's words. Those written before recipes had a `normalisation` of the data gave that name to a
    setting of DataDAM's maps, and called layer norm what is group norm of one group."""
    if "normalisation" in recipe:
        return recipe
    recipe, method = dict(recipe), recipe.get("method")
    if isinstance(method, dict) and method.get("name") == "datadam":
        recipe["method"] = {"map_norm" if name == "normalisation" else name: value for name, value in method.items()}
    if isinstance(recipe.get("net"), str):
        recipe["net"] = recipe["net"].replace("norm=layer", "norm=group1")
    return recipe


def digest(images: Tensor, labels: Tensor, rate: Tensor | None = None) -> str:
    """ "sha256:<hex>" of stored images, labels and the students' rate: what the card remembers of them."""
    found = hashlib.sha256(images.contiguous().numpy().data)
    found.update(labels.contiguous().numpy().data)
    if rate is not None:
        found.update(rate.contiguous().numpy().data)
    return f"sha256:{found.hexdigest()}"


def read_card(folder: Path) -> dict[str, Any]:
    """The card of a run folder, its structure checked. Raises `ArtifactError`."""
    path = folder / "card.json"
    if not folder.is_dir():
        raise ArtifactError(f"{folder} is no run folder: it does not exist")
    if not path.exists() and (folder / "checkpoint").is_dir():
        raise ArtifactError(f"{folder} is an unfinished run; finish it with: datadam distill --resume {folder}")
    for name, what in OTHER_FOLDERS.items():
        if not path.exists() and (folder / name).exists():
            raise ArtifactError(f"{folder} is {what}")
    card = read_json(path)
    if not isinstance(card, dict) or card.get("format") not in READ:
        came = card.get("format") if isinstance(card, dict) else type(card).__name__
        raise ArtifactError(f"{path} has format {came!r}; this version reads {' and '.join(READ)}")
    data, recipe, transform = (card.get(part) for part in ("data", "recipe", "transform"))
    sound = (
        isinstance(data, dict)
        and isinstance(recipe, dict)
        and isinstance(transform, dict)
        and _texts(data.get("classes"))
        and _sizes(data.get("shape"), 3)
        and isinstance(data.get("source"), str)
        and isinstance(data.get("options"), dict)
        and isinstance(data.get("checksum"), str)
        and type(recipe.get("ipc")) is int
        and isinstance(recipe.get("net"), str)
        and {"mean", "std", "zca"} <= set(transform)
        and card.get("kind") in ("distilled", "coreset", "generated", "imported")
        and card.get("labels", HARD) in (HARD, SOFT)
        and isinstance(card.get("decoder", PLAIN.word), str)
        and recipe["ipc"] > 0
        and ("counts" not in card or (_sizes(card["counts"], len(data["classes"])) and max(card["counts"]) == recipe["ipc"]))
        and finite(card.get("temperature", 1.0))
        and card.get("temperature", 1.0) > 0
        and (card.get("rate") is None or (finite(card["rate"]) and card["rate"] > 0))
    )
    if sound and card["kind"] == "coreset":  # its method names the files of evaluations
        method = card["recipe"].get("method")
        sound = re.fullmatch(r"\w[\w.+-]{0,79}", str(method.get("name") if isinstance(method, dict) else method)) is not None
    if not sound:
        raise ArtifactError(
            f"{path} lacks parts that every card has (data, recipe, transform, kind); it was changed or is from another program"
        )
    try:
        decoder_named(card.get("decoder", PLAIN.word)).require_fit(tuple(card["data"]["shape"]))
    except InvalidInput as error:
        raise ArtifactError(f"{path}: {error}") from error
    return card | {"recipe": of_today(card["recipe"])}


def _texts(value: object) -> bool:
    return isinstance(value, list) and len(value) > 0 and all(isinstance(text, str) for text in value)


def _sizes(value: object, count: int) -> bool:
    return isinstance(value, list) and len(value) == count and all(type(n) is int and n > 0 for n in value)
