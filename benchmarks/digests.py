"""Whether a change of the code moves a number: many small runs, and SHA-256 digests of what each of them gives.

    python benchmarks/digests.py --against-revision REV           # REV and this checkout, one after the other, compared
    python benchmarks/digests.py --code FOLDER --out FILE.json    # the digests of one checkout
    python benchmarks/digests.py --against FILE.json              # this checkout against digests kept before

Digests rest on how a processor, a number of threads and a version of torch sum, so they can only be compared on one machine;
FILE.json says which, and others are refused. Runs are made through the public names of the package and its command line alone, so
that one script reads old code and new. A case is named by its words, "dm start=noise", and its digests by what they are of, or
"failed: ..." where it breaks. What differs from call to call is left out, and the state of a method: runs that are broken off and
resumed tell of it.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from dataclasses import replace
from fnmatch import fnmatch
from functools import cache, partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

import datadam

Parts = dict[str, Any]
ROOT = Path(__file__).resolve().parents[1]
GIT = partial(subprocess.check_output, text=True)
FILE = "even.npz"  # the data of the command line
NET = "convnet2:width=8"
SMALL = {"net": NET, "iterations": "12", "batch_real": "8", "seed": "3"}
CORESETS = ("random", "kcenter", "kmeans", "herding", "forgetting", "el2n", "grand")
PRESETS = (*CORESETS, "datadam", "dm", "pixel", "dc", "dsa", "cafe", "paper", "official", "course-mnist", "course-mhist")
VIT, SHARED, FEW = "vit:patch=4:width=16:depth=2:heads=2", "iterations_per_network=4", "--students 2 --epochs 3"
BETWEEN = "network_epochs=2 network_when=between network_augment=color_crop"
RUNS = {
    "datadam": f"""precision=float64, precision=bfloat16, precision=auto, power=2 task_balance=0.3 scale=7, error=mae,
error=cosine, map_norm=l1, map_norm=none scale=0.01, maps=features, layers=none, layers=1,2, task_balance=0,
start=kcenter, start=kmeans, zca=kornia, zca=official, net={NET}:norm=batch, data=uneven, data=uneven chunk=12,
data=mnist net=convnet3:width=16 iterations=4, chunk=17, chunk=5, compiled=1, {SHARED}, {SHARED} network_steps=3, stop=5,
stop=5 precision=float64, stop=5 zca=official, iterations=60 seconds=0.1""",
    "dm": f"""precision=float64, augment=none, augment=color, augment=crop, augment=cutout, augment=flip, augment=scale,
augment=rotate, net=convnet3:width=8:act=sigmoid:pool=max, net={NET}:act=leakyrelu:pool=none, net={NET}:pool=avg3:norm=none,
net={NET}:norm=layer, net={NET}:norm=group1, net={NET}:norm=group, net=lenet, net=alexnet, net={VIT}, net=mlp:width=16,
net=vgg11:norm=group,
net=resnet18 iterations=3, init=he-normal, init=he-uniform, init=xavier, init=orthogonal, zca=kornia kept=,
zca=kornia kept=float32, zca=kornia kept=float16, start=noise, snapshots=7, {SHARED} {BETWEEN}, stop=6 {SHARED} {BETWEEN},
compiled=1 chunk=5 precision=bfloat16 stop=5""",
    "pixel": "precision=float64", "dc": f"precision=float64, net={NET}:norm=batch", "dsa": "precision=float64, stop=5",
    "cafe": f"precision=float64, net={NET}:norm=batch, stop=5", "official": f"net={NET}:norm=batch",
}  # fmt: skip
NEW = f"--net {NET} --iterations 12 --batch-real 8 --seed 3 --out RUN/new"
DISTIL = f"distill {FILE} {NEW} --ipc"
AUDIT = f"audit RUN {FEW} --references 2 --samples 40 > audit.json audit.safetensors"
EXPORT, BACK = "export RUN --out RUN/out --to", f"import RUN/out --data {FILE} --out RUN/back --as"
VERBS = f"""{DISTIL} 2 --repeats 2 --snapshots 3 --precision float64 > new/1
{DISTIL} 2 --preset paper --zca --set power=2 > new
{DISTIL} 3 --start RUN > new
{DISTIL} 2 --workers 1 --shards 4 > new
{DISTIL} 2 --method dm --workers 2 --precision float64 > new
distill --resume RUN/stopped --time-limit 600 > stopped
distill --resume RUN/stopped --workers 1 --shards 3 > stopped
pretrain {FILE} --out RUN/pool --net {NET} --count 2 --epochs 8 ; {DISTIL} 2 --set networks=RUN/pool@0-100 > pool/states new
compare {FILE} --methods random,dm,datadam:power=2 --ipc 1,2 --repeats 2 --iterations 4 --net {NET} {FEW} --out RUN/table
baseline {FILE} --beside RUN {FEW} --ipc 2 --sets 2
baseline {FILE} --beside RUN {FEW} --whole --protocol paper
evaluate RUN {FEW} ; baseline {FILE} --beside RUN {FEW} --ipc 2 ; baseline {FILE} --beside RUN {FEW} --whole ; {AUDIT}
report RUN --features trained > inspection.json inspection.safetensors
train RUN --epochs 3 --out RUN/model.safetensors > model.safetensors
{EXPORT} folder ; {BACK} folder ; distill RUN/out --size 12 --fit squash {NEW} --ipc 1 > out back/distilled.safetensors new
{EXPORT} parquet ; {BACK} parquet ; distill RUN/out {NEW} --ipc 1 > out back/distilled.safetensors new
{EXPORT} npz ; {BACK} npz > out back/distilled.safetensors
{EXPORT} mtt ; {BACK} mtt > out back/distilled.safetensors"""
EVALUATE = f"""--net {NET},{NET}:norm=batch,lenet,mlp,resnet18,{VIT}, --snapshots --protocol official, --precision float64,
--precision bfloat16, --augment randaugment, --augment autoaugment --protocol eccv24, --workers 2"""
TELLING = ("seconds", "made", "command", "README.md", "datadam.json")  # keys and files that tell of the call


def digest_of(value: Any) -> str:
    """SHA-256 of a tensor or of bytes, of a mapping by its names in order, and of all else as JSON."""
    if isinstance(value, dict):
        words = "".join(f"{name}:{digest_of(value[name])}\n" for name in sorted(value)).encode()
    elif isinstance(value, torch.Tensor):
        words = f"{value.dtype}{tuple(value.shape)}".encode() + value.contiguous().numpy().tobytes()
    else:
        words = value if isinstance(value, bytes) else json.dumps(value, sort_keys=True).encode()
    return hashlib.sha256(words).hexdigest()


def content(path: Path) -> Any:
    """What a file or a folder holds, but for what differs from call to call."""
    if path.is_dir():
        files = [file for file in path.rglob("*") if file.is_file() and file.name not in TELLING]
        return parts_of(path) if (path / "card.json").exists() else {str(f.relative_to(path)): content(f) for f in files}
    if path.suffix == ".pt":  # its records lie under the name of a temporary file
        with zipfile.ZipFile(path) as file:
            return {name.partition("/")[2]: file.read(name) for name in file.namelist() if "serialization_id" not in name}
    if path.suffix not in (".json", ".jsonl"):
        return load_file(path) if path.suffix == ".safetensors" else path.read_bytes()
    text = path.read_text().replace(f"{Path.cwd()}/", "")
    lines = [text] if path.suffix == ".json" else text.splitlines()
    kept = [{name: value for name, value in json.loads(line).items() if name not in TELLING} for line in lines]
    return kept[0] if path.suffix == ".json" else kept


def arrays(*sizes: int) -> tuple[np.ndarray, ...]:
    """Training images [N, 16, 16, 3], so many a class, and labels; test images, 12 a class, and labels: stripes in noise."""
    rng, parts, (y, x) = np.random.default_rng(0), [], np.mgrid[:16, :16]
    for counts in (sizes, (12,) * len(sizes)):
        labels = rng.permutation(np.repeat(np.arange(len(counts)), counts))
        angle, phase = labels[:, None, None] * 0.7, rng.uniform(0, 6, (len(labels), 1, 1))
        waves = np.sin(x * np.cos(angle) + y * np.sin(angle) + phase)
        pixels = 120 + 50 * waves[..., None] * np.array([1.0, 0.7, 0.4]) + rng.normal(0, 30, (len(labels), 16, 16, 3))
        parts += [pixels.clip(0, 255).astype(np.uint8), labels]
    return tuple(parts)


@cache
def data(name: str) -> Any:
    """The real data of this name."""
    return datadam.load(arrays(24, 24, 24, 24) if name == "even" else arrays(20, 5, 12, 7) if name == "uneven" else name)


def cli(words: str) -> Any:
    """What a command line of `datadam` gives as JSON. Raises `RuntimeError` with what it complains of."""
    done = subprocess.run([sys.executable, "-m", "datadam.cli", *words.split(), "--json"], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"datadam {words}: {done.stderr.strip()[-600:]}")
    return json.loads(done.stdout)


def recipes(out: Path) -> Parts:
    """What each setting is in all presets, for published data and numbers of images."""
    sizes = {"cifar10": (3, 32, 32), "mnist": (1, 28, 28), "tiny-imagenet": (3, 64, 64), "imagenette": (3, 128, 128)}
    kinds = [argparse.Namespace(name=name, shape=shape) for name, shape in sizes.items()]
    cards = [datadam.preset(name, kind, ipc=n).to_card() for name in PRESETS for kind in kinds for n in (1, 7, 10, 50, 60)]
    return {name: [card[name] for card in cards] for name in cards[0]}


def learn(words: str, out: Path) -> Parts:
    """A run into `out` by a preset and settings: those of its recipe, and `data`; `snapshots`, an iteration; of its plan `chunk`,
    `compiled`, `kept`; `stop`, an iteration, or `seconds`, at which it is broken off and resumed, and left in a folder beside."""
    preset, *pairs = words.split()
    asked = ({"net": NET, "seed": "3"} if preset in CORESETS else SMALL) | dict(pair.split("=", 1) for pair in pairs)
    real, stop, limit = data(asked.pop("data", "even")), int(asked.pop("stop", 0)), float(asked.pop("seconds", 0))
    options: Parts = {"snapshots": (int(asked.pop("snapshots")),)} if "snapshots" in asked else {}
    planned = {name: kind(asked.pop(name)) for name, kind in (("chunk", int), ("compiled", bool), ("kept", str)) if name in asked}
    recipe = datadam.preset(preset, real, ipc=2).change(asked)
    if planned:
        options["plan"] = replace(datadam.begin(real, recipe).plan, **planned)
    run = datadam.begin(real, recipe, out=out, **options)
    steps = run.steps(limit or None)
    told = [(step.iteration, step.loss, step.moved) for step in islice(steps, stop or None)]
    steps.close()
    if stop or limit:
        shutil.copytree(out, f"{out}-stopped")
        run = datadam.resume(out, real)
        told += [(step.iteration, step.loss, step.moved) for step in run.steps()]
    run.result()
    return parts_of(out) | {"steps": told}


def parts_of(out: Path) -> Parts:
    """What a finished run folder holds."""
    card, state = json.loads((out / "card.json").read_text()), load_file(out / "checkpoint" / "state.safetensors")
    images, metrics = state.pop("images"), out / "metrics.jsonl"
    momentum = state.pop("momentum", state.pop("buffer/images/momentum_buffer", torch.zeros_like(images)))
    return {
        "images": card["digest"],
        "pixels": datadam.DistilledSet.load(out).pixels(),
        "snapshots": content(out / "snapshots"),
        "card": {name: card.get(name) for name in ("kind", "moved", "iterations_done", "warnings", "transform")},
        "checkpoint": {"images": images, "momentum": momentum},
        "metrics": content(metrics) if metrics.exists() else [],
    }


def verb(words: str, out: Path) -> Parts:
    """Command lines about a run in RUN, parted by ";": evaluations that the last prints, and after ">" what is there then."""
    if not Path("finished").exists():
        learn(f"datadam data={FILE} snapshots=6 stop=5", Path("finished"))
    shutil.copytree("finished", out)
    shutil.copytree("finished-stopped", out / "stopped")
    lines, _, kept = words.partition(" > ")
    for line in lines.split(" ; "):
        told = cli(line.replace("RUN", str(out)))
    made = told if isinstance(told, list) else [cell for row in told.get("rows", []) for cell in row["cells"].values()]
    parts = judged([one for one in made if "mean" in one])
    for name in kept.split():
        parts |= {f"{name} {part}": value for part, value in content(out / name).items()}
    return parts


def judged(made: list[Parts]) -> Parts:
    """What evaluations found, and what was computed from that."""
    names = {"accuracies": "of net iteration protocol accuracies confusion", "statistics": "mean std interval per_class against"}
    return {part: [{name: one.get(name) for name in keys.split()} for one in made] for part, keys in names.items() if made}


def students(out: Path) -> Parts:
    """Judged from Python: the whole set, two sets for few epochs, and one for so many that students are compiled."""
    of = data("even")
    whole = datadam.evaluate_whole(of, net=NET, students=2, seed=1)
    sets = [datadam.distill(of, datadam.preset("random", of, ipc=2).change({"seed": seed})) for seed in (0, 1)]
    short = datadam.evaluate(sets, of, net="lenet", protocol=whole.protocol.with_epochs(3), students=2)
    long = datadam.evaluate(sets[0], of, net=NET, protocol="honest", students=2)
    return judged([whole.to_json(), short.to_json()]) | {"compiled": long.accuracies}


def cases() -> Parts:
    """Every case by its name: a function of a folder that does not exist yet, which gives parts."""
    verbs = [*VERBS.splitlines(), *(f"{EXPORT} {name} > out" for name in ("dm", "kip", "eccv24", "datadam", "ddranking"))]
    verbs += [f"evaluate RUN {FEW} {words}" for words in EVALUATE.replace("\n", " ").split(", ")]
    found: Parts = {name: partial(learn, name) for name in PRESETS}
    for preset, changes in RUNS.items():
        found |= {f"{preset} {words}": partial(learn, f"{preset} {words}") for words in changes.replace("\n", " ").split(", ")}
    return found | {words: partial(verb, words) for words in verbs} | {"students": students, "recipes": recipes}


def work(only: str) -> dict[str, str]:
    """Every digest of the cases asked for, by "case | part"; made in the folder where this is called."""
    torch.set_num_threads(1)
    np.savez(FILE, **dict(zip(("x_train", "y_train", "x_test", "y_test"), arrays(24, 24, 24, 24), strict=True)))
    found: dict[str, str] = {}
    for name, case in ((name, case) for name, case in cases().items() if fnmatch(name, only)):
        began = time.monotonic()
        try:
            found |= {f"{name} | {part}": digest_of(value) for part, value in case(Path(digest_of(name)[:9])).items()}
        except Exception as error:
            found[name] = f"failed: {type(error).__name__}: {error}"
        print(f"{time.monotonic() - began:6.1f} s  {name}", file=sys.stderr)
    return found


def measure(code: Path, only: str) -> Parts:
    """The digests of a checkout, with the machine they were made on."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        own = {"PYTHONPATH": str(code / "src"), "PYTHONSAFEPATH": "1", "OMP_NUM_THREADS": "1", "DATADAM_CACHE": f"{folder}/cache"}
        command = [sys.executable, __file__, "--work", "--code", str(code), "--only", only]
        done = subprocess.run(command, cwd=folder, env=os.environ | own, stdout=subprocess.PIPE, text=True, check=True)
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model, flags = (next((line for line in lines if line.startswith(word)), "") for word in ("model name", "flags"))
    machine = {"cpu": model.partition(": ")[2], "flags": digest_of(flags)[:12], "torch": torch.__version__}
    machine["capability"] = torch.backends.cpu.get_cpu_capability()
    return {
        "commit": GIT(["git", "-C", str(code), "describe", "--always", "--abbrev=12", "--exclude=*", "--dirty"]).strip(),
        "machine": machine, "threads": 1, "seconds": round(time.monotonic() - began), "cases": json.loads(done.stdout),
    }  # fmt: skip


def main() -> int:
    """The command line; 1 where a digest differs or a case failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--code", type=Path, default=ROOT, help="a checkout, whose src is imported (default: this one)")
    parser.add_argument("--out", type=Path, help="where to write the digests")
    parser.add_argument("--against", type=Path, metavar="FILE", help="digests to compare with")
    parser.add_argument("--against-revision", metavar="REV", help="a revision to make digests of first, and to compare with")
    parser.add_argument("--only", default="*", metavar="GLOB", help="cases to run, such as '*stop=*'")
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    code = asked.code.resolve()
    if asked.work:
        assert Path(datadam.__file__).is_relative_to(code), f"{datadam.__file__} is not of {code}"
        print(json.dumps(work(asked.only)))
        return 0
    theirs = json.loads(asked.against.read_text()) if asked.against else None
    if asked.against_revision:
        with tempfile.TemporaryDirectory() as folder:
            there, tree = Path(folder, "code").resolve(), ["git", "-C", str(code), "worktree"]
            GIT([*tree, "add", "--quiet", "--detach", str(there), asked.against_revision])
            try:
                theirs = measure(there, asked.only)
            finally:
                GIT([*tree, "remove", "--force", str(there)])
    ours = measure(code, asked.only)
    if asked.out:
        asked.out.write_text(json.dumps(ours, indent=1) + "\n")
    wrong = [f"{name} {digest}" for name, digest in ours["cases"].items() if digest.startswith("failed: ")]
    if theirs:
        if any(ours[name] != theirs[name] for name in ("machine", "threads")):
            raise SystemExit(f"digests of another machine cannot be compared: {theirs['machine']}, here {ours['machine']}")
        names = [name for name in theirs["cases"] if fnmatch(name.partition(" | ")[0], asked.only)]  # more may have come since
        wrong += [f"{name} differs" for name in names if ours["cases"].get(name) != theirs["cases"][name]]
    print("\n".join([*wrong, f"{len(ours['cases'])} digests in {ours['seconds']} s, {len(wrong)} wrong"]))
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
