"""The methods, one a file."""

from datadam.methods.base import FeatureMatching, Group, Method, State
from datadam.methods.cafe import CAFE
from datadam.methods.calm import CALM
from datadam.methods.catalog import CATALOG
from datadam.methods.coresets.base import Coreset
from datadam.methods.coresets.difficulty import EL2N, GraNd
from datadam.methods.coresets.forgetting import Forgetting
from datadam.methods.coresets.herding import Herding
from datadam.methods.coresets.kcenter import KCenter
from datadam.methods.coresets.kmeans import KMeans
from datadam.methods.coresets.random import Random
from datadam.methods.cost import Cost, Size
from datadam.methods.datadam import DataDAM
from datadam.methods.datm import DATM
from datadam.methods.dc import DC
from datadam.methods.dd import DD
from datadam.methods.dm import DM
from datadam.methods.dsa import DSA
from datadam.methods.frepo import FRePo
from datadam.methods.generators.base import Generator
from datadam.methods.generators.biggan import BigGAN
from datadam.methods.generators.cgan import CGAN
from datadam.methods.generators.dcvae import DCVAE
from datadam.methods.generators.gmmn import GMMN
from datadam.methods.kip import KIP
from datadam.methods.ld import LD
from datadam.methods.mtt import MTT
from datadam.methods.pad import PAD
from datadam.methods.pixel import Pixel

__all__ = [
    "CAFE",
    "CALM",
    "CATALOG",
    "CGAN",
    "DATM",
    "DC",
    "DCVAE",
    "DD",
    "DM",
    "DSA",
    "EL2N",
    "GMMN",
    "KIP",
    "LD",
    "MTT",
    "PAD",
    "BigGAN",
    "Coreset",
    "Cost",
    "DataDAM",
    "FRePo",
    "FeatureMatching",
    "Forgetting",
    "Generator",
    "GraNd",
    "Group",
    "Herding",
    "KCenter",
    "KMeans",
    "Method",
    "Pixel",
    "Random",
    "Size",
    "State",
]
