"""ImageNet-1K at 64 x 64 and ipc 50 on 8 and on 64 GPUs, on paper.

    python benchmarks/scale/scale_plan.py --out results/benchmarks/scale_plan.json

Counted: floating-point operations, bytes. Measured here: the speed of this CPU (speed.json) and the drawing of an iteration,
which every worker does on a CPU. Assumed: what share of its arithmetic a GPU reaches; no GPU was measured.
"""

import argparse
import json
from pathlib import Path

import interleave
import torch
from torch.utils.flop_counter import FlopCounterMode

from datadam import machine, nets
from datadam.augment.siamese import STRATEGY, draw_augmentation
from datadam.distillation.forecast import passes_of
from datadam.distillation.recipe import Recipe
from datadam.distillation.shards import run as shards
from datadam.methods import DataDAM
from datadam.rng import stream

KEPT = Path(__file__).resolve().parents[2] / "results" / "benchmarks"
CLASSES, SIDE, IPC, BATCH, ITERATIONS, IMAGES = 1000, 64, 50, 256, 8000, 1_281_167
NET = "convnet4"
PEAK = 312e12  # bfloat16 operations a second of an A100, by its data sheet
SHARES = (0.05, 0.20)  # of that, sustained: assumed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    shape = (3, SIDE, SIDE)
    network = nets.headless(nets.build(NET, shape=shape, classes=CLASSES))  # as a run draws it
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network.eval().features(torch.zeros(1, *shape))
    recipe = Recipe(method=DataDAM(), ipc=IPC, net=NET, iterations=ITERATIONS, batch_real=BATCH)
    flops = counter.get_total_flops() * passes_of(recipe, [BATCH] * CLASSES)
    weights = interleave.least(lambda: nets.initialise(network, stream(0, "network", 1)), 20)
    images = interleave.least(
        lambda: (
            torch.randperm(1300, generator=stream(0, "real", 1, "cat"))[:BATCH],
            draw_augmentation(STRATEGY, 0, "augment", 1, "cat"),
        ),
        200,
    )
    speed = json.loads((KEPT / "speed.json").read_text())["iteration"]["ways"]["ours-float32"]
    here = speed["flops"] / speed["seconds"]
    pixels = 3 * SIDE * SIDE
    tensor = CLASSES * IPC * pixels * 4
    pause = min(shards.MOST_PAUSE, max(shards.LEAST_PAUSE, 2 * tensor / shards.BYTES_A_SECOND))
    rows = []
    for gpus in (8, 64):
        drawing = weights + images * CLASSES / gpus
        computing = [flops / gpus / (PEAK * share) for share in SHARES]
        rows.append({
            "gpus": gpus,
            "iteration_ms": [round(1e3 * c, 1) for c in computing],
            "drawing_ms": round(1e3 * drawing, 1),
            "hours": [round(ITERATIONS * max(c, drawing) / 3600, 2) for c in computing],
            "gpu_memory_gb": round((4 * tensor / gpus + IMAGES * pixels / gpus) / 1e9, 2),
            "real_images_a_worker_gb": round(IMAGES * pixels / gpus / 1e9, 2),
        })  # fmt: skip
    result = {
        "command": "python benchmarks/scale/scale_plan.py", "commit": machine.commit(), "created": machine.now(),
        "hardware": machine.hardware(torch.device("cpu")), "versions": machine.versions(),
        "what": f"{CLASSES} classes, {IMAGES} images of 3x{SIDE}x{SIDE}, ipc {IPC}, {BATCH} real images a class, "
                f"{ITERATIONS} iterations, {NET} of width 128",
        "flops_an_iteration": flops, "cpu_flops_a_second": round(here),
        "days_on_this_cpu": round(flops * ITERATIONS / here / 86400),
        "drawing_weights_ms": round(1e3 * weights, 2), "drawing_a_class_ms": round(1e3 * images, 3),
        "peak_flops_a_second": PEAK, "shares_assumed": SHARES,
        "driver_memory_gb": round(3 * tensor / 1e9, 1), "cache_gb": round(IMAGES * pixels / 1e9, 1),
        "run_folder_gb": round((5 * tensor + 2 * 2 * tensor + 2 * 2 * tensor) / 1e9, 1),
        "stands_every_seconds": round(pause), "stands_mb_a_second": round(2 * tensor / pause / 1e6, 1), "rows": rows,
    }  # fmt: skip
    text = json.dumps(result, indent=1) + "\n"
    if given.out:
        given.out.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
