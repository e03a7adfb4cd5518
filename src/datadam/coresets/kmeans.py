"""K-means nearest: cluster each class into N groups and take the real image nearest to each centre.

The "smart" start of DataDAM's released code and the k-means-emb selection of DC-Bench (Cui et al., NeurIPS 2022).
"""

import numpy as np
import torch
from torch import Tensor

from datadam.coresets.features import embeddings
from datadam.data import RealData
from datadam.rng import stream

DESCRIPTION = "the real images nearest to the centres of N clusters of the class, in the features of a random network"
CITATION = """@inproceedings{cui2022dcbench,
  title={DC-BENCH: Dataset Condensation Benchmark},
  author={Cui, Justin and Wang, Ruochen and Si, Si and Hsieh, Cho-Jui}, booktitle={NeurIPS}, year={2022}}"""


def nearest_to_centres(features: Tensor, count: int, seed: int) -> Tensor:
    """Row numbers [count], all different: for each of `count` k-means centres the nearest row not yet taken."""
    from sklearn.cluster import KMeans

    rows = features.double().numpy()
    centres = KMeans(count, n_init=1, random_state=seed).fit(rows).cluster_centers_
    chosen: list[int] = []
    for centre in centres:
        distance = np.linalg.norm(rows - centre, axis=1)
        distance[chosen] = np.inf
        chosen.append(int(distance.argmin()))
    return torch.tensor(chosen)


def select(real: RealData, ipc: int, seed: int) -> list[Tensor]:
    """Training indices [ipc] of each class."""
    chosen = []
    for k, (name, members) in enumerate(zip(real.classes, real.by_class, strict=True)):
        number = int(torch.randint(2**31, (), generator=stream(seed, "coreset", "kmeans", name)))
        chosen.append(torch.from_numpy(members)[nearest_to_centres(embeddings(real, k, seed), ipc, number)])
    return chosen
