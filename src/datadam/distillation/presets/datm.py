"""DATM as its authors released it (Guo et al., ICLR 2024)."""

from dataclasses import replace
from typing import Any

from datadam.distillation.presets.kind import Kind
from datadam.distillation.presets.mtt import mtt
from datadam.distillation.recipe import Recipe
from datadam.methods import DATM

SMALL = {"steps": 80, "expert_epochs": 2}
TINY = {"lr_labels": 10.0, "lr_rate": 1e-4, "batch": 1000}
TABLE: dict[str, dict[int, tuple[float, dict[str, Any]]]] = {  # by ipc the rate of the images, and the settings
    "cifar10": {
        1: (100.0, SMALL | {"max_start": 4, "first_max": 0, "lr_labels": 5.0, "lr_rate": 1e-7, "threshold": 1.1}),
        10: (100.0, SMALL | {"max_start": 20, "first_max": 10, "widens_by": 1000}),
        50: (1000.0, SMALL | {"max_start": 40, "first_max": 20, "widens_by": 2000, "batch": 500}),
        500: (50.0, {"steps": 40, "min_start": 40, "max_start": 60, "first_max": 0, "lr_labels": 10.0, "batch": 1000}),
        1000: (50.0, {"steps": 100, "min_start": 40, "max_start": 60, "first_max": 0, "lr_labels": 10.0, "batch": 1000}),
    },
    "cifar100": {
        1: (1000.0, {"steps": 40, "expert_epochs": 3, "widens_by": 1000, "lr_labels": 10.0, "batch": 1000}),
        10: (1000.0, SMALL | {"max_start": 50, "first_max": 30, "widens_by": 2000, "lr_labels": 10.0, "batch": 1000}),
        50: (1000.0, SMALL | {"min_start": 20, "max_start": 70, "first_max": 0, "lr_labels": 10.0, "batch": 1000}),
        100: (50.0, SMALL | {"min_start": 30, "max_start": 70, "first_max": 0, "lr_labels": 10.0, "batch": 1000}),
    },
    "tiny-imagenet": {
        1: (1e4, TINY | {"steps": 40, "first_max": 15, "widens_by": 2000}),
        10: (100.0, TINY | {"steps": 40, "min_start": 10, "max_start": 50, "first_max": 0, "batch": 500}),
        50: (100.0, TINY | {"steps": 20, "min_start": 40, "max_start": 70, "first_max": 0}),
    },
}  # fmt: skip


def datm(real: Kind, ipc: int) -> Recipe:
    """DATM: 10 001 iterations, 100 experts of 100 epochs; by ipc the row that is published for it, or for the next smaller one.

    Published, CIFAR-10 ipc 1 / 10 / 50 / 500: 46.9 / 66.8 / 76.1 / 83.5 %. Whitened; data without a row get those of CIFAR-10.
    """
    rows = TABLE.get(real.name, TABLE["cifar10"])
    lr_images, settings = rows[max((known for known in rows if known <= ipc), default=min(rows))]
    start = "real" if real.name == "cifar100" and 50 <= ipc < 100 else "right"
    return replace(
        mtt(real, ipc), method=DATM(**settings), iterations=10_001, lr_images=lr_images, start=start, zca="kornia", preset="datm"
    )
