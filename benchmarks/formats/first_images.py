"""Which normalisation has a file of others? With the right one, real images come out on the 256 levels of their pixels.

    git clone https://github.com/DataDistillation/DataDAM
    python benchmarks/formats/first_images.py DataDAM/Initial_Synthetic_Dataset/CIFAR10_IPC1_images.pt \\
        DataDAM/Initial_Synthetic_Dataset/CIFAR10_IPC10_images.pt --data FOLDER --out results/formats/datadam-first-images.json

FOLDER holds cifar-10-batches-bin. The authors' first images are real ones; they are read with the deviation of the field's
loaders (a mean over batches) and with that of all training pixels.
"""

import argparse
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import datadam
from datadam import machine
from datadam.exchange import import_
from datadam.exchange.outward import pixels

NEAR = 1e-3  # of a level; float32 keeps pixels to about 2e-5 of one


def look(file: Path, real: datadam.RealData, std: tuple[float, ...] | None) -> dict[str, Any]:
    """How far the pixels of a file are from the levels, read with the field's numbers (None) or with this deviation."""
    mean = None if std is None else real.transform.mean
    (one,) = import_(file, "mtt", real, mean=mean, std=std)
    levels = 255 * pixels(one.images, one.transform)
    gap = (levels - levels.round()).abs()
    return {
        "file": file.name, "sha256": hashlib.sha256(file.read_bytes()).hexdigest(), "mean": one.transform.mean,
        "deviation": one.transform.std, "images": len(one.labels), "values": gap.numel(), "on_a_level": int((gap < NEAR).sum()),
        "outside_0_to_255": int(((levels < -NEAR) | (levels > 255 + NEAR)).sum()), "largest_gap": float(gap.max()),
        "notes": one.card["warnings"],
    }  # fmt: skip


def main() -> None:
    """Look at every file with both deviations."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    real = datadam.load("cifar10", root=asked.data)
    told = [look(file, real, std) for file in asked.files for std in (None, real.transform.std)]
    for one in told:
        print(f"{one['file']}, deviation {one['deviation']}: {one['on_a_level']} of {one['values']} on a level", file=sys.stderr)
    names = " ".join(f"DataDAM/Initial_Synthetic_Dataset/{file.name}" for file in asked.files)
    about = {
        "command": f"python benchmarks/formats/first_images.py {names} --data FOLDER --out results/formats/{asked.out.name}",
        "from": "https://github.com/DataDistillation/DataDAM", "near": NEAR, "read": told, "versions": machine.versions(),
        "commit": machine.commit(), "created": machine.now(),
    }  # fmt: skip
    asked.out.write_text(json.dumps(about, indent=1) + "\n")


if __name__ == "__main__":
    main()
