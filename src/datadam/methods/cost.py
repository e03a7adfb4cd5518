"""What an iteration of a method costs."""

from dataclasses import dataclass

COMPILED_GAIN = {"float32": 2.3, "float64": 2.0, "bfloat16": 3.7}  # how many times faster compiled code is, about
REAL_COPIES, TRAINING_COPIES = 4, 5  # how many maps of a block are alive at once without gradient; of all blocks with it
BACKWARD = 3  # forward passes that a training step counts for an image


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What an iteration costs, in forward passes of one image through the matching network; told before a run.

    `real`, for each real image drawn; `synthetic`, for each synthetic image; `each_class`, for each class beside these (forward
    and the gradient of the images: 2; that of the weights too: 3). `real_maps`, `synthetic_maps`: how many copies of all the
    blocks of an image are alive at once, of one class's synthetic images unless `whole`; 0 real maps: no gradient is taken, and
    single blocks come and go. `keeps_features`: whether every class's mean blocks and single embeddings stay for the iteration.
    """

    real: float = 1.0
    synthetic: float = 2.0
    each_class: float = 0.0
    real_maps: float = 0.0
    synthetic_maps: float = 5.0
    whole: bool = False
    keeps_features: bool = False
