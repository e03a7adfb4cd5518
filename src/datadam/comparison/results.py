"""What of a comparison is done: cards, evaluations, and what was refused or broke off."""

import json
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]
DECIDES_START = ("start", "ipc", "net", "decoder", "normalisation", "zca", "augment", "precision", "seed")  # settings of a recipe


@dataclass
class Results:
    """What is there, by the numbers of row, repeat and column.

    `cards` of finished runs; `evaluations`; `whole`, of the whole set; `files`, where each evaluation lies; `refused`, rows that
    turned out to be impossible; `failed`, why a run (column -1) or its judging (row -1: the whole set's) broke off; `remarks`.
    """

    cards: dict[tuple[int, int], Json] = field(default_factory=dict)
    evaluations: dict[tuple[int, int, int], Json] = field(default_factory=dict)
    whole: dict[int, Json] = field(default_factory=dict)
    files: dict[tuple[int, int, int], str] = field(default_factory=dict)
    refused: dict[int, str] = field(default_factory=dict)
    failed: dict[tuple[int, int, int], str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    def again(self) -> float:
        """Seconds of trainings and looks that several sets rest on, beyond the first time that they are counted."""
        met = [one for card in self.cards.values() for one in trained_first(card)]
        return sum(seconds for _, seconds in met) - sum(dict(met).values())


def trained_first(card: Json) -> list[tuple[str, float]]:
    """What a set rests on that is trained, looked through or made before its first iteration: each with its seconds, which those
    of the card hold."""
    found = [(str(one["name"]), float(one["seconds"])) for one in card.get("behind") or []]
    if seconds := card.get("trained_first_seconds"):
        found.append((str(card["recipe"]["networks"]), float(seconds)))  # with the digest of a pool or of experts
    if seconds := card.get("earlier_seconds"):
        found.append((json.dumps([card["recipe"].get(name) for name in DECIDES_START]), float(seconds)))
    return found
