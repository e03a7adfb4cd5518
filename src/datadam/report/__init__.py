"""Artifacts and evaluations made visible: pictures, plots, a page, a readme. Reads run folders; imports no method."""

from datadam.report.page import page
from datadam.report.pictures import preview
from datadam.report.readme import run_readme

__all__ = ["page", "preview", "run_readme"]
