"""Which classes pay: the recall of each class, and how far apart they lie.

Letters: S students, K classes.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from datadam.audit.intervals import wilson


def balance(counts: Sequence[npt.NDArray[np.int64]]) -> dict[str, Any]:
    """Per-class recall from tables [K, K] of (true class, predicted class), one a student; the same test images for all.

    The interval of a class is Wilson's for the mean recall on its test images: it tells the luck of the test images; the luck of
    the students shows in `students`. None stands for a class without test images.
    """
    tables = np.stack(counts).astype(np.float64)  # [S, K, K]
    of = tables[0].sum(1)
    right = tables.diagonal(axis1=1, axis2=2)
    recalls = np.divide(right, of, out=np.full_like(right, np.nan), where=of > 0)  # [S, K]
    mean = recalls.mean(0)
    there = np.flatnonzero(of > 0)
    worst, best = int(there[mean[there].argmin()]), int(there[mean[there].argmax()])
    each = [
        {
            "recall": wilson(float(mean[k] * of[k]), int(of[k])).to_json() if of[k] else None,
            "students": [float(r) for r in recalls[:, k]] if of[k] else [],
            "images": int(of[k]),
        }
        for k in range(len(of))
    ]
    return {
        "classes": each,
        "worst": worst,
        "best": best,
        "gap": float(mean[best] - mean[worst]),
        "std": float(mean[there].std()),
        "mean": float(right.sum() / tables.sum()),
        "students": len(tables),
    }
