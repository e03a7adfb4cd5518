"""Draw the README's pictures from what results/ and docs/examples/ hold: `python results/pictures.py [--check]`.

docs/images/idea.svg       a real set, the few images made of it, and the student that learns from them
docs/images/accuracy.svg   accuracy over images per class, beside random real images and the whole set
docs/images/way.svg        some images of a run on their way from real ones
docs/images/minutes.svg    accuracy over the minutes that making a set took, of the rows that tell all of them
docs/images/minutes-*.svg  the same of every method, from the comparison of that name; there is none before it is made

With --check nothing is written, and the exit code is 1 when a picture does not show what is kept.
"""

import argparse
import base64
import io
import math
import re
import sys
from html import escape
from pathlib import Path
from typing import Any

import minutes as priced
from PIL import Image
from table import PUBLISHED, USUAL, Row, rows
from words import TITLES, count

from datadam.data import load

ROOT = Path(__file__).resolve().parents[1]
INK, QUIET, PAPER, GRID = "#202124", "#5f6368", "#ffffff", "#dadce0"
LEARNED, RANDOM, WHOLE = "#1a56db", "#d97706", "#5f6368"
FONT = "font-family='Helvetica, Arial, sans-serif'"
DATA = re.compile(r'"data:image/png;base64,[^"]*"')
SHOWN = ("mnist", "cifar10")  # the panels of accuracy.svg
IDEA = "mnist-ipc1"  # whose images stand in idea.svg
WAY = "cifar10.html", (("airplane", 0, 0), ("horse", 7, 3), ("ship", 8, 1))  # a page; class, row and column of its images


def picture(image: Image.Image, x: float, y: float, side: float) -> str:
    """An image, enlarged without smoothing."""
    kept = io.BytesIO()
    image.save(kept, "PNG", optimize=True)
    code = base64.b64encode(kept.getvalue()).decode()
    high = side * image.height / image.width
    return (
        f'<image x="{x:g}" y="{y:g}" width="{side:g}" height="{high:g}" style="image-rendering:pixelated" '
        f'href="data:image/png;base64,{code}"/>'
    )


def words(x: float, y: float, text: str, *, size: int = 15, colour: str = INK, anchor: str = "middle", bold: bool = False) -> str:
    """A line of text."""
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:g}" y="{y:g}" font-size="{size}" fill="{colour}" text-anchor="{anchor}"{weight}>{escape(text)}</text>'


def svg(width: int, height: int, title: str, parts: list[str]) -> str:
    """The picture on white paper, so that it is read on dark pages too."""
    head = f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' width='{width}' height='{height}' {FONT}>"
    paper = f'<rect width="{width}" height="{height}" rx="8" fill="{PAPER}"/>'
    return "\n".join([head, f"<title>{escape(title)}</title>", paper, *parts, "</svg>"]) + "\n"


def arrow(x: float, y: float, length: float) -> str:
    """To the right."""
    end = x + length
    return (
        f'<path d="M{x:g} {y:g}H{end - 8:g}M{end - 12:g} {y - 7:g}L{end:g} {y:g}L{end - 12:g} {y + 7:g}" fill="none" '
        f'stroke="{QUIET}" stroke-width="2.5"/>'
    )


def idea(kept: dict[str, Row]) -> str:
    """Real images, the ten made of them, and how often a student of either ten is right."""
    row = kept[IDEA]
    distilled, random = row.judged("distilled"), row.judged("random")
    assert distilled is not None
    assert random is not None
    real = load("mnist")
    across, down = 13, 10
    sheet = Image.new("L", (28 * across, 28 * down))
    for place in range(across * down):
        sheet.paste(Image.fromarray(real.train.pixels[place, 0]), (28 * (place % across), 28 * (place // across)))
    preview = Image.open(ROOT / "results" / row.scale / row.name / "preview.png").convert("L")
    side, gap, edge = 84, 4, 20  # as sets/preview.py lays it out, three pixels for one
    small = [
        preview.crop((preview.width - edge - side, top, preview.width - edge, top + side)).resize((28, 28), Image.Resampling.BOX)
        for top in range(edge, edge + 10 * (side + gap), side + gap)
    ]
    parts = [picture(sheet, 20, 46, 312), words(176, 30, f"{count(len(real.train))} real images"), arrow(346, 166, 66)]
    parts += [picture(image, 428 + 60 * (k // 5), 46 + 48.4 * (k % 5), 46) for k, image in enumerate(small)]
    parts += [words(481, 30, "10 distilled images"), arrow(548, 166, 66)]
    for k, high in enumerate((150, 110, 74, 44)):
        shade = f'fill="{LEARNED}" opacity="{0.35 + 0.2 * k:.2f}"'
        parts.append(f'<rect x="{630 + 30 * k}" y="{166 - high / 2:g}" width="20" height="{high}" rx="4" {shade}/>')
    tested = f"of {count(len(real.test))} real test images"
    parts += [
        words(690, 30, "a student, trained on them"), words(846, 132, f"{100 * distilled['mean']:.1f} %", size=32, bold=True),
        words(846, 156, tested, size=13, colour=QUIET),
        words(846, 206, f"{100 * random['mean']:.1f} %", size=20, colour=RANDOM, bold=True),
        words(846, 226, "after 10 random real images", size=13, colour=QUIET),
    ]  # fmt: skip
    return svg(960, 306, "A real set, ten images made of it, and a student that learns from these", parts)


def measured(kept: dict[str, Row], data: str, of: str) -> list[tuple[int, dict[str, Any]]]:
    """Our evaluations by images per class: of the usual preset, the run that has seen most real images."""
    found: dict[int, tuple[int, dict[str, Any]]] = {}
    for row in kept.values():
        e, size = row.judged(of), row.drawn
        usual = row.card["data"]["name"] == data and row.recipe["preset"] == "datadam"
        if usual and e is not None and size > found.get(row.recipe["ipc"], (0, e))[0]:
            found[row.recipe["ipc"]] = size, e
    return [(ipc, e) for ipc, (_, e) in sorted(found.items())]


def published(data: str, what: str) -> list[tuple[int, float]]:
    """Published accuracies in percent, by images per class."""
    table = PUBLISHED.get(data, {})
    return [(ipc, float(n.split()[0])) for ipc in sorted(k for k in table if k) for w, n, _ in table[ipc] if w == what]


def panel(kept: dict[str, Row], data: str, left: float) -> list[str]:
    """Axes, whole set, published and measured accuracies of one data set."""
    top, high, wide = 44, 220, 330
    places = {1: left + 40, 10: left + 165, 50: left + 290}

    def level(percent: float) -> float:
        return top + high * (1 - percent / 100)

    parts = [words(left + wide / 2, top - 16, TITLES[data], bold=True)]
    for percent in range(0, 101, 20):
        parts.append(f'<path d="M{left} {level(percent):g}h{wide}" stroke="{GRID}"/>')
        parts.append(words(left - 8, level(percent) + 5, f"{percent}", size=13, colour=QUIET, anchor="end"))
    parts += [words(x, top + high + 20, str(ipc), size=13, colour=QUIET) for ipc, x in places.items()]
    parts.append(words(left + wide / 2, top + high + 40, "images per class", size=13, colour=QUIET))
    ours = next((e for row in kept.values() if row.card["data"]["name"] == data and (e := row.judged("whole"))), None)
    theirs = next((float(n) for what, n, _ in PUBLISHED[data].get(None, ()) if what == "whole set"), None)
    for value, dashes in ((100 * ours["mean"] if ours else None, ""), (theirs, ' stroke-dasharray="6 4"')):
        if value is not None:
            parts.append(f'<path d="M{left} {level(value):g}h{wide}" stroke="{WHOLE}" stroke-width="2"{dashes}/>')
    for of, what, colour in (("random", "random", RANDOM), ("distilled", "DataDAM", LEARNED)):
        line = [(places[ipc], level(percent)) for ipc, percent in published(data, what)]
        parts += lined(line, colour, "6 4", PAPER)
        points = measured(kept, data, of)
        for ipc, e in points:
            if e["interval"]:
                ends = [level(min(100.0, max(0.0, 100 * e["interval"][end]))) for end in ("low", "high")]
                parts.append(f'<path d="M{places[ipc]:g} {ends[0]:g}V{ends[1]:g}" stroke="{colour}" stroke-width="2"/>')
        parts += lined([(places[ipc], level(100 * e["mean"])) for ipc, e in points], colour, "", colour)
    return parts


def lined(points: list[tuple[float, float]], colour: str, dashes: str, fill: str) -> list[str]:
    """Points, and a line through them."""
    way = "L".join(f"{x:g} {y:.2f}" for x, y in points)
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    line = [f'<path d="M{way}" fill="none" stroke="{colour}" stroke-width="2"{dashed}/>'] if len(points) > 1 else []
    return line + [f'<circle cx="{x:g}" cy="{y:.2f}" r="5" fill="{fill}" stroke="{colour}" stroke-width="2"/>' for x, y in points]


def accuracy(kept: dict[str, Row]) -> str:
    """One panel a data set, with a legend below."""
    parts = [part for k, data in enumerate(SHOWN) for part in panel(kept, data, 60 + 420 * k)]
    parts.append(
        words(20, 154, "test accuracy, %", size=13, colour=QUIET).replace("<text", '<text transform="rotate(-90 20 154)"')
    )
    for k, (colour, text) in enumerate(((LEARNED, "DataDAM"), (RANDOM, "random real images"), (WHOLE, "whole training set"))):
        x = 60 + 190 * k
        parts += [
            f'<path d="M{x} 331h26" stroke="{colour}" stroke-width="4"/>',
            words(x + 34, 336, text, size=13, anchor="start"),
        ]
    for x, dashes, fill, text in ((640, "", INK, "measured here"), (640, "6 4", PAPER, "published")):
        y = 322 if not dashes else 342
        parts += lined([(x, y), (x + 30, y)], INK, dashes, fill)
        parts.append(words(x + 44, y + 5, text, size=13, anchor="start"))
    return svg(850, 360, "Accuracy over images per class", parts)


def way() -> str:
    """Some images of the page of a run, at its start and at each of its snapshots."""
    page, chosen = WAY
    text = (ROOT / "docs" / "examples" / page).read_text("utf-8")
    sheets = re.findall(r"--f\d+: url\([\"']?data:image/png;base64,([^)\"']+)", text)
    labels = re.findall(r'<option value="\d+" label="([^"]+)">', text)
    assert len(sheets) == len(labels) > 1
    parts, side, step = [], 112, 138
    for k, (code, label) in enumerate(zip(sheets, labels, strict=True)):
        sheet = Image.open(io.BytesIO(base64.b64decode(code))).convert("RGB")
        tile = sheet.width // 10
        for down, (_, y, x) in enumerate(chosen):
            image = sheet.crop((x * tile, y * tile, (x + 1) * tile, (y + 1) * tile))
            parts.append(picture(image, 96 + step * k, 44 + (side + 12) * down, side))
        parts.append(words(96 + step * k + side / 2, 30, label.partition(",")[0]))
    parts += [words(84, 44 + (side + 12) * k + side / 2 + 5, name, anchor="end") for k, (name, _, _) in enumerate(chosen)]
    return svg(
        96 + step * len(sheets), 44 + (side + 12) * len(chosen), "Images on their way from real ones to distilled ones", parts
    )


LEFT, WIDE, TOP, HIGH, LISTED = 60, 590, 44, 330, 676  # of a panel of every method: its axes, and where its names begin
Ticks = tuple[tuple[int, str], ...]  # seconds, and what stands below them
TICKS: Ticks = ((1, "1 s"), (10, "10 s"), (60, "1 min"), (600, "10 min"), (6000, "100 min"), (12_000, ""))
SPREAD = 13  # pixels between two numbers beside points, at least


def minutes(kept: dict[str, Row]) -> str:
    """CIFAR-10 at ten images per class: a point for each set, plain or decoded, by all that making it took."""
    sets = [
        point_of(row, e)
        for row in kept.values()
        if (row.card["data"]["name"], row.recipe["ipc"]) == ("cifar10", 10) and row.tells_all_seconds
        if (e := row.judged("distilled"))
    ]
    random = next(e for row in kept.values() if row.name == "cifar10-ipc10-256" for e in row.evaluations if e["of"] == "random")
    published = next(float(number.split()[0]) for what, number, _ in PUBLISHED["cifar10"][10] if what == "DataDAM")
    lines = ("random real images", random["mean"]), ("DataDAM, published", published / 100)
    ticks = tuple((60 * number, f"{number} min") for number in (2, 5, 10, 20, 50, 100, 200))
    inside = panel_of(sets, "CIFAR-10, 10 stored images per class", ticks, lines)
    return svg(980, TOP + HIGH + 70, "Accuracy over the minutes that making a set took", [*inside, *key(TOP + HIGH + 52)])


def point_of(row: Row, e: dict[str, Any]) -> priced.Point:
    """A kept run, as its picture shows it."""
    made_on, epochs = row.recipe["net"], e["protocol"]["epochs"]
    name = row.recipe["preset"] + (f" on width {made_on.partition('width=')[2]}" if made_on != row.net else "")
    name += f", {epochs} epochs" if epochs < USUAL else ""
    low, high = (e["interval"]["low"], e["interval"]["high"]) if e["interval"] else (None, None)
    decoder, labels, first = (
        row.recipe.get("decoder", "plain"),
        e.get("labels", "hard"),
        sum(row.card.get(f"{part}_seconds", 0.0) for part in ("trained_first", "earlier")),
    )
    return priced.Point(name, row.recipe["ipc"], row.card["seconds"], first, e["mean"], low, high, labels, decoder)


def everything(table: dict[str, Any]) -> str:
    """Every method of a comparison: for each number of images per class a panel, and its names beside it."""
    every = priced.points(table)
    counts = list(dict.fromkeys(point.ipc for point in every))
    height = max(HIGH + 70, 40 + 16 * max(sum(point.ipc == ipc for point in every) for ipc in counts))
    title = TITLES.get(table["data"]["name"], table["data"]["name"])
    parts = []
    for k, ipc in enumerate(counts):
        name = f"{title}, {ipc} image{'s' * (ipc > 1)} per class"
        inside = panel_of([point for point in every if point.ipc == ipc], name)
        parts += [f'<g transform="translate(0 {k * height})">', *inside, "</g>"]
    foot = len(counts) * height + 12
    return svg(940, foot + 20, f"Accuracy over the minutes that making a set took, on {title}", [*parts, *key(foot)])


def key(foot: float) -> list[str]:
    """What colours and lines mean, in a row at the height `foot`."""
    parts = lined([(LEFT, foot)], LEARNED, "", LEARNED)
    parts.append(words(LEFT + 12, foot + 5, "plain images, hard labels", size=13, anchor="start"))
    parts += lined([(LEFT + 210, foot)], RANDOM, "", PAPER)
    parts.append(words(LEFT + 222, foot + 5, "another decoder, or soft labels", size=13, anchor="start"))
    parts.append(words(LEFT + 440, foot + 5, "lines: what nothing of its kind beats", size=13, colour=QUIET, anchor="start"))
    parts.append(words(LEFT + 690, foot + 5, "bars: 95 % intervals", size=13, colour=QUIET, anchor="start"))
    return parts


def panel_of(sets: list[priced.Point], title: str, ticks: Ticks = TICKS, levels: tuple[tuple[str, float], ...] = ()) -> list[str]:
    """Axes, fronts and numbered points of the sets of one ipc; seconds logarithmic, from the first tick to the last. `levels` are
    accuracies to compare with, and their names."""
    first, last = ticks[0][0], ticks[-1][0]
    lowest = 10 * math.floor(10 * min([point.mean for point in sets] + [share for _, share in levels]))
    highest = min(100, 10 * math.ceil(10 * max(point.high or point.mean for point in sets)))

    def level(share: float) -> float:
        return TOP + HIGH * (highest - min(highest, max(lowest, 100 * share))) / (highest - lowest)

    def place(seconds: float) -> float:
        return LEFT + WIDE * math.log(min(last, max(first, seconds)) / first) / math.log(last / first)

    parts = [words(LEFT + WIDE / 2, TOP - 16, title, bold=True)]
    for percent in range(lowest, highest + 1, 10):
        parts.append(f'<path d="M{LEFT} {level(percent / 100):g}h{WIDE}" stroke="{GRID}"/>')
        parts.append(words(LEFT - 8, level(percent / 100) + 5, str(percent), size=13, colour=QUIET, anchor="end"))
    parts += [words(place(seconds), TOP + HIGH + 20, text, size=13, colour=QUIET) for seconds, text in ticks]
    for text, share in levels:
        parts.append(f'<path d="M{LEFT} {level(share):g}h{WIDE}" stroke="{QUIET}" stroke-dasharray="2 3"/>')
        parts.append(words(LEFT + WIDE, level(share) - 5, f"{text}: {100 * share:.1f}", size=12, colour=QUIET, anchor="end"))
    middle = TOP + HIGH / 2
    side = words(20, middle, "test accuracy, %", size=13, colour=QUIET)
    parts.append(side.replace("<text", f'<text transform="rotate(-90 20 {middle:g})"'))
    for kind, line in priced.fronts(sets).items():
        way = "L".join(f"{place(point.seconds):.1f} {level(point.mean):.1f}" for point in line)
        usual = kind == ("plain", "hard")
        dashed = "" if usual else ' stroke-dasharray="6 4"'
        parts.append(f'<path d="M{way}" fill="none" stroke="{LEARNED if usual else RANDOM}" stroke-width="1.5"{dashed}/>')
    names: list[str] = []
    taken: list[tuple[float, float]] = []
    for number, point in priced.numbered(sets):
        x, y, usual = place(point.seconds), level(point.mean), point.kind == ("plain", "hard")
        colour = LEARNED if usual else RANDOM
        if point.low is not None and point.high is not None:
            parts.append(f'<path d="M{x:.1f} {level(point.low):.1f}V{level(point.high):.1f}" stroke="{colour}" opacity="0.4"/>')
        parts += lined([(x, y)], colour, "", colour if usual else PAPER)
        beside = y - 7
        while any(abs(x - other) < 1.4 * SPREAD and abs(beside - high) < SPREAD for other, high in taken):
            beside += SPREAD  # below the number that is there
        taken.append((x, beside))
        names.append(words(x + 8, beside, str(number), size=11, anchor="start", bold=True))
        method, *settings = point.method.split(":")
        decoder = "" if point.decoder == "plain" else f", {point.decoder}"
        decoder = ", plain" if f"decoder={point.decoder}" in settings else decoder
        text = f"{number}  {method}{decoder}{', soft labels' * (point.labels != 'hard')}: {100 * point.mean:.1f} %"
        names.append(words(LISTED, TOP + 16 * (number - 1), text, size=12, anchor="start"))
    return parts + names


def wanted(root: Path = ROOT) -> dict[Path, str]:
    """The pictures, and what they should show."""
    kept = {row.name: row for row in rows(root / "results")}
    images = root / "docs" / "images"
    return {
        images / "idea.svg": idea(kept),
        images / "accuracy.svg": accuracy(kept),
        images / "way.svg": way(),
        images / "minutes.svg": minutes(kept),
        **{images / f"{name}.svg": everything(made) for name in priced.NAMES if (made := priced.kept(root / "results", name))},
    }


def told(picture: str) -> str:
    """What a picture says: all of it but the bytes of its images, which another version of a library may pack otherwise."""
    return DATA.sub('""', picture)


def main(arguments: list[str] | None = None) -> int:
    """Write the pictures, or with --check tell which are out of date."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 when a picture is out of date")
    check = parser.parse_args(arguments).check
    old = [path for path, text in wanted().items() if not path.exists() or told(path.read_text("utf-8")) != told(text)]
    for path in old:
        print(f"{path.relative_to(ROOT)} {'is out of date: run python results/pictures.py' if check else 'written'}")
        if not check:
            path.write_text(wanted()[path], "utf-8")
    return 1 if check and old else 0


if __name__ == "__main__":
    sys.exit(main())
