"""Real data: images as uint8 pixels with labels, where they come from, and the way into network space."""

from datadam.data.arrays import from_arrays
from datadam.data.catalog import CATALOG, load
from datadam.data.named import Download, Layout, NamedData, default_root
from datadam.data.official import Asked
from datadam.data.real import Raw, RealData, Split
from datadam.data.whitening import ZCA, Transform, fit_zca

__all__ = [
    "CATALOG",
    "ZCA",
    "Asked",
    "Download",
    "Layout",
    "NamedData",
    "Raw",
    "RealData",
    "Split",
    "Transform",
    "default_root",
    "fit_zca",
    "from_arrays",
    "load",
]
