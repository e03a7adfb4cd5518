"""The folder of a comparison: where everything lies, and what of it is done. Finished work is never made again.

FOLDER/table.{md,csv,json,png}
FOLDER/runs/METHOD-ipcN/REPEAT/                 ordinary run folders, with evaluations of the repeat
FOLDER/runs/METHOD-ipcN/evaluations/*.json      over all repeats as sets
FOLDER/whole/*.json                             evaluations of the whole training set
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from datadam.augment.siamese import STRATEGY, strategy_for
from datadam.comparison.grid import Grid
from datadam.data import RealData
from datadam.distillation.checkpoint import Checkpoint
from datadam.distillation.recipe import Recipe
from datadam.errors import ArtifactError, InvalidInput, noting
from datadam.evaluation.protocols import Protocol
from datadam.evaluation.result import FORMAT
from datadam.files.lock import LOCK
from datadam.files.partial import END
from datadam.files.whole import read_json
from datadam.settings import refuse
from datadam.training.pool import RANDOM

Json = dict[str, Any]
TABLE = "table.json"
NOT_IMAGES = ("preset", "protocol")  # what of a recipe says nothing about the images
SETTLED = {"precision": "auto", "networks": RANDOM}  # by what leaves it to the run, which then says what it is


def check_place(out: Path) -> None:
    """Raise `InvalidInput` unless a comparison may go to `out`, or goes on there."""
    if out.exists() and not out.is_dir():
        raise InvalidInput(f"{out} is a file; a comparison needs a folder")
    names = {path.name for path in out.iterdir() if not path.name.endswith(END)} if out.is_dir() else set()
    if not (out / TABLE).exists() and names - {LOCK}:
        raise InvalidInput(f"{out} holds files that are no comparison; choose another folder with --out")


def of_recipe(recipe: Recipe) -> str:
    """What an evaluation says that it judged."""
    return recipe.method.name if recipe.method.chooses else "distilled"


@dataclass(frozen=True)
class Store:
    """The folder `out` of a comparison on `real`."""

    out: Path
    real: RealData

    def run(self, folder: str, r: int) -> Path:
        """The run folder of a repeat."""
        return self.out / "runs" / folder / str(r)

    def state(self, run: Path, recipe: Recipe) -> Json | bool:
        """The card of a finished run; else whether there is a checkpoint to go on from.

        Raises `InvalidInput` when the run was made with other settings or from other data.
        """
        for path in (run / "card.json", run / "checkpoint" / "run.json"):
            if not path.exists():
                continue
            card = read_json(path)
            self._require_same(run, card, recipe)
            if path.name == "card.json" and card.get("iterations_done") == recipe.iterations:
                return dict(card)
        return Checkpoint(run).exists()

    def _require_same(self, run: Path, card: Any, recipe: Recipe) -> None:
        if not isinstance(card, dict) or not isinstance(card.get("data"), dict):
            raise ArtifactError(f"{run} holds a card that is not ours or was changed; remove the folder to make the run again")
        if card["data"].get("checksum") != self.real.checksum:
            raise InvalidInput(f"{run} was made from other data; choose another folder with --out")
        then, now = Recipe.from_card(card.get("recipe", {})).to_card(), recipe.to_card()
        then, now = ({**card.pop("method"), **card} for card in (then, now))
        free = {*NOT_IMAGES, *(name for name, word in SETTLED.items() if now[name] == word)}
        if other := [name for name in now if then.get(name) != now[name] and name not in free]:
            words = ", ".join(f"{name} was {then.get(name)!r} and is {now[name]!r} now" for name in other)
            raise InvalidInput(
                f"{run} was made with other settings: {words}. Ask for those again, choose another folder with --out, or remove "
                f"{run.parent} to make it anew"
            )

    def evaluation_file(self, run: Path, of: str, net: str, protocol: Protocol, students: int, seed: int) -> Path:
        """Where an evaluation is kept, named as `datadam evaluate` does: one asked for differently has another place."""
        training, spec = protocol.training, net.replace(":", "-").replace("=", "")
        usual = training.augment in (STRATEGY, strategy_for(self.real.name, flips=self.real.flips))
        augment = "" if usual else f"-{training.augment}"
        number = f"-seed{seed}" if seed else ""
        return run / "evaluations" / f"{of}-{spec}-{protocol.name}{training.epochs}x{students}{augment}{number}.json"

    def evaluation(self, path: Path, net: str, protocol: Protocol, students: int, seed: int) -> Json | None:
        """The evaluation that is kept there, if it is whole and the one that is asked for."""
        try:
            found = read_json(path)
        except ArtifactError:
            return None
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            return None
        wanted = {"net": net, "protocol": protocol.to_card(), "students": students, "seed": seed, "sets": 1}
        accuracies = found.get("accuracies")
        sound = (
            isinstance(accuracies, list)
            and len(accuracies) == 1
            and isinstance(accuracies[0], list)
            and len(accuracies[0]) == students
            and all(isinstance(a, int | float) and 0 <= a <= 1 for a in accuracies[0])
            and all(isinstance(found.get(name), int | float) for name in ("seconds", "seconds_per_student", "images"))
        )
        return found if sound and all(found.get(name) == value for name, value in wanted.items()) else None


def require_same(grid: Grid, store: Store) -> None:
    """Raise `InvalidInput` when the folder holds runs of the grid that were made otherwise."""
    faults: list[str] = []
    for row in grid.rows:
        for r in range(grid.repeats if row.recipe is not None else 0):
            with noting(faults):
                store.state(store.run(row.folder, r), row.of_repeat(r))
    refuse(faults)


def settled(grid: Grid, store: Store) -> Grid:
    """The grid without the refusals of what is there already (made where there was more memory, say).

    Raises `InvalidInput` when every row is refused.
    """
    rows = []
    for row in grid.rows:
        there = row.recipe is not None and all(
            isinstance(store.state(store.run(row.folder, r), row.of_repeat(r)), dict) for r in range(grid.repeats)
        )
        rows.append(replace(row, refused="") if there else row)
    if all(row.refused for row in rows):
        raise InvalidInput(*(f"{row.variant.word}, ipc {row.ipc}: {row.refused}" for row in rows))
    return replace(grid, rows=tuple(rows))
