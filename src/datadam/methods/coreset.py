"""Coresets as methods: real images are chosen and nothing is learned, so a run has no iterations."""

from dataclasses import dataclass
from typing import ClassVar

from datadam.coresets import kcenter, kmeans, random
from datadam.methods.base import Method


@dataclass(frozen=True, kw_only=True)
class Coreset(Method):
    """A choice of real images. `start` names the first images (start.py) that are the choice itself."""

    family: ClassVar[str] = "coreset"
    separable: ClassVar[bool] = True
    start: ClassVar[str]


@dataclass(frozen=True, kw_only=True)
class Random(Coreset):
    """Random real images of each class: the baseline that everything must beat."""

    name: ClassVar[str] = "random"
    start: ClassVar[str] = "real"
    description: ClassVar[str] = random.DESCRIPTION
    citation: ClassVar[str] = ""


@dataclass(frozen=True, kw_only=True)
class KCenter(Coreset):
    """Greedy k-center in the features of a random network."""

    name: ClassVar[str] = "kcenter"
    start: ClassVar[str] = "kcenter"
    description: ClassVar[str] = kcenter.DESCRIPTION
    citation: ClassVar[str] = kcenter.CITATION


@dataclass(frozen=True, kw_only=True)
class KMeans(Coreset):
    """The real images nearest to k-means centres in the features of a random network."""

    name: ClassVar[str] = "kmeans"
    start: ClassVar[str] = "kmeans"
    description: ClassVar[str] = kmeans.DESCRIPTION
    citation: ClassVar[str] = kmeans.CITATION
