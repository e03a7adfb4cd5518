"""Make what results/applications/ holds, and write it into its pages.

    python results/applications.py --make search,lossless,... --data FOLDER --work FOLDER    # of PAGES; resumable; hours
    python results/applications.py [--check]

docs/images/NAME.svg        the first plot of the page of an application
docs/applications/NAME.md   what was measured, between two marks, with command and hardware

`--make` runs the lines of COMMANDS in the working folder, where DATA stands for the folder of data; called again it goes on. With
`--check` nothing is written, and the exit code is 1 when a page does not say what is kept.
"""

import argparse
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nested

from datadam.applications import continual_page, federated_page, lossless_page, search_page
from datadam.wording import plural

ROOT = Path(__file__).resolve().parents[1]
PAGES = {
    "search": search_page, "lossless": lossless_page, "continual": continual_page, "federated": federated_page, "nested": nested,
}  # fmt: skip
COMMANDS = {
    "search": (
        f"python {ROOT / 'results' / 'half_size.py'} cifar10 --root DATA --out cifar10-16.npz",
        "datadam distill cifar10-16.npz --ipc 10 --method dm --iterations 150 --batch-real 32 --set decoder=grid:2 "
        "--set lr_images=2 --net convnet2:width=64 --out dm --overwrite",
        "datadam search cifar10-16.npz --proxy dm,random,early --space convnet720:width=32,64 --count 64 --epochs 60 "
        "--whole-images 10000 --whole-epochs 5 --out search",
    ),
    "lossless": (
        "datadam lossless mnist --method dm --tolerance 1.5 --most 64 --net convnet3:width=16 --students 3 --epochs 100 "
        "--whole-epochs 1 --iterations 60 --batch-real 32 --out lossless",
    ),
    "continual": (
        "datadam continual cifar100 --root DATA --steps 5 --ipc 20 --methods random,herding:features=random,dm --orders 3 "
        "--net convnet3:width=16 --epochs 50 --iterations 50 --batch-real 32 --out continual",
    ),
    "federated": (
        "datadam federated mnist --root DATA --clients 10 --split dirichlet:0.1 --ipc 5 --method dm --students 3 --rounds 8 "
        "--net convnet2:width=8 --epochs 100 --iterations 100 --batch-real 32 --out federated",
    ),
    "nested": (f"python {ROOT / 'results' / 'nested.py'} mnist --root DATA --out nested",),
}
SMALL = (
    " This is a small run, of minutes, which shows the command more than an answer; `results/applications.py` has a larger one."
)
MADE = {"distill": "card.json"}  # what a finished step leaves, where the command does not go on by itself
BEGIN, END = "<!-- measured:begin -->", "<!-- measured:end -->"


def told(name: str, found: dict[str, Any]) -> str:
    """The sentence, the table, and how it was made."""
    head, rows = PAGES[name].text(found)
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    machine = found["hardware"]
    made = f"`{found['command']}`, seed {found['seed']}, {machine['cpu']}, {plural(machine['cores'], 'core')}"
    version = found["versions"]
    made += f", datadam {version['datadam']}, torch {version['torch']}; seconds on a machine that may have had other work to do."
    note = f" {found['note']}" if found.get("note") else ""
    size = "" if _words(found["command"]) == _words(COMMANDS[name][-1]) else SMALL
    return f"**Measured:** {PAGES[name].sentence(found)}{note}{size}\n\n" + "\n".join(lines) + f"\n\nMade by {made}"


def _words(line: str) -> list[str]:
    """The words of a command, but for folders and processes, and for where a program lies."""
    words = shlex.split(line)
    for option in ("--out", "--workers", "--root"):
        if option in words:
            place = words.index(option)
            words = words[:place] + words[place + 2 :]
    return [Path(word).name if word.endswith(".py") else word.replace("runs/", "") for word in words]


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


def make(name: str, data: Path, work: Path) -> None:
    """Run the lines of an application, and keep its result."""
    work.mkdir(parents=True, exist_ok=True)
    for line in COMMANDS[name]:
        program, *words = shlex.split(line)
        out = work / words[words.index("--out") + 1]
        if (out / MADE.get(words[0], "none")).exists() or out.is_file():
            continue
        given = [str(data.resolve()) if word == "DATA" else word for word in words]
        start = [sys.executable] if program == "python" else [sys.executable, "-m", "datadam.cli"]
        subprocess.run([*start, *given], cwd=work, check=True)
    kept = ROOT / "results" / "applications" / name
    kept.mkdir(parents=True, exist_ok=True)
    for file in (work / name).iterdir():
        if file.suffix in (".html", ".csv"):
            shutil.copy(file, kept / file.name)
    found = json.loads((work / name / f"{name}.json").read_text("utf-8"))
    found["command"] = found["command"].replace(str(data.resolve()), "DATA")
    (kept / f"{name}.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", "utf-8")
    page = (kept / f"{name}.html").read_text("utf-8")
    (kept / f"{name}.html").write_text(page.replace(str(data.resolve()), "DATA"), "utf-8")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--make", default="", help="names of applications, with commas")
    parser.add_argument("--data", type=Path, help="the folder of data sets")
    parser.add_argument("--work", type=Path, default=Path("evidence/applications"))
    given = parser.parse_args(arguments)
    for name in filter(None, given.make.split(",")):
        make(name, given.data or Path(), given.work)
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
