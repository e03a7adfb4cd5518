"""The inspection from start to end: what is measured, kept, and found again.

Letters: M synthetic images (of a decoded set the training images), K classes looked at, D of them drawn, R networks, G groups of
images.
"""

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from datadam import machine
from datadam.data import RealData
from datadam.errors import ArtifactError, InvalidInput
from datadam.evaluation.evaluate import require_fit
from datadam.evaluation.statistics import t95
from datadam.files.whole import read_json, write_json, write_tensors
from datadam.inspection import scatter
from datadam.inspection.attention import correlation, stability
from datadam.inspection.look import DRAWN, Look, Looked, LookRow
from datadam.inspection.neighbours import neighbours
from datadam.inspection.networks import EPOCHS, random_networks, trained_network
from datadam.inspection.sample import Sample
from datadam.sets.card import digest
from datadam.sets.distilled import DistilledSet

FORMAT = "datadam-inspection/1"
FILE = "inspection.json"
FEATURES = ("random", "trained")
POWER = 4.0  # of attention maps where the run's method has none
POINTS = 1000  # real images in the picture
Progress = Callable[[str, int, int | None], None]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """`features`: by which networks, "random" ones of the run's kind or one "trained" on the whole set; `samples`, real images
    over all classes; `networks`, R, how many random ones; `seed`. Raises `InvalidInput`."""

    features: str = "random"
    samples: int = 1000
    networks: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        faults = []
        if self.features not in FEATURES:
            faults.append(f"features is {self.features!r}; allowed: {', '.join(FEATURES)}")
        if self.samples < 2:
            faults.append(f"samples is {self.samples}; it must be at least 2")
        if self.networks < 2:
            faults.append(f"networks is {self.networks}; an interval needs at least 2")
        if faults:
            raise InvalidInput(*faults)

    def to_card(self) -> dict[str, Any]:
        """As inspection.json keeps them."""
        return asdict(self) | {"epochs": EPOCHS if self.features == "trained" else 0}


@dataclass(frozen=True)
class Inspection:
    """What was found: `found`, as inspection.json holds it (see the package), and `tensors`, as inspection.safetensors."""

    found: dict[str, Any]
    tensors: dict[str, Tensor]

    def save(self, run: Path | str) -> None:
        """Write inspection.safetensors and, last, inspection.json into the run folder."""
        write_tensors(Path(run) / "inspection.safetensors", self.tensors, {"run": json.dumps(self.found["run"], sort_keys=True)})
        write_json(Path(run) / FILE, self.found)


def is_fresh(run: Path, distilled: DistilledSet, settings: Settings | None) -> bool:
    """Whether the run folder holds an inspection of these very images, with these settings (None: with any)."""
    try:
        found = read_json(run / FILE)
        same = found["format"] == FORMAT and found["run"] == _run(distilled)
        return bool(same and (settings is None or found["settings"] == settings.to_card()))
    except (ArtifactError, KeyError, TypeError):
        return False


def inspect(
    distilled: DistilledSet,
    real: RealData,
    settings: Settings | None = None,
    *,
    device: str = "auto",
    progress: Progress | None = None,
) -> Inspection:
    """Look at a set beside real images: nearest neighbours, attention maps, places among features.

    Arguments: `distilled`; `real`, the data it was made from; `settings` (None: the defaults); `device`, where a network is
    trained; `progress(what, done, total)`. A minute on one core for CIFAR-10; the same seed gives the same.
    Raises `InvalidInput` when the set does not fit the data or its card names no network.
    """
    device = machine.settle_device(device)
    require_fit(distilled, real)
    settings = settings or Settings()
    began = time.monotonic()
    real = replace(real, transform=distilled.transform)
    recipe = distilled.card["recipe"]
    sample = Sample.of(real, [distilled.decoder.each * n for n in distilled.counts], settings.samples, settings.seed)
    drawn = sample.classes[:DRAWN]
    near = neighbours(distilled.pixels(), distilled.training_numbers, real, settings.seed)
    method = recipe.get("method")
    power = method.get("power") if isinstance(method, dict) else None
    look = Look(distilled, real, sample, float(power) if isinstance(power, int | float) and power >= 1 else POWER)
    seen: list[Looked] = []
    for network in random_networks(real, recipe, settings.networks, settings.seed, torch.cat(sample.reference)):
        if progress:
            progress("looking through random networks", len(seen), settings.networks)
        seen.append(look.through(network))
    words = f"{settings.networks} random networks {recipe['net']}"
    spaces = seen
    if settings.features == "trained":
        spaces = [look.through(trained_network(real, recipe["net"], settings.seed, device, progress))]
        words = f"a network {recipe['net']} trained on the whole training set for {EPOCHS} epochs"
    if progress:
        progress("looking through random networks", settings.networks, settings.networks)
    points, perplexity = _points(spaces[0], len(drawn), sample, settings.seed)
    found = {
        "format": FORMAT,
        "run": _run(distilled),
        "settings": settings.to_card(),
        "classes": sample.classes,
        "drawn": drawn,
        "neighbours": {
            "image": near.image.tolist(), "real": near.real.tolist(), "distance": near.distance.tolist(),
            "label": [int(real.train.labels[index]) for index in near.real.tolist()], "searched": near.searched,
        },
        "attention": _attention(seen, look.power, sample),
        "scatter": {
            "network": words, "real": sum(map(len, sample.reference)), "perplexity": perplexity,
            "neighbours": scatter.NEIGHBOURS, "draws": len(sample.draws), "measures": _measures(spaces, look, sample),
        },
        "seconds": round(time.monotonic() - began, 1),
    }  # fmt: skip
    return Inspection(found, {"nearest": near.pixels, **points, **_pictures(seen, real, sample, len(drawn))})


def _run(distilled: DistilledSet) -> dict[str, Any]:
    card = distilled.card
    return {
        "digest": digest(distilled.images, distilled.labels, distilled.rate),
        "data": card["data"]["checksum"],
        "net": card["recipe"]["net"],
    }


def number(values: list[float]) -> dict[str, float | None] | None:
    """Mean and 95 % interval (Student's t) of independent values; None without a finite one."""
    known = torch.tensor([value for value in values if math.isfinite(value)], dtype=torch.float64)
    if not len(known):
        return None
    mean = float(known.mean())
    half = t95(len(known) - 1) * float(known.std()) / math.sqrt(len(known)) if len(known) > 1 else None
    return {"value": mean, "low": None if half is None else mean - half, "high": None if half is None else mean + half}


def _attention(seen: list[Looked], power: float, sample: Sample) -> dict[str, Any] | None:
    """Of each block: how alike the mean maps are, and how stable over the networks."""
    if not seen[0].means:
        return None
    blocks = []
    for block in range(len(seen[0].means)):
        means = torch.stack([one.means[block] for one in seen])  # [R, G, K, h, w]
        alike = correlation(means[:, :1], means[:, 1:]).mean(2)  # with the real images of the reference: [R, G - 1]
        draws = means[:, 2:]
        steady = [float(stability(draws[:, d]).mean()) for d in range(draws.shape[1])]
        blocks.append({
            "block": block + 1,
            "side": list(means.shape[-2:]),
            "alike": number(alike[:, 0].tolist()),
            "alike_random": number(alike[:, 1:].mean(0).tolist()) if draws.shape[1] else None,
            "stable_real": number(stability(means[:, 0]).tolist()),
            "stable": number(stability(means[:, 1]).tolist()),
            "stable_random": number(steady) if steady else None,
        })  # fmt: skip
    return {"power": power, "images": min(map(len, sample.reference)), "blocks": blocks}


def _measures(spaces: list[Looked], look: Look, sample: Sample) -> dict[str, Any]:
    """Spread and bias of the set over the networks, and of random real images over draws."""
    told: list[list[dict[str, float]]] = []
    for space in spaces:
        real = look.of(space, LookRow.REAL)
        told.append([scatter.measures(real, look.of(space, row)) for row in range(LookRow.SYNTHETIC, 2 + len(sample.draws))])
    found = {}
    for name in scatter.MEASURES:
        draws = [[one[name] for one in row[1:]] for row in told]
        found[name] = {
            "synthetic": number([row[0][name] for row in told]),
            "random": number([sum(values) / len(values) for values in zip(*draws, strict=True)]),
        }
    return found


def _points(space: Looked, classes: int, sample: Sample, seed: int) -> tuple[dict[str, Tensor], float]:
    """Places of the drawn classes' images under one network, real ones first."""
    each = max(2, POINTS // classes)
    chosen: list[Tensor] = []
    for row in (LookRow.REAL, LookRow.SYNTHETIC):
        for place in range(classes):
            here = ((space.group == row) & (space.place == place)).nonzero()[:, 0]
            chosen.append(here[:each] if row == LookRow.REAL else here)
    which = torch.cat(chosen)
    places, perplexity = scatter.picture(space.embedding[which], seed)
    labels = torch.tensor(sample.classes)[space.place[which]]
    return {"points": places, "point_labels": labels, "point_kinds": space.group[which].to(torch.int64)}, perplexity


def _pictures(seen: list[Looked], real: RealData, sample: Sample, drawn: int) -> dict[str, Tensor]:
    """Maps of the drawn classes, averaged over the networks, with the real images that they belong to."""
    if not seen[0].means:
        return {}
    tensors = {
        "first_real": torch.stack(
            [torch.from_numpy(real.train.pixels[int(some[0])].copy()) for some in sample.reference[:drawn]]
        ),
        "mean_real": torch.stack([_mean(real, some) for some in sample.reference[:drawn]]),
    }
    for block in range(len(seen[0].means)):
        means = torch.stack([one.means[block] for one in seen]).mean(0)
        singles = torch.stack([one.singles[block] for one in seen]).mean(0)
        named = {
            "real": means[LookRow.REAL],
            "synthetic": means[LookRow.SYNTHETIC],
            "first_real": singles[0],
            "first_synthetic": singles[1],
        }
        tensors |= {f"{name}_{block + 1}": maps[:drawn].float() for name, maps in named.items()}
    return tensors


def _mean(real: RealData, chosen: Tensor) -> Tensor:
    pixels = torch.from_numpy(real.train.pixels[chosen.numpy()])
    return pixels.double().mean(0).round().to(torch.uint8)
