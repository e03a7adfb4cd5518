"""A run's state on disk: written whole or not at all, read back bit-equal.

RUN/checkpoint/run.json             what stays fixed: recipe, data, words; written last: with it there is a run to go on with
RUN/checkpoint/state.safetensors    learned tensors, optimisers' buffers, method state; iteration, plan, checksum in its metadata
RUN/checkpoint/before.safetensors   the state before that, used where the last one is torn
RUN/snapshots/00000000.safetensors  learned tensors after an iteration; number 0 is the start
RUN/metrics.jsonl                   one line each few iterations
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from datadam.data import RealData, Transform
from datadam.distillation.recipe import Recipe
from datadam.distillation.setup import Frame
from datadam.errors import ArtifactError, InvalidInput, RunFailed
from datadam.files.lock import LOCK
from datadam.files.partial import END, beside
from datadam.files.whole import all_finite, read_json, read_tensors, replacing, require_writable, write_json, write_tensors
from datadam.methods import State
from datadam.methods.networks import WEIGHTS
from datadam.methods.plan import Plan
from datadam.sets.synthetic import LEARNABLE
from datadam.settings import finite

PARTS = ("card.json", "checkpoint", "snapshots", "metrics.jsonl", "distilled.safetensors", "zca.safetensors", "preview.png",
         "README.md", "evaluations", "report.html", "audit.json", "audit.safetensors", "tensorboard",
         "workers.jsonl")  # fmt: skip

MOST_THREADS, MOST_TOGETHER = 1024, 1 << 30


@dataclass
class RunState:
    """What changes during a run.

    `tensors`, what is learned, by name (sets/synthetic.py); `buffers`, of the optimisers, by "tensor/buffer"; `iteration`, how
    many are done; `seconds`, `peak_mb` and, on a GPU, `gpu_peak_mb` so far; `moved`, mean change of a pixel since the start;
    `method`, the method's own state, tensors and numbers by name, and with it the weights of networks that train on the way.
    """

    tensors: dict[str, Tensor]
    buffers: dict[str, Tensor] = field(default_factory=dict)
    iteration: int = 0
    seconds: float = 0.0
    peak_mb: float = 0.0
    gpu_peak_mb: float = 0.0
    moved: float = 0.0
    method: State = field(default_factory=dict)

    @property
    def images(self) -> Tensor:
        """The stored images [M, C, H, W]."""
        return self.tensors["images"]


def check_folder(out: Path, *, overwrite: bool) -> None:
    """Raise `InvalidInput` unless a new run may go to `out`; nothing is written."""
    if out.exists() and not out.is_dir():
        raise InvalidInput(f"{out} is a file; a run needs a folder")
    if out.is_dir():
        begun = (out / "card.json").exists() or (out / "checkpoint" / "run.json").exists()
        names = {path.name for path in out.iterdir() if not path.name.endswith(END)} - {LOCK}
        if not begun and not names <= set(PARTS):
            raise InvalidInput(f"{out} holds files that are no run of ours; choose another folder")
        if begun and not overwrite:
            raise InvalidInput(f"{out} already holds a run; continue it with --resume {out}, or replace it with --overwrite")


def clear_folder(out: Path) -> None:
    """Make the folder, and remove the parts of an earlier run and nothing else. Raises `InvalidInput` if it cannot."""
    require_writable(out)
    (out / "card.json").unlink(missing_ok=True)  # first what says that there is a run: a kill must leave none by halves
    (out / "checkpoint" / "run.json").unlink(missing_ok=True)
    for name in PARTS:
        part = out / name
        if part.is_dir():
            shutil.rmtree(part)
        else:
            part.unlink(missing_ok=True)


class Checkpoint:
    """The files of one run folder."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.folder = out / "checkpoint"
        self.metrics = out / "metrics.jsonl"
        self.state, self.before = self.folder / "state.safetensors", self.folder / "before.safetensors"
        self.remark = ""  # what a user must be told of the state that was read

    def exists(self) -> bool:
        """Whether there is a state to go on from."""
        return (self.folder / "run.json").exists() and (self.state.exists() or self.before.exists())

    def snapshot(self, iteration: int) -> Path:
        """The file of what was learned after an iteration."""
        return self.out / "snapshots" / f"{iteration:08d}.safetensors"

    def begin(self, frame: Frame, start: Mapping[str, Tensor]) -> None:
        """Write the large things that stay fixed: first values of what is learned, and whitening."""
        write_tensors(self.snapshot(0), start)
        if frame.real.transform.zca is not None:
            write_tensors(self.folder / "zca.safetensors", frame.real.transform.zca.tensors())

    def seal(self, frame: Frame, device: str) -> None:
        """Write, when all else of a first checkpoint is there, what makes it a run to go on with."""
        write_json(self.folder / "run.json", frame.to_card() | {"snapshots": list(frame.snapshots), "device": device})

    def write(self, state: RunState, plan: Plan) -> bool:
        """Write the state, and keep the one before. Returns false, and writes nothing, when what is learned is not finite."""
        if not all(map(all_finite, state.tensors.values())):
            return False
        numbers = {name: getattr(state, name) for name in ("iteration", "seconds", "peak_mb", "gpu_peak_mb", "moved")}
        tensors = state.tensors | {f"buffer/{name}": value for name, value in state.buffers.items()}
        tensors |= {f"method/{name}": value for name, value in state.method.items() if isinstance(value, Tensor)}
        plain = {name: value for name, value in state.method.items() if not isinstance(value, Tensor)}
        words = json.dumps(numbers | {"method": plain, "plan": plan.to_json()})
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        flush(self.metrics)  # a power cut must not take lines that the state has behind it
        self._keep_before()
        write_tensors(self.state, tensors, {"state": words, "checksum": _checksum(tensors, words)})
        return True

    def _keep_before(self) -> None:
        """Give the last state a second name, under which it stays when the next one takes the first."""
        if not self.state.exists():
            return
        second = beside(self.before)
        try:
            second.unlink(missing_ok=True)
            os.link(self.state, second)
            second.replace(self.before)
        except OSError:  # a disk without hard links, such as FAT and some network disks
            with replacing(self.before) as partial:
                shutil.copyfile(self.state, partial)

    def log(self, line: dict[str, Any]) -> None:
        """Add one line of metrics. Raises `RunFailed` when it cannot be written."""
        try:
            with self.metrics.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise RunFailed(f"cannot write {self.metrics}: {error}. Free space, then go on with --resume {self.out}") from error

    def card(self) -> dict[str, Any]:
        """What `begin` wrote. Raises `ArtifactError`."""
        if not (self.folder / "run.json").exists():
            raise ArtifactError(
                f"{self.out} holds no checkpoint, so there is nothing to resume; start a run with: datadam distill DATA --out"
            )
        card: dict[str, Any] = read_json(self.folder / "run.json")
        parts = {"recipe": dict, "data": dict, "snapshots": list, "note": str, "command": str, "transform": dict, "device": str}
        sound = isinstance(card, dict) and all(isinstance(card.get(name), kind) for name, kind in parts.items())
        sound = sound and finite(card.get("earlier_seconds", 0.0)) and card.get("earlier_seconds", 0.0) >= 0
        if not sound or not isinstance(card["data"].get("checksum"), str) or any(type(i) is not int for i in card["snapshots"]):
            raise ArtifactError(
                f"{self.folder / 'run.json'} lacks parts that every run has, or has others; it was changed: make the run again"
            )
        return card

    def read(self, real: RealData, *, reached: int = 0) -> tuple[Frame, Tensor, RunState, Plan]:
        """Frame, start images, state and plan of the last checkpoint; drops metrics and snapshots that came after it.

        `reached`, the iteration that all shards of the run have reached by what they keep apart.
        Raises `ArtifactError` when a file is damaged, `InvalidInput` when the data are not those of the run.
        """
        card = self.card()
        if real.checksum != card["data"]["checksum"]:
            raise InvalidInput(
                f"the data are not those of the run: checksum {real.checksum[:19]}..., the run has "
                f"{card['data']['checksum'][:19]}...; give the same data and options"
            )
        zca = read_tensors(self.folder / "zca.safetensors")[0] if card["transform"].get("zca") else None
        real = replace(real, transform=Transform.from_card(card["transform"], zca))  # fitting again could differ in the last bit
        earlier_seconds = card.get("earlier_seconds", 0.0)
        frame = Frame(
            real, Recipe.from_card(card["recipe"]), card["note"], card["command"], tuple(card["snapshots"]), earlier_seconds
        )
        start = read_tensors(self.snapshot(0))[0].get("images")
        if start is None:
            raise ArtifactError(f"{self.snapshot(0)} holds no images; it is damaged: make the run again")
        try:
            state, plan = self._state(self.state, frame, start)
        except ArtifactError as torn:
            try:
                state, plan = self._state(self.before, frame, start)
            except ArtifactError:
                raise torn from None
            self.remark = f"{torn}; going on from the checkpoint before that, after {state.iteration} iterations"
            self.state.unlink(missing_ok=True)  # it must not become the one before
        self._forget_after(max(state.iteration, reached))
        return frame, start, state, plan

    def _state(self, path: Path, frame: Frame, start: Tensor) -> tuple[RunState, Plan]:
        """State and plan of one file. Raises `ArtifactError` when it is torn or forged."""
        tensors, metadata = read_tensors(path)
        try:
            if metadata.get("checksum", "") != _checksum(tensors, metadata["state"]):
                raise ValueError("its checksum is another one")
            numbers = json.loads(metadata["state"])
            plan = _plan(numbers.pop("plan"))
            method: State = numbers.pop("method") | _under("method/", tensors)
            learned = {name: tensors[name] for name in LEARNABLE if name in tensors}
            state = RunState(learned, _under("buffer/", tensors), **numbers, method=method)
            _of_the_first_format(state, tensors)
            counts, classes = frame.recipe.counts(frame.real), len(frame.real.classes)
            expected = {"images": (sum(counts), *frame.real.shape), "labels": (sum(counts), classes), "rate": ()}
            expected["rates"] = (frame.recipe.method.rates_of(max(counts) * frame.recipe.each),)
            named = [("images", start), *learned.items()]
            named += [(name.partition("/")[0], buffer) for name, buffer in state.buffers.items()]
            for name, tensor in named:
                if tuple(tensor.shape) != expected[name]:
                    raise ValueError(f"the {name} are not {expected[name]}")
                if not (tensor.is_floating_point() and all_finite(tensor)):
                    raise ValueError(f"the {name} hold NaN or infinite numbers")
            if type(state.iteration) is not int or not 0 <= state.iteration <= frame.recipe.iterations:
                raise ValueError(f"iteration {state.iteration!r} of {frame.recipe.iterations}")
            if not all(finite(n) for n in (state.seconds, state.peak_mb, state.gpu_peak_mb, state.moved)):
                raise ValueError("seconds, memory or distance is no number")
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise ArtifactError(f"the checkpoint {path} is damaged ({error}); make the run again") from error
        return state, plan

    def _forget_after(self, iteration: int) -> None:
        if self.metrics.exists():
            lines = [line for line in self.metrics.read_text(errors="replace").splitlines(keepends=True) if line.endswith("\n")]
            kept = [line for line in lines if _iteration_of(line) <= iteration]
            if kept != lines:
                with replacing(self.metrics) as partial:
                    partial.write_text("".join(kept))
        for path in (self.out / "snapshots").glob("*.safetensors"):
            if path.stem.isdecimal() and int(path.stem) > iteration:
                path.unlink()


def flush(path: Path) -> None:
    """Have what was added to a file, if it is there, on the disk. Raises `RunFailed` when that fails."""
    try:
        with suppress(FileNotFoundError), path.open("rb") as file:
            os.fsync(file.fileno())
    except OSError as error:
        raise RunFailed(f"cannot write {path}: {error}. Free space, then go on with --resume") from error


def _plan(card: dict[str, Any]) -> Plan:
    """A plan, its numbers checked: threads and images at once are what a forged file could take the machine with."""
    plan = Plan(**card)
    whole = type(plan.threads) is int and type(plan.chunk) is int and isinstance(plan.compiled, bool)
    if not (whole and 1 <= plan.threads <= MOST_THREADS and 1 <= plan.chunk <= MOST_TOGETHER):
        raise ValueError(f"a plan of {plan.threads!r} threads and {plan.chunk!r} images at once")
    if plan.kept not in ("", "uint8", "float16", "float32"):
        raise ValueError(f"images kept as {plan.kept!r}")
    return plan


def _checksum(tensors: Mapping[str, Tensor], words: str) -> str:
    """ "sha256:<hex>" of every tensor, with its name, type and shape, and of the words beside them."""
    found = hashlib.sha256(words.encode())
    for name, tensor in sorted(tensors.items()):
        found.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().data if tensor.numel() else b"")
    return f"sha256:{found.hexdigest()}"


def _of_the_first_format(state: RunState, tensors: dict[str, Tensor]) -> None:
    """What checkpoints of the first format held under other names."""
    if "momentum" in tensors:
        state.buffers["images/momentum_buffer"] = tensors["momentum"]
    if network := _under("network/", tensors):
        state.method |= {"trained": state.iteration - 1} | {WEIGHTS + name: value for name, value in network.items()}
    if "served" in state.method:  # CAFE's, whose network was then always ready for the next image step
        state.method.setdefault("at", state.iteration)


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _iteration_of(line: str) -> float:
    """The iteration that a line of metrics tells of; infinity for a damaged line, which is not kept."""
    try:
        return int(json.loads(line)["iteration"])
    except (KeyError, TypeError, ValueError, ArithmeticError, RecursionError):
        return float("inf")
