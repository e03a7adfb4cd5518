"""Students of an evaluation that is not saved yet: kept on disk, so that a kill costs only those in progress.

FOLDER/.partial/KEY/SET-STUDENT.safetensors, gone when the evaluation is saved; KEY stands for everything that decides a student.
"""

import hashlib
import json
import shutil
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from datadam.errors import ArtifactError, RunFailed
from datadam.files.partial import sweep
from datadam.files.whole import read_tensors, write_tensors
from datadam.parallel import Tell
from datadam.training.students import Rows, School, Source, Student

PLACE = ".partial"


class Unfinished:
    """A school with a memory: trains a student, or finds it where an earlier call has kept it. It can be sent to
    another process.

    Arguments: `folder`, that of the evaluations of a run; `school`; `key`, everything that decides its students, for JSON.
    """

    def __init__(self, folder: Path, school: School, key: dict[str, Any]) -> None:
        self.school, self.words = school, json.dumps(key, sort_keys=True)
        self.place = folder.absolute() / PLACE / hashlib.sha256(self.words.encode()).hexdigest()[:32]
        sweep(self.place)

    def __call__(self, item: tuple[int, int], tell: Tell) -> Student:
        """As the school: student number `item[1]` of source `item[0]`."""
        path = self.place / f"{item[0]}-{item[1]}.safetensors"
        if (found := self._read(path)) is not None:
            tell(self.school.training.epochs)
            return found
        student = self.school(item, tell)
        with suppress(RunFailed, OSError):  # a full disk costs a later call its time, and this one nothing
            about = {"key": self.words, "seconds": repr(student.seconds), "digest": _digest(student, self.words)}
            write_tensors(path, {"counts": torch.from_numpy(student.counts)}, about)
        return student

    def _read(self, path: Path) -> Student | None:
        """The student of a whole file of this very evaluation, else None."""
        try:
            tensors, about = read_tensors(path)
            found = Student(tensors["counts"].numpy(), float(about["seconds"]))
            whole = about["key"] == self.words and about["digest"] == _digest(found, self.words)
            return found if whole and found.counts.shape == (self.school.classes,) * 2 else None
        except (ArtifactError, KeyError, ValueError, TypeError):
            return None

    def forget(self) -> None:
        """Remove what is kept: the evaluation is saved."""
        shutil.rmtree(self.place, ignore_errors=True)
        with suppress(OSError):
            self.place.parent.rmdir()  # unless another evaluation is at work beside


def key_of(school: School, data: str) -> dict[str, Any]:
    """Everything that decides what students learn and how they are tested, beside the machine; `data`, their checksum."""
    zca = school.transform.zca
    return {
        "net": school.net, "sources": [(one.number, _of(one)) for one in school.sources], "data": data,
        "transform": school.transform.to_card(), "zca": _sum(zca.matrix.numpy(), zca.mean.numpy()) if zca else None,
        "training": asdict(school.training), "seed": school.seed, "device": school.device, "precision": school.precision,
    }  # fmt: skip


def _of(source: Source) -> str:
    return _sum(source.images.images, source.labels) if isinstance(source.images, Rows) else "the whole set"


def _sum(*arrays: Any) -> str:
    found = hashlib.sha256()
    for array in arrays:
        found.update(array.tobytes())
    return found.hexdigest()


def _digest(student: Student, words: str) -> str:
    return hashlib.sha256(student.counts.tobytes() + f"{student.seconds!r} {words}".encode()).hexdigest()
