"""Write what results/benchmarks holds of scale into docs/scale.md: `python benchmarks/scale/scale_table.py [--check]`.

Only the parts between the markers are written. With --check nothing is, and the exit code is 1 when the page is not up to date.
"""

import argparse
import json
import re
import sys
from typing import Any

from table import KEPT, ROOT, made, rows

PAGE = ROOT / "docs" / "scale.md"


def measured(result: dict[str, Any]) -> str:
    """Efficiency, overhead, start-up and bytes."""
    efficiency, overhead, start = result["efficiency_of_two"], result["overhead_of_one"], result["start_seconds"]
    names = {"two plain runs side by side": "two plain runs side by side, which know nothing of each other",
             "processes": "two processes", "ray": "two Ray workers"}  # fmt: skip
    body = []
    for name, label in names.items():
        more = [f"{100 * overhead[name]:.1f} %", f"{start[f'{name}-2']:.1f}"] if name in overhead else ["", ""]
        body.append([label, f"{efficiency[name]:.3f}", *more])
    sent, plain = result["bytes"], min(result["seconds"]["plain"])
    head = ["", "efficiency, one worker to two", "seconds of one worker above a plain run", "start-up of two, s"]
    return "\n\n".join([
        rows(head, body),
        f"{result['shape']}; {result['iterations']} iterations, {plain:.0f} s as a plain run; one core a worker. Each number "
        f"compares the least seconds of {len(result['seconds']['plain'])} turns.",
        f"Bytes of such a run on two workers ({sent['seconds']:.0f} s): {sent['to_workers'] / 1e6:.1f} MB to them, of which the "
        f"real images are {sent['of_that_real_images'] / 1e6:.1f} MB, and {sent['from_workers'] / 1e6:.1f} MB from them, of "
        f"which where they stand {sent['words']['ShardState']['bytes'] / 1e6:.1f} MB in {sent['words']['ShardState']['times']} words.",
        made(result),
    ])  # fmt: skip


def simulated(result: dict[str, Any]) -> str:
    """Makespans under failures and stragglers."""
    found: dict[tuple[int, Any], dict[tuple[int, bool], float]] = {}
    for row in result["rows"]:
        found.setdefault((row["slow_machines"], row["hours_between_failures"]), {})[row["shards"], row["copies"]] = row[
            "times_ideal"
        ]
    counts = sorted({shards for row in found.values() for shards, _ in row})
    body = []
    for (slow, hours), row in found.items():
        cells = [f"{row[n, True]:.2f}" for n in counts]
        body.append([str(slow), "never" if hours is None else f"{hours:g} h", *cells, f"{row[counts[0], False]:.2f}"])
    head = ["slow machines", "a machine fails every", *(f"{n} shards" for n in counts), f"{counts[0]} shards, no copies"]
    return "\n\n".join([
        rows(head, body),
        f"Time of the whole, in times of the ideal, mean of {result['seeds']} seeds. `{result['command']}`, commit "
        f"{result['commit']}.",
    ])  # fmt: skip


def planned(result: dict[str, Any]) -> str:
    """ImageNet-1K on paper."""
    low, high = result["shares_assumed"]
    body = [
        [str(row["gpus"]), f"{row['iteration_ms'][1]:.0f} to {row['iteration_ms'][0]:.0f}", f"{row['drawing_ms']:.0f}",
         f"{row['hours'][1]:g} to {row['hours'][0]:g}", f"{row['gpu_memory_gb']:g}", f"{row['real_images_a_worker_gb']:g}"]
        for row in result["rows"]
    ]  # fmt: skip
    head = ["GPUs", "computing an iteration, ms", "drawing it, ms", "hours", "memory of a GPU beside the maps, GB",
            "real images of a worker, GB"]  # fmt: skip
    return "\n\n".join([
        rows(head, body),
        f"{result['what']}: {result['flops_an_iteration'] / 1e12:.0f} TFLOP an iteration. Measured: this CPU does "
        f"{result['cpu_flops_a_second'] / 1e9:.0f} GFLOP/s of it in float32 (two cores), which would be "
        f"{result['days_on_this_cpu']} days; drawing the weights takes {result['drawing_weights_ms']:.0f} ms on one core, a "
        f"class {result['drawing_a_class_ms']:.2f} ms. **Assumed**: a GPU of {result['peak_flops_a_second'] / 1e12:.0f} TFLOP/s "
        f"reaches {100 * low:.0f} to {100 * high:.0f} % of them; drawing overlaps with computing. No GPU was measured.",
        f"Storage: {result['cache_gb']} GB of decoded images, read once by the workers together; about "
        f"{result['run_folder_gb']} GB of run folder on the way. Memory of the driver: {result['driver_memory_gb']} GB. Network: "
        f"{result['stands_mb_a_second']:.0f} MB/s to the driver, each worker telling where it stands every "
        f"{result['stands_every_seconds']} s.",
        made(result | {"threads": 1}),
    ])  # fmt: skip


PARTS = {"scale": measured, "scheduler": simulated, "scale_plan": planned}


def page(text: str) -> str:
    """The page with its parts written anew."""
    for name, write in PARTS.items():
        path = KEPT / f"{name}.json"
        words = write(json.loads(path.read_text())) if path.exists() else "Not measured yet."
        begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
        text, count = re.subn(f"{begin}.*?{end}", lambda _, b=begin, w=words, e=end: f"{b}\n{w}\n{e}", text, flags=re.S)
        if count != 1:
            sys.exit(f"{PAGE} has {count} parts between {begin} and {end}; it must have one")
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    given = parser.parse_args()
    now = PAGE.read_text()
    new = page(now)
    if given.check:
        sys.exit(0 if new == now else f"{PAGE} is not up to date: run python benchmarks/scale/scale_table.py")
    PAGE.write_text(new)


if __name__ == "__main__":
    main()
