"""Nested sets: the first images of each class are a good set by themselves, for every number of them.

    minimise  E_k L(the first k images of each class),   k drawn evenly from a ladder, anew for each iteration

where L is the loss of the method. What an iteration does not look at has no gradient there: an optimiser sees zeros, as from any
random sample of a sum. The first image is in all prefixes and moves in every iteration, the last one in those of the whole set.
The idea of one order that serves all sizes is that of nested dropout (Rippel, Gelbart and Adams, ICML 2014).
"""

from dataclasses import replace

import torch

from datadam.methods.gradient import Gradient
from datadam.rng import stream
from datadam.sets.synthetic import SyntheticSet

STEPS = (1, 2, 5)  # of each power of ten


def usual_ladder(ipc: int) -> tuple[int, ...]:
    """1, 2, 5, 10, 20, 50, ... below `ipc`, and `ipc` itself."""
    steps = (step * 10**power for power in range(len(str(ipc))) for step in STEPS)
    return (*(step for step in steps if step < ipc), ipc)


def drawn(ladder: tuple[int, ...], seed: int, iteration: int) -> int | None:
    """How many images of each class this iteration looks at; None for all of them."""
    if len(ladder) < 2:
        return None
    step = ladder[int(torch.randint(len(ladder), (), generator=stream(seed, "nested", iteration)))]
    return None if step == ladder[-1] else step


def widened(gradient: Gradient, whole: SyntheticSet, count: int) -> Gradient:
    """The gradient of a prefix of `count` images as one of the whole set: zeros for what was not looked at."""
    rows = whole.first_rows(count)
    of = {}
    for name, part in gradient.of.items():
        of[name] = part if name == "rate" else torch.zeros_like(whole.tensors[name]).index_copy_(0, rows, part)
    return replace(gradient, of=of)
