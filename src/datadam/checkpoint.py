"""A run's state on disk: written whole or not at all, read back bit-equal.

RUN/checkpoint/run.json             what stays fixed: recipe, data, words
RUN/checkpoint/state.safetensors    images, momentum, method state; the iteration and the plan in its metadata
RUN/snapshots/00000000.safetensors  images after an iteration; number 0 is the start
RUN/metrics.jsonl                   one line each few iterations
"""

import json
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from datadam.data import RealData, Transform
from datadam.errors import ArtifactError, InvalidInput, RunFailed
from datadam.frame import Frame
from datadam.matching import Plan
from datadam.methods import State
from datadam.methods.base import finite
from datadam.recipe import Recipe
from datadam.storage import read_json, read_tensors, require_writable, write_json, write_tensors

PARTS = ("card.json", "checkpoint", "snapshots", "metrics.jsonl", "distilled.safetensors", "zca.safetensors", "preview.png",
         "README.md", "evaluations", "report.html")  # fmt: skip


@dataclass
class RunState:
    """What changes during a run.

    `images` and `momentum` [K*N, C, H, W]; `iteration`, how many are done; `seconds`, `peak_mb` and, on a GPU, `gpu_peak_mb` so
    far; `moved`, mean change of a pixel since the start; `method`, the method's own state, tensors and numbers by name;
    `network`, the weights of a network that is trained between steps.
    """

    images: Tensor
    momentum: Tensor
    iteration: int = 0
    seconds: float = 0.0
    peak_mb: float = 0.0
    gpu_peak_mb: float = 0.0
    moved: float = 0.0
    method: State = field(default_factory=dict)
    network: dict[str, Tensor] = field(default_factory=dict)


def check_folder(out: Path, *, overwrite: bool) -> None:
    """Raise `InvalidInput` unless a new run may go to `out`; nothing is written."""
    if out.exists() and not out.is_dir():
        raise InvalidInput(f"{out} is a file; a run needs a folder")
    if out.is_dir() and any(out.iterdir()):
        if not ((out / "card.json").exists() or (out / "checkpoint").is_dir()):
            raise InvalidInput(f"{out} holds files that are no run of ours; choose another folder")
        if not overwrite:
            raise InvalidInput(f"{out} already holds a run; continue it with --resume {out}, or replace it with --overwrite")


def clear_folder(out: Path) -> None:
    """Make the folder, and remove the parts of an earlier run and nothing else. Raises `InvalidInput` if it cannot."""
    require_writable(out)
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

    def snapshot(self, iteration: int) -> Path:
        """The file of the images after an iteration."""
        return self.out / "snapshots" / f"{iteration:08d}.safetensors"

    def begin(self, frame: Frame, start: Tensor, device: str) -> None:
        """Write what stays fixed."""
        write_tensors(self.snapshot(0), {"images": start})
        if frame.real.transform.zca is not None:
            write_tensors(self.folder / "zca.safetensors", frame.real.transform.zca.tensors())
        write_json(self.folder / "run.json", frame.to_card() | {"snapshots": list(frame.snapshots), "device": device})

    def write(self, state: RunState, plan: Plan) -> bool:
        """Write the state. Returns false, and writes nothing, when the images are not finite."""
        if not torch.isfinite(state.images).all():
            return False
        numbers = {name: getattr(state, name) for name in ("iteration", "seconds", "peak_mb", "gpu_peak_mb", "moved")}
        tensors = {"images": state.images, "momentum": state.momentum}
        tensors |= {f"method/{name}": value for name, value in state.method.items() if isinstance(value, Tensor)}
        tensors |= {f"network/{name}": value for name, value in state.network.items()}
        plain = {name: value for name, value in state.method.items() if not isinstance(value, Tensor)}
        words = json.dumps(numbers | {"method": plain, "plan": plan.to_json()})
        write_tensors(self.folder / "state.safetensors", tensors, {"state": words})
        return True

    def log(self, line: dict[str, Any]) -> None:
        """Add one line of metrics. Raises `RunFailed` when it cannot be written."""
        try:
            with self.metrics.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise RunFailed(f"cannot write {self.metrics}: {error}. Free space, then go on with --resume {self.out}") from error

    def card(self) -> dict[str, Any]:
        """What `begin` wrote. Raises `ArtifactError`."""
        if not self.folder.is_dir():
            raise ArtifactError(
                f"{self.out} holds no checkpoint, so there is nothing to resume; start a run with: datadam distill DATA --out"
            )
        card: dict[str, Any] = read_json(self.folder / "run.json")
        parts = {"recipe": dict, "data": dict, "snapshots": list, "note": str, "command": str, "transform": dict, "device": str}
        sound = isinstance(card, dict) and all(isinstance(card.get(name), kind) for name, kind in parts.items())
        if not sound or not isinstance(card["data"].get("checksum"), str) or any(type(i) is not int for i in card["snapshots"]):
            raise ArtifactError(f"{self.folder / 'run.json'} lacks parts that every run has; it was changed: make the run again")
        return card

    def read(self, real: RealData) -> tuple[Frame, Tensor, RunState, Plan]:
        """Frame, start images, state and plan of the last checkpoint; drops metrics and snapshots that came after it.

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
        frame = Frame(real, Recipe.from_card(card["recipe"]), card["note"], card["command"], tuple(card["snapshots"]))
        start = read_tensors(self.snapshot(0))[0].get("images")
        tensors, metadata = read_tensors(self.folder / "state.safetensors")
        try:
            numbers = json.loads(metadata["state"])
            plan = Plan(**numbers.pop("plan"))
            method: State = numbers.pop("method") | _under("method/", tensors)
            state = RunState(
                tensors["images"], tensors["momentum"], **numbers, method=method, network=_under("network/", tensors)
            )
            expected = (len(real.classes) * frame.recipe.ipc, *real.shape)
            if start is None or any(tuple(t.shape) != expected for t in (start, state.images, state.momentum)):
                raise ValueError(f"the images are not {expected}")
            if not all(t.is_floating_point() and torch.isfinite(t).all() for t in (start, state.images, state.momentum)):
                raise ValueError("the images hold NaN or infinite numbers")
            if type(state.iteration) is not int or not 0 <= state.iteration <= frame.recipe.iterations:
                raise ValueError(f"iteration {state.iteration!r} of {frame.recipe.iterations}")
            if not all(finite(n) for n in (state.seconds, state.peak_mb, state.gpu_peak_mb, state.moved)):
                raise ValueError("seconds, memory or distance is no number")
        except (KeyError, TypeError, ValueError) as error:
            raise ArtifactError(f"the checkpoint in {self.folder} is damaged ({error}); make the run again") from error
        self._forget_after(state.iteration)
        return frame, start, state, plan

    def _forget_after(self, iteration: int) -> None:
        if self.metrics.exists():
            lines = [line for line in self.metrics.read_text(errors="replace").splitlines(keepends=True) if line.endswith("\n")]
            kept = [line for line in lines if _iteration_of(line) <= iteration]
            if kept != lines:
                partial = self.metrics.with_suffix(".partial")
                partial.write_text("".join(kept))
                partial.replace(self.metrics)
        for path in (self.out / "snapshots").glob("*.safetensors"):
            if path.stem.isdecimal() and int(path.stem) > iteration:
                path.unlink()


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _iteration_of(line: str) -> float:
    """The iteration that a line of metrics tells of; infinity for a damaged line, which is not kept."""
    try:
        return int(json.loads(line)["iteration"])
    except (KeyError, TypeError, ValueError):
        return float("inf")
