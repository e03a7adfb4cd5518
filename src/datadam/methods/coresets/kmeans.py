"""K-means nearest: cluster each class into N groups and take the real image nearest to each centre.

The "smart" start of DataDAM's released code and the k-means-emb selection of DC-Bench (Cui et al., NeurIPS 2022).
"""

import warnings
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from datadam.methods.coresets.base import FeatureCoreset
from datadam.rng import stream
from datadam.training.insight import Insight

DESCRIPTION = (
    "real images nearest to the centres of N clusters of the class, in the features of a network trained on the real set"
)
CITATION = """@inproceedings{cui2022dcbench,
  title={DC-BENCH: Dataset Condensation Benchmark},
  author={Cui, Justin and Wang, Ruochen and Si, Si and Hsieh, Cho-Jui}, booktitle={NeurIPS}, year={2022}}"""


def nearest_to_centres(features: Tensor, count: int, seed: int, name: str) -> Tensor:
    """Row numbers [count], all different: for each of `count` k-means centres the nearest row of [n, D] not yet taken.

    The first centres are drawn by k-means++ with the run's `seed` and the `name` of the class.
    """
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    rows = features.double().numpy()
    number = int(torch.randint(2**31, (), generator=stream(seed, "coreset", "kmeans", name)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer different images than clusters: the rest are filled up below
        centres = KMeans(count, n_init=1, random_state=number).fit(rows).cluster_centers_
    chosen: list[int] = []
    for centre in centres:
        distance = np.linalg.norm(rows - centre, axis=1)
        distance[chosen] = np.inf
        chosen.append(int(distance.argmin()))
    return torch.tensor(chosen)


@dataclass(frozen=True, kw_only=True)
class KMeans(FeatureCoreset):
    """The real images nearest to k-means centres; settings as `FeatureCoreset`."""

    name: ClassVar[str] = "kmeans"
    description: ClassVar[str] = DESCRIPTION
    citation: ClassVar[str] = CITATION

    def among(self, insight: Insight, k: int, embeddings: Tensor, count: int) -> Tensor:
        return nearest_to_centres(embeddings, count, insight.seed, insight.real.classes[k])
