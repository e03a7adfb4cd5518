"""What a method costs: arithmetic, counted in forward passes of one image through the matching network, and memory.

Letters: K classes.
"""

from dataclasses import dataclass, field

from datadam import machine
from datadam.methods.networks import NETWORK_BATCH, STATISTICS

COMPILED_GAIN = {"float32": 2.3, "float64": 2.0, "bfloat16": 3.7}  # how many times faster compiled code is, about
MATRIX_UNITS_GAIN = 5.0  # the same in bfloat16, where the processor has units for products of matrices
WITHOUT_INSTRUCTIONS = 0.2  # the same where it has none for bfloat16
DECODED_COPIES = 4  # of one class's training images, where an iteration looks at a part of them: decoded they are all
REAL_COPIES, TRAINING_COPIES = 4, 5  # how many maps of a block are alive at once without gradient; of all blocks with it
BACKWARD = 3  # forward passes that a training step counts for an image


def compiled_gain(precision: str) -> float:
    """How many times faster compiled code in this number format is than plain code in float32, about."""
    if precision == "bfloat16" and machine.lacks_bfloat16():
        return WITHOUT_INSTRUCTIONS
    matrix_units = precision == "bfloat16" and machine.has_matrix_units()
    return MATRIX_UNITS_GAIN if matrix_units else COMPILED_GAIN[precision]


@dataclass(frozen=True, kw_only=True)
class Size:
    """The size of a run.

    Arguments: `real`, real images of each class that an iteration draws; `synthetic`, training images of each class of the
    synthetic set; `part`, how many of them it looks at, at most (0: all); `trained`, images that networks train on, an iteration;
    `trains`, whether they do at all; `image`, `blocks` and `embedding`, bytes of one image, its maps and its last feature;
    `weights`, bytes of the network's weights; `chunk`, images a forward pass at most; `couples`, whether the network couples the
    images of a batch; `members`, real training images of each class; `at_once`, images that go through a network together where
    memory must not grow; `device`; `shape` (C, H, W) of an image ((): not known); `every`, iterations that share the real side.
    """

    real: tuple[int, ...]
    synthetic: tuple[int, ...]
    part: int = 0
    trained: float = 0.0
    trains: bool = False
    image: int = 0
    blocks: tuple[int, ...] = (0,)
    embedding: int = 0
    weights: int = 0
    chunk: int = 1
    couples: bool = False
    members: tuple[int, ...] = field(default=(), repr=False)
    at_once: int = 1
    device: str = "cpu"
    shape: tuple[int, int, int] | tuple[()] = ()
    every: int = 1


@dataclass(frozen=True, kw_only=True)
class Cost:
    """`passes`, forward passes of one image an iteration; `operations` beside them, of floating-point numbers; `before` and
    `operations_before`, such passes and operations before iteration 0 when nothing of it is kept; `bytes`, of memory beside
    images and data, at the peak; `cure`, what a user who lacks memory may do about the method itself."""

    passes: float
    bytes: float
    operations: float = 0.0
    before: float = 0.0
    operations_before: float = 0.0
    cure: str = ""


def general(
    size: Size, *, real: float = 1.0, synthetic: float = 2.0, each_class: float = 0.0, real_maps: float = 0.0,
    synthetic_maps: float = 5.0, whole: bool = False, keeps_features: bool = False, trains: bool = False,
) -> Cost:  # fmt: skip
    """The cost of a method that looks at one class after another.

    Arguments: passes for each `real` image drawn, each `synthetic` image, and `each_class` beside these (forward and the
    gradient of the images: 2; that of the weights too: 3); `real_maps`, `synthetic_maps`, how many copies of all the blocks of
    an image are alive at once, of one class's synthetic images unless `whole`; 0 real maps: no gradient is taken, and single
    blocks come and go; `keeps_features`, whether every class's mean blocks and single embeddings stay for the iteration;
    `trains`, whether the method trains networks itself.
    """
    count = sum(size.synthetic)
    passes = real * sum(size.real) + synthetic * count + each_class * len(size.real) + BACKWARD * size.trained
    together = min(max(size.real), size.chunk)
    graph = count if whole else max(size.synthetic)
    needed = REAL_COPIES * together * max(size.blocks) + real_maps * together * sum(size.blocks)
    needed += synthetic_maps * graph * sum(size.blocks)
    if size.couples:
        needed += REAL_COPIES * STATISTICS * len(size.real) * max(size.blocks)
    kept = sum(size.blocks) * len(size.real) + size.embedding * sum(size.real) if keeps_features else 0
    return Cost(passes=passes, bytes=max(needed, training(size, trains=trains)) + kept)


def matching(size: Size, *, needs_network: bool, synthetic_maps: float = 5.0) -> Cost:
    """The cost of feature matching: real images pass once and stream, synthetic ones pass forward and back."""
    looked_at = [min(images, size.part or images) for images in size.synthetic]
    count, drawn = sum(looked_at), sum(size.real)
    together = drawn if size.couples else min(drawn, size.chunk)
    graph = count if size.couples else min(count, max(size.chunk, *looked_at))
    needed = REAL_COPIES * together * max(size.blocks) + synthetic_maps * graph * sum(size.blocks)
    needed += len(size.real) * (sum(size.blocks) + size.embedding) if size.every > 1 else 0  # means that are kept, at most
    needed += DECODED_COPIES * size.image * max(size.synthetic) if size.part else 0
    passes = (drawn / size.every + 2.0 * count if needs_network else 0.0) + BACKWARD * size.trained
    return Cost(passes=passes, bytes=max(needed, training(size)))


def training(size: Size, *, trains: bool = False) -> float:
    """Bytes that training a network on the synthetic set takes."""
    return TRAINING_COPIES * min(NETWORK_BATCH, sum(size.synthetic)) * sum(size.blocks) if trains or size.trains else 0.0
