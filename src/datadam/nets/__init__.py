"""Networks: what matching looks through and students are made of."""

from datadam.nets.base import Features, Network, headless
from datadam.nets.catalog import CATALOG, Architecture, build, canonical, takes
from datadam.nets.initialise import INITS, initialise

__all__ = ["CATALOG", "INITS", "Architecture", "Features", "Network", "build", "canonical", "headless", "initialise", "takes"]
