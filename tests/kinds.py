"""Sets of every kind out of a plain one: soft labels, a learned rate, a decoder, classes of unequal count."""

from typing import Any

import torch

from datadam.data import RealData
from datadam.sets.card import FORMAT, data_card, digest
from datadam.sets.distilled import DistilledSet

LOGITS = torch.randn(6, 3, generator=torch.Generator().manual_seed(6)) + 4 * torch.eye(3).repeat_interleave(2, 0)
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "soft": {"logits": LOGITS, "temperature": 4.0},
    "rate": {"rate": 0.03},
    "grid": {"decoder": "grid:2"},
    "frequencies": {"decoder": "dct:6"},
    "unequal": {"counts": (1, 4, 1)},
    "all": {"logits": LOGITS, "rate": 0.003, "decoder": "grid:4", "counts": (3, 1, 2), "temperature": 0.5},
}


def set_of_kind(
    real: RealData, logits: torch.Tensor | None = None, rate: float | None = None, decoder: str = "plain",
    counts: tuple[int, ...] | None = None, images: torch.Tensor | None = None, **card: Any,
) -> DistilledSet:  # fmt: skip
    """Random images (or those given) in the network space of the data, of this kind; `card`, other parts of the card."""
    each = counts or (2,) * len(real.classes)
    numbers = torch.arange(len(each)).repeat_interleave(torch.tensor(each))
    if images is None:
        images = real.transform.to_network(torch.rand(len(numbers), *real.shape, generator=torch.Generator().manual_seed(5)))
    labels = numbers if logits is None else logits
    learned = None if rate is None else torch.tensor(rate)
    whole: dict[str, Any] = {
        "format": FORMAT, "kind": "distilled", "note": "", "command": "", "warnings": [], "citations": [], "iterations_done": 0,
        "recipe": {
            "method": {"name": "datadam"}, "ipc": max(each), "net": "convnet2:width=6", "protocol": "honest", "seed": 0,
            "decoder": decoder,
        },
        "data": data_card(real), "transform": real.transform.to_card(), "labels": "class" if logits is None else "soft",
        "decoder": decoder, "digest": digest(images, labels, learned),
        **({"counts": list(counts)} if counts else {}), **({} if learned is None else {"rate": float(learned)}),
    }  # fmt: skip
    return DistilledSet(images, labels, real.transform, whole | card, learned)
