"""What a choice of real images costs: passes of a network, and memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from datadam.machine import can_compile
from datadam.methods.cost import BACKWARD, COMPILED_GAIN, REAL_COPIES, TRAINING_COPIES, Size
from datadam.training import trainer
from datadam.training.difficulty import GRADIENT_BYTES, PASSES
from datadam.training.insight import TRAINING, Requirement

if TYPE_CHECKING:
    from datadam.methods.coresets.base import Coreset

GRAND_COPIES = 7  # of all blocks, while gradients are taken image by image; of the gradients themselves: 2 (both measured)


def passes_to_choose(method: Coreset, size: Size) -> float:
    """Forward passes of one image that a choice counts, when nothing of it is kept."""
    images = sum(size.members)
    return method.looks * images + sum(passes_behind(work, images, size.device) for work in method.behind)


def passes_behind(work: Requirement, images: int, device: str) -> float:
    """Forward passes that work training, or work look at all images, counts; those of compiled code count for less."""
    if work.what != TRAINING:
        return PASSES[work.what] * images
    steps = work.training.epochs * -(-images // work.training.batch)
    gain = COMPILED_GAIN["float32"] if trainer.pays(steps) and can_compile(device) else 1.0
    return BACKWARD * work.training.epochs * images / gain


def choosing_memory(method: Coreset, size: Size) -> float:
    """Bytes that a choice takes beside the images, at its peak: a training, or a look, whichever takes more."""
    images, blocks = sum(size.members), size.blocks
    together = min(size.at_once, images)
    needed = [0.0]
    if method.looks:
        needed.append(REAL_COPIES * min(together, max(size.members, default=0)) * max(blocks))
    for what, _, training in method.behind:
        if what == TRAINING:
            needed.append(TRAINING_COPIES * min(training.batch, images) * sum(blocks))
        elif what == "grand":
            looked = min(together, max(1, GRADIENT_BYTES // max(1, size.weights)))
            needed.append(2 * looked * size.weights + GRAND_COPIES * looked * sum(blocks))
        else:
            needed.append(REAL_COPIES * together * max(blocks))
    return max(needed)
