"""Pages of results that belong to no single run: alone, escaped, with plots, also on a phone."""

from pathlib import Path

import pytest
from report.browser import CHROMIUM, Browser

from datadam.report.charts import Band, bands, scatter
from datadam.report.sheet import Section, Sheet, cell, settings_of, words


@pytest.fixture
def page() -> str:
    lines = [Band(name, [1, 2, 4, 64], [0.2, 0.3, 0.5, 0.5 + i / 10], [0.1, 0.2, 0.4, 0.5], [0.3, 0.4, 0.6, 0.7])
             for i, name in enumerate(("dm & <b>", "random"))]  # fmt: skip
    plots = [("", bands(lines, across="images per class", level=Band("whole set", [1], [0.9], [0.88], [0.92]), logarithmic=True))]
    rows = [["one <i>", cell(0.5, 0.4, 0.6), words("x", 1)], ["two", cell(None), words("y", 2)]]
    sections = [
        Section("Curve", ("Words.",), plots, ("name", "a", "b"), rows),
        Section(
            "Points",
            (),
            [("p", scatter([0.1, 0.2, 0.3], [0.5, 0.6, 0.4], across="proxy", up="truth", chosen=1)), ("q", "<svg></svg>")],
        ),
    ]
    settings = settings_of({"protocol": {"epochs": 5, "drop": None}, "list": [1, 2]})
    return Sheet("Title <script>", "Lead.", [("1", "fact", "beside")], sections, "datadam search x", settings, "a note").html()


def test_what_it_is_given_is_escaped_and_all_is_there(page: str) -> None:
    assert "<script>" not in page.partition("<script>")[0].partition("<h1>")[2]
    assert "Title &lt;script&gt;" in page
    assert "one &lt;i&gt;" in page
    assert "dm &amp; &lt;b&gt;" in page
    assert ">protocol.epochs<" in page
    assert "drop" not in page.partition("</style>")[2].partition("<script>")[0]
    assert "0.6" in page or "60.0" in page
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_plots_say_what_they_show(page: str) -> None:
    assert 'aria-label="test accuracy over images per class, at the end: dm &amp; &lt;b&gt; 50.0' in page
    assert "truth against proxy for 3 networks; the chosen one has 60.0" in page


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_the_page_in_a_browser(page: str, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(page)
    with Browser(tmp_path / "profile") as browser:
        for width in (1440, 390):
            browser.open(tmp_path / "page.html", width=width)
            assert browser.ask("document.documentElement.scrollWidth <= innerWidth")
            assert browser.ask(
                "[...document.querySelectorAll('main > section svg')].every(s => s.getBoundingClientRect().height > 0)"
            )
        assert browser.complaints == []
