"""DD-Ranking's scores of a run, made ready to be shown: from its evaluations, as they are when they are shown."""

from collections.abc import Sequence

from datadam.evaluation.ddranking import scores
from datadam.report.folder import Json
from datadam.wording import plural

NAMES = {
    "lrs": ("LRS", "label-robust score"),
    "ars": ("ARS", "augmentation-robust score"),
    "ior": ("IOR", "improvement over random"),
    "hlr": ("HLR", "hard label recovery, what is missing to the whole set"),
}
USED = {
    "set_augmented": "the set",
    "random_augmented": "random images",
    "set_plain": "the set without augmentation",
    "random_plain": "random images without augmentation",
    "whole": "the whole set",
}


def scored(card: Json, evaluations: Sequence[Json]) -> Json | None:
    """The scores with their intervals and with what they come from; None for a run that was not judged.

    Commands name the run RUN: a page goes where its folder is called otherwise.
    """
    if not evaluations or not card["recipe"].get("net"):
        return None
    found = scores(card, evaluations, "RUN").to_json()
    rows = [
        {
            "name": name,
            "words": words,
            "value": "–" if found[key] is None else f"{found[key]:.3f}",
            "interval": interval_of(found, key, 3),
        }
        for key, (name, words) in NAMES.items()
    ]
    return {
        "rows": rows,
        "some": any(found[key] is not None for key in NAMES),
        "evidence": evidence(found),
        "missing": found["missing"],
    }


def interval_of(found: Json, key: str, digits: int, dash: str = " – ") -> str:
    """A score's 95 % interval; "" where there is none."""
    ends = (found.get("intervals") or {}).get(key)
    return dash.join(f"{end:.{digits}f}" for end in ends) if ends else ""


def evidence(found: Json) -> str:
    """Whose accuracies the scores come from: students and epochs of each."""
    told: dict[str, list[str]] = {}
    for key, who in (found.get("evidence") or {}).items():
        sets = f" of {plural(who['sets'], 'set')}" if who["sets"] > 1 else ""
        told.setdefault(f"{plural(who['students'], 'student')}{sets}, {plural(who['epochs'], 'epoch')}", []).append(USED[key])
    words = "; ".join(
        f"{', '.join(names)}: {count} each" if len(names) > 1 else f"{names[0]}: {count}" for count, names in told.items()
    )
    alone = (found.get("evidence") or {}).get("whole", {}).get("students") == 1
    return words + ("; the one student of the whole set has no spread, and the intervals take it as it is" if alone else "")
