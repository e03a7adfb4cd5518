"""Coresets: real images chosen to stand for their class. One rule a file; `Insight` is what they choose by."""

from datadam.coresets.insight import Insight

__all__ = ["Insight"]
