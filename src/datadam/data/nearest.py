"""Nearest neighbours, exactly: every query against every key, a piece at a time.

Letters: M queries, N keys, D numbers of each, k neighbours.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from datadam.errors import InvalidInput

CHUNK = 1 << 23  # numbers of keys, or of distances, held at once in float64
SPARE = 8  # candidates beyond k whose distances are computed once more, exactly


def nearest(
    queries: Tensor, keys: Tensor | npt.NDArray[np.generic], k: int = 1, *, but: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The k nearest keys of each query by Euclidean distance.

    Arguments: `queries` [M, D] and `keys` [N, D], real numbers of any type, bytes too (keys may be a memory map: they are read
    once, in order); `k`; `but` [M], for each query the number of a key that does not count, such as itself (-1: all count).
    Returns distances [M, k] in float64, ascending, exactly 0 for a key equal to the query, and indices [M, k]. Of keys at the
    same distance the lower index comes first; where more than k + 8 are equally near, any of them may stand there.
    Raises `InvalidInput` when the shapes do not fit or there are too few keys.
    """
    m, n = _check(queries, keys, k, but)
    queries = queries.detach().cpu().double()
    squares = queries.square().sum(1, keepdim=True)
    found = torch.full((m, 0), torch.inf, dtype=torch.float64), torch.empty((m, 0), dtype=torch.long)
    rows = max(1, CHUNK // max(1, queries.shape[1], m))
    for first in range(0, n, rows):
        piece = _piece(keys, first, min(n, first + rows))
        near = (squares + piece.square().sum(1) - 2 * queries @ piece.T).clamp_(min=0)
        if but is not None:
            own = but.cpu() - first
            inside = ((own >= 0) & (own < len(piece))).nonzero()[:, 0]
            near[inside, own[inside]] = torch.inf
        indices = torch.arange(first, first + len(piece)).expand(m, -1)
        found = _least(torch.cat([found[0], near], 1), torch.cat([found[1], indices], 1), k + SPARE)
    return _exact(queries, keys, *found, k)


def _least(distances: Tensor, indices: Tensor, count: int) -> tuple[Tensor, Tensor]:
    least = distances.topk(min(count, distances.shape[1]), 1, largest=False)
    return least.values, indices.gather(1, least.indices)


def _exact(
    queries: Tensor, keys: Tensor | npt.NDArray[np.generic], near: Tensor, candidates: Tensor, k: int
) -> tuple[Tensor, Tensor]:
    """The k nearest of the candidates by differences: |a|^2 + |b|^2 - 2 a b loses digits where a and b are alike."""
    distances, indices = torch.empty(len(queries), k, dtype=torch.float64), torch.empty(len(queries), k, dtype=torch.long)
    for m, (query, left_out, mine) in enumerate(zip(queries, near.isinf(), candidates, strict=True)):
        mine = mine.sort().values if not left_out.any() else mine[~left_out].sort().values
        exact = (_rows(keys, mine) - query).square().sum(1).sqrt()
        order = exact.sort(stable=True).indices[:k]
        distances[m], indices[m] = exact[order], mine[order]
    return distances, indices


def _piece(keys: Tensor | npt.NDArray[np.generic], first: int, last: int) -> Tensor:
    part = keys[first:last]
    return (part.detach().cpu() if isinstance(part, Tensor) else torch.from_numpy(np.array(part))).double()


def _rows(keys: Tensor | npt.NDArray[np.generic], chosen: Tensor) -> Tensor:
    if isinstance(keys, Tensor):
        return keys[chosen.to(keys.device)].detach().cpu().double()
    return torch.from_numpy(np.array(keys[chosen.numpy()])).double()


def _check(queries: Tensor, keys: Tensor | npt.NDArray[np.generic], k: int, but: Tensor | None) -> tuple[int, int]:
    """M and N. Raises `InvalidInput`."""
    if queries.ndim != 2 or keys.ndim != 2 or queries.shape[1] != keys.shape[1]:
        raise InvalidInput(f"queries [M, D] and keys [N, D] are needed; {list(queries.shape)} and {list(keys.shape)} came")
    m, n = len(queries), len(keys)
    if but is not None and (but.shape != (m,) or but.dtype != torch.long or (m and int(but.max()) >= n)):
        raise InvalidInput(f"but must be one key number (int64, below {n}) for each of {m} queries; {list(but.shape)} came")
    counting = n - (but is not None)
    if not 1 <= k <= counting:
        raise InvalidInput(f"k is {k}; it must lie in 1..{counting}, the keys that count")
    return m, n
