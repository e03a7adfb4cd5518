"""The methods, one a file."""

from datadam.methods.base import FeatureMatching, Method, State
from datadam.methods.coreset import Coreset, KCenter, KMeans, Random
from datadam.methods.datadam import DataDAM
from datadam.methods.dm import DM

CATALOG: dict[str, type[Method]] = {
    "datadam": DataDAM,
    "dm": DM,
    "random": Random,
    "kcenter": KCenter,
    "kmeans": KMeans,
}

__all__ = ["CATALOG", "DM", "Coreset", "DataDAM", "FeatureMatching", "KCenter", "KMeans", "Method", "Random", "State"]
