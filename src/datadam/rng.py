"""Randomness named by what it is for, never by when it happens.

`stream(7, "real", 120, "cat")` is the same generator wherever and whenever it is asked for, so the images of a run do not
depend on the order of the work, on the classes beside, or on an interruption.
"""

import hashlib

import torch
from torch import Tensor


def stream(seed: int, *what: str | int) -> torch.Generator:
    """A fresh CPU generator for one purpose.

    Arguments: `seed`, the run's seed; `what`, words and numbers that name the purpose, such as ("real", iteration, class name).
    The name is hashed with each part's type and length, so ("a", "bc") and ("ab", "c"), or 1 and "1", do not meet.
    """
    name = "".join(f"{type(part).__name__}{len(str(part))}:{part}" for part in (int(seed), *what))
    digest = hashlib.sha256(name.encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big", signed=True))


def carry(drawn: Tensor, device: torch.device) -> Tensor:
    """What was drawn, on the device that uses it.

    To a GPU it goes by way of pinned memory: nobody waits there until the GPU has finished the work given to it before.
    """
    if device.type != "cuda" or drawn.device.type != "cpu":
        return drawn.to(device)
    return drawn.pin_memory().to(device, non_blocking=True)
