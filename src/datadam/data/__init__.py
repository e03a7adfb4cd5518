"""Real data: images as uint8 pixels with labels, where they come from, and the way into network space."""

from datadam.data.catalog import CATALOG, Row, default_root, load
from datadam.data.real import Part, Raw, RealData
from datadam.data.whitening import ZCA, Transform, fit_zca

__all__ = ["CATALOG", "ZCA", "Part", "Raw", "RealData", "Row", "Transform", "default_root", "fit_zca", "load"]
