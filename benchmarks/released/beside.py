"""Released code beside datadam on one small input, in float64: `python benchmarks/released/beside.py --repos FOLDER`.

FOLDER holds clones, of which nothing is fetched here, each under its own name (other revisions work as long as the programs do):

    git clone https://github.com/VICO-UoE/DatasetCondensation
    git clone https://github.com/DataDistillation/DataDAM
    git clone https://github.com/kaiwang960112/CAFE
    git clone https://github.com/GeorgeCazenavette/mtt-distillation
    git clone https://github.com/justincui03/dc_benchmark
    git clone https://github.com/DataDistillation/ECCV2024-Dataset-Distillation-Challenge

What is compared, and how far apart the two are, goes to results/fidelity.json. Whitening is compared where kornia is installed.
With --golden the numbers of the released code go to tests/fidelity/golden.json, which the tests hold datadam, and our own writing
of the formulas, against.
"""

import argparse
import importlib
import json
import subprocess
import sys
import types
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(Path(__file__).resolve().parent)]

import schedules  # noqa: E402 (both folders are known now)
import theirs  # noqa: E402
from fidelity import case, product  # noqa: E402

from datadam import machine  # noqa: E402
from datadam.data.field import numbers  # noqa: E402
from datadam.data.whitening import fit_zca  # noqa: E402
from datadam.methods.dc import distance  # noqa: E402
from datadam.training.trainer import Training  # noqa: E402

GREY = (1, 32, 32)
NORMS = ("instance", "batch", "layer", "group", "none")
LOADERS = {"DatasetCondensation": "field", "DataDAM": "field", "CAFE": "mtt", "mtt-distillation": "mtt"}
SETS = {"MNIST": "mnist", "FashionMNIST": "fashion-mnist", "SVHN": "svhn", "CIFAR10": "cifar10", "CIFAR100": "cifar100"}
JUDGED = (
    ("dsa", "dsa", 1000), ("dsa", "none", 300), ("official", "dsa", 1800), ("dc-bench", "dsa", 1000), ("dc-bench", "none", 300),
    ("eccv24", "dsa", 1000),
)  # fmt: skip


def released(repos: Path) -> dict[str, Any]:
    """What the released code gives, as golden.json holds it."""
    white = theirs.whitened(repos)
    found: dict[str, Any] = {
        "commits": {folder.name: commit(folder) for folder in sorted(repos.iterdir()) if (folder / ".git").exists()},
        "networks": {}, "grey": case.told(theirs.features(repos, "instance", GREY)[1]), "operations": theirs.operations(repos),
        "distance": theirs.distance(repos), "trained": case.told(flat(theirs.trained(repos))),
        "zca": None if white is None else case.told(white), "steps": {},
        "schedules": {f"{name} {augment}": schedules.schedule(repos, name, epochs) for name, augment, epochs in JUDGED},
        "normalisation": normalisations(repos),
    }  # fmt: skip
    for norm in NORMS:
        net, seen = theirs.features(repos, norm)
        found["networks"][norm] = {"weights": sum(p.numel() for p in net.parameters()), "told": case.told(seen)}
    for name in theirs.PROGRAMS:
        made = theirs.steps(repos, name)
        told = [case.told(x - case.start()) for x in made["images"]]
        found["steps"][name] = {"told": told, "augmentations": made["augmentations"], "inner": train_calls(name, made["inner"])}
    return found


def flat(weights: Iterable[Tensor]) -> Tensor:
    """All weights in one vector."""
    return torch.cat([w.flatten() for w in weights])


def train_calls(name: str, inner: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The augmentations of a network's training; CAFE augments once more after each epoch but the last, for an accuracy."""
    if name != "cafe":
        return inner
    each = 2 * case.EPOCHS["cafe"] - 1
    return [call for first in range(0, len(inner), each) for call in inner[first : first + each : 2]]


def normalisations(repos: Path) -> dict[str, dict[str, Any]]:
    """Mean and standard deviation of each data set that a loader knows."""
    found: dict[str, dict[str, Any]] = {}
    for name in LOADERS:
        if not (repos / name).is_dir():
            continue
        with theirs.modules(repos / name), mock.patch.object(torch.utils.data, "DataLoader", mock.MagicMock()):
            loader, args = importlib.import_module("utils").get_dataset, types.SimpleNamespace(zca=False)
            more = {"DataDAM": (args,), "mtt-distillation": (1, "", args)}.get(name, ())
            for theirs_, ours in SETS.items():
                try:
                    values = loader(theirs_, "", *more)
                except SystemExit:  # a data set that it does not know
                    continue
                found.setdefault(name, {})[ours] = list(_mean_std(values))
    return found


def _mean_std(values: Any) -> tuple[list[float], list[float]]:
    """The two lists of numbers among what a loader returns."""
    mean, std = (
        list(value) for value in values if isinstance(value, list) and value and all(isinstance(v, float) for v in value)
    )
    return mean, std


def compare(golden: dict[str, Any]) -> dict[str, Any]:
    """How far datadam is from these numbers, as a share of the largest, and what is equal."""
    rows: dict[str, Any] = {}
    for norm, theirs_ in golden["networks"].items():
        net = product.network(norm)
        seen = net.features(case.uniform(3, 4, *case.SHAPE)).embedding
        rows[f"ConvNet-3, norm={norm}"] = {"apart": case.apart(case.told(seen), theirs_["told"]),
                                           "weights": [sum(p.numel() for p in net.parameters()), theirs_["weights"]]}  # fmt: skip
    grey = product.network("instance", shape=GREY, more=":widen=grey").features(case.uniform(3, 4, *GREY)).embedding
    rows["ConvNet-3, one channel of 32x32 pixels, widen=grey"] = {"apart": case.apart(case.told(grey), golden["grey"])}
    far: dict[str, float] = {}
    for move in golden["operations"]:
        out = product.augmentation({name: value for name, value in move.items() if name != "told"})
        assert out is not None
        word = move["operation"]
        far[word] = max(far.get(word, 0.0), case.apart(case.told(out(case.start()[:5])), move["told"]))
    rows |= {f"augmentation, {word}": {"apart": value} for word, value in far.items()}
    sides = [[case.uniform(40 + 10 * side + i, *shape) - 0.4 for i, shape in enumerate(((4, 3, 3, 3), (4, 6, 5), (5, 8)))]
             for side in (0, 1)]  # fmt: skip
    rows["DC's distance of gradients"] = {"apart": case.apart([float(distance(*sides, 1e-6))], [golden["distance"]])}
    for name, theirs_ in golden["steps"].items():
        ours = product.steps(name, theirs_)
        found = [case.apart(case.told(x - case.start()), t) for x, t in zip(ours, theirs_["told"], strict=True)]
        twice = ", the embedding counted twice as there" if name == "cafe" else ""
        rows[f"{name}: movement in {case.STEPS} image steps{twice}"] = {"apart": found}
    training = Training(epochs=7, drop_after=5, fresh_optimizer=True)
    weights = flat(product.trained(training))
    rows["a student of 7 epochs, the rate falling after the 5th"] = {"apart": case.apart(case.told(weights), golden["trained"])}
    if golden["zca"] is not None:
        images = torch.from_numpy(case.pixels()).double()[:, :, ::4, ::4] / 255
        white = fit_zca(images, variant="kornia").apply(images)
        rows["ZCA, fitted on pixels (kept in float32 here)"] = {"apart": case.apart(case.told(white), golden["zca"])}
    for key, theirs_ in golden["schedules"].items():
        rows[f"protocol {key}"] = {"equal": schedules.ours(*key.split()) == theirs_, "released": theirs_}
    for name, sets in golden["normalisation"].items():
        own = {data: list(map(list, numbers(LOADERS[name], data, len(std)) or ())) for data, (_, std) in sets.items()}  # type: ignore[arg-type]
        rows[f"normalisation of {name}"] = {"equal": own == sets, "released": sets}
    return rows


def commit(folder: Path) -> str:
    """What revision a clone is at."""
    return subprocess.check_output(["git", "-C", str(folder), "rev-parse", "HEAD"], text=True).strip()[:12]


def main() -> None:
    """Compare, and say where the two are apart."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repos", type=Path, required=True, help="folder of the clones")
    parser.add_argument("--golden", action="store_true", help="keep their numbers for the tests")
    options = parser.parse_args()
    torch.set_num_threads(1)
    golden = released(options.repos.resolve())
    if options.golden:
        small = {name: steps for name, steps in golden["steps"].items() if " on " not in name}  # the others take minutes
        case.GOLDEN.write_text(json.dumps(golden | {"steps": small}, separators=(",", ":")) + "\n")
    rows = compare(golden)
    out = {
        "command": "python benchmarks/released/beside.py --repos FOLDER", "commits": golden["commits"], "rows": rows,
        "versions": machine.versions(), "hardware": machine.hardware(torch.device("cpu")), "commit": machine.commit(),
    }  # fmt: skip
    (ROOT / "results" / "fidelity.json").write_text(json.dumps(out, indent=1, ensure_ascii=False) + "\n")
    for name, row in rows.items():
        print(f"{name.ljust(60)} {row.get('apart', 'equal' if row.get('equal') else 'OTHER')}")


if __name__ == "__main__":
    main()
