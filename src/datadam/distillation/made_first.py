"""A start that is made first: the set of a preset of our own method, from which another method goes on.

It is a run of its own, in the cache under everything that decides it, so that it is made once, gone on with after an
interruption, and found again by the next run that begins with it.
"""

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import torch

from datadam import machine
from datadam.data import RealData
from datadam.distillation.checkpoint import Checkpoint
from datadam.distillation.presets import CATALOG, Kind
from datadam.distillation.recipe import Recipe
from datadam.distillation.run import Run
from datadam.distillation.start import MADE_FIRST
from datadam.files.kept import folder_of, made_once
from datadam.sets.distilled import DistilledSet
from datadam.training.insight import Progress
from datadam.training.pool import about


def recipe_of_start(real: Kind, recipe: Recipe) -> Recipe | None:
    """The recipe of the set that a run begins with, where its start is a preset's: on the run's own network, with its decoder,
    data space, augmentation, precision and seed. None for every other start."""
    if recipe.start not in MADE_FIRST:
        return None
    return replace(
        CATALOG[recipe.start](real, recipe.ipc), net=recipe.net, decoder=recipe.decoder, normalisation=recipe.normalisation,
        zca=recipe.zca, augment=recipe.augment, precision=recipe.precision, seed=recipe.seed,
    )  # fmt: skip


def folder_of_start(real: RealData, recipe: Recipe, device: str) -> Path:
    """Where the run of a start lies in the cache; `real`, whitened as the run will see them. Raises `InvalidInput` where nothing
    can be written."""
    versions = {name: version for name, version in machine.versions().items() if name in ("datadam", "torch")}
    key = about(real, recipe.net) | {"recipe": recipe.to_card(), "versions": versions, "device": torch.device(device).type}
    return folder_of("starts", key)


def made_start(
    folder: Path, begun: Callable[[], Run], resumed: Callable[[], Run], progress: Progress | None
) -> DistilledSet:  # fmt: skip
    """The set of the run in a `folder` of the cache, `begun` or `resumed` and brought to its end; a damaged one is made anew."""

    def made() -> DistilledSet:
        run = resumed() if Checkpoint(folder).exists() else begun()
        with closing(run.steps()) as steps:
            for step in steps:
                if progress:
                    progress(f"{run.recipe.preset}  loss {step.loss:.4g}", step.iteration, step.iterations)
        return run.result()

    return made_once(folder, made)
