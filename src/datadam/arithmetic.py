"""What arithmetic costs here, measured: a processor's flags say which instructions it has, and not what they bring.

The measurement takes a fraction of a second and is kept under processor and version of torch. It decides between number formats
where a user asked for "auto", and what a run is foretold to take; what it decided stands on the card. Nothing in float64 depends
on it.
"""

import time
from collections.abc import Callable
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from datadam import machine
from datadam.files.kept import cache_folder, remembered

CHANNELS, SIDE, IMAGES = 128, 16, 16  # the convolution that ConvNet-3 spends most of its time in, at 32x32
TURNS = 5
ASKED = ("auto", "float32", "float64", "bfloat16")  # what a user may say; `settled` makes one of the last three of it
WORTH = 1.2  # times as fast as float32, from which on bfloat16 is taken for its speed
NO_BFLOAT16 = "this processor has no instructions for bfloat16, which is slower on it than float32; auto takes the faster one"


def fast_precision(device: str = "cpu") -> str:
    """The number format of fast matrix arithmetic here: "bfloat16" where it is measured to be faster, else "float32"."""
    return "bfloat16" if bfloat16_gain(device) >= WORTH else "float32"


def settled(precision: str, device: str = "cpu") -> str:
    """The number format that a word means: "auto" is the faster one of this machine."""
    return fast_precision(device) if precision == "auto" else precision


def remark_on(precision: str, device: str = "cpu") -> str:
    """What must be told of a number format on this device; "" for nothing."""
    slow = precision == "bfloat16" and torch.device(device).type == "cpu" and machine.lacks_bfloat16()
    return NO_BFLOAT16 if slow else ""


@cache
def bfloat16_gain(device: str = "cpu") -> float:
    """How many times as fast a convolution is in bfloat16 as in float32; 1.0 where there are no instructions for it, or on a GPU
    that has none. A GPU that has them is not measured: 4.0."""
    if torch.device(device).type == "cuda":
        return 4.0 if torch.cuda.get_device_capability(device) >= (8, 0) else 1.0
    if not machine.has_bfloat16():
        return 1.0
    here = f"{machine.processor()}, {machine.vector_units()}, torch {torch.__version__}"
    return float(remembered(f"gain of bfloat16: {here}", lambda: round(_measured(), 2), folder=cache_folder("measured")))


def _measured() -> float:
    """One thread, both formats in turns, the least seconds of each: others may use the machine meanwhile."""
    formats = torch.float32, torch.bfloat16
    least = dict.fromkeys(formats, float("inf"))
    with machine.threads(1), torch.no_grad():
        images, weights = torch.ones(IMAGES, CHANNELS, SIDE, SIDE), torch.ones(CHANNELS, CHANNELS, 3, 3)
        for turn in range(TURNS + 1):
            for each in formats:
                seconds = _seconds(lambda x, w: F.conv2d(x, w, padding=1), _last(images, each), _last(weights, each))
                least[each] = min(least[each], seconds) if turn else least[each]  # the first one sets up
    return least[torch.float32] / least[torch.bfloat16]


def _last(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    return tensor.to(dtype, memory_format=torch.channels_last)


def _seconds(function: Callable[[Tensor, Tensor], Tensor], x: Tensor, w: Tensor) -> float:
    began = time.perf_counter()
    function(x, w)
    return time.perf_counter() - began
