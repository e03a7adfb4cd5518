"""Small data that many tests share."""

from datadam.testing import small_data as make_real

__all__ = ["make_real"]
