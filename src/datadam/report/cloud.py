"""Points in the plane as SVG: real images as dots, synthetic ones as stars, each class in a colour of the page.

Letters: N points.
"""

from collections.abc import Sequence
from html import escape
from math import cos, pi, sin

from torch import Tensor

WIDTH, HEIGHT, EDGE = 760, 560, 16
STAR = 10.5  # radius of a star; of a dot's, see the page's style


def cloud(points: Tensor, labels: Tensor, kinds: Tensor, classes: Sequence[int], description: str) -> str:
    """The points [N, 2] in [0, 1] with class numbers [N] and kinds [N] (0 real, 1 synthetic) of these classes, as one `<svg>`.

    A class is a group `<g class="kN">`, N its place in `classes`, so that the page can colour it and let it stand out.
    """
    dots, stars = [], []
    for place, k in enumerate(classes):
        real = points[(labels == k) & (kinds == 0)].tolist()
        ours = points[(labels == k) & (kinds == 1)].tolist()
        dots.append(f'<g class="k{place}"><path class="dots" d="{"".join(f"M{_at(x, y)}h0" for x, y in real)}"/></g>')
        stars.append(f'<g class="k{place}"><path class="stars" d="{"".join(_star(x, y) for x, y in ours)}"/></g>')
    view = f'viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(description)}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" class="cloud" {view}>{"".join(dots)}{"".join(stars)}</svg>'


def _place(x: float, y: float) -> tuple[float, float]:
    return EDGE + x * (WIDTH - 2 * EDGE), EDGE + (1 - y) * (HEIGHT - 2 * EDGE)


def _at(x: float, y: float) -> str:
    across, down = _place(x, y)
    return f"{across:.1f} {down:.1f}"


def _star(x: float, y: float) -> str:
    across, down = _place(x, y)
    corners = []
    for number in range(10):
        radius, turn = STAR * (1 if number % 2 == 0 else 0.42), pi * number / 5
        corners.append(f"{across + radius * sin(turn):.1f} {down - radius * cos(turn):.1f}")
    return "M" + "L".join(corners) + "Z"
