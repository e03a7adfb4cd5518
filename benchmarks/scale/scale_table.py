"""Write what results/benchmarks holds of scale into docs/scale.md: `python benchmarks/scale/scale_table.py [--check]`.

Only the parts between the markers are written. With --check nothing is, and the exit code is 1 when the page is not up to date.
"""

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "speed"))

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
    stands = result["bytes"]["words"]["ShardState"]
    sent, plain = result["bytes"], min(result["seconds"]["plain"])
    head = ["", "efficiency, one worker to two", "seconds of one worker above a plain run", "start-up of two, s"]
    return "\n\n".join([
        rows(head, body),
        f"{result['shape']}; {result['iterations']} iterations, {plain:.0f} s as a plain run; one core a worker. Each number "
        f"compares the least seconds of {len(result['seconds']['plain'])} turns.",
        f"Bytes of such a run on two workers ({sent['seconds']:.0f} s): {sent['to_workers'] / 1e6:.1f} MB to them, of which the "
        f"real images are {sent['of_that_real_images'] / 1e6:.1f} MB, and {sent['from_workers'] / 1e6:.1f} MB from them, of "
        f"which where they stand {stands['bytes'] / 1e6:.1f} MB in {stands['times']} words.",
        made(result),
    ])  # fmt: skip


PARTS = {"scale": measured}


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
