"""The images of a run, cut out of one sheet for each frame of the way, and beside them the nearest real ones.

Letters: M stored images, N training images that they decode to, K classes, C channels, H height, W width, Q images whose nearest
real image is known.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod, sqrt
from pathlib import Path

import torch

from datadam.report.folder import Run
from datadam.report.inspected import Inspected
from datadam.report.pictures import data_uri, sheet
from datadam.wording import count, percent

LEAST_SIDE = 64  # larger images are made smaller, down to this, before any is left out
ROW = 8  # images of a class beside each other on a laptop: where some are left out, no row is left ragged
FRAMES = 12  # of the way from start to end


@dataclass(frozen=True)
class Gallery:
    """Images to be cut out of one sheet a frame. `tiles`: each class shown, with its images' numbers in the sheet; `nearest`: a
    sheet of the nearest real images in the same places; `near`: for a number in the sheet what that real image is."""

    height: int
    width: int
    columns: int
    rows: int
    frames: list[tuple[str, str]]
    tiles: list[tuple[str, list[int]]]
    remarks: list[str]
    nearest: str
    near: Mapping[int, str]

    @property
    def begins(self) -> bool:
        """Whether the first frame is the start, and not the end."""
        return self.frames[0][0] == "start"

    @property
    def dense(self) -> bool:
        """Whether there are so many classes that they stand beside each other, in smaller tiles."""
        return len(self.tiles) > 20

    @property
    def scales(self) -> tuple[int, int]:
        """Whole factors by which a tile is enlarged, on a laptop and on a phone."""
        return max(1, (66 if self.dense else 100) // self.width), max(1, 66 // self.width)


def gallery(run: Run, inspected: Inspected | None, budget: int, *, training: bool = False) -> Gallery:
    """The images of the end and of the way there, as many and as large as the budget of bytes allows: the stored ones, or the
    `training` images that they decode to, beside which alone the nearest real ones can stand."""
    done = run.card.get("iterations_done")
    earlier = [(iteration, file) for iteration, file in run.snapshots if done is None or iteration < done]
    members: dict[int, list[int]] = {}
    for number, label in enumerate(run.training_labels if training else run.labels):
        members.setdefault(label, []).append(number)
    channels, height, width = run.shape
    channels, most = (3 if channels == 3 else 1), max(map(len, members.values()))

    room = budget // 3 if earlier else budget  # for one frame
    factor = sqrt(room / (channels * len(members) * most * height * width))
    factor = min(1.0, max(factor, LEAST_SIDE / max(height, width)))
    size = max(1, round(height * factor)), max(1, round(width * factor))
    tile = channels * prod(size)
    each = max(1, min(most, room // (tile * len(members))))
    each -= each % ROW if ROW <= each < most else 0
    shown = {label: members[label][:each] for label in sorted(members)[: max(1, room // (tile * each))]}
    indices = [number for numbers in shown.values() for number in numbers]

    frames = min(FRAMES, len(earlier), max(0, budget // (tile * len(indices)) - (2 if inspected else 1)))
    frames = max(frames, min(1, len(earlier)))  # the start is never given up
    picked = [earlier[round(place * (len(earlier) - 1) / max(1, frames - 1))] for place in range(frames)]
    sources: list[tuple[str, Path | None]] = [
        ("start" if iteration == 0 else f"iteration {count(iteration)}", file) for iteration, file in picked
    ]
    sources.append((f"iteration {count(done)}, the end" if done else "the end", None))

    remarks = {
        f"{len(shown)} of {len(members)} classes are shown.": len(shown) < len(members),
        f"{each} of {most} images of a class are shown.": each < most,
        f"Shown at {size[1]} × {size[0]} pixels; the images have {width} × {height}.": factor < 1,
        f"The mean of the {run.shape[0]} channels is shown as grey.": run.shape[0] not in (1, 3),
    }
    columns = min(each, 10) if len(shown) > 1 else min(len(indices), 32)
    place = iter(range(len(indices)))
    near = _near(run, inspected, indices) if inspected else {}
    pixels = run.training_pixels if training else run.pixels
    return Gallery(
        height=size[0],
        width=size[1],
        columns=columns,
        rows=-(-len(indices) // columns),
        frames=[(label, data_uri(sheet(pixels(indices, file), columns, size))) for label, file in sources],
        tiles=[(run.classes[label], [next(place) for _ in numbers]) for label, numbers in shown.items()],
        remarks=[remark for remark, needed in remarks.items() if needed],
        nearest=data_uri(sheet(_real(inspected, indices), columns, size)) if inspected and near else "",
        near=near,
    )


def _near(run: Run, inspected: Inspected, indices: list[int]) -> dict[int, str]:
    """For each place in the sheet what its nearest real image is."""
    known = {image: row for row, image in enumerate(inspected.neighbours["image"])}
    told, scale = {}, sqrt(prod(run.shape))
    for place, index in enumerate(indices):
        if (row := known.get(index)) is not None:
            label, distance = inspected.neighbours["label"][row], inspected.neighbours["distance"][row]
            number = count(inspected.neighbours["real"][row])
            told[place] = f"{run.classes[label]}, training image {number}; a pixel differs by {percent(distance / scale, 0)}"
    return told


def _real(inspected: Inspected, indices: list[int]) -> torch.Tensor:
    """The nearest real images of these images [len(indices), C, H, W] in [0, 1]; black where none is known."""
    known = {image: row for row, image in enumerate(inspected.neighbours["image"])}
    nearest = inspected.tensors["nearest"]
    found = torch.zeros(len(indices), *nearest.shape[1:])
    for place, index in enumerate(indices):
        if index in known:
            found[place] = nearest[known[index]] / 255
    return found
