"""Judge a distilled set: train students on it from scratch and test them. It may come from anywhere; no method is imported.

Letters: K classes, M images, S sets, n students.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from datadam import machine, nets, parallel
from datadam.augment.policies import check_words
from datadam.augment.siamese import strategy_for
from datadam.data import RealData
from datadam.errors import InvalidInput, UnknownName
from datadam.evaluation.protocols import CATALOG, Protocol
from datadam.evaluation.statistics import _std, t95
from datadam.files.whole import write_json
from datadam.nets import Network
from datadam.parallel import Ray, Tell
from datadam.sets.distilled import DistilledSet
from datadam.training.kept_students import Unfinished, key_of
from datadam.training.students import PRECISIONS, Rows, School, Source, Student, require_memory, side_by_side

FORMAT = "datadam-evaluation/1"
DECIDE = ("threads", "compiled", "hardware", "versions", "commit")  # what of `made` decides the last bits of a student
LARGEST_TABLE = 1000  # classes above which the counts of (true, predicted) are not kept
"""Student's t, 97.5 % quantile, for 1 to 30 degrees of freedom."""


@dataclass(frozen=True)
class Progress:
    """One epoch of one student is done: `student` of `students`, `epoch` of `epochs` (all from 1)."""

    student: int
    students: int
    epoch: int
    epochs: int


@dataclass(frozen=True)
class Telling:
    """A school that tells each student and returns nothing, so that none is held to the end. It can be sent to another
    process."""

    school: School | Unfinished

    def __call__(self, item: tuple[int, int], tell: Tell) -> None:
        """As the school."""
        tell(self.school(item, tell))


class Marks:
    """What students gave: the `counts` [K, K] of all, `accuracies` and `seconds` of each [n], and the `last` one whole."""

    def __init__(self, students: int, classes: int) -> None:
        self.counts = np.zeros((classes, classes), np.int64)
        self.accuracies, self.seconds = [math.nan] * students, [0.0] * students
        self.last: Student | None = None

    def add(self, number: int, student: Student) -> None:
        """One more has come; one that a lost worker had told already counts once."""
        if math.isnan(self.accuracies[number]):
            self.accuracies[number] = float(student.counts.trace() / student.counts.sum())
            self.seconds[number] = student.seconds
            self.counts += student.counts
            self.last = student if number == len(self.seconds) - 1 else self.last


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Every accuracy, and what they say.

    `of`, what was judged; `accuracies`, one list a set with one fraction a student; `interval`, 95 %, over the sets when there
    are two or more, else over the students; `per_class` [K] accuracies and `confusion` [K][K] counts over all students;
    `seconds_per_student`, training time of one; `iteration` of a snapshot, or None for the end; `made`, hardware, versions,
    threads, commit and time; `kept`, its students on disk until it is saved; `words`, the protocol in words.
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
    made: dict[str, Any] = field(default_factory=dict)
    kept: Unfinished | None = field(default=None, repr=False, compare=False)

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
        return _std(self.all)

    @property
    def over(self) -> str:
        """What the interval is over: "sets", "students only", or "one student" when there is none."""
        return "sets" if len(self.accuracies) > 1 else "students only" if len(self.all) > 1 else "one student"

    @property
    def half_width(self) -> float:
        """Half of the 95 % interval: Student's t over set means or students; NaN for a single accuracy."""
        values = [math.fsum(one) / len(one) for one in self.accuracies] if len(self.accuracies) > 1 else self.all
        return t95(len(values) - 1) * _std(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan

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
        schedule = "rate x0.5 every 15 epochs" if training.schedule == "every15" else f"rate x0.1 after epoch {training.drop}"
        arithmetic = "" if self.precision == "float32" else f", {self.precision}"
        return (
            f"{p.name}: {share}; {training.epochs} epochs, batch {training.batch}, SGD {training.lr:g}, {schedule}, "
            f"augmentation {training.augment}{arithmetic}; last epoch"
        )

    def __str__(self) -> str:
        half = "" if math.isnan(self.half_width) else f" +- {100 * self.half_width:.2f} (95 %, {self.over})"
        return f"{100 * self.mean:.2f} %{half}  {self.of}, {self.images} images, {self.net}; {self.words}"

    def to_json(self) -> dict[str, Any]:
        """Everything, as kept in evaluations/*.json."""
        half = None if math.isnan(self.half_width) else self.half_width
        interval = None if half is None else {"low": self.mean - half, "high": self.mean + half, "half": half, "over": self.over}
        return {
            "format": FORMAT, "of": self.of, "note": self.note, "net": self.net, "ipc": self.ipc, "images": self.images,
            "iteration": self.iteration, "protocol": self.protocol.to_card(), "precision": self.precision,
            "students": len(self.accuracies[0]), "sets": len(self.accuracies),
            "accuracies": [list(one) for one in self.accuracies], "mean": self.mean,
            "std": self.std, "interval": interval, "per_class": [None if math.isnan(a) else a for a in self.per_class],
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


def protocol_named(name: str, *, epochs: int | None = None, augment: str | None = None) -> Protocol:
    """A protocol by name, with other epochs or another augmentation. Raises `UnknownName`, `InvalidInput`.

    `augment`: words such as "color_crop", "none", "dsa" for all operations (for digits all but flip), or a policy
    ("autoaugment", "randaugment"). A protocol may train for longer with augmentation than without; `epochs` goes first.
    """
    if name not in CATALOG:
        raise UnknownName("protocol", name, CATALOG)
    if augment not in (None, "dsa"):
        check_words(augment)
    return CATALOG[name].with_augment(augment).with_epochs(epochs)


def evaluate(
    sets: DistilledSet | Sequence[DistilledSet],
    real: RealData,
    *,
    net: str | None = None,
    protocol: Protocol | str = "honest",
    students: int | None = None,
    seed: int = 0,
    device: str = "cpu",
    precision: str = "float32",
    workers: int | None = 1,
    engine: Ray | None = None,
    of: str | None = None,
    note: str = "",
    iteration: int | None = None,
    progress: Callable[[Progress], None] | None = None,
    keep: Path | None = None,
) -> Evaluation:
    """Train students on distilled sets and test them on the test part of the real data.

    Arguments: `sets`, one set or several independent ones of one recipe; `real`, the data (loaded as for distilling; whitening is
    taken from the set); `net`, the students' network (None: the one the set was made with); `protocol`, a name or an object;
    `students` a set (None: 5, or all of a protocol that has fewer); `seed`, of the students' streams; `precision`: "float32",
    "float64", or "bfloat16" for convolutions and products alone; `workers`, processes that train students side by side, the
    threads shared among them (None: as many as
    pay; a program then keeps its start behind `if __name__ == "__main__"`); `engine`, a Ray cluster that
    has the workers; `of`, what is judged; `progress`, called after each
    epoch; `keep`, a folder where students are kept until the evaluation is saved: called again after a kill, only those that
    were in progress are trained anew.
    Raises `InvalidInput` when the set does not fit the data.
    """
    sets = [sets] if isinstance(sets, DistilledSet) else list(sets)
    if not sets:
        raise InvalidInput("no set to judge came; give one or more")
    protocol = protocol_named(protocol) if isinstance(protocol, str) else protocol
    students = protocol.usual_students if students is None else students
    return _judge_sets(
        sets, real, net, protocol, students, seed, device, precision, workers, progress, of=of, note=note, iteration=iteration,
        engine=engine, keep=keep,
    )[0]  # fmt: skip


def train_student(
    distilled: DistilledSet,
    real: RealData,
    *,
    net: str | None = None,
    protocol: Protocol | str = "honest",
    seed: int = 0,
    device: str = "cpu",
    precision: str = "float32",
    note: str = "",
    progress: Callable[[Progress], None] | None = None,
) -> tuple[Network, Evaluation]:
    """The first student that `evaluate` would train, and its evaluation. Arguments as there."""
    evaluation, student = _judge_sets(
        [distilled], real, net, protocol, 1, seed, device, precision, 1, progress, of=None, note=note, iteration=None,
        keep_weights=True,
    )  # fmt: skip
    network = nets.build(evaluation.net, shape=real.shape, classes=len(real.classes))
    network.load_state_dict({name: torch.from_numpy(value) for name, value in student.weights.items()})
    return network.to(device).eval(), evaluation


def evaluate_whole(
    real: RealData,
    *,
    net: str = "auto",
    protocol: Protocol | str = "honest",
    students: int = 1,
    seed: int = 0,
    device: str = "cpu",
    precision: str = "float32",
    note: str = "",
    progress: Callable[[Progress], None] | None = None,
    keep: Path | None = None,
) -> Evaluation:
    """Train students on the whole training part: the bar that a distilled set is held against.

    Arguments as `evaluate`; a protocol by name is taken in its form for the whole set (100 epochs).
    """
    protocol = protocol_named(protocol).whole_set() if isinstance(protocol, str) else protocol
    spec = nets.canonical(net, real.shape)
    source = Source(0, lambda i: real.images(i, device=device), real.train.labels)
    return _judge(
        (source,), real, spec, protocol, students, seed, device, precision, 1, progress,
        keep=keep, of="whole", ipc=None, images=len(real.train), note=note, iteration=None,
    )[0]  # fmt: skip


def _judge_sets(
    sets: list[DistilledSet], real: RealData, net: str | None, protocol: Protocol | str, students: int, seed: int, device: str,
    precision: str, workers: int | None, progress: Callable[[Progress], None] | None, *, of: str | None, note: str,
    iteration: int | None, keep_weights: bool = False, engine: Ray | None = None, keep: Path | None = None,
) -> tuple[Evaluation, Student]:  # fmt: skip
    first = sets[0]
    for one in sets:
        require_fit(one, real)
        if one.transform.to_card() != first.transform.to_card():
            raise InvalidInput("the sets have different normalisations; judge them one by one")
    spec = nets.canonical(net or first.card["recipe"]["net"], real.shape)
    method = first.card["recipe"].get("method")
    chosen = str(method.get("name") if isinstance(method, dict) else method)
    name = of or (chosen if first.card["kind"] == "coreset" else "distilled")
    sources = tuple(Source(s, Rows(one.images.numpy()), one.labels.numpy()) for s, one in enumerate(sets))
    return _judge(
        sources, replace(real, transform=first.transform), spec, protocol, students, seed, device, precision, workers, progress,
        keep_weights, engine, keep, of=name, ipc=first.ipc, images=len(first.labels), note=note or first.card.get("note", ""),
        iteration=iteration,
    )  # fmt: skip


def _judge(
    sources: tuple[Source, ...], real: RealData, spec: str, protocol: Protocol | str, students: int, seed: int, device: str,
    precision: str, workers: int | None, progress: Callable[[Progress], None] | None, keep_weights: bool = False,
    engine: Ray | None = None, keep: Path | None = None, **about: Any,
) -> tuple[Evaluation, Student]:  # fmt: skip
    """The evaluation, and the student that comes last."""
    protocol = protocol_named(protocol) if isinstance(protocol, str) else protocol
    if students < 1:
        raise InvalidInput(f"students is {students}; it must be at least 1")
    if workers is not None and workers < 1:
        raise InvalidInput(f"workers is {workers}; it must be at least 1")
    if precision not in PRECISIONS:
        raise InvalidInput(f"precision is {precision!r}; allowed: {', '.join(PRECISIONS)}")
    if not len(real.test):
        raise InvalidInput("the data have no test part to judge on; give one with --test")
    if protocol.training.augment == "dsa":
        protocol = protocol.with_augment(strategy_for(real.name))
    together = min(protocol.training.batch, max(len(one.labels) for one in sources))
    require_memory(spec, real.shape, len(real.classes), together, device)
    began, epochs = time.monotonic(), protocol.training.epochs
    school = School(
        spec, sources, real.test, len(real.classes), real.transform, protocol.training, seed, device, precision,
        keep_weights=keep_weights,
    )  # fmt: skip
    items = [(s, student) for s in range(len(sources)) for student in range(students)]
    if engine is not None:
        workers, school.threads = engine.settle(workers, len(items))
    else:
        workers, school.threads = side_by_side(school, len(items), workers)
    done = [0] * len(items)
    marks = Marks(len(items), len(real.classes))

    def tell(item: int, told: int | Student) -> None:
        if isinstance(told, Student):
            marks.add(item, told)
            return
        done[item] = told
        if progress:
            student, last = divmod(sum(done) - 1, epochs)
            progress(Progress(student + 1, len(items), last + 1, epochs))

    made = {
        "threads": school.threads, "workers": workers, "compiled": school.compiles,
        "hardware": machine.hardware(torch.device(device)),
        "versions": machine.versions(), "commit": machine.commit(), "created": machine.now(),
        **({"remark": school.remark} if school.remark else {}),
    }  # fmt: skip
    kept = None
    if keep is not None and engine is None:  # on a cluster, workers have other disks
        kept = Unfinished(keep, school, key_of(school, real.checksum) | {n: v for n, v in made.items() if n in DECIDE})
    parallel.run(Telling(kept or school), items, workers=workers, report=tell, engine=engine, threads=school.threads)
    accuracies = marks.accuracies
    evaluation = Evaluation(
        net=spec, protocol=protocol, precision=precision,
        accuracies=tuple(tuple(accuracies[s * students : (s + 1) * students]) for s in range(len(sources))),
        confusion=tuple(map(tuple, marks.counts.tolist())),
        classes=real.classes, data=real.name, seed=seed, seconds=time.monotonic() - began,
        seconds_per_student=sum(marks.seconds) / len(items),
        made=made, kept=kept,
        **about,
    )  # fmt: skip
    assert marks.last is not None
    return evaluation, marks.last


def require_fit(distilled: DistilledSet, real: RealData) -> None:
    """Raise `InvalidInput` unless the set has the classes and the shape of the data."""
    data = distilled.card["data"]
    if tuple(data["classes"]) != real.classes or tuple(data["shape"]) != real.shape:
        raise InvalidInput(
            f"the set has {len(data['classes'])} classes of shape {tuple(data['shape'])}, the data {len(real.classes)} of "
            f"{real.shape}, or other class names; give the data the set was made from"
        )
