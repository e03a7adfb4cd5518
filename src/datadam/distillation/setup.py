"""Frame: what stays fixed during a run, and the card that it becomes."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from datadam import machine, nets
from datadam.data import RealData
from datadam.distillation.recipe import Recipe
from datadam.sets.card import FORMAT, HARD, SOFT, data_card, digest
from datadam.sets.distilled import DistilledSet


@dataclass(frozen=True)
class Frame:
    """A run's data, recipe and words.

    Arguments: `note`, shown wherever the result is ("demo, not a result"); `command`, that makes the run again; `snapshots`,
    iterations after which the images are kept; `earlier_seconds`, what making the images took that the run starts from.
    """

    real: RealData
    recipe: Recipe
    note: str = ""
    command: str = ""
    snapshots: tuple[int, ...] = ()
    earlier_seconds: float = 0.0

    def to_card(self) -> dict[str, Any]:
        """The parts of the card that are known before the run."""
        return {
            "note": self.note,
            "command": self.command,
            "recipe": self.recipe.to_card(),
            "data": data_card(self.real),
            "transform": self.real.transform.to_card(),
            "labels": SOFT if "labels" in self.recipe.method.learns else HARD,
            "decoder": self.recipe.decoder,
            **({"earlier_seconds": self.earlier_seconds} if self.earlier_seconds else {}),
            **nets.card_of(self.recipe.net),
        }

    def finish(
        self, tensors: Mapping[str, Tensor], measured: dict[str, Any], device: torch.device, out: Path | None
    ) -> DistilledSet:
        """The artifact of these learned tensors (`SyntheticSet`); written to `out` when given."""
        method = self.recipe.method
        card = {
            "format": FORMAT,
            "kind": "coreset" if method.chooses else "generated" if method.samples else "distilled",
            **self.to_card(),
            **measured,
            "hardware": machine.hardware(device),
            "versions": machine.versions(),
            "commit": machine.commit(),
            "created": machine.now(),
            "citations": [method.citation] if method.citation else [],
        }
        numbers = torch.arange(len(self.real.classes)).repeat_interleave(torch.tensor(self.recipe.counts(self.real)))
        stored = {name: tensor.detach().float().cpu().contiguous().clone() for name, tensor in tensors.items()}
        images, labels, rates = stored["images"], stored.get("labels", numbers), stored.get("rates")
        rate = stored.get("rate") if rates is None else rates.mean()
        card |= {} if rate is None else {"rate": float(rate)}
        card |= {} if rates is None else {"rates": rates.tolist()}
        if "labels" in method.learns and method.label_temperature != 1:
            card["temperature"] = method.label_temperature
        distilled = DistilledSet(images, labels, self.real.transform, card | {"digest": digest(images, labels, rate)}, rate)
        if out is not None:
            distilled.save(out)
        return distilled
