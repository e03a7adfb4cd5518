"""Is a set of ImageNet-1K's shape drawn from with memory that does not grow?

    python benchmarks/scale/flat_memory.py --out flat_memory.json
    python benchmarks/scale/flat_memory.py --size 32 --images-per-class 64 --set zca=kornia,decoder=grid:2 --growth 10,100,1000

Makes up 1000 classes of images of 64 x 64 (1281 a class, 15.7 GB; fewer if the disk has no room), written straight into
the memory map that a set too large for the memory gets, and distils it: ITERATIONS iterations of DataDAM with BATCH real
images a class. Told, in MB: the peak of the process before, after each iteration, and of what it holds the part that is
its own (a mapped page is the system's, which takes it back when it needs it). With --growth the same is done for several numbers
of classes, each in a process of its own, and the "rest" is told: the peak less three tensors of the stored images' size (images,
momentum, gradient).
"""

import argparse
import json
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import datadam
from datadam.data import cache
from datadam.data.real import RealData, Split
from datadam.data.whitening import Transform

IMAGENET_A_CLASS = 1281
BATCH = 8  # real images of each class
ITERATIONS = 2
NET = "convnet4:width=32"  # the field's depth at 64 x 64; its width does not touch the memory of the data


def iterate(real: RealData, words: str = "", out: Path | None = None) -> Iterator[None]:
    """The work whose memory is measured: DataDAM at one image per class, with settings in `words`; yields after each one."""
    settings = {"iterations": ITERATIONS, "batch_real": BATCH, "net": NET}
    settings |= dict(word.split("=", 1) for word in words.split(",") if word)
    recipe = datadam.preset("datadam", real, ipc=1).change(settings)
    for _ in datadam.begin(real, recipe, out=out).steps():
        yield


def make(classes: int, per_class: int, size: int, folder: Path) -> RealData:
    """Images of noise, each the sum of its class's pattern and one of its own: all different, the same ones every time."""
    shape = (3, size, size)
    rng = np.random.default_rng(0)
    of_class = rng.integers(0, 128, (classes, *shape), dtype=np.uint8)
    own = rng.integers(0, 128, (per_class, *shape), dtype=np.uint8)

    def fill(start: int, stop: int, out: np.ndarray) -> None:
        label, i = np.divmod(np.arange(start, stop), per_class)
        np.add(of_class[label], own[i], out=out)

    count = classes * per_class
    pixels = cache.pixels(
        count,
        shape,
        fill,
        key=f"flat memory {classes} {per_class}",
        memory_limit=0,
        progress=lambda what, done, total: print(f"\r{what}: {done} of {total}", end="", file=sys.stderr),
        folder=folder,
    )
    print(file=sys.stderr)
    labels = np.repeat(np.arange(classes), per_class)
    few = np.empty((classes, *shape), dtype=np.uint8)
    for k in range(classes):
        fill(k * per_class, k * per_class + 1, few[k : k + 1])
    names = tuple(f"class {k}" for k in range(classes))
    transform = Transform((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    return RealData("noise", "", {}, names, Split(pixels, labels), Split(few, np.arange(classes)), transform)


def memory() -> dict[str, float]:
    """Peak, and what the process holds now of its own and of mapped files, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1024 if sys.platform == "linux" else 1) / 1e6
    found = {"peak": peak}
    if sys.platform == "linux":
        lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        found |= {key: int(lines[name].split()[0]) * 1024 / 1e6 for key, name in (("own", "RssAnon"), ("mapped", "RssFile"))}
    return {key: round(value, 1) for key, value in found.items()}


def growth(given: argparse.Namespace) -> None:
    """The same for several numbers of classes; rows are added to those that the file has for other settings."""
    rows = []
    for classes in map(int, given.growth.split(",")):
        words = ["--classes", str(classes), "--size", str(given.size), "--set", given.set]
        words += ["--images-per-class", str(given.images_per_class)] if given.images_per_class else []
        done = subprocess.run([sys.executable, __file__, *words], stdout=subprocess.PIPE, text=True, check=True)
        one = json.loads(done.stdout)
        peak = one["memory_mb"]["after each iteration"][-1]["peak"]
        tensors = 3 * classes * 3 * given.size**2 * 4 / 1e6
        rows.append(
            {"classes": classes, "peak_mb": peak, "three_tensors_mb": round(tensors, 1), "rest_mb": round(peak - tensors, 1)}
        )
        print(rows[-1], file=sys.stderr)
    kept = json.loads(given.out.read_text()) if given.out and given.out.exists() else {}
    kept[given.set or "plain"] = {"command": "python " + " ".join(sys.argv), "rows": rows, "size": given.size, "net": NET}
    text = json.dumps(kept, indent=1)
    print(text)
    if given.out:
        given.out.write_text(text + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--images-per-class", type=int, help=f"default: {IMAGENET_A_CLASS}, or what half of the disk holds")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--cache", type=Path, help="keep the images in this folder (default: a temporary one)")
    parser.add_argument("--set", default="", help="settings of the run, such as zca=kornia,decoder=grid:2")
    parser.add_argument("--growth", help="numbers of classes, one run each")
    parser.add_argument("--out", type=Path, help="write the result here too")
    given = parser.parse_args()
    if given.growth:
        growth(given)
        return
    folder = given.cache or Path(tempfile.mkdtemp(prefix="flat_memory-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        room = shutil.disk_usage(folder).free // 2 // (given.classes * 3 * given.size**2)
        per_class = given.images_per_class or max(BATCH, min(IMAGENET_A_CLASS, room))
        start = time.perf_counter()
        real = make(given.classes, per_class, given.size, folder)
        made = time.perf_counter()
        before, after = memory(), []
        for _ in iterate(real, given.set, folder / "run"):
            after.append(memory())
        result = {
            "command": "python " + " ".join(sys.argv),
            "images": len(real.train),
            "shape": real.shape,
            "classes": len(real.classes),
            "pixels_mb": round(real.train.pixels.nbytes / 1e6, 1),
            "memory_mb": {"before": before, "after each iteration": after},
            "seconds": {"making": round(made - start, 1), "distilling": round(time.perf_counter() - made, 1)},
            "net": NET,
            "settings": given.set,
            "iterations": ITERATIONS,
            "real_images_a_class": BATCH,
            "machine": platform.processor() or platform.machine(),
        }
    finally:
        if given.cache is None:
            shutil.rmtree(folder)
    text = json.dumps(result, indent=1)
    print(text)
    if given.out:
        given.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
