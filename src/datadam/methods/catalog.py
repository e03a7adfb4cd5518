"""The methods by name, as the command line and a card write them."""

from datadam.methods.base import Method
from datadam.methods.cafe import CAFE
from datadam.methods.coresets.difficulty import EL2N, GraNd
from datadam.methods.coresets.forgetting import Forgetting
from datadam.methods.coresets.herding import Herding
from datadam.methods.coresets.kcenter import KCenter
from datadam.methods.coresets.kmeans import KMeans
from datadam.methods.coresets.random import Random
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
