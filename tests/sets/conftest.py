"""Run folders out of nothing."""

from made import made

__all__ = ["made"]
