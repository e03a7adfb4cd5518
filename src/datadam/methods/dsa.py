"""DSA: Dataset Condensation with Differentiable Siamese Augmentation (Zhao and Bilen, ICML 2021, arXiv 2102.08259).

DC (dc.py has the equation) where the real and the synthetic images of a class share one augmentation in each iteration, and
where the network trains on augmented synthetic images. Both are settings of the recipe (`augment`, `network_augment`) which the
preset sets; with "none" for both this is DC. Departures: those of DC.
"""

from dataclasses import dataclass
from typing import ClassVar

from datadam.methods.dc import DC


@dataclass(frozen=True, kw_only=True)
class DSA(DC):
    """Match the gradients of the training loss on images augmented alike. Arguments: as `DC`."""

    name: ClassVar[str] = "dsa"
    description: ClassVar[str] = "DC on real and synthetic images under one shared augmentation"
    citation: ClassVar[str] = """@inproceedings{zhao2021dsa,
  title={Dataset Condensation with Differentiable Siamese Augmentation},
  author={Zhao, Bo and Bilen, Hakan}, booktitle={ICML}, year={2021}}"""
