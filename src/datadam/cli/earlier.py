"""The earlier run that `--start` names: its set, and what making it took."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datadam.data import RealData
    from datadam.distillation.recipe import Recipe
    from datadam.sets.distilled import DistilledSet


def seconds_of_start(earlier: "DistilledSet | None") -> float:
    """What making a set took, as far as its card tells: one that was imported does not."""
    from datadam.settings import finite

    told = earlier.card.get("seconds", 0.0) if earlier else 0.0
    return float(told) if finite(told) and told >= 0 else 0.0


def earlier_set(recipe: "Recipe", real: "RealData") -> "DistilledSet | None":
    """What the earlier run made that --start names, if it does."""
    from datadam.cli.options import load_sets
    from datadam.distillation.start import STARTS
    from datadam.errors import InvalidInput

    if recipe.start in STARTS:
        return None
    first = load_sets(Path(recipe.start))[0]
    if first.decoder.word != recipe.decoder:
        raise InvalidInput(
            f"{recipe.start} stores images for the decoder {first.decoder.word}, and this run for {recipe.decoder}: the same "
            f"numbers are other images there; start with --set decoder={first.decoder.word}, or from a run of {recipe.decoder}"
        )
    if len(set(first.counts)) > 1:
        raise InvalidInput(
            f"{recipe.start} has {min(first.counts)} to {max(first.counts)} images a class; start from a run with equally many"
        )
    if first.classes != real.classes or first.transform.to_card() != real.transform.to_card():
        raise InvalidInput(
            f"{recipe.start} was made with other classes or another normalisation; start from a run on the same data"
        )
    return first
