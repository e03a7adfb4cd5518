"""What other comparisons have made: finished runs of the same recipe on the same data are taken over, with their judgements.

Copies, so that each comparison stays whole by itself. A run that is under way, or was made otherwise, is left where it is.
"""

import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from datadam.comparison.grid import Grid
from datadam.comparison.store import TABLE, Store, other_settings
from datadam.distillation.recipe import Recipe
from datadam.errors import DatadamError
from datadam.files.lock import LOCK
from datadam.files.partial import END, beside
from datadam.files.whole import read_json

Key = tuple[Any, ...]


class Earlier:
    """The finished runs of some folders of comparisons, read once; what is damaged there is passed over."""

    def __init__(self, folders: Iterable[Path]) -> None:
        self.runs: dict[Key, list[tuple[Path, Any]]] = {}
        self.whole: dict[str, list[Path]] = {}
        for folder in folders:
            for path in sorted(folder.glob("runs/*/*/card.json")):
                with suppress(DatadamError, KeyError, TypeError, AttributeError):
                    card = read_json(path)
                    if card["iterations_done"] == card["recipe"]["iterations"]:
                        recipe = Recipe.from_card(card["recipe"])
                        self.runs.setdefault(_key(card["data"]["checksum"], recipe), []).append((path.parent, card["recipe"]))
            with suppress(DatadamError, KeyError, TypeError):
                checksum = read_json(folder / TABLE)["data"]["checksum"]
                self.whole.setdefault(checksum, []).extend(sorted(folder.glob("whole/evaluations/*.json")))

    def take(self, store: Store, run: Path, recipe: Recipe) -> bool:
        """Put a run of this recipe into the place `run`, where there is nothing yet; returns whether there was one to take."""
        for folder, card in self.runs.get(_key(store.real.checksum, recipe), []):
            if not run.exists() and not other_settings(card, recipe):
                partial = beside(run)
                run.parent.mkdir(parents=True, exist_ok=True)
                shutil.copytree(folder, partial, ignore=shutil.ignore_patterns(LOCK, f"*{END}"))
                partial.rename(run)
                return True
        return False

    def take_all(self, store: Store, grid: Grid) -> None:
        """All that a comparison lacks and that is there: runs, and judgements of the whole set."""
        for row in grid.rows:
            for r in range(grid.repeats if row.recipe is not None and not row.refused else 0):
                self.take(store, store.run(row.folder, r), row.of_repeat(r))
        for path in self.whole.get(store.real.checksum, []) if grid.whole else []:
            place = store.out / "whole" / "evaluations" / path.name
            if not place.exists():
                place.parent.mkdir(parents=True, exist_ok=True)
                partial = beside(place)
                shutil.copyfile(path, partial)
                partial.rename(place)


def _key(checksum: str, recipe: Recipe) -> Key:
    return checksum, recipe.method.name, recipe.ipc, recipe.iterations, recipe.seed
