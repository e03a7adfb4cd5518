"""Plots as SVG text for the inside of a page, whose colours they take: --ink, --quiet, --line, --accent.

One unit is one CSS pixel at natural size. matplotlib is imported only when a plot is drawn.
"""

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from html import escape
from io import StringIO
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from datadam.wording import count, percent, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Stand-ins that matplotlib can draw with, and what takes their place (the second colour: for an SVG on its own).
INK, QUIET, LINE, ACCENT = "#010101", "#020202", "#030303", "#040404"
THEME = {
    INK: "var(--ink, #202124)",
    QUIET: "var(--quiet, #6e7278)",
    LINE: "var(--line, #dddddd)",
    ACCENT: "var(--accent, #2456c6)",
}
STYLE = {
    "svg.fonttype": "none",  # letters stay letters: they take the page's font, and can be searched
    "svg.hashsalt": "datadam",  # the same plot is the same text
    "text.parse_math": False,  # a class called "$x" is no formula
    "font.size": 12.0,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": QUIET,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": QUIET,
    "ytick.labelcolor": QUIET,
    "grid.color": LINE,
    "grid.linewidth": 1.0,
    "axes.axisbelow": True,
    "path.simplify": True,
}
NARROW = 34  # letters of a name above its points
POINTS = 160  # a curve with more points than this is drawn as the mean of neighbours


@dataclass(frozen=True)
class Row:
    """One evaluation. `accuracies`: for each set a share of 1 for each student; `own`: drawn in the accent colour; `group`: a
    line parts it from those of another, which it is not to be compared with."""

    label: str
    detail: str
    accuracies: Sequence[Sequence[float]]
    mean: float
    low: float | None
    high: float | None
    own: bool
    group: int = 0


@dataclass(frozen=True)
class Line:
    """One curve over iterations."""

    label: str
    x: Sequence[float]
    y: Sequence[float]


def accuracy(rows: Sequence[Row], *, width: int = 680) -> str:
    """The accuracy of each student as a point, with mean and interval, one row an evaluation.

    From 600 wide on the names stand left of the points, else above them and without the details.
    """
    wide = width >= 600
    row_height, foot, left, right = (50, 34, 250, 76) if wide else (56, 34, 8, 8)
    height = row_height * len(rows) + foot
    values = [value for row in rows for value in (row.mean, *(value for students in row.accuracies for value in students))]
    ends = [end for row in rows if not is_cut(row.low, row.high) for end in (row.low, row.high) if end is not None]
    low, high = min(values + ends), max(values + ends)
    spare = max(0.06 * (high - low), 0.004)
    with canvas(width, height) as figure:
        axes = figure.add_axes((left / width, foot / height, 1 - (left + right) / width, 1 - foot / height))
        axes.set_xlim(max(low - spare, 0), min(high + spare, 1))
        axes.set_ylim(0.5 - len(rows), 0.5)
        axes.grid(axis="x")
        for number, row in enumerate(rows):
            if number and row.group != rows[number - 1].group:
                axes.axhline(0.5 - number, color=QUIET, linewidth=0.8, linestyle=(0, (4, 4)))
            _points(axes, row, -number if wide else -number - 0.16)
            _names(axes, row, -number, wide)
        bare(axes)
        axes.spines["left"].set_visible(False)
        axes.set_yticks([])
        axes.locator_params(axis="x", nbins=max(3, width // 130), steps=[1, 2, 5, 10])
        step = float(axes.get_xticks()[1] - axes.get_xticks()[0])
        digits = 0 if step > 0.009 else 1 if step > 0.0009 else 2
        axes.xaxis.set_major_formatter(lambda value, _: percent(value, digits))
        return as_svg(figure, "Test accuracy: " + "; ".join(f"{row.label} {percent(row.mean)}" for row in rows))


def _points(axes: "Axes", row: Row, y: float) -> None:
    """A point for each student, a line for the interval, a bar for the mean."""
    colour = ACCENT if row.own else QUIET
    sets = len(row.accuracies)
    for number, students in enumerate(row.accuracies):  # sets below each other, so that they can be told apart
        lift = 0.3 / max(sets, 4) * (number - (sets - 1) / 2)
        points = {"s": 60, "color": colour, "alpha": 0.4, "linewidth": 0, "zorder": 3, "clip_on": False}
        axes.scatter(students, [y - lift] * len(students), **points)  # type: ignore[arg-type]
    if row.low is not None and row.high is not None:
        _interval(axes, row.low, row.high, y, colour)
    bar = {"color": colour, "linewidth": 3, "solid_capstyle": "round", "zorder": 5, "clip_on": False}
    axes.plot([row.mean, row.mean], [y - 0.2, y + 0.2], **bar)  # type: ignore[arg-type]


def is_cut(low: float | None, high: float | None) -> bool:
    """Whether an interval reaches beyond what a share can be, as Student's does for a few students."""
    return (low is not None and low < 0) or (high is not None and high > 1)


def _interval(axes: "Axes", low: float, high: float, y: float, colour: str) -> None:
    """A line from end to end. One that a share cannot have, thin and with arrows where it leaves the axis, is shown as cut."""
    left, right = axes.get_xlim()
    shown = [max(low, left), min(high, right)]
    if not is_cut(low, high):
        axes.plot(shown, [y, y], color=colour, linewidth=2.5, solid_capstyle="round", zorder=4, clip_on=False)
        return
    axes.plot(shown, [y, y], color=colour, linewidth=1.2, linestyle=(0, (3, 2)), zorder=4)
    for outside, x, marker in ((low < left, left, "<"), (high > right, right, ">")):
        if outside:
            axes.plot([x], [y], marker=marker, color=colour, markersize=7, markeredgewidth=0, zorder=4, clip_on=False)


def _names(axes: "Axes", row: Row, y: float, wide: bool) -> None:
    """What was judged, and its mean: left and right of the points, or above them."""
    across = axes.get_yaxis_transform()
    if wide:
        texts = [
            (0, y, -250, 9, "left", row.label),
            (0, y, -250, -9, "left", row.detail),
            (1, y, 76, 0, "right", percent(row.mean)),
        ]
    else:
        texts = [(0, y + 0.3, 0, 0, "left", row.label), (1, y + 0.3, 0, 0, "right", percent(row.mean))]
    for x, height, right, up, side, text in texts:
        detail = wide and text is row.detail
        axes.annotate(
            shorten(text, 38 if wide else NARROW), xy=(x, height), xytext=(right, up), xycoords=across,
            textcoords="offset points", ha=side, va="center", fontsize=12 if detail or not wide else 13,
            color=QUIET if detail else ACCENT if x and row.own else INK, weight="normal" if detail else "bold",
        )  # fmt: skip


@dataclass(frozen=True)
class Bar:
    """One network's accuracy with its interval; `marks`, other accuracies by name, drawn as ticks; `own`: in accent colour."""

    label: str
    value: float
    low: float | None
    high: float | None
    marks: Mapping[str, float]
    own: bool


def bars(rows: Sequence[Bar], *, width: int = 680) -> str:
    """Horizontal bars from zero, the interval as a line, other accuracies as ticks with their names."""
    row_height, foot, right = 58, 34, 70
    height = row_height * len(rows) + foot
    ends = [value for row in rows for value in (row.value, *row.marks.values())]
    ends += [row.high for row in rows if row.high is not None and not is_cut(row.low, row.high)]
    with canvas(width, height) as figure:
        axes = figure.add_axes((8 / width, foot / height, 1 - (8 + right) / width, 1 - foot / height))
        axes.set_xlim(0, max(min(1.0, max(ends) * 1.05), 0.01))
        axes.set_ylim(0.5 - len(rows), 0.5)
        axes.grid(axis="x")
        for number, row in enumerate(rows):
            colour = ACCENT if row.own else QUIET
            axes.barh(-number - 0.18, row.value, height=0.3, color=colour, alpha=0.5, zorder=3)
            if row.low is not None and row.high is not None:
                _interval(axes, row.low, row.high, -number - 0.18, colour)
            for value in row.marks.values():
                axes.plot([value, value], [-number - 0.38, -number + 0.02], color=INK, linewidth=2, zorder=5)
            beside = "".join(f"  ·  {name} {percent(value)}" for name, value in row.marks.items())
            axes.annotate(
                shorten(row.label, 30) + ("" if width < 600 else beside), xy=(0, -number + 0.22), va="center", fontsize=12,
                color=INK, weight="bold",
            )  # fmt: skip
            axes.annotate(
                percent(row.value), xy=(1, -number - 0.18), xycoords=axes.get_yaxis_transform(), xytext=(right, 0),
                textcoords="offset points", ha="right", va="center", fontsize=13, color=colour if row.own else INK, weight="bold",
            )  # fmt: skip
        bare(axes)
        axes.set_yticks([])
        axes.locator_params(axis="x", nbins=max(3, width // 130), steps=[1, 2, 5, 10])
        axes.xaxis.set_major_formatter(lambda value, _: percent(value, 0))
        return as_svg(figure, "Accuracy by network: " + "; ".join(f"{row.label} {percent(row.value)}" for row in rows))


def curves(lines: Sequence[Line], *, width: int = 340, height: int = 230, name: str = "") -> str:
    """Curves over iterations, each with its name at its end when there are several; logarithmic when they span decades.

    Points that are not finite are left out. The first line has the accent colour. Returns "" when none is left.
    """
    drawn = []
    for line in lines:
        points = [(x, y) for x, y in zip(line.x, line.y, strict=True) if abs(y) < float("inf")]
        if points:
            drawn.append((line.label, [x for x, _ in points], [y for _, y in points]))
    if not drawn:
        return ""
    values = [value for _, _, y in drawn for value in y]
    logarithmic = min(values) > 0 and max(values) > 30 * min(values)
    left, right, top, foot = 52, (14 if len(drawn) == 1 else 74), 8, 40
    with canvas(width, height) as figure:
        axes = figure.add_axes((left / width, foot / height, 1 - (left + right) / width, 1 - (top + foot) / height))
        axes.grid(axis="y")
        axes.set_xlabel("iteration", labelpad=4)
        if logarithmic:
            axes.set_yscale("log")
            axes.minorticks_off()
        for (_, x, y), (colour, dash) in zip(drawn, looks(), strict=False):
            means, lows, highs = _thinned(y)
            at = _thinned(x)[0]
            if len(x) > POINTS:
                axes.fill_between(at, lows, highs, color=colour, alpha=0.18, linewidth=0)
            marker = "o" if len(x) < 3 else ""
            axes.plot(at, means, color=colour, linestyle=dash, linewidth=1.8, marker=marker, markersize=4)
        bare(axes)
        axes.locator_params(axis="x", nbins=4, integer=True)
        if not logarithmic:
            axes.locator_params(axis="y", nbins=5)
            if min(values) >= 0:
                axes.set_ylim(bottom=0)
        axes.xaxis.set_major_formatter(lambda value, _: tick(value))
        axes.yaxis.set_major_formatter(lambda value, _: tick(value))
        if len(drawn) > 1:
            name_ends(axes, [(label, _thinned(y)[0][-1]) for label, _, y in drawn])
        return as_svg(figure, name or ", ".join(label for label, _, _ in drawn))


def tick(value: float) -> str:
    """A number at an axis: 2 000 and not 2e+03; powers of ten only where nobody counts the zeros."""
    return count(round(value)) if 1000 <= abs(value) < 1e7 else f"{value:.3g}"


def looks() -> Iterator[tuple[str, Any]]:
    """Colour and dashes: told apart without a rainbow."""
    dashes: list[Any] = ["-", (0, (4, 2)), (0, (1, 1.6)), (0, (6, 2, 1, 2))]
    yield from ((colour, dash) for dash in dashes for colour in (ACCENT, INK, QUIET))


def name_ends(axes: "Axes", ends: Sequence[tuple[str, float]], letters: int = 10) -> None:
    """Each curve's name right of its end, pushed apart where they would overlap."""
    axes.get_ylim()  # settles the limits
    places = sorted((axes.transData.transform((0, y))[1], number) for number, (_, y) in enumerate(ends))
    bottom, top = axes.bbox.y0, axes.bbox.y1
    heights: list[float] = []
    for place, _ in places:
        heights.append(max(place, heights[-1] + 15 if heights else bottom))
    if heights[-1] > top:
        heights = [min(height, top - 15 * (len(heights) - 1 - number)) for number, height in enumerate(heights)]
    styles = list(zip(ends, looks(), strict=False))
    for (_, number), height in zip(places, heights, strict=True):
        if number < len(styles):
            (label, _), (colour, _) = styles[number]
            y = (height - bottom) / (top - bottom)
            axes.text(1.03, y, shorten(label, letters), transform=axes.transAxes, color=colour, va="center", fontsize=12)


def _thinned(values: Sequence[float]) -> tuple[list[float], list[float], list[float]]:
    """Mean, least and greatest of up to POINTS groups of neighbours."""
    groups = min(len(values), POINTS)
    edges = [round(len(values) * number / groups) for number in range(groups + 1)]
    parts = [values[low:high] for low, high in pairwise(edges)]
    return [sum(part) / len(part) for part in parts], [min(part) for part in parts], [max(part) for part in parts]


def bare(axes: "Axes") -> None:
    """Without a frame above and right, and without strokes at the numbers."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.tick_params(length=0, pad=6)


@contextmanager
def canvas(width: float, height: float) -> Iterator["Figure"]:
    """An empty figure in the house style, which lasts no longer than the figure."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE):  # type: ignore[arg-type]
        yield Figure(figsize=(width / 72, height / 72), dpi=72, facecolor="none")


def as_svg(figure: "Figure", description: str) -> str:
    """The figure as an `<svg>` element that scales with its place and takes the page's colours and font."""
    for axes in figure.axes:
        axes.set_facecolor("none")
    file = StringIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # the page's font draws the letters, not matplotlib's
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = file.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->|<style.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r"\s*\n\s*", " ", re.sub(r".*?<svg[^>]*>", "", text, count=1, flags=re.DOTALL))
    text = re.sub(r'<g id="[^"]*"', "<g", text)  # names that nothing refers to
    text = re.sub(r'style="([^"]*)"', _themed, text)
    prefix = sha256(text.encode()).hexdigest()[:8]  # two plots of a page must not share a name
    text = re.sub(r'(?<=id=")|(?<=url\(#)|(?<=href="#)', prefix, text)
    view = f"0 0 {figure.get_figwidth() * 72:g} {figure.get_figheight() * 72:g}"
    names = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return f'<svg {names} viewBox="{view}" role="img" aria-label="{escape(description)}">{text}'


def _themed(style: re.Match[str]) -> str:
    """A style attribute with the page's colours, without matplotlib's fonts."""
    text = re.sub(r"(?<=: )#0[1-4]0[1-4]0[1-4]", lambda found: THEME.get(found[0], found[0]), style[1])
    text = re.sub(r"\bfont: (?:\d+ )?([\d.]+)px [^;]*", r"font-size: \1px; font-weight: 600", text)
    return 'style="' + re.sub(r"font-family: [^;]*; ", "", text) + '"'
