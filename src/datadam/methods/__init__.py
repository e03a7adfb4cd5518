"""The methods, one a file."""

from datadam.methods.base import FeatureMatching, Method, State
from datadam.methods.by_features import Herding, KCenter, KMeans
from datadam.methods.by_training import EL2N, Forgetting, GraNd
from datadam.methods.cafe import CAFE
from datadam.methods.coreset import Coreset, Random
from datadam.methods.datadam import DataDAM
from datadam.methods.dc import DC
from datadam.methods.dm import DM
from datadam.methods.dsa import DSA
from datadam.methods.pixel import Pixel

CATALOG: dict[str, type[Method]] = {
    "datadam": DataDAM,
    "dm": DM,
    "pixel": Pixel,
    "dc": DC,
    "dsa": DSA,
    "cafe": CAFE,
    "random": Random,
    "kcenter": KCenter,
    "kmeans": KMeans,
    "herding": Herding,
    "forgetting": Forgetting,
    "el2n": EL2N,
    "grand": GraNd,
}

__all__ = [
    "CAFE",
    "CATALOG",
    "DC",
    "DM",
    "DSA",
    "EL2N",
    "Coreset",
    "DataDAM",
    "FeatureMatching",
    "Forgetting",
    "GraNd",
    "Herding",
    "KCenter",
    "KMeans",
    "Method",
    "Pixel",
    "Random",
    "State",
]
