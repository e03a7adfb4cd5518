"""Real data: images as uint8 pixels with labels, where they come from, and the way into network space."""

from datadam.data.arrays import from_arrays
from datadam.data.catalog import CATALOG, load
from datadam.data.named import Download, Layout, Row, default_root
from datadam.data.official import Asked
from datadam.data.real import Part, Raw, RealData
from datadam.data.whitening import ZCA, Transform, fit_zca

__all__ = [
    "CATALOG",
    "ZCA",
    "Asked",
    "Download",
    "Layout",
    "Part",
    "Raw",
    "RealData",
    "Row",
    "Transform",
    "default_root",
    "fit_zca",
    "from_arrays",
    "load",
]
