"""Hold the kernels of KIP against Neural Tangents: `python benchmarks/released/ntk.py --python VENV/bin/python --out FILE`.

VENV is an environment of its own, since that package asks for an old JAX: pip install neural-tangents==0.6.5 jax==0.4.30
jaxlib==0.4.30 "numpy<2", and last tf2jax==0.3.6 with --no-deps. This file, which needs no datadam there, is run in it once more
and makes the other half.
"""

import argparse
import json
import platform
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

CASES = (("fc", 1), ("fc", 3), ("conv", 1), ("conv", 3), ("pooled", 1), ("pooled", 2))
SIDE, CHANNELS, IMAGES = 8, 3, (4, 5)


def images() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Two sets [n, C, H, W] that share an image."""
    generator = np.random.default_rng(0)
    a, b = (generator.standard_normal((n, CHANNELS, SIDE, SIDE)) for n in IMAGES)
    b[0] = a[0]
    return a, b


def theirs(out: Path) -> None:
    """Their kernels, into a file."""
    import jax  # type: ignore[import-not-found]
    import neural_tangents as nt  # type: ignore[import-not-found]
    from neural_tangents import stax

    jax.config.update("jax_enable_x64", True)
    a, b = (x.transpose(0, 2, 3, 1) for x in images())  # channels last
    scale: dict[str, Any] = {"W_std": 2**0.5, "b_std": 0.1}
    found = {}
    for kind, depth in CASES:
        layers = [stax.Flatten()] if kind == "fc" else []
        for _ in range(depth):
            layers += [stax.Dense(1, **scale) if kind == "fc" else stax.Conv(1, (3, 3), padding="SAME", **scale), stax.Relu()]
            layers += [stax.AvgPool((2, 2), strides=(2, 2))] if kind == "pooled" else []
        *_, kernel = stax.serial(*layers, stax.Flatten(), stax.Dense(1, **scale))
        found[f"{kind}:{depth}"] = np.asarray(kernel(a, b, "ntk"))
    np.savez(out, versions=np.array([nt.__version__, jax.__version__]), **found)


def ours(kind: str, depth: int) -> npt.NDArray[np.float64]:
    """Our kernel of the same images."""
    import torch

    from datadam.methods.ntk import ntk

    a, b = (torch.from_numpy(x) for x in images())
    return ntk(a, b, kind, depth).numpy()


def main() -> None:
    """Make both halves, and write how far they are apart."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", help="the interpreter of the environment that has neural-tangents")
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    parser.add_argument("--theirs", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.theirs:
        theirs(asked.out)
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "theirs.npz")
        subprocess.run([asked.python, __file__, "--theirs", "--out", str(file)], check=True)
        with np.load(file) as found:
            tangents, jax = (str(version) for version in found["versions"])
            apart = {
                name: float(np.abs(ours(*_case(name)) / found[name] - 1).max()) for name in found.files if name != "versions"
            }
    told = {
        "command": "python benchmarks/released/ntk.py --python VENV/bin/python --out results/benchmarks/ntk.json",
        "images": {"sets": IMAGES, "shape": [CHANNELS, SIDE, SIDE]},
        "largest_relative_difference": apart,
        "versions": {"neural-tangents": tangents, "jax": jax, "python": platform.python_version()},
    }
    asked.out.write_text(json.dumps(told, indent=1) + "\n")
    print(json.dumps(told, indent=1))


def _case(name: str) -> tuple[str, int]:
    kind, _, depth = name.partition(":")
    return kind, int(depth)


if __name__ == "__main__":
    main()
