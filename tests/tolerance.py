"""How far apart two computations of the same sums may lie: each processor adds in an order of its own, and rounds as it goes."""

import math

import torch
from torch import Tensor


def rounding(terms: int, size: Tensor | float, dtype: torch.dtype = torch.float32) -> Tensor | float:
    """The most by which a sum of `terms` numbers may differ from the same one added in another order.

    Arguments: `size`, the sum of the numbers' absolute values; `dtype`, the format they are added in.
    Each step rounds by at most half an eps of `size`, up or down, so that errors add up as a walk does: 4 sqrt(terms) of them is
    four standard deviations if all were the largest. Two walks differ by twice that at most, and real ones by a hundredth.
    """
    return 4 * math.sqrt(terms) * torch.finfo(dtype).eps * size


def assert_sums_close(found: Tensor, expected: Tensor, terms: int, size: Tensor | float) -> None:
    """Both are the same sums of `terms` numbers whose absolute values come to `size`, in the coarser format of the two."""
    coarser = max((found.dtype, expected.dtype), key=lambda dtype: torch.finfo(dtype).eps)
    apart, most = (found.double() - expected.double()).abs(), torch.as_tensor(rounding(terms, size, coarser)).double()
    assert bool((apart <= most).all()), f"{float(apart.max()):.3g} apart; rounding makes {float(most.max()):.3g} at most"
