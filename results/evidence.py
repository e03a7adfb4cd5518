"""Make the numbers of the README again: `python results/evidence.py --data FOLDER [--scale small|full] [NAME ...]`.

Runs what is missing and resumes what was stopped. Runs go to evidence/SCALE/NAME (kept out of git); what a reader needs of each,
card.json, metrics.jsonl, preview.png and evaluations/*.json, is copied to results/SCALE/NAME.

Scale `small` is what two shared CPU cores finish in an evening; `full` is the published size.
"""

import argparse
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
SETS = 5  # independent distillations at the full scale


@dataclass(frozen=True)
class Row:
    """One run: its data, the options of `datadam distill`, and of its evaluation, at the small scale and at the full one."""

    data: str
    options: str
    small: str
    small_students: int = 2
    random: int = 0  # students of random real images at the small scale; 0: not judged
    whole_epochs: int = 0  # also judge the whole set, with this many epochs at the small scale


ROWS = {
    "mnist-ipc10": Row("mnist", "--ipc 10", "--iterations 1000 --batch-real 64", 5, random=2, whole_epochs=1),
    "mnist-ipc1": Row("mnist", "--ipc 1", "--iterations 500 --batch-real 64", 5, random=5),
    "cifar10-ipc10": Row("cifar10", "--ipc 10", "--iterations 1500 --batch-real 64", 3, random=2),
    "cifar10-ipc10-256": Row("cifar10", "--ipc 10", "--iterations 2000", 5),
    "cifar10-ipc10-paper": Row("cifar10", "--ipc 10 --preset paper", "--iterations 1500 --batch-real 64"),
    "cifar10-ipc10-official": Row("cifar10", "--ipc 10 --preset official", "--iterations 1500 --batch-real 64"),
    "cifar10-ipc10-dm": Row("cifar10", "--ipc 10 --method dm", "--iterations 1500 --batch-real 64"),
    "fashion-mnist-ipc10": Row("fashion-mnist", "--ipc 10", "--iterations 300 --batch-real 64", 1, random=1),
    "lung-ipc1": Row("lc25000-lung", "--ipc 1", "--iterations 100 --batch-real 16 --net convnet5:width=32", 3, random=3),
}


def datadam(*arguments: str) -> None:
    """Run one command line, or stop with it."""
    print("$ datadam", *arguments, flush=True)
    code = subprocess.run([sys.executable, "-m", "datadam.cli", *arguments], check=False).returncode
    if code:
        sys.exit(code)


def make(name: str, row: Row, data: Path, scale: str) -> None:
    """Distil, judge, compare with random images, copy what a reader needs."""
    run = Path("evidence") / scale / name
    folder = data / row.data
    if row.data == "lc25000-lung" and not folder.is_dir():
        print(f"{name}: left out, {folder} is not there (LC25000's lung images as train/CLASS and test/CLASS)", flush=True)
        return
    source = [str(folder)] if row.data == "lc25000-lung" else [row.data, "--root", str(data)]
    folders = [run] if scale == "small" else [run / str(r) for r in range(SETS)]
    done = all((folder / "card.json").exists() for folder in folders)
    if not done and any((folder / "checkpoint" / "state.safetensors").exists() for folder in folders):
        datadam("distill", "--resume", str(run))
    elif not done:
        size = row.small.split() if scale == "small" else ["--repeats", str(SETS)]
        datadam("distill", *source, *row.options.split(), *size, "--out", str(run))
    card = json.loads((folders[0] / "card.json").read_text())
    net = card["recipe"]["net"]
    judged = ["--protocol", "honest", "--net", net]

    def students(count: int) -> list[str]:
        return ["--students", str(count)] if scale == "small" else ["--full"]

    kept = {path.name.split("-")[0] for path in (run / "evaluations").glob("*.json")}
    if "distilled" not in kept:
        datadam("evaluate", str(run), *judged, *students(row.small_students))
    ipc = row.options.split()[1]
    if row.random and "random" not in kept:
        datadam("baseline", *source, "--ipc", ipc, *judged, *students(row.random), "--beside", str(run))
    if row.whole_epochs and "whole" not in kept:
        epochs = ["--epochs", str(row.whole_epochs)] if scale == "small" else []
        datadam("baseline", *source, "--whole", "--net", net, *epochs, "--beside", str(run))
    publish(run, folders[0], HERE / scale / name, str(data))


def publish(run: Path, first: Path, to: Path, data: str) -> None:
    """Copy what results/ keeps of a run and of its first set; the place of the data on this machine is nobody's business."""
    (to / "evaluations").mkdir(parents=True, exist_ok=True)
    shutil.copy(first / "preview.png", to / "preview.png")
    for path in [first / "card.json", first / "metrics.jsonl", *(run / "evaluations").glob("*.json")]:
        if path.exists():
            place = to / "evaluations" if path.parent.name == "evaluations" else to
            (place / path.name).write_text(path.read_text().replace(data, "DATA"))
    print("kept in", to, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, required=True, help="folder that holds the data sets, or where they are downloaded to"
    )
    parser.add_argument("--scale", choices=("small", "full"), default="full")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(ROWS)} (default: all)")
    asked = parser.parse_args()
    if unknown := set(asked.names) - set(ROWS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(ROWS)}")
    for each in asked.names or ROWS:
        make(each, ROWS[each], asked.data.resolve(), asked.scale)
