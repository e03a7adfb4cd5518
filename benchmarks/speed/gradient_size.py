"""How strongly does each loss pull at a pixel? The root mean square of its gradient at the first iterations of a run.

    python benchmarks/speed/gradient_size.py cifar10 --root FOLDER --out results/benchmarks/gradient_size.json

One class at a time, 10 random real images as the synthetic ones, B = 64, no augmentation, no whitening, a fresh network each
iteration. For DM, for the presets `datadam`, `paper` and `official` as they are, and for each of their two terms alone.
"""

import argparse
import json
import sys
from pathlib import Path

import torch

import datadam
from datadam import machine, nets
from datadam.distillation.recipe import Recipe
from datadam.distillation.start import first_images
from datadam.methods import FeatureMatching
from datadam.methods.draw import Draws
from datadam.methods.matching import Engine
from datadam.methods.plan import Plan
from datadam.sets.synthetic import SyntheticSet

NETWORKS = 10


def sizes(real: datadam.RealData, recipe: Recipe) -> dict[str, float]:
    """Root mean square gradient per pixel of the loss and of each term, averaged over `NETWORKS` networks."""
    assert isinstance(recipe.method, FeatureMatching)
    network = nets.build(nets.canonical(recipe.net, real.shape), shape=real.shape, classes=len(real.classes))
    draws = Draws(real, network, recipe.seed, recipe.batch_real)
    synthetic = SyntheticSet({"images": first_images(real, recipe.ipc, "real", recipe.seed)}, real.classes, recipe.counts(real))
    engine = Engine(recipe.method, Plan(compiled=False, chunk=128, threads=torch.get_num_threads()))
    pixels = synthetic.stored.numel()
    found: dict[str, float] = {}
    for iteration in range(NETWORKS):
        gradient = engine.gradient(synthetic, draws.at(iteration), norms=True)
        norms = {"loss": float(gradient.images.norm())} | gradient.norms
        for name, norm in norms.items():
            found[name] = found.get(name, 0.0) + norm / pixels**0.5 / NETWORKS
    return {name: float(f"{value:.3g}") for name, value in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--root", type=Path)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    real = datadam.load(given.data, root=given.root).subset([0])
    found = {}
    for name in ("dm", "datadam", "paper", "official"):
        recipe = datadam.preset(name, real, ipc=10).change({"batch_real": 64})
        found[name] = sizes(real, recipe)
        found[f"{name}, instance norm"] = sizes(real, recipe.change({"net": "auto"})) if "batch" in recipe.net else found[name]
    found = {name: value for name, value in found.items() if "," not in name or name.startswith("official")}
    result = {
        "command": "python benchmarks/speed/gradient_size.py "
        + " ".join("DATA" if a == str(given.root) else a for a in sys.argv[1:]),
        "data": real.name,
        "class": real.classes[0],
        "networks": NETWORKS,
        "rms_gradient_per_pixel": found,
        "hardware": machine.hardware(torch.device("cpu")),
        "versions": machine.versions(),
    }
    text = json.dumps(result, indent=1)
    print(text)
    if given.out:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
