"""What does bfloat16 on the real side do to the gradient of the images? Its cosine with that of float32, term by term.

    python benchmarks/speed/precision.py cifar10 --root FOLDER --out results/benchmarks/precision.json [--run RUN ...]

The default preset, at its first images and at those of finished runs (--run), where the two sides are near to each other and a
rounding weighs most. For every block's map alone, for the last feature alone, and for all together; with instance and batch norm;
also what it would do on the synthetic side, where the product never uses it.
"""

import argparse
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import interleave
import torch
from torch import Tensor

import datadam
from datadam import machine, nets
from datadam.data.resident import keep
from datadam.distillation.start import first_images
from datadam.methods import DM, DataDAM, FeatureMatching
from datadam.methods.draw import Draw, Draws
from datadam.methods.matching import augment, descriptor_sums

NETWORKS, CLASSES, IPC = 2, 2, 10
TERMS: dict[str, FeatureMatching] = {
    "map of block 1": DataDAM(layers=(1,), task_balance=0),
    "map of block 2": DataDAM(layers=(2,), task_balance=0),
    "map of block 3": DataDAM(layers=(3,), task_balance=0),
    "map of block 1, p = 1": DataDAM(layers=(1,), task_balance=0, power=1),
    "last feature": DM(),
    "datadam": DataDAM(),
}


def gradient(method: FeatureMatching, draw: Draw, k: int, images: Tensor, real: bool, synthetic: bool) -> Tensor:
    """The gradient of class k's images; `real` and `synthetic` say which side computes in bfloat16."""
    network, augmentation = draw.network(), draw.augmentation(k)

    def means(x: Tensor, coarse: bool) -> list[Tensor]:
        with torch.autocast("cpu", torch.bfloat16) if coarse else nullcontext():
            sums = descriptor_sums(method, network, augment(augmentation, x), (len(x),))
        return [s / len(x) for s in sums]

    with torch.no_grad():
        of_real = means(draw.real(k), real)
    leaf = images.clone().requires_grad_()
    terms = method.terms(of_real, means(leaf, synthetic))
    return torch.autograd.grad(torch.stack(list(terms.values())).sum(), leaf)[0]


def cosines(real: datadam.RealData, images: Tensor, ipc: int, norm: str, kept: Tensor | None) -> dict[str, Any]:
    """For each term the least cosine over networks and classes; `kept`, the training images as a run in bfloat16 keeps them."""
    network = nets.build(f"convnet3:norm={norm}", shape=real.shape, classes=len(real.classes))
    recipe = datadam.preset("datadam", real, ipc=ipc)
    draws = Draws(real, network, 0, recipe.batch_real, recipe.augment)
    rounded_draws = Draws(real, network, 0, recipe.batch_real, recipe.augment, kept=kept)
    found: dict[str, Any] = {}
    for name, method in TERMS.items():
        least = {"real side": 1.0, "synthetic side": 1.0}
        for number in range(NETWORKS):
            draw, coarse_draw = draws.at(number), rounded_draws.at(number)
            for k in range(CLASSES):
                of_class = images[k * ipc : (k + 1) * ipc]
                exact = gradient(method, draw, k, of_class, False, False)
                for side, (coarse, also) in {"real side": (True, False), "synthetic side": (False, True)}.items():
                    rounded = gradient(method, coarse_draw if coarse else draw, k, of_class, coarse, also)
                    cosine = float(torch.cosine_similarity(exact.flatten(), rounded.flatten(), dim=0))
                    least[side] = min(least[side], cosine)
        found[name] = {side: round(value, 6) for side, value in least.items()}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--root", type=Path)
    parser.add_argument("--run", type=Path, action="append", default=[])
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    machine.tune_allocator()
    real = datadam.load(given.data, root=given.root)
    recipe = datadam.preset("datadam", real, ipc=IPC)
    if recipe.zca != "none":
        real = real.with_zca("kornia")
    kept = keep(real, "float16", torch.device("cpu")) if real.transform.zca else None
    at = {"first images": first_images(real, IPC, "real", 0)}
    at |= {f"images of {run.name}, as they stand": latest(run) for run in given.run}
    result = {
        "command": "python benchmarks/speed/precision.py "
        + " ".join("DATA" if word == str(given.root) else Path(word).name if "/" in word else word for word in sys.argv[1:]),
        "hardware": machine.hardware(torch.device("cpu")),
        "versions": machine.versions(),
        "commit": machine.commit(),
        "data": real.name,
        "whitened": recipe.zca,
        "least_cosine_of": f"{NETWORKS} networks x {CLASSES} classes, ipc {IPC}, {recipe.batch_real} real images",
        "cosines": {
            f"{where}, {norm} norm": cosines(real, images, IPC, norm, kept)
            for where, images in at.items()
            for norm in (("instance", "batch") if where == "first images" else ("instance",))
        },
    }
    interleave.write(result, given.out)


def latest(run: Path) -> Tensor:
    """The images of a finished run, or the last ones kept on the way."""
    from datadam.files.whole import read_tensors

    kept = sorted((run / "snapshots").glob("*.safetensors"))
    path = run / "distilled.safetensors" if (run / "distilled.safetensors").exists() else kept[-1]
    return read_tensors(path)[0]["images"]


if __name__ == "__main__":
    main()
