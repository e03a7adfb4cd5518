"""Scalars and pictures for TensorBoard, from the files that a run writes anyway: the loop knows nothing of it.

FOLDER/RUN/events...   one folder a run, so that several can be compared
RUN/checkpoint/tensorboard.json   where they go, so that a resumed run goes on there
"""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from datadam.data import Transform
from datadam.errors import ArtifactError, InvalidInput, RunFailed
from datadam.files.whole import read_json, read_tensors, write_json
from datadam.sets.decoders import PLAIN, Decoder, Shown
from datadam.sets.preview import preview

KEPT = "checkpoint/tensorboard.json"


def require_tensorboard() -> None:
    """Raise `InvalidInput` where TensorBoard is not installed."""
    if find_spec("tensorboard") is None:
        raise InvalidInput("--tensorboard needs the package tensorboard, which is not here; pip install 'datadam[tensorboard]'")


def kept_folder(run: Path) -> Path | None:
    """Where the events of a run go, when it was begun with them. Raises `ArtifactError`."""
    if not (run / KEPT).exists():
        return None
    told = read_json(run / KEPT)
    if not isinstance(told, dict) or not isinstance(told.get("folder"), str):
        raise ArtifactError(f"{run / KEPT} does not say where the events go; remove it to go on without them")
    return Path(told["folder"])


class Board:
    """The events of one run; `update()` writes what is new in its files.

    Arguments: `run`, the run's folder; `folder`, where the events go; `transform`, `classes` and `counts`, for the pictures;
    `done`, iterations of before a resumption: events of later ones, which are made again, are no longer shown; `decoder`, where
    stored images are no pictures. Raises `InvalidInput` without TensorBoard, `RunFailed` when the folder cannot be written.
    """

    def __init__(
        self,
        run: Path,
        folder: Path,
        transform: Transform,
        classes: tuple[str, ...],
        counts: tuple[int, ...],
        done: int,
        decoder: Decoder = PLAIN,
    ) -> None:
        require_tensorboard()
        from torch.utils.tensorboard import SummaryWriter

        self.run, self.transform, self.classes, self.counts, self.decoder = run, transform, classes, counts, decoder
        known = done if kept_folder(run) == folder.resolve() else 0  # of these iterations the events are there already
        write_json(run / KEPT, {"folder": str(folder.resolve())})
        try:
            self.writer = SummaryWriter(str(folder), purge_step=known + 1 if known else None)
        except OSError as error:
            raise RunFailed(f"cannot write TensorBoard's events into {folder}: {error}; choose another folder") from error
        self.place = _size(run / "metrics.jsonl") if known else 0  # bytes of metrics that are told already
        self.shown = {path.name for path in self._snapshots() if known and int(path.stem) <= known}

    def update(self) -> None:
        """Write the lines of metrics and the snapshots that have come since. Raises `RunFailed`."""
        try:
            self._scalars()
            self._pictures()
        except OSError as error:
            raise RunFailed(
                f"cannot write TensorBoard's events: {error}; free space and go on with --resume {self.run}"
            ) from error

    def close(self) -> None:
        """Write what is left and close the file."""
        self.update()
        self.writer.close()

    def _scalars(self) -> None:
        file = self.run / "metrics.jsonl"
        if _size(file) <= self.place:
            return
        with file.open("rb") as opened:
            opened.seek(self.place)
            text = opened.read()
        whole = text[: text.rfind(b"\n") + 1]
        self.place += len(whole)
        for line in whole.splitlines():
            told: dict[str, Any] = json.loads(line)
            step = int(told["iteration"])
            scalars = {"loss": told["loss"], "moved": told["moved"], "seconds": told["seconds"]}
            for name, term in told["terms"].items():
                scalars |= {f"loss of {name}": term["loss"], f"gradient norm of {name}": term["grad_norm"]}
            for name, value in scalars.items():
                self.writer.add_scalar(name, value, step)
        self.writer.flush()

    def _pictures(self) -> None:
        for path in self._snapshots():
            if path.name not in self.shown:
                self.shown.add(path.name)
                stored = read_tensors(path)[0]["images"].float()
                each = 1 if self.decoder.pictures else self.decoder.each
                shown = Shown(PLAIN if each == 1 else self.decoder, stored.__getitem__, len(stored), self.transform.to_pixels)
                picture = np.asarray(preview(shown, self.classes, [each * count for count in self.counts]))
                self.writer.add_image("images", picture, int(path.stem), dataformats="HWC")

    def _snapshots(self) -> list[Path]:
        return sorted(path for path in (self.run / "snapshots").glob("*.safetensors") if path.stem.isdecimal())


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0
