"""Networks: what matching looks through and students are made of."""

from datadam.nets.base import Features, Network, headless
from datadam.nets.catalog import CATALOG, Architecture, build, canonical, on_paper, spelled, takes
from datadam.nets.initialise import INITS, initialise
from datadam.nets.measure import Sizes, sizes
from datadam.nets.own import OwnNetwork, card_of, own

__all__ = [
    "CATALOG",
    "INITS",
    "Architecture",
    "Features",
    "Network",
    "OwnNetwork",
    "Sizes",
    "build",
    "canonical",
    "card_of",
    "headless",
    "initialise",
    "on_paper",
    "own",
    "sizes",
    "spelled",
    "takes",
]
