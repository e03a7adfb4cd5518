"""Students whose work is not saved yet, of an evaluation or an audit: kept on disk, so that a kill costs half a minute of each
that is in progress.

FOLDER/.partial/KEY/SET-STUDENT.safetensors, gone when the work is saved; KEY stands for everything that decides a student. Beside
it lies the state of the training while it goes on.
"""

import hashlib
import json
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from datadam import machine
from datadam.files.kept import Record, Store
from datadam.parallel import Tell
from datadam.training.students import Rows, Source, Student, StudentTrainer

PLACE = ".partial"
FORMAT = "datadam-students/2"
WEIGHT = "weight/"


class KeptStudents:
    """A school with a memory: trains a student, or finds it where an earlier call has kept it. It can be sent to
    another process.

    Arguments: `folder`, that of the evaluations of a run; `school`, whose threads are settled; `data`, the checksum of the real
    data.
    """

    def __init__(self, folder: Path, school: StudentTrainer, data: str) -> None:
        self.school, self.key = school, _key(school, data)
        name = hashlib.sha256(json.dumps(self.key, sort_keys=True).encode()).hexdigest()[:32]
        self.store = Store(folder.absolute() / PLACE / name, FORMAT)
        self.store.sweep()

    def __call__(self, item: tuple[int, int], tell: Tell) -> Student:
        """As the school: student number `item[1]` of source `item[0]`."""
        entry = self.store.entry(self.key | {"student": item}, f"{item[0]}-{item[1]}")
        if record := entry.read(like={"counts": torch.zeros((self.school.classes,) * 2, dtype=torch.long)}):
            tell(self.school.training.epochs)
            arrays = {name: tensor.numpy() for name, tensor in record.tensors.items()}
            return Student(arrays.pop("counts"), record.seconds, {name.removeprefix(WEIGHT): a for name, a in arrays.items()})
        student = self.school(item, tell, entry.unfinished)
        weights = {WEIGHT + name: torch.from_numpy(array) for name, array in student.weights.items()}
        entry.write(Record({"counts": torch.from_numpy(student.counts)} | weights, student.seconds))
        entry.unfinished.remove()
        return student

    def forget(self) -> None:
        """Remove what is kept: the work is saved."""
        self.store.clear()
        with suppress(OSError):
            self.store.folder.parent.rmdir()  # unless another evaluation is at work beside
            self.store.folder.parent.parent.rmdir()  # unless there is one: of folders, only empty ones can be removed


def _key(school: StudentTrainer, data: str) -> dict[str, Any]:
    """Everything that decides what students learn, how they are tested and, to the last bits, how their numbers are rounded."""
    zca = school.transform.zca
    return {
        "net": school.net, "sources": [_source(source) for source in school.sources], "data": data,
        "transform": school.transform.to_card(), "zca": _sum(zca.matrix.numpy(), zca.mean.numpy()) if zca else None,
        "training": asdict(school.training), "seed": school.seed, "device": school.device, "precision": school.precision,
        "weights": school.keep_weights, "threads": school.threads, "compiled": school.compiles,
        "hardware": machine.hardware(torch.device(school.device)), "versions": machine.versions(), "commit": machine.commit(),
    }  # fmt: skip


def _source(source: Source) -> list[Any]:
    learned = _sum(source.images.images, source.labels) if isinstance(source.images, Rows) else "the whole set"
    return [source.number, learned, *([] if source.lr is None else [source.lr])]


def _sum(*arrays: Any) -> str:
    found = hashlib.sha256()
    for array in arrays:
        found.update(array.tobytes())
    return found.hexdigest()
