"""Plots of what sets are used for: one accuracy against another, and accuracies with their bands along a way.

SVG text for the inside of a page, as in plots.py.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log

from datadam.report.plots import ACCENT, INK, LINE, QUIET, as_svg, bare, canvas, looks, name_ends
from datadam.wording import count, percent

APART = 0.09  # of two marks on an axis whose numbers would overlap, as a share of its length


@dataclass(frozen=True)
class Band:
    """A curve: accuracies `y` with the ends of their intervals (None: there is none) at the places `x`."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float | None]
    high: Sequence[float | None]


def scatter(x: Sequence[float], y: Sequence[float], *, across: str, up: str, chosen: int | None = None, side: int = 340) -> str:
    """A point for each pair of accuracies; the `chosen` one is ringed, and named in the description."""
    left, top, foot, right = 56, 12, 42, 14
    with canvas(side, side) as figure:
        axes = figure.add_axes((left / side, foot / side, 1 - (left + right) / side, 1 - (top + foot) / side))
        axes.grid()
        axes.scatter(x, y, s=22, color=ACCENT, alpha=0.55, linewidth=0, zorder=3, clip_on=False)
        if chosen is not None:
            axes.scatter([x[chosen]], [y[chosen]], s=90, facecolor="none", edgecolor=INK, linewidth=1.6, zorder=4, clip_on=False)
        axes.set_xlabel(across, labelpad=4)
        axes.set_ylabel(up, labelpad=4)
        bare(axes)
        axes.locator_params(nbins=4)
        axes.xaxis.set_major_formatter(_shares(x))
        axes.yaxis.set_major_formatter(_shares(y))
        told = f"{up} against {across} for {len(x)} networks"
        return as_svg(figure, told + (f"; the chosen one has {percent(y[chosen])}" if chosen is not None else ""))


def bands(
    lines: Sequence[Band], *, across: str, up: str = "test accuracy", level: Band | None = None, logarithmic: bool = False,
    width: int = 680, height: int = 330,
) -> str:  # fmt: skip
    """Curves with their intervals as bands, the first in the accent colour; `level`, one value that they are held against, with
    its interval, from side to side."""
    left, right, top, foot = 60, 110, 12, 42
    with canvas(width, height) as figure:
        axes = figure.add_axes((left / width, foot / height, 1 - (left + right) / width, 1 - (top + foot) / height))
        axes.grid(axis="y")
        if logarithmic:
            axes.set_xscale("log")
        for line, (colour, dash) in zip(lines, looks(), strict=False):
            ends = zip(line.x, line.low, line.high, strict=True)
            if known := [(x, low, high) for x, low, high in ends if low is not None and high is not None]:
                at, lows, highs = (list(values) for values in zip(*known, strict=True))
                axes.fill_between(at, lows, highs, color=colour, alpha=0.16, linewidth=0)
                if len(known) == 1:  # a band without breadth
                    axes.vlines(at, lows, highs, color=colour, alpha=0.4, linewidth=3)
            axes.plot(line.x, line.y, color=colour, linestyle=dash, linewidth=1.8, marker="o", markersize=4)
        if level is not None:
            if level.low[0] is not None and level.high[0] is not None:
                axes.axhspan(level.low[0], level.high[0], color=LINE, alpha=0.7, linewidth=0)
            axes.axhline(level.y[0], color=QUIET, linewidth=1.2)
        low, high = axes.get_ylim()
        axes.set_ylim(max(low, 0.0), min(high, 1.0))  # intervals of a few students reach beyond what a share can be
        bare(axes)
        axes.set_xlabel(across, labelpad=4)
        axes.set_ylabel(up, labelpad=4)
        axes.set_xticks(_marks([x for line in lines for x in line.x], logarithmic))
        axes.minorticks_off()
        axes.xaxis.set_major_formatter(lambda value, _: count(round(value)))
        axes.locator_params(axis="y", nbins=5)
        axes.yaxis.set_major_formatter(_shares([value for line in (*lines, *filter(None, (level,))) for value in line.y]))
        name_ends(axes, [(line.label, line.y[-1]) for line in lines], 14)
        if level is not None:
            axes.annotate(
                level.label, xy=(0, level.y[0]), xycoords=axes.get_yaxis_transform(), xytext=(4, 6), textcoords="offset points",
                color=QUIET, fontsize=12,
            )  # fmt: skip
        last = "; ".join(f"{line.label} {percent(line.y[-1])}" for line in lines)
        return as_svg(figure, f"{up} over {across}, at the end: {last}")


def _shares(values: Sequence[float]) -> Callable[[float, float], str]:
    """How shares are written at an axis: with a digit more where they lie close together."""
    digits = 0 if max(values) - min(values) > 0.03 else 1
    return lambda value, _: percent(value, digits)


def _marks(places: Sequence[float], logarithmic: bool) -> list[float]:
    """The places that have numbers at the axis: the first, the last, and those between whose numbers have room."""
    known = sorted(set(places))
    scale = log if logarithmic else float
    span = scale(known[-1]) - scale(known[0]) or 1.0
    shown = [known[0]]
    for place in known[1:]:
        if (scale(place) - scale(shown[-1])) / span >= APART:
            shown.append(place)
    if shown[-1] != known[-1]:
        shown = [*(shown[:-1] if len(shown) > 1 else shown), known[-1]]
    return shown
