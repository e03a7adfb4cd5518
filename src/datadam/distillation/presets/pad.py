"""PAD as its authors released it (Li et al., 2024)."""

from dataclasses import replace
from typing import Any

from datadam.distillation.presets.datm import datm
from datadam.distillation.presets.kind import Kind
from datadam.distillation.recipe import Recipe
from datadam.methods import DATM, PAD

RELEASED: dict[str, Any] = {"left_out": "loss", "curriculum": "grand"}
CHANGED: dict[str, dict[int, dict[str, Any]]] = {  # what its table has otherwise than DATM's, by ipc
    "cifar10": {
        1: {"share": 0.0},
        10: {"batch": 500},
        50: {"expert_epochs": 3, "batch": 1000, "share": 0.25},
        500: {"first_max": 60, "max_start": 70, "widens_by": 2000},
        1000: {},
    },
    "cifar100": {1: {"first_max": 20, "max_start": 30}, 10: {}, 50: {"share": 0.0}, 100: {}},
}


def pad(real: Kind, ipc: int) -> Recipe:
    """PAD: DATM's preset with what its released configurations have otherwise.

    As in the released code, experts rank images by GraNd, and weights are left out by their loss: half of them unless a row says
    otherwise. The paper's way is --set left_out=depth --set curriculum=el2n.
    """
    asked = datm(real, ipc)
    assert isinstance(asked.method, DATM)
    rows = CHANGED.get(real.name, CHANGED["cifar10"] if real.name != "tiny-imagenet" else {1: {}})
    row = rows[max((known for known in rows if known <= ipc), default=min(rows))]
    return replace(asked, method=PAD(**asked.method.settings() | RELEASED | row), preset="pad")
