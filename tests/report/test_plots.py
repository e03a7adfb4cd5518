"""Plots as SVG inside a page: well-formed, themed, harmless, and with the numbers where they belong."""

import re
import xml.etree.ElementTree as ElementTree
from itertools import pairwise

import pytest

from datadam.report.plots import POINTS, Bar, Line, Row, accuracy, bars, curves

ROWS = [
    Row("Distilled images", "convnet3", [[0.90, 0.91, 0.92]], 0.91, 0.905, 0.915, True),
    Row("Random real images", "convnet3", [[0.80, 0.81], [0.82, 0.83]], 0.815, None, None, False),
]
SVG = "{http://www.w3.org/2000/svg}"


def texts(svg: str) -> list[str]:
    return ["".join(element.itertext()) for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


@pytest.mark.parametrize("width", [340, 1040])
def test_accuracy_shows_a_point_for_each_student_in_its_place(width: int) -> None:
    svg = accuracy(ROWS, width=width)
    root = ElementTree.fromstring(svg)
    points = [float(element.attrib["x"]) for element in root.iter(f"{SVG}use")]
    assert len(points) == 7
    values = [0.90, 0.91, 0.92, 0.80, 0.81, 0.82, 0.83]
    unit = (points[2] - points[0]) / 0.02
    for value, x in zip(values, points, strict=True):
        assert x == pytest.approx(points[0] + unit * (value - 0.90), abs=0.01)
    assert "Distilled images" in texts(svg)
    assert any(text.startswith("91.0") for text in texts(svg))


@pytest.mark.parametrize(("low", "high"), [(0.9, 0.9), (0.9, 0.9004), (0.9, 0.92), (0.1, 0.99)])
def test_ticks_of_accuracy_are_different_numbers(low: float, high: float) -> None:
    ticks = [text for text in texts(accuracy([Row("a", "b", [[low, high]], low, None, None, True)])) if "%" in text][:-1]
    assert len(ticks) == len(set(ticks)) > 1


def test_colours_come_from_the_page() -> None:
    svg = accuracy(ROWS) + curves([Line("total", [1, 2], [3, 4]), Line("sam", [1, 2], [1, 2])])
    assert "var(--accent" in svg
    assert "var(--ink" in svg
    assert set(re.findall(r"#[0-9a-f]{6}\b", svg)) <= {"#202124", "#6e7278", "#dddddd", "#2456c6"}, "only as fallback"
    assert "font-family" not in svg
    assert "<style" not in svg, "a style inside an SVG would reach the whole page"


def test_labels_are_text_and_nothing_else() -> None:
    bad = ['<script>alert("1")</script>', "$x^{", "\u65e5\u672c", '" onload="alert(1)', "_hidden"]
    svg = accuracy([Row(text, text, [[0.5]], 0.5, None, None, False) for text in bad])
    assert {text for text in bad if len(text) < 30} <= set(texts(svg))
    assert not [element.tag for element in ElementTree.fromstring(svg).iter() if element.tag.endswith("script")]
    assert bad[1] in texts(curves([Line(text, [1, 2], [1, 2]) for text in bad]))


def test_the_same_numbers_give_the_same_plot_and_others_share_no_names() -> None:
    assert accuracy(ROWS) == accuracy(ROWS)
    names = [set(re.findall(r'id="([^"]*)"', svg)) for svg in (accuracy(ROWS), accuracy(ROWS, width=340))]
    assert names[0]
    assert not names[0] & names[1]


def test_curves_leave_out_what_is_not_finite() -> None:
    assert curves([Line("loss", [1, 2], [float("nan"), float("inf")])]) == ""
    assert curves([]) == ""
    assert "<svg" in curves([Line("loss", [1, 2, 3], [1.0, float("nan"), 2.0])])
    assert "<svg" in curves([Line("loss", [1], [0.0])])


def test_long_curves_stay_small_and_short_ones_whole() -> None:
    long = curves([Line("loss", list(range(20_000)), [1 + (x % 7) / 7 for x in range(20_000)])])
    assert len(long) < 100 * POINTS
    levels = [1.0, 5.0, 2.0, 4.0]
    path = re.findall(
        r'd="([^"]*)" clip-path="[^"]*" style="fill: none; stroke: var\(--accent',
        curves([Line("", [1, 2, 3, 4], levels)]),
    )
    heights = [-float(y) for y in re.findall(r"[ML] [\d.]+ ([\d.]+)", path[0])]
    order = sorted(range(4), key=levels.__getitem__)
    assert sorted(range(4), key=heights.__getitem__) == order


def test_names_at_the_ends_do_not_overlap() -> None:
    svg = curves([Line(name, [1, 2], [1, 1 + number / 1000]) for number, name in enumerate(("total", "sam", "mmd", "tv"))])
    ends = [e for e in ElementTree.fromstring(svg).iter(f"{SVG}text") if "".join(e.itertext()) in ("total", "sam", "mmd", "tv")]
    heights = sorted(float(element.attrib["y"]) for element in ends)
    assert len(heights) == 4
    assert all(high - low >= 13 for low, high in pairwise(heights))


@pytest.mark.parametrize("width", [340, 1040])
def test_an_interval_that_no_accuracy_can_have_is_cut_and_does_not_stretch_the_axis(width: int) -> None:
    """Two students, 0.32 and 0.78: Student's interval is -2.37 .. 3.47."""
    other = Row("Random real images", "convnet3", [[0.40, 0.45]], 0.425, 0.41, 0.44, False)
    svg = accuracy([Row("Distilled images", "only 2 students", [[0.32, 0.78]], 0.55, -2.37, 3.47, True), other], width=width)
    ticks = [float(text.partition("\u202f")[0]) for text in texts(svg) if re.fullmatch(r"[\d.]+\u202f%", text)]
    assert 0 <= min(ticks) <= max(ticks) <= 100
    places = [float(number) for path in re.findall(r' d="([^"]*)"', svg) for number in re.findall(r"[ML] (-?[\d.]+) ", path)]
    assert -8 <= min(places) <= max(places) <= width + 8, "lines end inside the picture"
    markers = list(ElementTree.fromstring(svg).iter(f"{SVG}use"))
    points = [float(e.attrib["x"]) for e in markers]
    assert len(points) == 4 + 2, "four students, and an arrow at each end that is cut"
    assert (points[1] - points[0]) > 0.6 * (width - (326 if width > 600 else 16)), "the points fill the axis"
    whole = accuracy([Row("a", "b", [[0.0, 1.0]], 0.5, None, None, True)], width=width)
    assert len({text for text in texts(whole) if "%" in text}) > 2


def test_an_interval_within_bounds_has_no_arrow() -> None:
    svg = accuracy([Row("a", "b", [[0.4, 0.5]], 0.45, 0.0, 1.0, True)])
    assert len(list(ElementTree.fromstring(svg).iter(f"{SVG}use"))) == 2


def test_bars_are_cut_too() -> None:
    svg = bars([Bar("convnet3", 0.5, -0.4, 1.4, {}, True), Bar("mlp", 0.4, 0.3, 0.5, {}, False)])
    assert len(list(ElementTree.fromstring(svg).iter(f"{SVG}use"))) == 2
    ticks = [int(text.partition("\u202f")[0]) for text in texts(svg) if re.fullmatch(r"\d+\u202f%", text)]
    assert max(ticks) <= 60, "the axis ends where the bars do"


def test_large_numbers_at_an_axis_have_their_zeros() -> None:
    told = texts(curves([Line("loss", [0, 3000, 9000], [0, 3000, 6000])]))
    assert len([text for text in told if re.fullmatch(r"\d\u202f000", text)]) >= 4
    assert not [text for text in told if "e+" in text or re.search(r"\d{4}", text)]
