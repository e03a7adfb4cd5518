"""What a part of a table is made on: its data, its place, and the sets that are made for it or were made before."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datadam import nets
from datadam.applications.reproduce.scales import Scale
from datadam.applications.reproduce.tables import Part
from datadam.applications.sets import made_set
from datadam.comparison.earlier import Earlier
from datadam.comparison.grid import recipe_of
from datadam.comparison.making import GridProgress
from datadam.comparison.store import Store
from datadam.comparison.variants import variant
from datadam.data import RealData
from datadam.distillation.recipe import Recipe
from datadam.parallel import Ray
from datadam.progress import Asked
from datadam.sets.distilled import DistilledSet
from datadam.where import Where

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class How:
    """On what a table is made, as `compare`: `device`, `workers`, `engine`; `command`, a word for the record; `progress`; `root`,
    the folder of data, in which tables of published numbers lie as well."""

    device: str = "auto"
    workers: int | None = 1
    engine: Ray | None = None
    command: str = ""
    progress: Asked = None
    root: Path | None = None


@dataclass(frozen=True)
class Bench:
    """A `part` at a `scale`, called `name` in the `folder` of its table; `real`, its data; `how` it is made.

    Other tables of the same OUT are asked first for what they have made already.
    """

    part: Part
    scale: Scale
    real: RealData
    folder: Path
    name: str
    how: How

    @property
    def note(self) -> str:
        """What every page of it says aloud."""
        return "" if self.scale.name == "full" else self.scale.words

    @property
    def earlier(self) -> list[Path]:
        """The folders of runs that OUT has."""
        own = self.folder / self.name
        return [path.parent for path in sorted(self.folder.parent.glob("*/*/runs")) if path.parent != own]

    def word(self, word: str) -> str:
        """A word of the table at this scale."""
        pool = self.folder.resolve() / f"pool-{self.part.data}"
        return variant(self.scale.word(word, self.real, self.part.ipc[0], str(pool))).word

    def recipe(self, word: str) -> Recipe:
        """The recipe of such a word, as a comparison of this scale has it."""
        settings = {
            "iterations": self.scale.iterations or self.part.iterations, "batch_real": self.scale.batch_real, "precision": None,
            "net": nets.canonical(self.scale.net("convnet"), self.real.shape), "normalisation": None, "zca": None, "seed": 0,
        }  # fmt: skip
        return recipe_of(variant(word), self.real, self.part.ipc[0], settings)

    def take(self, store: Store, recipes: dict[str, Recipe]) -> None:
        """Take over what other tables have made of these recipes, by the names of their folders."""
        found = Earlier(self.earlier)
        for folder, recipe in recipes.items():
            found.take(store, store.run(folder, 0), recipe)

    def sets(self, words: list[str], out: Path) -> dict[str, tuple[Path, DistilledSet]]:
        """Run folder and set of each word, found in OUT or made in `out`."""
        store, place = Store(out, self.real), Where(device=self.how.device)
        recipes = {word: self.recipe(word) for word in words}
        folders = {word: f"{variant(word).folder}-ipc{self.part.ipc[0]}" for word in words}
        self.take(store, {folders[word]: recipe for word, recipe in recipes.items()})
        found = {}
        for done, (word, recipe) in enumerate(recipes.items()):
            made = made_set(
                store, recipe, folders[word], place, note=self.note, command=self.how.command,
                advance=self.advance(done, len(words)),
            )  # fmt: skip
            found[word] = store.run(folders[word], 0), made
        return found

    def advance(self, done: int = 0, parts: int = 1) -> Callable[[str, float, float], Any]:
        """What is called with (words, done, total) of one of so many parts, for the bar."""

        def tell(doing: str, now: float, whole: float) -> None:
            if callable(self.how.progress):
                self.how.progress(GridProgress(done, parts, doing, now / whole if whole else 0.0, None))

        return tell
