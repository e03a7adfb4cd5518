"""Judge a distilled set: train students on it from scratch and test them. It may come from anywhere; no method is imported.

Letters: K classes, M images, S sets, n students.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from datadam import machine, nets, parallel
from datadam.arithmetic import remark_on, settled
from datadam.data import RealData
from datadam.data.given import real_data
from datadam.errors import InvalidInput
from datadam.evaluation.panel import Panel
from datadam.evaluation.protocols import Protocol
from datadam.evaluation.result import Evaluation
from datadam.nets import Network
from datadam.parallel import Ray, Tell
from datadam.progress import Asked, shown
from datadam.sets.distilled import DistilledSet
from datadam.training.kept_students import KeptStudents
from datadam.training.students import Rows, Source, Student, StudentTrainer, require_memory, side_by_side
from datadam.where import Where


@dataclass(frozen=True)
class Progress:
    """One epoch of one student is done: `student` of `students`, `epoch` of `epochs` (all from 1)."""

    student: int
    students: int
    epoch: int
    epochs: int


@dataclass(frozen=True)
class TellingTrainer:
    """A school that tells each student and returns nothing, so that none is held to the end. It can be sent to another
    process."""

    school: StudentTrainer | KeptStudents

    def __call__(self, item: tuple[int, int], tell: Tell) -> None:
        """As the school."""
        tell(self.school(item, tell))


class StudentResults:
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


def evaluate(
    sets: DistilledSet | str | Path | Sequence[DistilledSet | str | Path],
    real: Any,
    *,
    net: str | Callable[..., nn.Module] | None = None,
    protocol: Protocol | str = "honest",
    students: int | None = None,
    epochs: int | None = None,
    augment: str | None = None,
    seed: int = 0,
    device: str = "auto",
    precision: str = "float32",
    workers: int | None = 1,
    engine: Ray | None = None,
    of: str | None = None,
    note: str = "",
    iteration: int | None = None,
    progress: Asked = None,
    keep: Path | None = None,
) -> Evaluation:
    """Train students on distilled sets and test them on the test part of the real data.

    Arguments: `sets`, one set or several independent ones of one recipe, or their run folders; `real`, the data (loaded as for
    distilling, or what `load` reads; whitening is taken from the set); `net`, the students' network: a word, what makes an
    `nn.Module` (see `nets.own`), or None for the one that the set was made with; `protocol`, `students`, `epochs`, `augment`,
    `seed` and `precision` as `Panel`; `device`, `workers` and `engine` as `Where`; `of`, what is judged; `progress`: None, a bar
    in a terminal or a notebook; False, nothing; or called with a `Progress` after each epoch; `keep`, a folder where students are
    kept until the evaluation is saved: called again after a kill, only those that were in progress are trained anew.
    Raises `InvalidInput` when the set does not fit the data.
    """
    found = sets_of(sets, "evaluate(small, real)")
    real = real_data(real, of="evaluate(small, real)")
    panel = Panel(
        net=_spelled(net, real),
        protocol=protocol,
        students=students,
        epochs=epochs,
        augment=augment,
        seed=seed,
        precision=precision,
    )
    with _telling(progress) as told:
        where = Where(device=device, workers=workers, engine=engine, progress=told)
        return _judge_sets(found, real, panel, where, keep=keep, of=of, note=note, iteration=iteration)[0]


def sets_of(given: Any, call: str) -> list[DistilledSet]:
    """The sets that are meant: sets, or their run folders. Raises `InvalidInput`, which shows the `call` as it should be."""
    if isinstance(given, RealData):
        raise InvalidInput(f"the real data came where distilled sets are judged; give the set first: {call}")
    many = [given] if isinstance(given, DistilledSet | str | Path) else given
    if not isinstance(many, Sequence) or not all(isinstance(one, DistilledSet | str | Path) for one in many):
        raise InvalidInput(f"sets is a {type(given).__name__}; give a distilled set, its run folder, or several of them: {call}")
    return [one if isinstance(one, DistilledSet) else DistilledSet.load(one) for one in many]


def _spelled(net: str | Callable[..., nn.Module] | None, real: RealData) -> str | None:
    return None if net is None else nets.spelled(net, shape=real.shape, classes=len(real.classes))


@contextmanager
def _telling(asked: Asked) -> Iterator[Callable[[Progress], Any] | None]:
    """Who is told of each epoch: whoever asked, or a bar where a person looks on."""
    if callable(asked) or asked is False:
        yield asked or None
        return
    with shown(asked, "students") as advance:
        yield lambda p: advance(
            f"student {p.student} of {p.students}", (p.student - 1) * p.epochs + p.epoch, p.students * p.epochs
        )


def train_student(
    distilled: DistilledSet,
    real: RealData,
    *,
    net: str | Callable[..., nn.Module] | None = None,
    protocol: Protocol | str = "honest",
    seed: int = 0,
    device: str = "auto",
    precision: str = "float32",
    note: str = "",
    progress: Asked = None,
) -> tuple[Network, Evaluation]:
    """The first student that `evaluate` would train, and its evaluation. Arguments as there."""
    panel = Panel(net=_spelled(net, real), protocol=protocol, students=1, seed=seed, precision=precision)
    with _telling(progress) as told:
        where = Where(device=device, progress=told)
        evaluation, student = _judge_sets([distilled], real, panel, where, note=note, keep_weights=True)
    network = nets.build(evaluation.net, shape=real.shape, classes=len(real.classes))
    network.load_state_dict({name: torch.from_numpy(value) for name, value in student.weights.items()})
    return network.to(where.device).eval(), evaluation


def evaluate_whole(
    real: RealData,
    *,
    net: str | Callable[..., nn.Module] = "auto",
    protocol: Protocol | str = "honest",
    students: int = 1,
    epochs: int | None = None,
    augment: str | None = None,
    seed: int = 0,
    device: str = "auto",
    precision: str = "float32",
    note: str = "",
    progress: Asked = None,
    keep: Path | None = None,
) -> Evaluation:
    """Train students on the whole training part: the bar that a distilled set is held against.

    Arguments as `evaluate`; a protocol by name is taken in its form for the whole set (100 epochs).
    """
    spec = nets.spelled(net, shape=real.shape, classes=len(real.classes))
    panel = Panel(
        net=spec, protocol=protocol, students=students, epochs=epochs, augment=augment, seed=seed, precision=precision
    ).settled(real, spec, whole=True)
    with _telling(progress) as told:
        where = Where(device=device, progress=told)
        source = Source(0, lambda i: real.images(i, device=where.device), real.train.labels)
        return _judge((source,), real, panel, where, keep=keep, of="whole", ipc=None, images=len(real.train), note=note)[0]


def _judge_sets(
    sets: list[DistilledSet], real: RealData, panel: Panel, where: Where, *, of: str | None = None, note: str = "",
    iteration: int | None = None, keep_weights: bool = False, keep: Path | None = None,
) -> tuple[Evaluation, Student]:  # fmt: skip
    if not sets:
        raise InvalidInput("no set to judge came; give one or more")
    first = sets[0]
    for distilled in sets:
        require_fit(distilled, real)
        if distilled.transform.to_card() != first.transform.to_card():
            raise InvalidInput("the sets have different normalisations; judge them one by one")
        if (distilled.label_kind, distilled.decoder) != (first.label_kind, first.decoder):
            raise InvalidInput("the sets have different kinds of labels, or decoders; judge them one by one")
    panel = panel.settled(real, first.card["recipe"]["net"])
    assert isinstance(panel.protocol, Protocol)
    panel = replace(panel, protocol=panel.protocol.for_images(len(first.training_images)))
    assert isinstance(panel.protocol, Protocol)
    method = first.card["recipe"].get("method")
    chosen = str(method.get("name") if isinstance(method, dict) else method)
    name = of or (chosen if first.card["kind"] == "coreset" else "distilled")
    learned, regress = panel.protocol.learned_rate, panel.protocol.regress
    sources = tuple(source_of(number, distilled, learned_rate=learned, regress=regress) for number, distilled in enumerate(sets))
    rate = "" if first.rate is None or learned else "the protocol's own rate, and not the one that the set has learned"
    return _judge(
        sources, replace(real, transform=first.transform), panel, where, keep_weights=keep_weights, keep=keep, remark=rate,
        of=name, ipc=first.ipc, images=len(first.images), note=note or first.card.get("note", ""), iteration=iteration,
        labels=first.label_kind, decoder=first.decoder.word, stored_bytes=first.stored_bytes,
    )  # fmt: skip


def source_of(number: int, distilled: DistilledSet, *, learned_rate: bool = False, regress: bool = False) -> Source:
    """What students learn from a set: decoded images, and class numbers or the softmax of its soft labels, or these as they are
    where students `regress`."""
    labels = distilled.training_labels
    if distilled.soft and not regress:
        labels = (labels / distilled.temperature).softmax(1)
    lr = float(distilled.rate) if learned_rate and distilled.rate is not None else None
    return Source(number, Rows(distilled.training_images.numpy()), labels.numpy(), lr)


def _judge(
    sources: tuple[Source, ...], real: RealData, panel: Panel, where: Where, *, keep_weights: bool = False,
    keep: Path | None = None, remark: str = "", **about: Any,
) -> tuple[Evaluation, Student]:  # fmt: skip
    """The evaluation by a settled panel, and the student that comes last."""
    protocol, students, device, workers = panel.protocol, panel.students, where.device, where.workers
    assert isinstance(protocol, Protocol)
    assert panel.net is not None
    assert students is not None
    if workers is not None and workers < 1:
        raise InvalidInput(f"workers is {workers}; it must be at least 1")
    if own := nets.card_of(panel.net):  # its code is known in this process alone
        if where.engine is not None or workers not in (None, 1):
            raise InvalidInput(f"students {panel.net} are of this process alone; leave out engine and workers, which are others")
        workers = 1
    if not len(real.test):
        raise InvalidInput("the data have no test part to judge on; load them with one (test)")
    together = min(protocol.training.batch, max(len(source.labels) for source in sources))
    require_memory(panel.net, real.shape, len(real.classes), together, device)
    began, epochs, precision = time.monotonic(), protocol.training.epochs, settled(panel.precision, device)
    school = StudentTrainer(
        panel.net, sources, real.test, len(real.classes), real.transform, protocol.training, panel.seed, device, precision,
        keep_weights=keep_weights, regress=protocol.regress,
    )  # fmt: skip
    items = [(s, student) for s in range(len(sources)) for student in range(students)]
    if where.engine is not None:
        workers, school.threads = where.engine.settle(workers, len(items))
    else:
        workers, school.threads = side_by_side(school, len(items), workers)
    done = [0] * len(items)
    marks = StudentResults(len(items), len(real.classes))

    def tell(item: int, told: int | Student) -> None:
        if isinstance(told, Student):
            marks.add(item, told)
            return
        done[item] = told
        if where.progress:
            student, last = divmod(sum(done) - 1, epochs)
            where.progress(Progress(student + 1, len(items), last + 1, epochs))

    remarks = "; ".join(filter(None, (school.remark, remark, remark_on(precision, device))))
    made = {
        "threads": school.threads, "workers": workers, "compiled": school.compiles,
        "hardware": machine.hardware(torch.device(device)),
        "versions": machine.versions(), "commit": machine.commit(), "created": machine.now(),
        **({"remark": remarks} if remarks else {}), **own,
    }  # fmt: skip
    kept = None
    if keep is not None and where.engine is None:  # on a cluster, workers have other disks
        kept = KeptStudents(keep, school, real.checksum)
    parallel.run(TellingTrainer(kept or school), items, workers=workers, report=tell, engine=where.engine, threads=school.threads)
    accuracies = marks.accuracies
    evaluation = Evaluation(
        net=panel.net, protocol=protocol, precision=precision,
        accuracies=tuple(tuple(accuracies[s * students : (s + 1) * students]) for s in range(len(sources))),
        confusion=tuple(map(tuple, marks.counts.tolist())),
        classes=real.classes, data=real.name, seed=panel.seed, seconds=time.monotonic() - began,
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
