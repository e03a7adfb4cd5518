"""What a choice of real images costs: passes of a network, and memory."""

from datadam import machine
from datadam.data import RealData
from datadam.machine import can_compile
from datadam.methods.coresets.base import Coreset
from datadam.methods.cost import BACKWARD, COMPILED_GAIN, REAL_COPIES, TRAINING_COPIES
from datadam.training import trainer
from datadam.training.difficulty import GRADIENT_BYTES, PASSES
from datadam.training.insight import TRAINING, Behind

GRAND_COPIES = 7  # of all blocks, while gradients are taken image by image; of the gradients themselves: 2 (both measured)


def passes_to_choose(method: Coreset, images: int, device: str) -> float:
    """Forward passes of one image that a choice among so many images counts, when the cache holds nothing of it."""
    return method.looks * images + sum(passes_behind(one, images, device) for one in method.behind)


def passes_behind(one: Behind, images: int, device: str) -> float:
    """Forward passes that one training, or one look at all images, counts; those of compiled code count for less."""
    if one.what != TRAINING:
        return PASSES[one.what] * images
    steps = one.training.epochs * -(-images // one.training.batch)
    gain = COMPILED_GAIN["float32"] if trainer.pays(steps) and can_compile(device) else 1.0
    return BACKWARD * one.training.epochs * images / gain


def choosing_memory(method: Coreset, real: RealData, blocks: list[int], weights: int) -> float:
    """Bytes that a choice takes beside the images, at its peak: a training, or a look, whichever takes more.

    Arguments: `blocks`, bytes of one image's maps; `weights`, of the network's.
    """
    together = min(machine.images_at_once(real.shape), len(real.train))
    needed = [0.0]
    if method.looks:
        needed.append(REAL_COPIES * min(together, max(map(len, real.by_class))) * max(blocks))
    for what, _, training in method.behind:
        if what == TRAINING:
            needed.append(TRAINING_COPIES * min(training.batch, len(real.train)) * sum(blocks))
        elif what == "grand":
            images = min(together, max(1, GRADIENT_BYTES // weights))
            needed.append(2 * images * weights + GRAND_COPIES * images * sum(blocks))
        else:
            needed.append(REAL_COPIES * together * max(blocks))
    return max(needed)
