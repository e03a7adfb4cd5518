"""What the shards of an unfinished run have told, on disk: RUN/checkpoint/shards, gone when the run is whole again.

FFFFFF-LLLLLL.safetensors              where the classes F .. L-1 stand, with a checksum; the one before as earlier-*
at-IIIIIIII-FFFFFF-LLLLLL.safetensors  what is learned of them after an iteration that is to be kept
lines.jsonl                            what was logged of them, class by class

Letters: K classes, N synthetic images of a class.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from datadam.distillation.checkpoint import flush
from datadam.distillation.shards.worker import ShardLine, ShardSnapshot, ShardState, tensor
from datadam.errors import ArtifactError, RunFailed
from datadam.files.whole import read_tensors, write_tensors, write_text

EARLIER = "earlier-"
NUMBERS = ("iteration", "peak_mb", "gpu_peak_mb", "seconds")
Range = tuple[int, int]


class Whole(NamedTuple):
    """What is logged of an iteration, of all classes: terms [K], norms of their gradients, and the sum of pixels' changes."""

    iteration: int
    terms: dict[str, Tensor]
    norms: dict[str, float]
    moved: float


class Records:
    """The folder of a run's shards; without one, nothing is kept beyond the process."""

    def __init__(self, folder: Path | None, classes: int) -> None:
        self.folder, self.classes = folder, classes
        self.lines: dict[int, dict[Range, ShardLine]] = {}

    def __bool__(self) -> bool:
        """Whether shards have left where they stand; after a kill between two writes, that is the one before alone."""
        return self.folder is not None and any(
            path.name.removeprefix(EARLIER)[:1].isdecimal() for path in self.folder.glob("*.safetensors")
        )

    def stand(self, first: int, last: int, told: ShardState) -> None:
        """Keep where some classes stand."""
        if self.folder is None:
            return
        flush(self.folder / "lines.jsonl")  # what this state has behind it is not told again
        path = self.folder / f"{first:06d}-{last:06d}.safetensors"
        if path.exists():
            path.replace(path.with_name(EARLIER + path.name))
        tensors = {name: tensor(values) for name, values in told.tensors.items()}
        tensors |= {f"buffer/{name}": tensor(values) for name, values in told.buffers.items()}
        words = json.dumps({name: getattr(told, name) for name in NUMBERS})
        write_tensors(path, tensors, {"state": words, "sha256": _digest(tensors, words)})

    def stands(self) -> Iterator[tuple[int, int, ShardState]]:
        """What is kept, the earliest iterations first; damaged files are left out, and the one before them counts."""
        found = []
        for path in self.folder.glob("*.safetensors") if self.folder else ():
            numbers = path.stem.removeprefix(EARLIER).split("-")
            with suppress(ArtifactError, KeyError, ValueError, TypeError):
                first, last = map(int, numbers)
                tensors, metadata = read_tensors(path)
                words = json.loads(metadata["state"])
                sound = all(t.is_floating_point() and torch.isfinite(t).all() for t in tensors.values())
                if sound and 0 <= first < last <= self.classes and metadata["sha256"] == _digest(tensors, metadata["state"]):
                    known: dict[str, Any] = {name: float(words[name]) for name in NUMBERS} | {
                        "iteration": int(words["iteration"])
                    }
                    arrays = {name: values.numpy() for name, values in tensors.items()}
                    learned = {name: values for name, values in arrays.items() if not name.startswith("buffer/")}
                    buffers = {name.removeprefix("buffer/"): values for name, values in arrays.items() if name not in learned}
                    found.append((first, last, ShardState(tensors=learned, buffers=buffers, **known)))
        yield from sorted(found, key=lambda one: (one[2].iteration, *one[:2]))

    def reached(self) -> int:
        """The iteration that all classes have reached, by what is kept; 0 where some of them have kept nothing."""
        at = [0] * self.classes
        for first, last, stand in self.stands():
            at[first:last] = [stand.iteration] * (last - first)
        return min(at)

    def line(self, first: int, last: int, line: ShardLine) -> Whole | None:
        """Keep a line of some classes; returns that of all classes when it was the last one missing."""
        known = self.lines.setdefault(line.iteration, {})
        if (first, last) in known:  # told again, after a loss
            return None
        known[first, last] = line
        if self.folder is not None:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                with (self.folder / "lines.jsonl").open("a", encoding="utf-8") as file:
                    file.write(json.dumps([first, last, *line]) + "\n")
            except OSError as error:
                where = self.folder / "lines.jsonl"
                raise RunFailed(f"cannot write {where}: {error}. Free space, then go on with --resume") from error
        return self._whole(line.iteration)

    def _whole(self, iteration: int) -> Whole | None:
        known = sorted(self.lines[iteration].items())
        if not _covers([ends for ends, _ in known], self.classes):
            return None
        lines = [line for _, line in known]
        names = lines[0].terms
        terms = {name: torch.tensor([x for line in lines for x in line.terms[name]], dtype=torch.float64) for name in names}
        norms = {name: sum(line.squares[name] for line in lines) ** 0.5 for name in names}
        return Whole(iteration, terms, norms, sum(line.moved for line in lines))

    def recall(self, at: list[int]) -> list[Whole]:
        """Read what an earlier process has kept, without what is of classes that do not stand there yet (`at`, by class).

        Returns the lines of all classes.
        """
        path = self.folder / "lines.jsonl" if self.folder else None
        if path is None or not path.exists():
            return []
        good = []
        for text in path.read_text(errors="replace").splitlines():
            with suppress(ValueError, TypeError, RecursionError):
                first, last, iteration, terms, squares, moved = json.loads(text)
                sound = type(iteration) is int and {type(moved), *map(type, squares.values())} <= {int, float}
                sound &= terms.keys() == squares.keys() and all(len(t) == last - first for t in terms.values())
                if not sound or not all(type(x) in (int, float) for t in terms.values() for x in t):
                    raise ValueError
                if iteration <= min(at[first:last]):
                    self.lines.setdefault(iteration, {})[first, last] = ShardLine(iteration, terms, squares, moved)
                    good.append(text + "\n")
        write_text(path, "".join(good))
        for file in path.parent.glob("at-*.safetensors"):
            with suppress(ValueError):
                iteration, first, last = map(int, file.stem.split("-")[1:])
                if iteration > min(at[first:last]):
                    file.unlink()
        return [whole for iteration in sorted(self.lines) if (whole := self._whole(iteration))]

    def keep(self, first: int, last: int, told: ShardSnapshot) -> None:
        """Keep what is learned of some classes after an iteration."""
        if self.folder is not None:
            path = self.folder / f"at-{told.iteration:08d}-{first:06d}-{last:06d}.safetensors"
            write_tensors(path, {name: tensor(values) for name, values in told.tensors.items()})

    def snapshot(self, iteration: int) -> dict[str, Tensor] | None:
        """What is learned of all classes after an iteration, when all of it is there."""
        assert self.folder is not None
        name = f"at-{iteration:08d}-"
        files = sorted(self.folder.glob(f"{name}*.safetensors"))
        ends = [tuple(map(int, file.stem.removeprefix(name).split("-"))) for file in files]
        if not _covers(ends, self.classes):
            return None
        parts = [read_tensors(file)[0] for file in files]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def forget(self, iteration: int) -> None:
        """The snapshot after this iteration is kept elsewhere."""
        for file in self.folder.glob(f"at-{iteration:08d}-*.safetensors") if self.folder else ():
            file.unlink()

    def clear(self) -> None:
        """The run is whole again."""
        self.lines.clear()
        if self.folder is not None and self.folder.is_dir():
            shutil.rmtree(self.folder)


def rows_of(path: Path, rows: slice) -> Tensor:
    """Some rows of the images in a file. Raises `ArtifactError`."""
    try:
        with safe_open(path, framework="pt") as file:
            found: Tensor = file.get_slice("images")[rows].clone()  # as `read_tensors` does, and for its reason
            return found
    except (SafetensorError, OSError) as error:
        raise ArtifactError(f"{path} cannot be read ({error}); it is damaged: make the run again") from error


def _covers(ends: list[tuple[int, ...]], classes: int) -> bool:
    """Whether these ranges, sorted, follow one another from the first class to the last."""
    edges = [0, *(last for _, last in ends)]
    return edges[-1] == classes and all(first == edge for (first, _), edge in zip(ends, edges, strict=False))


def _digest(tensors: dict[str, Tensor], words: str) -> str:
    found = hashlib.sha256(words.encode())
    for name, values in sorted(tensors.items()):
        found.update(name.encode() + values.contiguous().numpy().tobytes())
    return found.hexdigest()
