"""Artifacts and evaluations made visible: pictures, plots, a page, a readme. Reads run folders; imports no method."""

from datadam.report.page import page
from datadam.sets.preview import preview
from datadam.sets.readme import run_readme

__all__ = ["page", "preview", "run_readme"]
