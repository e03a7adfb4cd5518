"""Networks: what matching looks through and students are made of."""

from datadam.nets.base import Features, Network, headless
from datadam.nets.catalog import CATALOG, Row, build, canonical
from datadam.nets.initialise import INITS, initialise

__all__ = ["CATALOG", "INITS", "Features", "Network", "Row", "build", "canonical", "headless", "initialise"]
