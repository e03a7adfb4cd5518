"""The page in real headless Chromium: nothing complains or overflows; slider, enlargement, layers and tables work."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from report.browser import CHROMIUM, Browser
from safetensors.torch import save_file

from datadam.report import page

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: install it (Debian: apt install chromium)")
HOSTILE = ("<script>alert(1)</script>", '" onmouseover="alert(1)', "</style><b>", "{{ 7 * 7 }}", "a_very_long_name" * 6)
BACKGROUND = "getComputedStyle(document.querySelector({!r})).backgroundImage.slice(-3000)"


def interval(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.1, "high": value + 0.1}


def write_inspection(folder: Path, classes: int, ipc: int, shape: tuple[int, int, int] = (3, 8, 8), digest: str = "d") -> None:
    """An inspection of a run of the fixture, with pictures out of random numbers."""
    draw, count, drawn = torch.Generator().manual_seed(0), classes * ipc, min(classes, 10)
    side = [8, 8]
    blocks = [{"block": block, "side": side, "alike": interval(0.7), "alike_random": None, "stable_real": interval(0.9),
               "stable": interval(0.8), "stable_random": interval(0.6)} for block in (1, 2)]  # fmt: skip
    measures = {name: {"synthetic": interval(0.5), "random": None} for name in ("bias", "spread", "density", "coverage")}
    found = {
        "format": "datadam-inspection/1",
        "run": {"digest": digest, "data": "x", "net": "convnet3"},
        "settings": {"features": "random", "samples": 100, "networks": 5, "seed": 0, "epochs": 0},
        "classes": list(range(classes)), "drawn": list(range(drawn)),
        "neighbours": {"image": list(range(count)), "real": list(range(count)), "distance": [1.5] * count,
                       "label": [0] * count, "searched": 50000},
        "attention": {"power": 4.0, "images": 10, "blocks": blocks},
        "scatter": {"network": "5 random networks", "real": 100, "perplexity": 30.0, "neighbours": 5, "draws": 5,
                    "measures": measures},
        "seconds": 1.0,
    }  # fmt: skip
    pixels = {"nearest": count, "first_real": drawn, "mean_real": drawn}
    tensors = {name: torch.randint(0, 256, (n, *shape), generator=draw).to(torch.uint8) for name, n in pixels.items()}
    for block in (1, 2):
        for name in ("real", "synthetic", "first_real", "first_synthetic"):
            tensors[f"{name}_{block}"] = torch.rand(drawn, *side, generator=draw)
    labels = torch.arange(drawn).repeat_interleave(10)
    tensors |= {"points": torch.rand(len(labels), 2, generator=draw), "point_labels": labels}
    tensors["point_kinds"] = (torch.arange(len(labels)) % 10 == 0).long()
    save_file(tensors, folder / "inspection.safetensors")
    (folder / "inspection.json").write_text(json.dumps(found))


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("browser")) as found:
        yield found


@pytest.fixture
def shown(browser: Browser, made: SimpleNamespace, tmp_path: Path) -> Callable[..., Browser]:
    """Open a page of a hostile run with everything."""

    def show(width: int = 1440, dark: bool = False) -> Browser:
        told = {
            "a": made.evaluation("distilled", 0.6, HOSTILE),
            "b": made.evaluation(HOSTILE[0], 0.5, HOSTILE, words=HOSTILE[0]),
            "c": made.evaluation("distilled", 0.4, HOSTILE, net="resnet18"),
        }
        run = made.run(
            tmp_path / "run", classes=HOSTILE, evaluations=told, metrics=made.metrics(50), snapshots=(0, 75), note=HOSTILE[0],
            command=HOSTILE[0], citations=list(HOSTILE), warnings=list(HOSTILE), digest="d",
        )  # fmt: skip
        write_inspection(run, len(HOSTILE), 2)
        file = tmp_path / "page.html"
        file.write_text(page([run]), encoding="utf-8")
        browser.complaints.clear()
        browser.open(file, width, dark=dark)
        return browser

    return show


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 1440])
def test_nothing_complains_and_nothing_overflows(shown: Callable[..., Browser], width: int, dark: bool) -> None:
    b = shown(width, dark)
    assert b.ask("document.documentElement.scrollWidth") == width
    outside = b.ask("""[...document.querySelectorAll("body *")].filter((e) => {
        const box = e.getBoundingClientRect();
        return box.width && !e.closest(".scroll, dialog, svg") && (box.right > innerWidth + 0.5 || box.left < -0.5);
    }).map((e) => e.outerHTML.slice(0, 80))""")
    assert outside == []
    paper = b.ask("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, paper[4:-1].split(","))) < 200) == dark
    assert b.complaints == []
    assert b.ask("document.querySelectorAll('script').length") == 1
    assert HOSTILE[0] in b.ask("[...document.querySelectorAll('figcaption')].map((e) => e.textContent)")


def test_the_slider_changes_the_images(shown: Callable[..., Browser]) -> None:
    b = shown()
    end = b.ask(BACKGROUND.format("button.tile"))
    b.ask("document.querySelector('.way input').focus()")
    for _ in range(2):
        b.press("ArrowLeft")
    assert b.ask("document.querySelector('.gallery').dataset.frame") == "0"
    start = b.ask(BACKGROUND.format("button.tile"))
    assert start != end
    assert start.startswith("url") or "base64" in start or len(start) == 3000
    assert b.ask("document.querySelector('.way output').textContent") == "start"
    assert b.complaints == []


def test_an_image_is_enlarged_by_click_and_by_enter_and_closed_by_escape(shown: Callable[..., Browser]) -> None:
    b = shown()
    is_open = "document.querySelector('dialog').open"
    b.click("button.tile")
    assert b.ask(is_open)
    pictures = [b.ask(BACKGROUND.format(f"dialog .{part} .tile")) for part in ("first", "now", "near")]
    assert len(set(pictures)) == 3
    assert b.ask("document.querySelector('dialog .near span').textContent").startswith(f"{HOSTILE[0]}, training image 0")
    first = b.ask("document.querySelector('dialog p').textContent")
    b.press("ArrowRight")
    assert b.ask("document.querySelector('dialog p').textContent") != first
    b.press("Escape")
    assert not b.ask(is_open)
    b.press("Enter", "\r")  # the focus is back on the tile
    assert b.ask(is_open)
    size = b.ask("(() => { const r = document.querySelector('dialog').getBoundingClientRect(); return [r.left, r.right]; })()")
    assert 0 <= size[0] < size[1] <= 1440
    b.click("dialog .close")
    assert not b.ask(is_open)
    assert b.complaints == []


BOXES = """[...document.querySelectorAll({!r})].map((e) => {{
    const r = e.getBoundingClientRect();
    return [r.left, r.top, r.right, r.bottom];
}})"""


@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("side", [8, 32, 64, 224])
def test_the_enlargement_is_larger_and_fits(
    browser: Browser, made: SimpleNamespace, tmp_path: Path, width: int, side: int
) -> None:
    shape = (3, side, side)
    run = made.run(tmp_path / "run", shape=shape, snapshots=(0,), digest="d")
    write_inspection(run, 3, 2, shape)
    file = tmp_path / "page.html"
    file.write_text(page([run]), encoding="utf-8")
    browser.open(file, width, 844)
    tile = browser.ask(BOXES.format("button.tile"))[0]
    browser.click("button.tile")
    first, now, near = browser.ask(BOXES.format("dialog .tile"))
    for left, top, right, bottom in (first, now, near):
        assert 0 <= left < right <= width
        assert right - left == pytest.approx(bottom - top)
        assert top >= 0
    assert now[2] - now[0] > 1.3 * (tile[2] - tile[0])
    if width < 700:  # alone in the first row
        assert now[2] - now[0] > 0.75 * width
        assert now[3] <= min(first[1], near[1])
        assert first[2] <= near[0]
    else:
        assert first[2] <= now[0] < now[2] <= near[0]
    captions = browser.ask(BOXES.format("dialog figcaption"))
    assert all(caption[1] >= tile[3] for caption, tile in zip(captions, (first, now, near), strict=True)), "words below"
    dialog = browser.ask(BOXES.format("dialog"))[0]
    assert dialog[3] <= 844
    assert browser.ask("[...document.querySelectorAll('dialog form button')].map((e) => e.textContent)") == [
        "Previous",
        "Next",
        "Close",
    ]


@pytest.mark.parametrize("width", [390, 1440])
def test_every_number_of_a_table_is_in_sight(browser: Browser, made: SimpleNamespace, tmp_path: Path, width: int) -> None:
    """On a phone a row is a block of labels and values; nothing has to be pushed aside to see a number."""
    from report.test_inspected import write_audit

    told = {"a": made.evaluation("distilled", 0.6, HOSTILE[:3]), "b": made.evaluation("random", 0.3, HOSTILE[:3])}
    run = made.run(tmp_path / "run", classes=HOSTILE[:3], evaluations=told, digest="d")
    write_inspection(run, 3, 2)
    write_audit(run)
    other = made.run(tmp_path / "other", classes=HOSTILE[:3], evaluations=told)
    file = tmp_path / "page.html"
    file.write_text(page([run, other]), encoding="utf-8")
    browser.open(file, width)
    assert browser.ask("document.querySelectorAll('table.table').length") >= 7
    outside = browser.ask("""[...document.querySelectorAll("table.table tbody th, table.table tbody td")].filter((e) => {
        const box = e.getBoundingClientRect();
        return e.textContent.trim() && !(box.width > 0 && box.left >= 0 && box.right <= innerWidth);
    }).map((e) => e.outerHTML.slice(0, 200))""")
    assert outside == []
    words = browser.ask("""[...document.querySelectorAll("table.table tbody td")].map((e) =>
        [getComputedStyle(e, "::before").content, e.closest("table").tHead.rows[0].cells[e.cellIndex].textContent.trim()])""")
    for label, head in words:
        assert (json.loads(label) == head) if width < 600 else (label == "none")
    if width < 600:
        browser.click("table.sortable thead th:nth-child(1) button")
        assert browser.ask("document.querySelectorAll('table.sortable thead th')[0].getAttribute('aria-sort')") == "ascending"


def test_what_goes_on_beyond_an_edge_throws_a_shadow(shown: Callable[..., Browser]) -> None:
    """Covers that move with the table lie over shadows that stay."""
    b = shown(390)
    layers = b.ask("""[...document.querySelectorAll(".scroll")].map((e) => {
        const style = getComputedStyle(e);
        const layers = style.backgroundImage.split("linear-gradient").length - 1;
        return [e.scrollWidth > e.clientWidth + 1, style.backgroundAttachment, layers];
    })""")
    assert any(wide for wide, _, _ in layers)
    assert {(kind, count) for _, kind, count in layers} == {("local, local, scroll, scroll", 4)}


def test_a_table_is_sorted_by_click_and_by_the_keyboard(shown: Callable[..., Browser]) -> None:
    b = shown()
    column = "[...document.querySelectorAll('.shares tbody tr')].map((r) => +r.cells[1].dataset.v)"
    head = "document.querySelectorAll('.shares thead th')[1]"
    before = b.ask(column)
    b.click(".shares thead th:nth-child(2) button")
    assert b.ask(f"{head}.getAttribute('aria-sort')") == "descending"
    assert b.ask(column) == sorted(before, reverse=True)
    b.ask(f"{head}.querySelector('button').focus()")
    b.press(" ", " ")
    assert b.ask(f"{head}.getAttribute('aria-sort')") == "ascending"
    assert b.ask(column) == sorted(before)
    b.click(".shares thead th:nth-child(1) button")
    names = b.ask("[...document.querySelectorAll('.shares tbody th')].map((r) => r.textContent)")
    assert len(set(names)) == len(HOSTILE)
    assert b.ask(f"{head}.getAttribute('aria-sort')") == "none"


def test_layers_and_classes_are_chosen_by_the_keyboard(shown: Callable[..., Browser]) -> None:
    b = shown()
    one = b.ask(BACKGROUND.format(".maps .tile"))
    b.ask("document.querySelector('.layers input:checked').focus()")
    b.press("ArrowRight")
    assert b.ask("document.querySelector('.attention').dataset.layer") == "2"
    assert b.ask(BACKGROUND.format(".maps .tile")) != one
    b.ask("document.querySelectorAll('.legend button')[2].focus()")
    b.press("Enter", "\r")
    seen = "[...document.querySelectorAll('svg.cloud g')].map((g) => getComputedStyle(g).opacity)"
    assert b.ask(seen) == ["1" if n % 5 == 2 else "0.06" for n in range(10)]
    b.press("Enter", "\r")
    assert set(b.ask(seen)) == {"1"}


def test_everything_that_can_be_used_is_reached_by_tab(shown: Callable[..., Browser]) -> None:
    b = shown()
    wanted = "[...document.querySelectorAll('button, input, summary, a')].filter((e) => !e.closest('dialog')).length"
    reached = set()
    for _ in range(400):
        b.press("Tab")
        where = "(() => { const e = document.activeElement; e.n ??= (window.n = (window.n ?? 0) + 1); return e.n; })()"
        number = b.ask(where)
        if number in reached and len(reached) > 5:
            break
        reached.add(number)
    radios = b.ask("document.querySelectorAll('input[type=radio]').length") - 1  # a group is one stop
    assert len(reached) >= b.ask(wanted) - radios


def test_pictures_have_words(shown: Callable[..., Browser]) -> None:
    b = shown()
    mute = b.ask("""[...document.querySelectorAll("img, svg, [role=img], button, input")].filter((e) =>
        !e.closest("svg svg") && !(e.getAttribute("alt") || e.ariaLabel || e.textContent.trim() || e.labels?.length)
    ).map((e) => e.outerHTML.slice(0, 100))""")
    assert mute == []
