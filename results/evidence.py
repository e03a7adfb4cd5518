"""Make the numbers of the README again: `python results/evidence.py --data FOLDER [--scale small|full] [NAME ...]`.

Runs what is missing and resumes what was stopped. Runs go to evidence/SCALE/NAME (kept out of git); what a reader needs of each,
card.json, metrics.jsonl, preview.png and evaluations/*.json, is copied to results/SCALE/NAME, and what a reader needs of a
comparison, table.json, table.md, table.csv and table.png, to results/SCALE/tables/NAME.

Scale `small` is what two shared CPU cores finish in an evening; `full` is the published size.
"""

import argparse
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from datadam.files.kept import cache_folder

HERE = Path(__file__).resolve().parent
SETS = 5  # independent distillations at the full scale
EVERYWHERE: list[str] = []  # options of every command


@dataclass(frozen=True)
class Row:
    """One run: its data, the options of `datadam distill`, and of its evaluation, at the small scale and at the full one."""

    data: str
    options: str
    small: str
    small_students: int = 2
    random: int = 0  # students of random real images at the small scale; 0: not judged
    whole_epochs: int = 0  # also judge the whole set, with this many epochs at the small scale
    judged: str = ""  # more options of the evaluation at the small scale
    experts: str = ""  # a name of EXPERTS, which the run follows at the small scale
    also: tuple[str, ...] = ()  # protocols that it is judged by beside honest
    judged_on: str = ""  # the students' network, where it is another than the one that the set was made on
    start: str = ""  # a row whose set (of several the first) it starts from


NARROWER = "convnet3:width=32"
HALF = "convnet3:width=64"
BRIEF = "--precision auto --epochs 300"
FASTER = "--set optimizer=adam --set lr_images=0.01 --set lr_labels=0.005"  # LAMB at the released rate takes 500 000 steps
EXPERTS = {  # data, and the options of `datadam experts` at the small scale
    "cifar10-short": ("cifar10", "--zca kornia --count 6 --epochs 3 --precision auto"),
    "mnist-pad": (
        "mnist",
        f"--net {NARROWER} --count 2 --epochs 6 --optimizer gsam --curriculum el2n --whole 2 --drop 3:0.1,4:0.2 --averaged 1 "
        "--looked 1 --precision auto",
    ),
}
PAD = (
    f"--ipc 10 --method pad --net {NARROWER} --no-zca --set epochs=6 --set max_start=4 --set first_max=2 --set left_out=depth "
    "--set share=0.25 --set steps=20"
)

ROWS = {
    "mnist-ipc10": Row("mnist", "--ipc 10", "--iterations 1000 --batch-real 64", 5, random=2, whole_epochs=1),
    "mnist-ipc1": Row("mnist", "--ipc 1", "--iterations 500 --batch-real 64", 5, random=5),
    "cifar10-ipc10": Row("cifar10", "--ipc 10", "--iterations 1500 --batch-real 64", 3, random=2),
    "mnist-ipc10-narrow": Row("mnist", f"--ipc 10 --net {NARROWER}", "--iterations 1000 --batch-real 64", 2, judged=BRIEF),
    "mnist-ipc10-noise": Row(
        "mnist", f"--ipc 10 --net {NARROWER} --start noise", "--iterations 1000 --batch-real 64", 2, judged=BRIEF
    ),
    "mnist-ipc10-pad": Row(
        "mnist", PAD, "--iterations 60 --precision auto --set lr_images=2000", 2, judged=BRIEF, experts="mnist-pad", also=("mtt",)
    ),
    "mnist-ipc10-pad-noise": Row(
        "mnist",
        f"{PAD} --start noise",
        "--iterations 60 --precision auto --set lr_images=2000",
        2,
        judged=BRIEF,
        experts="mnist-pad",
        also=("mtt",),
    ),
    "cifar10-ipc1-mtt": Row(
        "cifar10",
        "--ipc 1 --method mtt",
        "--iterations 200 --precision auto --set lr_images=500 --set lr_rate=1e-6",
        3,
        judged="--precision auto",
        experts="cifar10-short",
        also=("mtt",),
    ),
    "cifar10-ipc10-256": Row("cifar10", "--ipc 10", "--iterations 2000 --precision auto", 10, random=2),
    "cifar10-ipc10-paper": Row("cifar10", "--ipc 10 --preset paper", "--iterations 1500 --batch-real 64"),
    "cifar10-ipc10-official": Row("cifar10", "--ipc 10 --preset official", "--iterations 1500 --batch-real 64"),
    "cifar10-ipc10-dm": Row("cifar10", "--ipc 10 --method dm", "--iterations 1500 --batch-real 64"),
    "cifar10-ipc10-dm-grid2": Row(
        "cifar10",
        "--ipc 10 --method dm --set decoder=grid:2 --set lr_images=2",
        "--iterations 250 --batch-real 32 --precision auto",
        3,
        judged="--precision auto",
    ),
    "cifar10-ipc10-random-grid2": Row(
        "cifar10", "--ipc 10 --method random --set decoder=grid:2", "", 2, judged="--precision auto"
    ),
    "cifar10-ipc10-calm-quick": Row(
        "cifar10", "--ipc 10 --preset calm-quick --set decoder=grid:2", "", 2, judged="--precision auto"
    ),
    "cifar10-ipc10-calm-grid2": Row(
        "cifar10", "--ipc 10 --preset calm-quick --set decoder=grid:2", "--iterations 1000", 2, judged="--precision auto"
    ),
    "cifar10-ipc10-calm-dct": Row("cifar10", "--ipc 10 --preset calm-quick", "", 1, judged="--precision auto --epochs 250"),
    "cifar10-ipc10-calm-half-hour": Row(
        "cifar10", "--ipc 10 --preset calm", "--iterations 200", 1, judged="--precision auto --epochs 250"
    ),
    "cifar10-ipc10-mtt-on-calm": Row(
        "cifar10",
        "--ipc 10 --preset mtt-quick",
        "--iterations 60 --set count=2 --set max_start=5",
        1,
        judged="--precision auto --epochs 250",
        start="cifar10-ipc10-calm-half-hour",
    ),
    "cifar10-ipc10-mtt-on-calm-narrow": Row(
        "cifar10",
        f"--ipc 10 --preset mtt-quick --net {NARROWER}",
        "--iterations 200",
        2,
        judged="--precision auto --epochs 250",
        judged_on="convnet3",
        start="cifar10-ipc10-calm-dct-narrow",
    ),
    "cifar10-ipc10-mtt-64-plain": Row(
        "cifar10",
        f"--ipc 10 --preset mtt-quick --net {HALF} --set decoder=plain",
        "--iterations 250 --set count=4",
        5,
        judged="--precision auto",
        judged_on="convnet3",
    ),
    "cifar10-ipc10-mtt-64": Row(
        "cifar10",
        f"--ipc 10 --preset mtt-quick --net {HALF}",
        "--iterations 150 --set count=4",
        2,
        judged="--precision auto --epochs 250",
        judged_on="convnet3",
    ),
    "cifar10-ipc10-mtt-64-hour": Row(
        "cifar10",
        f"--ipc 10 --preset mtt-quick --net {HALF}",
        "--iterations 240 --set count=4",
        3,
        judged="--precision auto --epochs 250",
        judged_on="convnet3",
    ),
    "cifar10-ipc10-mtt-plain": Row(
        "cifar10",
        "--ipc 10 --preset mtt-quick --set decoder=plain",
        "--iterations 200",
        5,
        judged="--precision auto",
    ),
    "cifar10-ipc10-mtt-32-plain": Row(
        "cifar10",
        f"--ipc 10 --preset mtt-quick --net {NARROWER} --set decoder=plain",
        "--iterations 80 --set count=2 --set max_start=5",
        5,
        judged="--precision auto",
        judged_on="convnet3",
    ),
    "cifar10-ipc10-calm-half-hour-plain": Row(
        "cifar10", "--ipc 10 --preset calm --set decoder=plain", "", 5, judged="--precision auto"
    ),
    "cifar10-ipc10-calm-dct-narrow": Row(
        "cifar10",
        f"--ipc 10 --preset calm-quick --net {NARROWER}",
        "",
        2,
        judged="--precision auto --epochs 250",
        judged_on="convnet3",
    ),
    "cifar10-ipc10-calm-plain": Row(
        "cifar10",
        "--ipc 10 --preset calm-quick --set decoder=plain --set weights=states --set calibration=10",
        "--iterations 1500 --batch-real 32",
        3,
        judged="--precision auto",
    ),
    "cifar10-ipc10-calm-quick-plain": Row(
        "cifar10", "--ipc 10 --preset calm-quick --set decoder=plain", "", 3, judged="--precision auto"
    ),
    "cifar10-ipc10-calm": Row(
        "cifar10",
        "--ipc 10 --preset calm --set decoder=grid:4 --set batch_synthetic=0",
        "",
        2,
        judged="--precision auto --epochs 250",
    ),
    "cifar10-ipc1-calm-quick": Row(
        "cifar10", "--ipc 1 --preset calm-quick --set decoder=grid:4", "", 3, judged="--precision auto"
    ),
    "cifar10-ipc1-calm": Row("cifar10", "--ipc 1 --preset calm --set decoder=grid:4", "", 2, judged="--precision auto"),
    "cifar10-ipc1-calm-dct": Row("cifar10", "--ipc 1 --preset calm-quick", "", 2, judged="--precision auto --epochs 300"),
    "mnist-ipc10-kip": Row(
        "mnist", "--ipc 10 --method kip", f"--net {NARROWER} --batch-real 200", 2, judged="--precision auto --epochs 300"
    ),
    "mnist-ipc10-frepo": Row(
        "mnist",
        "--ipc 10 --method frepo",
        f"--net {NARROWER} --iterations 1000 --batch-real 32 --precision auto {FASTER} --set pool=5 --set lr_network=0.001",
        2,
        judged="--precision auto --epochs 300",
    ),
    "mnist-ipc10-dd": Row(
        "mnist",
        "--ipc 10 --method dd",
        f"--net {NARROWER} --iterations 200 --batch-real 32 --set init=default --set rate=0.05 --set lr_rate=0.0005 "
        "--set lr_images=0.03",
        2,
        judged="--precision auto --epochs 300",
    ),
    "mnist-ipc10-ld": Row(
        "mnist",
        "--ipc 10 --method ld",
        f"--net {NARROWER} --iterations 600 --batch-real 32 --set lr_labels=0.05 --set inner_lr=0.05",
        2,
        judged="--precision auto --epochs 300",
    ),
    "cifar10-ipc1-frepo": Row(
        "cifar10",
        "--ipc 1 --method frepo",
        f"--net convnet3 --iterations 1000 --batch-real 32 --precision auto {FASTER} --set lr_network=0.001",
        2,
        judged="--precision auto",
    ),
    "cifar10-ipc10-frepo": Row(
        "cifar10",
        "--ipc 10 --method frepo",
        f"--net convnet3 --iterations 1000 --batch-real 32 --precision auto {FASTER} --set lr_network=0.001",
        2,
        judged="--precision auto --epochs 300",
    ),
    "cifar10-ipc10-kip": Row(
        "cifar10", "--ipc 10 --method kip", "--net convnet3 --batch-real 200", 2, judged="--precision auto --epochs 300"
    ),
    "mnist-ipc10-calm": Row("mnist", "--ipc 10 --preset calm-quick --set decoder=plain", "", 3, judged="--precision auto"),
    "mnist-ipc1-calm": Row("mnist", "--ipc 1 --preset calm-quick --set decoder=plain", "", 5, judged="--precision auto"),
    "fashion-mnist-ipc10": Row("fashion-mnist", "--ipc 10", "--iterations 300 --batch-real 64", 1, random=1),
    "lung-ipc1": Row("lc25000-lung", "--ipc 1", "--iterations 100 --batch-real 16 --net convnet5:width=32", 3, random=3),
}


@dataclass(frozen=True)
class Table:
    """A comparison: its data, and the methods and other options of `datadam compare` at the small scale and at the full one;
    `held_out`: on the training part alone, a tenth of which judges."""

    data: str
    small: tuple[str, str]
    full: tuple[str, str]
    held_out: bool = False


def ablation(width: str) -> str:
    """Every term of the loss, alone and with the other, under instance norm and batch norm, with whitening and without."""
    plain, mixed = (f"convnet3[{options}]" if options else "convnet3" for options in (width, f"norm=batch:{width}".rstrip(":")))
    losses = ("power=1", "power=4", "power=1:task_balance=0", "power=4:task_balance=0", "layers=none")
    return ",".join(f"datadam:{loss}:net={net}:zca={z}" for z in ("kornia", "none") for net in (plain, mixed) for loss in losses)


# What costs most has the fewest iterations or epochs: about a minute a set on one core, and far from what was published for
# DC, DSA (10 000 iterations at ipc 10) and CAFE (20 000). An iteration of these trains a network too. So few steps lead nowhere
# from noise, where DC and CAFE are published to start: here they start from real images, as the others do.
CHEAP = (
    "random,herding:epochs=3,kcenter:epochs=3,kmeans:epochs=3,forgetting:epochs=3,el2n:averaged=1:epochs=2,"
    "grand:averaged=1:epochs=2,pixel,dc:iterations=30:start=real,dsa:iterations=30,cafe:iterations=15:start=real,dm,datadam:maps=features,datadam"
)
ALL = "random,herding,kcenter,kmeans,forgetting,el2n,grand,pixel,dc,dsa,cafe,dm,datadam:maps=features,datadam"
PRECISIONS = "datadam:precision=float32,datadam:precision=bfloat16"
NARROW = "--net convnet3:width=32"
METHODS = (CHEAP, f"--ipc 1,10 {NARROW} --no-zca --iterations 150 --batch-real 64 --students 2 --epochs 200"), (ALL, "--ipc 1,10")
PRECISION = (
    (PRECISIONS, f"--ipc 10 {NARROW} --repeats 3 --iterations 300 --batch-real 64 --students 2 --epochs 150"),
    (PRECISIONS, "--ipc 10"),
)

# Generators at a width and for epochs that are minutes of one core each, far from what was published (667, 200, 500 and 800).
SAMPLED = (
    "random,gmmn:epochs=30:lr=0.003,cgan:epochs=6:width=32:precision=auto,biggan:epochs=2:width=32:precision=auto,"
    "dcvae:epochs=1:width=24:noise=64:precision=auto,datadam"
)
GENERATORS = (
    (SAMPLED, f"--ipc 10 {NARROW} --no-zca --iterations 300 --batch-real 64 --students 3"),
    ("random,gmmn,cgan,biggan,dcvae,pixel,datadam", "--ipc 1,10,50"),
)

# Every method at once, for a price of minutes of one core each. The three that follow experts follow the same two of two epochs,
# which are made once; PAD's see images in no order here, which is its own way of training them. DATM and PAD take no step above
# their threshold, 1 as published: a student of ten steps stands about there at first, so that it is 2.
FOLLOWS = "expert_epochs=1:max_start=2:count=2:steps=10:batch=25:iterations=60"
LATER = f"{FOLLOWS}:first_max=1:epochs=2:expert_optimizer=sgd:threshold=2"
ON = "net=convnet3[width=32]"
PRICED = (
    "random,herding:epochs=3,kcenter:epochs=3,kmeans:epochs=3,forgetting:epochs=3,el2n:averaged=1:epochs=2,"
    "grand:averaged=1:epochs=2,pixel,dc:iterations=30:start=real,dsa:iterations=30,cafe:iterations=15:start=real,dm,datadam,"
    f"calm-quick:decoder=plain,mtt-quick:decoder=plain,calm-quick,mtt-quick,mtt:{FOLLOWS},"
    f"datm:{LATER},pad:{LATER}:curriculum=none:left_out=depth:share=0.25,"
    "kip:iterations=300:batch_real=50,"
    f"frepo:{ON}:iterations=400:batch_real=32:optimizer=adam:lr_images=0.01:lr_labels=0.005:pool=5:lr_network=0.001,"
    f"dd:{ON}:iterations=100:batch_real=32:init=default:rate=0.05:lr_rate=0.0005:lr_images=0.03,"
    f"ld:{ON}:iterations=150:batch_real=32:lr_labels=0.05:inner_lr=0.05,"
    "gmmn:epochs=20:lr=0.003,cgan:epochs=5:width=32:precision=auto,biggan:epochs=1:width=32:precision=auto,"
    "dcvae:epochs=1:width=12:noise=32:precision=auto"
)
EVERY = f"{ALL},calm-quick,calm,mtt-quick,mtt,datm,pad,kip,frepo,dd,ld,gmmn,cgan,biggan,dcvae"


def minutes(ipc: int, students: int) -> tuple[tuple[str, str], tuple[str, str]]:
    """The comparison by minutes, at the small scale, and at the full one."""
    judged = f"--students {students} --epochs 300"
    return (PRICED, f"--ipc {ipc} {NARROW} --no-zca --iterations 150 --batch-real 64 {judged}"), (EVERY, f"--ipc {ipc}")


# What each part of our own method brings, chosen on every tenth training image, which no set was made from.
PLAIN = "calm-quick:decoder=plain"
PARTS = ",".join(
    [PLAIN]
    + [
        f"{PLAIN}:{change}"
        for change in (
            "weights=states", "batch_real=32", "calibration=0", "calibration=10", "start=real",
        )
    ]
    + ["dm:start=real:lr_images=4:iterations=150:batch_real=128"]
)  # fmt: skip
# What it costs to compute the real side once for several iterations. Held out likewise.
SHARED = "dm:start=real:lr_images=4:iterations=150:batch_real=128", "datadam:iterations=150:batch_real=128:zca=none"
SHARING = ",".join(f"{method}:real_every={every}".removesuffix(":real_every=1") for method in SHARED for every in (1, 3, 10))
# What a way of storing brings in the bytes of one image a class: to real images, and to our own method. Held out likewise.
STORING = ",".join(f"{method}:decoder={decoder}" for method in ("random", "calm-quick") for decoder in ("grid:4", "dct:32"))
TABLES = {
    "storage": Table(
        "cifar10",
        (STORING, f"--ipc 1 {NARROW} --repeats 3 --students 1 --epochs 500"),
        (STORING, "--ipc 1"),
        held_out=True,
    ),
    "real-every": Table(
        "cifar10",
        (SHARING, f"--ipc 10 {NARROW} --repeats 3 --students 2 --epochs 150"),
        (SHARING, "--ipc 10"),
        held_out=True,
    ),
    "calm-parts": Table(
        "cifar10",
        (PARTS, f"--ipc 10 {NARROW} --repeats 3 --students 2 --epochs 150 --precision auto"),
        (PARTS, "--ipc 10"),
        held_out=True,
    ),
    "ablation": Table(
        "cifar10",
        (
            ablation("width=32"),
            "--ipc 10 --nets convnet3:width=32 --repeats 3 --iterations 300 --batch-real 64 --students 2 --epochs 300 "
            "--precision auto",
        ),
        (ablation(""), "--ipc 10 --nets convnet3"),
    ),
    "precision-mnist": Table("mnist", (PRECISIONS, PRECISION[0][1].replace("--repeats 3", "--repeats 2")), PRECISION[1]),
    "precision-cifar10": Table("cifar10", *PRECISION),
    "methods-mnist": Table("mnist", *METHODS),
    "methods-cifar10": Table("cifar10", *METHODS),
    "minutes-mnist": Table("mnist", *minutes(1, 3)),
    "minutes-mnist-ipc10": Table("mnist", *minutes(10, 2)),
    "minutes-cifar10": Table("cifar10", *minutes(1, 3)),
    "minutes-cifar10-ipc10": Table("cifar10", *minutes(10, 2)),
    "generators-mnist": Table("mnist", *GENERATORS),
    "generators-cifar10": Table("cifar10", *GENERATORS),
}
TABLE_FILES = ("table.json", "table.md", "table.csv", "table.png")


def datadam(*arguments: str) -> None:
    """Run one command line, or stop with it."""
    arguments = (*arguments, *EVERYWHERE)
    print("$ datadam", *arguments, flush=True)
    code = subprocess.run([sys.executable, "-m", "datadam.cli", *arguments], check=False).returncode
    if code:
        sys.exit(code)


def make_experts(name: str, data: Path) -> Path:
    """The folder of some experts, which are made, or gone on with, where they are not done."""
    folder, (of, options) = Path("evidence") / "small" / "experts" / name, EXPERTS[name]
    datadam("experts", of, "--root", str(data), *options.split(), "--out", str(folder))
    return folder


def distil(name: str, row: Row, source: list[str], data: Path, scale: str) -> tuple[Path, Path]:
    """Make the run of a row, and before it the one that it starts from: the run's folder, and that of its first set."""
    run = Path("evidence") / scale / name
    folders = [run] if scale == "small" else [run / str(r) for r in range(SETS)]
    done = all((folder / "card.json").exists() for folder in folders)
    if not done and any((folder / "checkpoint" / "state.safetensors").exists() for folder in folders):
        datadam("distill", "--resume", str(run))
    elif not done:
        size = row.small.split() if scale == "small" else ["--repeats", str(SETS)]
        if row.experts and scale == "small":
            size += ["--set", f"networks=experts:{make_experts(row.experts, data)}"]
        if row.start:
            size += ["--start", str(distil(row.start, ROWS[row.start], source, data, scale)[0])]
        datadam("distill", *source, *row.options.split(), *size, "--out", str(run))
    return run, folders[0]


def make(name: str, row: Row, data: Path, scale: str) -> None:
    """Distil, judge, compare with random images, copy what a reader needs."""
    folder = data / row.data
    if row.data == "lc25000-lung" and not folder.is_dir():
        print(f"{name}: left out, {folder} is not there (LC25000's lung images as train/CLASS and test/CLASS)", flush=True)
        return
    source = [str(folder)] if row.data == "lc25000-lung" else [row.data, "--root", str(data)]
    run, first = distil(name, row, source, data, scale)
    card = json.loads((first / "card.json").read_text())
    net = row.judged_on or card["recipe"]["net"]
    judged = ["--net", net, *(row.judged.split() if scale == "small" else [])]

    def students(count: int) -> list[str]:
        return ["--students", str(count)] if scale == "small" else ["--full"]

    kept = {path.name.split("-")[0] for path in (run / "evaluations").glob("*.json")}
    if "distilled" not in kept:
        datadam("evaluate", str(run), "--protocol", "honest", *judged, *students(row.small_students))
    for protocol in row.also:
        if not any(f"-{protocol}" in path.name for path in (run / "evaluations").glob("distilled-*.json")):
            datadam("evaluate", str(run), "--protocol", protocol, *judged, *students(row.small_students))
    ipc = row.options.split()[1]
    if row.random and "random" not in kept:
        datadam("baseline", *source, "--ipc", ipc, "--protocol", "honest", *judged, *students(row.random), "--beside", str(run))
    if row.whole_epochs and "whole" not in kept:
        epochs = ["--epochs", str(row.whole_epochs)] if scale == "small" else []
        datadam("baseline", *source, "--whole", "--net", net, *epochs, "--beside", str(run))
    publish(run, first, HERE / scale / name, str(data))


def command(table: Table, data: Path, out: Path, scale: str) -> list[str]:
    """The words of the command that makes a table."""
    methods, options = table.small if scale == "small" else table.full
    size = [] if scale == "small" else ["--repeats", str(SETS), "--full"]
    source = [f"evidence/{table.data}-held-out.npz"] if table.held_out else [table.data, "--root", str(data)]
    return ["compare", *source, "--methods", methods, *options.split(), *size, "--out", str(out)]


def compare(name: str, table: Table, data: Path, scale: str) -> None:
    """Compare, and copy the table; what is done already is not done again."""
    out, file = Path("evidence") / scale / name, Path("evidence") / f"{table.data}-held-out.npz"
    if table.held_out and not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, HERE / "held_out.py", table.data, "--root", data, "--out", file], check=True)
    datadam(*command(table, data, out, scale))
    publish_table(out, HERE / scale / "tables" / name, str(data))


def publish_table(out: Path, to: Path, data: str) -> None:
    """Copy what results/ keeps of a comparison, without the place of the data on this machine."""
    to.mkdir(parents=True, exist_ok=True)
    for name in TABLE_FILES:
        if name.endswith(".png"):
            shutil.copy(out / name, to / name)
        else:
            text = (out / name).read_text().replace(data, "DATA").replace(str(Path("evidence").resolve()), "evidence")
            (to / name).write_text(text)
    print("kept in", to, flush=True)


def publish(run: Path, first: Path, to: Path, data: str) -> None:
    """Copy what results/ keeps of a run and of its first set, without the places of data and cache on this machine."""
    (to / "evaluations").mkdir(parents=True, exist_ok=True)
    shutil.copy(first / "preview.png", to / "preview.png")
    for path in [first / "card.json", first / "metrics.jsonl", *(run / "evaluations").glob("*.json")]:
        if path.exists():
            place = to / "evaluations" if path.parent.name == "evaluations" else to
            text = path.read_text().replace(data, "DATA").replace(str(cache_folder("pools").resolve()), "CACHE/pools")
            text = text.replace(str(Path("evidence").resolve()), "evidence")
            (place / path.name).write_text(text)
    print("kept in", to, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, required=True, help="folder that holds the data sets, or where they are downloaded to"
    )
    parser.add_argument("--scale", choices=("small", "full"), default="full")
    parser.add_argument("--device", default="cpu", help="where to compute, as datadam knows it")
    known = (*ROWS, *TABLES)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(known)} (default: all)")
    asked = parser.parse_args()
    EVERYWHERE += ["--device", asked.device] if asked.device != "cpu" else []
    if unknown := set(asked.names) - set(known):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(known)}")
    for each in asked.names or known:
        if each in TABLES:
            compare(each, TABLES[each], asked.data.resolve(), asked.scale)
        else:
            make(each, ROWS[each], asked.data.resolve(), asked.scale)
