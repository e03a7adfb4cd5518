"""What must exist before the first iteration of a run: networks that are trained, or looked through, first."""

from dataclasses import dataclass
from typing import Literal

from datadam.training.trainer import Training


@dataclass(frozen=True)
class Needs:
    """Arguments: `networks`: "random" weights; a "pool" or "experts", trained on the real set; "insight", for choosing images;
    "own", trained on the way; "none"; `training` and `count`, how and how many are trained first."""

    networks: Literal["random", "pool", "own", "experts", "insight", "none"] = "random"
    training: Training | None = None
    count: int = 0
