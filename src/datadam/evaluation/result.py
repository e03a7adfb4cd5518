"""Evaluation: every accuracy of a set's students, and what they say together.

Letters: K classes, S sets, n students.
"""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datadam.evaluation.protocols import Protocol
from datadam.evaluation.statistics import std, t95
from datadam.evaluation.told import balanced, images_judged, in_percent, spread
from datadam.files.whole import write_json
from datadam.sets.kind import Kind
from datadam.training.kept_students import KeptStudents
from datadam.wording import percent

FORMAT = "datadam-evaluation/1"
LARGEST_TABLE = 1000  # classes above which the counts of (true, predicted) are not kept


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Every accuracy, and what they say.

    `of`, what was judged; `accuracies`, one list a set with one fraction a student; `interval`, 95 %, over the sets when there
    are two or more, else over the students; `per_class` [K] accuracies (their mean is told as "balanced" where the classes of the
    test part are unequal) and `confusion` `[K][K]` counts over all students; `seconds_per_student`, training time of one;
    `iteration` of a snapshot, or None for the end; `images`, stored ones; `labels`, "hard" or "soft", `decoder` and
    `stored_bytes` of the set: sets of other kinds are no rivals; `made`, hardware, versions, threads, commit and time; `kept`,
    its students on disk until it is saved; `words`, the protocol in words.
    """

    of: str
    net: str
    protocol: Protocol
    ipc: int | None
    images: int
    accuracies: tuple[tuple[float, ...], ...]
    confusion: tuple[tuple[int, ...], ...]
    classes: tuple[str, ...]
    data: str
    seed: int
    seconds: float
    seconds_per_student: float
    iteration: int | None = None
    note: str = ""
    precision: str = "float32"
    labels: str = "hard"
    decoder: str = "plain"
    stored_bytes: int | None = None
    made: dict[str, Any] = field(default_factory=dict)
    kept: KeptStudents | None = field(default=None, repr=False, compare=False)

    @property
    def all(self) -> tuple[float, ...]:
        """The accuracies of all students of all sets."""
        return tuple(a for one in self.accuracies for a in one)

    @property
    def mean(self) -> float:
        """The mean accuracy."""
        return math.fsum(self.all) / len(self.all)

    @property
    def std(self) -> float:
        """The standard deviation over all accuracies (0 for a single one)."""
        return std(self.all)

    @property
    def over(self) -> str:
        """What the interval is over: "sets", "students only", or "one student" when there is none."""
        return "sets" if len(self.accuracies) > 1 else "students only" if len(self.all) > 1 else "one student"

    @property
    def half_width(self) -> float:
        """Half of the 95 % interval: Student's t over set means or students; NaN for a single accuracy."""
        values = [math.fsum(one) / len(one) for one in self.accuracies] if len(self.accuracies) > 1 else self.all
        return t95(len(values) - 1) * std(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan

    @property
    def per_class(self) -> tuple[float, ...]:
        """Accuracy of each class over all students (NaN for a class without test images)."""
        return tuple(row[k] / sum(row) if sum(row) else math.nan for k, row in enumerate(self.confusion))

    @property
    def words(self) -> str:
        """The protocol in words, with what was left out of it."""
        p, n = self.protocol, len(self.accuracies[0])
        training = p.training
        share = f"{n} of {p.students} students, {len(self.accuracies)} of {p.sets} sets"
        arithmetic = "" if self.precision == "float32" else f", {self.precision}"
        return (
            f"{p.name}: {share}; {training.epochs} epochs, batch {training.batch}, {p.rule}, {training.falls}, "
            f"augmentation {training.augment}{arithmetic}; last epoch"
        )

    def __str__(self) -> str:
        told = self.to_json()
        ends = told["interval"]
        half = f" {spread(ends['low'], ends['high'], 2)} (95 %, {self.over})" if ends else ""
        half += "" if "balanced" not in told else f", balanced over classes {percent(told['balanced'], 2)}"
        accuracy = in_percent(self.mean, images_judged(told), 2)
        return f"{accuracy}{half}  {self.of}, {self.images} images{self.kind.words}, {self.net}; {self.words}"

    @property
    def kind(self) -> Kind:
        """Label kind and decoder of the set: those of other kinds are no rivals."""
        return Kind(self.decoder, self.labels)

    def to_json(self) -> dict[str, Any]:
        """Everything, as kept in evaluations/*.json."""
        half = None if math.isnan(self.half_width) else self.half_width
        per_class = [None if math.isnan(a) else a for a in self.per_class]
        interval = None if half is None else {"low": self.mean - half, "high": self.mean + half, "half": half, "over": self.over}
        found = {"accuracies": self.accuracies, "confusion": self.confusion, "per_class": per_class}
        even = balanced(found)
        return {
            "format": FORMAT, "of": self.of, "note": self.note, "net": self.net, "ipc": self.ipc, "images": self.images,
            **({} if self.stored_bytes is None else
               {"labels": self.labels, "decoder": self.decoder, "stored_bytes": self.stored_bytes}),
            "iteration": self.iteration, "protocol": self.protocol.to_card(), "precision": self.precision,
            "students": len(self.accuracies[0]), "sets": len(self.accuracies),
            "accuracies": [list(one) for one in self.accuracies], "mean": self.mean,
            "std": self.std, "interval": interval, "per_class": per_class,
            **({} if even is None else {"balanced": even}),
            **({"confusion": [list(row) for row in self.confusion]} if len(self.classes) <= LARGEST_TABLE else {}),
            "classes": list(self.classes),
            "seconds_per_student": round(self.seconds_per_student, 2), "seconds": round(self.seconds, 1), "seed": self.seed,
            "data": self.data, "words": self.words, **self.made,
        }  # fmt: skip

    def save(self, path: Path) -> None:
        """Write the JSON file, whole or not at all; the students kept until now are removed."""
        write_json(path, self.to_json())
        if self.kept:
            self.kept.forget()
