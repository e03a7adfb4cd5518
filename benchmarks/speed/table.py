"""Write what results/benchmarks holds into docs/speed.md: `python benchmarks/speed/table.py [--check]`.

Only the parts between the markers are written, and docs/images/speed.png. With --check nothing is, and the exit code is 1 when
the page is not up to date.
"""

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "speed.md"
KEPT = ROOT / "results" / "benchmarks"


def rows(head: list[str], body: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def made(result: dict[str, Any]) -> str:
    """How a result was made, in a line."""
    machine, versions = result["hardware"], result["versions"]
    threads = f", {result['threads']} threads" if "threads" in result else ""
    where = machine["gpu"] or f"{machine['cpu']}, {machine['cores']} cores"
    commit = f", commit {result['commit']}" if result.get("commit") else ""
    return f"`{result['command']}`: {where}{threads}, torch {versions['torch']}, Python {versions['python']}{commit}."


def seconds(value: float) -> str:
    """Seconds with three figures."""
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def iteration(result: dict[str, Any]) -> str:
    """Ours against the yardstick, and against the convolutions alone."""
    found = result["iteration"]
    ways, tuned, floor = found["ways"], found["allocator_tuned"], found["convolutions_alone"]
    names = {
        "yardstick": "the yardstick, float32",
        "yardstick-tuned": "the yardstick, allocator tuned",
        "ours-float32": "datadam, float32",
        "ours-bfloat16": "datadam, bfloat16 on the real side",
        "ours-bfloat16 zca=kornia": "the same, data whitened",
    }

    def faster(turns: dict[str, Any], slow: str, name: str) -> str:
        """Times faster than the slow one of the same turns."""
        return f"{turns[slow]['seconds'] / turns[name]['seconds']:.1f}" if name in turns else ""

    body = [
        [label, seconds(way["seconds"]), faster(ways, "yardstick", name), faster(tuned, "yardstick-tuned", name),
         f"{way['peak_mb_above_imports']:.0f}"]
        for name, label in names.items()
        for way in (ways.get(name) or tuned[name],)
    ]  # fmt: skip
    peaks = [
        [precision, seconds(floor[precision]["seconds"]), f"{floor[precision]['gflops']}", seconds(way["seconds"]),
         f"{100 * floor[precision]['seconds'] / way['seconds']:.0f} %"]
        for precision in ("float32", "bfloat16")
        for way in (ways[f"real-{precision}"],)
    ]  # fmt: skip
    drawn = 100 * found["shares"]["drawing and augmenting, share of an iteration in bfloat16"]
    return "\n\n".join([
        rows(["one iteration", "seconds", "times faster", "allocator tuned on both sides", "peak above imports, MB"], body),
        f"{result['shape']}. Seconds are the least of {len(ways['yardstick']['all_seconds'])} turns.",
        rows(["real side alone", "its convolutions alone, s", "their GFLOP/s", "real side, s", "share of that speed"], peaks),
        f"Drawing, normalising and augmenting the real images takes {drawn:.1f} % of an iteration in bfloat16.",
        made(result | found),
    ])  # fmt: skip


def growth(result: dict[str, Any]) -> str:
    """Seconds as the work grows."""
    body = [
        [str(row["classes"]), str(row["batch"]), str(row["ipc"]), seconds(row["yardstick"]), seconds(row["float32"]),
         seconds(row["bfloat16"]), f"{1e3 * row['bfloat16'] / (row['classes'] * row['batch']):.3f}"]
        for row in result["growth"]["rows"]
    ]  # fmt: skip
    head = ["classes", "real images a class", "ipc", "yardstick, s", "float32, s", "bfloat16, s", "ms a real image, bfloat16"]
    return "\n\n".join([rows(head, body), made(result | result["growth"])])


def memory(result: dict[str, Any]) -> str:
    """Peak memory as the classes grow."""
    body = [
        [str(row["classes"]), row["precision"], f"{row['peak_mb_above_imports']:.0f}", f"{row['data_mb']:.0f}",
         f"{row['three_tensors_mb']:.0f}", f"{row['rest_mb']:.0f}"]
        for row in result["memory"]["rows"]
    ]  # fmt: skip
    head = ["classes", "precision", "peak above imports, MB", "data, MB", "three tensors of the images' size, MB", "rest, MB"]
    return "\n\n".join([rows(head, body), made(result | result["memory"])])


def start(result: dict[str, Any]) -> str:
    """Start-up."""
    found = result["start"]
    small = found["small_run"].split(",")[0]
    return (
        f"`datadam --help` takes {found['help_seconds']} s. `{small}`, from the command to its end, takes "
        f"{found['small_run_seconds']} s.\n\n{made(result | found)}"
    )


def students(result: dict[str, Any]) -> str:
    """Ways of training many students."""
    body = [
        [name, str(way.get("processes", 1)), seconds(way["seconds"]), f"{result['times_faster'][name]:.2f}"]
        for name, way in result["ways"].items()
    ]
    head = ["way", "processes", "seconds an epoch of one student", "times faster"]
    return "\n\n".join([rows(head, body), f"{result['shape']}.", made(result)])


def search(result: dict[str, Any]) -> str:
    """Networks an hour of a search, against a plain loop."""
    plain = result["ways"]["plain"]
    body = [
        [name, str(way["workers"]), way["precision"], seconds(way["seconds"]), seconds(way["least_processor"]),
         f"{plain['seconds'] / way['seconds']:.2f}", f"{plain['least_processor'] / way['least_processor']:.2f}"]
        for name, way in result["ways"].items()
    ]  # fmt: skip
    head = [
        "way",
        "processes",
        "number format",
        "seconds",
        "processor seconds",
        "times the networks an hour",
        "by processor seconds",
    ]
    words = (
        f"{result['networks']} networks drawn from {result['space']}, each trained on 100 images for 20 epochs and on 2 560 "
        f"for one, and tested; the least of {len(plain['all_seconds'])} turns{result['note'] and ', ' + result['note']}."
    )
    return "\n\n".join([rows(head, body), words, made(result)])


def builds(result: dict[str, Any]) -> str:
    """This build beside an earlier one."""
    body = [
        [name, seconds(case["then"]["seconds"]), seconds(case["now"]["seconds"]), f"{case['times_as_fast']:.2f}",
         f"{case['then']['peak_mb_above_imports']:.0f}", f"{case['now']['peak_mb_above_imports']:.0f}"]
        for name, case in result["cases"].items() if "left_out" not in case
    ]  # fmt: skip
    head = ["work", f"seconds at {result['then']}", "seconds now", "times as fast", "peak then, MB", "peak now, MB"]
    return "\n\n".join([rows(head, body), made(result)])


BEGINNINGS = {
    "fit": "fitting ZCA, 50 000 images 3x32x32", "draw": "drawing 51 200 images that are kept in network space",
    "run": "two iterations on whitened images, from the data on",
}  # fmt: skip


def beginnings(result: dict[str, Any]) -> str:
    """What comes before the first iteration, in this build and an earlier one."""
    body = [
        [" ".join([BEGINNINGS.get(case, case), turn]).strip().replace("compile", "compiling"),
         *(seconds(builds[build][turn][key]) for key in ("processor", "peak_mb", "seconds") for build in ("then", "now"))]
        for case, builds in result["cases"].items()
        for turn in builds["now"]
    ]  # fmt: skip
    told = ("processor seconds", "peak above imports, MB,", "seconds")
    head = ["work", *(f"{what} {build}" for what in told for build in (f"at {result['then']}", "now"))]
    turns = {" ".join([case, turn]).strip(): len(builds["now"][turn]["all_seconds"]) for case, builds in result["cases"].items()
             for turn in builds["now"]}  # fmt: skip
    words = "The least of " + ", ".join(f"{count} ({work})" for work, count in turns.items()) + " turns."
    return "\n\n".join([rows(head, body), words, made(result)])


def precision(result: dict[str, Any]) -> str:
    """Cosines of gradients."""
    body = [
        [where, term, f"{found['real side']:.5f}", f"{found['synthetic side']:.5f}"]
        for where, terms in result["cosines"].items()
        for term, found in terms.items()
    ]
    head = ["images", "matched", "bfloat16 on the real side", "on the synthetic side (never used)"]
    words = (
        f"Least cosine with the gradient in float32 over {result['least_cosine_of']}; {result['data']}, ZCA {result['whitened']}."
    )
    return "\n\n".join([rows(head, body), words, made(result | {"threads": 1})])


PARTS = {
    "iteration": ("speed.json", iteration),
    "growth": ("speed.json", growth),
    "memory": ("speed.json", memory),
    "start": ("speed.json", start),
    "students": ("students.json", students),
    "large-set": ("large_set.json", students),
    "search": ("search.json", search),
    "builds": ("builds.json", builds),
    "beginnings": ("beginnings.json", beginnings),
    "precision": ("precision.json", precision),
}


def page(text: str) -> str:
    """The page with its parts written anew."""
    for name, (file, write) in PARTS.items():
        path = KEPT / file
        result = json.loads(path.read_text()) if path.exists() else {}
        measured = name in result or (result and file != "speed.json")
        words = write(result) if measured else "Not measured yet."
        begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
        text, count = re.subn(f"{begin}.*?{end}", lambda _, b=begin, w=words, e=end: f"{b}\n{w}\n{e}", text, flags=re.S)
        if count != 1:
            sys.exit(f"{PAGE} has {count} parts between {begin} and {end}; it must have one")
    return text


def draw(result: dict[str, Any], out: Path) -> None:
    """Seconds of an iteration against its operations: the yardstick, ours, and what the convolutions alone would take."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    growth_rows = [row for row in result["growth"]["rows"] if row["ipc"] == 10]
    images = [row["classes"] * row["batch"] for row in growth_rows]
    order = sorted(range(len(images)), key=images.__getitem__)
    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    for name, colour in (("yardstick", "#888888"), ("float32", "#2a6fb0"), ("bfloat16", "#c2541b")):
        label = name if name == "yardstick" else f"datadam, {name}"
        axes.plot([images[i] for i in order], [growth_rows[i][name] for i in order], "o-", color=colour, label=label)
    base = result["iteration"]["convolutions_alone"]
    for name, colour in (("float32", "#2a6fb0"), ("bfloat16", "#c2541b")):
        line = [base[name]["seconds"] * n / 2560 for n in sorted(images)]
        axes.plot(sorted(images), line, ":", color=colour, label=f"its convolutions alone, {name}")
    axes.set(xscale="log", yscale="log", xlabel="real images of an iteration (classes x batch)", ylabel="seconds an iteration")
    axes.grid(alpha=0.3, which="both")
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(out, dpi=130, metadata={"Software": None})
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    given = parser.parse_args()
    now = PAGE.read_text()
    new = page(now)
    if given.check:
        sys.exit(0 if new == now else f"{PAGE} is not up to date: run python benchmarks/speed/table.py")
    PAGE.write_text(new)
    result = json.loads((KEPT / "speed.json").read_text())
    if "growth" in result:
        draw(result, ROOT / "docs" / "images" / "speed.png")


if __name__ == "__main__":
    main()
