"""What every page and table says of a set beside ipc, from its card alone: label kind, decoder, images, stored bytes.

Letters: K classes, M stored images.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from datadam.sets.card import HARD, SOFT
from datadam.sets.decoders import PLAIN, decoder_named
from datadam.wording import count, plural, size


@dataclass(frozen=True, order=True)
class Kind:
    """The kind of a set: `decoder`, its word, and `labels`, "hard" or "soft". Sets of different kinds are listed beside each
    other and never ranked: what they store, or what their students are told, is not the same."""

    decoder: str = PLAIN.word
    labels: str = "hard"

    @classmethod
    def of_card(cls, card: Mapping[str, Any]) -> "Kind":
        """That of a run's card."""
        return cls(str(card.get("decoder", PLAIN.word)), "soft" if card.get("labels", HARD) == SOFT else "hard")

    @classmethod
    def of_evaluation(cls, evaluation: Mapping[str, Any]) -> "Kind":
        """That of the set that an evaluation, as kept in its file, judged; early ones judged plain sets with hard labels."""
        return cls(str(evaluation.get("decoder") or PLAIN.word), str(evaluation.get("labels") or "hard"))

    @property
    def usual(self) -> bool:
        """Whether training images are stored as they are and labels are class numbers."""
        return self == Kind()

    @property
    def short(self) -> str:
        """For a column: plain; grid:2; soft labels; grid:2, soft labels."""
        parts = [self.decoder] if self.decoder != PLAIN.word or self.labels == "hard" else []
        return ", ".join([*parts, *(["soft labels"] if self.labels == "soft" else [])])

    @property
    def words(self) -> str:
        """What follows a set in a sentence, with its comma: ", decoded by grid:2, soft labels"; "" for the usual."""
        parts = [] if self.decoder == PLAIN.word else [f"decoded by {self.decoder}"]
        return "".join(f", {part}" for part in [*parts, *(["soft labels"] if self.labels == "soft" else [])])


def counts_of(card: Mapping[str, Any]) -> tuple[int, ...]:
    """Stored images of each class [K]."""
    return tuple(card.get("counts") or [card["recipe"]["ipc"]] * len(card["data"]["classes"]))


def stored_bytes(card: Mapping[str, Any]) -> int:
    """Bytes of stored images, labels and, where it is learned, the rate: the budget that ipc stands for."""
    labels = 4 * len(card["data"]["classes"]) if Kind.of_card(card).labels == "soft" else 8
    pixels: int = prod(card["data"]["shape"])
    return sum(counts_of(card)) * (4 * pixels + labels) + (4 if card.get("rate") is not None else 0)


def each_of(card: Mapping[str, Any]) -> int:
    """Training images of a stored one."""
    each: int = decoder_named(Kind.of_card(card).decoder).each
    return each


def training_count(card: Mapping[str, Any]) -> int:
    """Training images that the stored ones decode to."""
    return sum(counts_of(card)) * each_of(card)


def per_class(card: Mapping[str, Any], each: int = 1) -> str:
    """Stored images of a class, times `each`: "2 images", "1 to 4 images" where they are not all alike."""
    few, many = (each * end(counts_of(card)) for end in (min, max))
    return plural(many, "image") if few == many else f"{count(few)} to {plural(many, 'image')}"


def told(card: Mapping[str, Any]) -> str:
    """Kind and budget in a clause: "stored in 24.6 kB"; "decoded by grid:2 to 24 training images; soft labels of 3 networks
    convnet3 at temperature 4; the rate of students is learned: 0.02; stored in 24.6 kB"."""
    kind, parts = Kind.of_card(card), []
    if kind.decoder != PLAIN.word:
        parts.append(f"decoded by {kind.decoder} to {plural(training_count(card), 'training image')}")
    if kind.labels == "soft":
        temperature = card.get("temperature", 1.0)
        parts.append(f"soft labels{_teachers(card)}" + (f" at temperature {temperature:g}" if temperature != 1 else ""))
    if card.get("rate") is not None:
        parts.append(f"the rate of students is learned: {card['rate']:.3g}")
    return "; ".join([*parts, f"stored in {size(stored_bytes(card))}"])


def _teachers(card: Mapping[str, Any]) -> str:
    """Whose answers soft labels are, where the card of a relabelled set tells it."""
    about = card.get("relabelled")
    teacher = about.get("teacher") if isinstance(about, dict) else None
    if not isinstance(teacher, dict) or type(teacher.get("networks")) is not int:
        return ""
    return f" of {plural(teacher['networks'], 'network')} {teacher.get('net', '')}".rstrip()
