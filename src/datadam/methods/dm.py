"""DM: Dataset Condensation with Distribution Matching (Zhao and Bilen, WACV 2023, arXiv 2110.04181).

    L = sum_k || mean over real of emb - mean over synthetic of emb ||^2

emb is the flattened feature after the last pooling of a network with fresh random weights; real and synthetic images of a
class share one augmentation. Departure from the authors' code: none known. Theirs too passes the images class by class, and with
batch norm all classes together.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from datadam.methods.base import FeatureMatching
from datadam.nets import Features


@dataclass(frozen=True, kw_only=True)
class DM(FeatureMatching):
    """Match the class means of the last feature. It has no settings."""

    name: ClassVar[str] = "dm"
    description: ClassVar[str] = "class means of the last feature of random networks"
    citation: ClassVar[str] = """@inproceedings{zhao2023dm,
  title={Dataset Condensation with Distribution Matching},
  author={Zhao, Bo and Bilen, Hakan}, booktitle={WACV}, year={2023}}"""

    def descriptors(self, features: Features) -> list[Tensor]:
        """The embedding [N, D]."""
        return [features.embedding]

    def terms(self, real: list[Tensor], synthetic: list[Tensor]) -> dict[str, Tensor]:
        """mmd [K]: the squared distance of the class means."""
        return {"mmd": (real[0] - synthetic[0]).square().sum(1)}
