"""Write what results/applications/ holds into its pages: `python results/applications.py [--check]`.

docs/images/NAME.svg        the first plot of the page of an application
docs/applications/NAME.md   what was measured, between two marks, with command and hardware

With --check nothing is written, and the exit code is 1 when a page does not say what is kept.
"""

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

from datadam.applications import continual_page, lossless_page, search_page
from datadam.wording import plural

ROOT = Path(__file__).resolve().parents[1]
PAGES = {"search": search_page, "lossless": lossless_page, "continual": continual_page}
BEGIN, END = "<!-- measured:begin -->", "<!-- measured:end -->"


def told(name: str, found: dict[str, Any]) -> str:
    """The sentence, the table, and how it was made."""
    head, rows = PAGES[name].text(found)
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    machine = found["hardware"]
    made = f"`{found['command']}`, seed {found['seed']}, {machine['cpu']}, {plural(machine['cores'], 'core')}"
    version = found["versions"]
    made += f", datadam {version['datadam']}, torch {version['torch']}."
    note = f" {found['note']}" if found.get("note") else ""
    return f"**Measured:** {PAGES[name].sentence(found)}{note}\n\n" + "\n".join(lines) + f"\n\nMade by {made}"


def page(name: str, found: dict[str, Any]) -> tuple[Path, str]:
    """The page of an application, and what it should say."""
    path = ROOT / "docs" / "applications" / f"{name}.md"
    block = f"{BEGIN}\n{told(name, found)}\n{END}"
    return path, re.sub(f"{BEGIN}.*?{END}", lambda _: block, path.read_text("utf-8"), count=1, flags=re.DOTALL)


def drawn(name: str, found: dict[str, Any]) -> str:
    """The plots of the first section that has some, on white paper, side by side where they are several."""
    plots = next(section.plots for section in PAGES[name].sheet(found).sections if section.plots)
    parts, left, high = [], 0.0, 0.0
    for title, plot in plots:
        width, height = (float(n) for n in re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', plot).groups())  # type: ignore[union-attr]
        parts.append(plot.replace("<svg ", f'<svg x="{left + 8:g}" y="28" width="{width:g}" height="{height:g}" ', 1))
        if title:
            parts.append(f'<text x="{left + 64:g}" y="22" font-weight="bold" font-size="14">{title}</text>')
        left, high = left + width + 16, max(high, height)
    box = f'viewBox="0 0 {left:g} {high + 40:g}" font-family="Helvetica, Arial, sans-serif"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {box}>'
    return "\n".join([head, '<rect width="100%" height="100%" fill="#ffffff"/>', *parts, "</svg>"]) + "\n"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    given = parser.parse_args(arguments)
    wrong = []
    for name in PAGES:
        file = ROOT / "results" / "applications" / name / f"{name}.json"
        if not file.exists():
            continue
        found = json.loads(file.read_text("utf-8"))
        path, text = page(name, found)
        if given.check:
            wrong += [path] if path.read_text("utf-8") != text else []
        else:
            path.write_text(text, "utf-8")
            (ROOT / "docs" / "images" / f"{name}.svg").write_text(drawn(name, found), "utf-8")
    for path in wrong:
        sys.stderr.write(f"{path} does not say what results/ holds; run python results/applications.py\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
