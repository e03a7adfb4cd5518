"""Write what results/ holds into the documents: `python results/table.py [--check]`.

README.md gets a short table; results/README.md all of it and how each row was made; docs/methods/datadam.md the same, and what
moved the images; docs/choose.md and docs/methods/datadam.md the tables of `datadam compare`; docs/minutes.md accuracy against
minutes; docs/released.md how far released code and ours are apart. Only the parts between two markers are written. With --check
nothing is, and the exit code is 1 when a file is not up to date.
Published numbers are copied from the sources named here and nowhere else.
"""

import argparse
import json
import math
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import minutes
from comparisons import shown
from words import EARLIER, GRIDS, NONE, TITLES, command, count, earlier, machine, markdown

from datadam.sets.kind import Kind

ROOT = Path(__file__).resolve().parents[1]
USUAL = 1000  # epochs of a student by the honest protocol
TABLES = {  # document -> its tables of `datadam compare`, each between markers of its own
    "docs/choose.md": ("methods-mnist", "methods-cifar10", "precision-mnist", "precision-cifar10"),
    "docs/speed.md": ("real-every",),
    "docs/storage.md": ("storage",),
    "docs/methods/calm.md": ("calm-parts",),
    "docs/methods/datadam.md": ("ablation",),
    "docs/methods/generators.md": ("generators-mnist", "generators-cifar10"),
}

SOURCES = {
    "1": "Sajedi et al., DataDAM, ICCV 2023, tables 1 and 2: means over 5 sets of 20 networks, ± standard deviation where copied",
    "2": "a course report on DataDAM (University of Toronto): ConvNet-3, 1 000 iterations, no intervals given",
    "3": "the page of VICO-UoE/DatasetCondensation, the released code of DC, DSA and DM",
    "4": "Zhou et al., FRePo, NeurIPS 2022: learned labels, students without norm, squared error",
    "5": "Cazenavette et al., MTT, CVPR 2022, with its learned rate and, in part, whitening",
}
PUBLISHED: dict[str, dict[int | None, tuple[tuple[str, str, str], ...]]] = {  # data -> ipc -> (what, accuracy in %, source)
    "cifar10": {
        None: (("whole set", "84.8", "1"),),
        1: (
            ("DataDAM", "32.0 ± 1.2", "1"),
            ("DM", "26.0 ± 0.8", "1"),
            ("random", "14.4", "1"),
            ("FRePo", "46.8", "4"),
            ("MTT", "46.3", "5"),
            ("KIP", "29.8 ± 1.0", "1"),
            ("LD", "25.7 ± 0.7", "1"),
        ),
        10: (
            ("DataDAM", "54.2 ± 0.8", "1"),
            ("DM", "48.9 ± 0.6", "1"),
            ("random", "26.0", "1"),
            ("FRePo", "65.5", "4"),
            ("MTT", "65.3", "5"),
            ("KIP", "46.1 ± 0.7", "1"),
            ("DD", "36.8 ± 1.2", "1"),
            ("LD", "38.3 ± 0.4", "1"),
        ),
        50: (("DataDAM", "67.0 ± 0.4", "1"), ("DM", "63.0 ± 0.4", "1"), ("MTT", "71.6", "5"), ("random", "43.4", "1")),
    },
    "cifar100": {
        None: (("whole set", "56.2", "1"),),
        1: (("DataDAM", "14.5 ± 0.5", "1"), ("DM", "11.4 ± 0.3", "1"), ("random", "4.2", "1")),
        10: (("DataDAM", "34.8 ± 0.5", "1"), ("DM", "29.7 ± 0.3", "1"), ("random", "14.6", "1")),
        50: (("DataDAM", "49.4 ± 0.3", "1"), ("DM", "43.6 ± 0.4", "1"), ("random", "30.0", "1")),
    },
    "tiny-imagenet": {
        None: (("whole set", "37.6", "1"),),
        1: (("DataDAM", "8.3 ± 0.4", "1"), ("DM", "3.9 ± 0.2", "1"), ("random", "1.4", "1")),
        10: (("DataDAM", "18.7 ± 0.3", "1"), ("DM", "12.9 ± 0.4", "1"), ("random", "5.0", "1")),
        50: (("DataDAM", "28.7 ± 0.3", "1"), ("DM", "25.3 ± 0.2", "1"), ("random", "15.0", "1")),
    },
    "imagenette": {
        None: (("whole set", "87.4", "1"),),
        1: (("DataDAM", "34.7", "1"), ("DM", "32.8", "1"), ("random", "23.5", "1")),
        10: (("DataDAM", "59.4", "1"), ("DM", "58.1", "1"), ("random", "47.7", "1")),
    },
    "mnist": {
        None: (("whole set", "99.52", "2"),),
        1: (("DC", "91.7", "3"), ("DSA", "88.7", "3")),
        10: (
            ("DataDAM", "88.36", "2"),
            ("PAD", "90.55", "2"),
            ("DC", "97.4", "3"),
            ("DSA", "97.8", "3"),
        ),
        50: (("DC", "98.8", "3"), ("DSA", "99.2", "3")),
    },
    "fashion-mnist": {
        1: (("DC", "70.5", "3"), ("DSA", "70.6", "3")),
        10: (("DC", "82.3", "3"), ("DSA", "84.6", "3")),
        50: (("DC", "83.6", "3"), ("DSA", "88.7", "3")),
    },
}
METHODS = {
    "datadam": "DataDAM", "dm": "DM", "calm": "CALM", "mtt": "MTT", "pad": "PAD",
    "frepo": "FRePo", "kip": "KIP", "dd": "DD", "ld": "LD",
}  # fmt: skip
SCALES = {
    "full": "at the published sizes",
    "small": "at a small scale, which is not the published one: fewer iterations, fewer real images in each of them, fewer "
    "students of a single set. These rows say what runs of this size give; they do not repeat the published experiments",
}


@dataclass(frozen=True)
class Row:
    """One kept run: results/SCALE/NAME with its card, metrics and evaluations of the finished images."""

    scale: str
    name: str
    card: dict[str, Any]
    metrics: list[dict[str, Any]]
    evaluations: list[dict[str, Any]]

    @property
    def recipe(self) -> dict[str, Any]:
        """The settings of the run."""
        recipe: dict[str, Any] = self.card["recipe"]
        return recipe

    @property
    def conditions(self) -> tuple[str, str, str, str]:
        """What baselines must share to stand in each other's row: scale, data, network, whitening."""
        return self.scale, self.card["data"]["checksum"], self.net, str(self.card["transform"]["zca"])

    @property
    def net(self) -> str:
        """The students' network: the run's own, or where none was judged on that the other one."""
        judged = {e["net"] for e in self.evaluations if e["of"] == "distilled"}
        own: str = self.recipe["net"]
        return own if own in judged or not judged else min(judged)

    @property
    def decoded(self) -> bool:
        """Whether a stored image is several training images."""
        return bool(self.recipe.get("decoder", "plain") != "plain")

    @property
    def drawn(self) -> int:
        """Real images of a class that the run has seen."""
        drawn: int = -(-self.card["iterations_done"] // self.recipe.get("real_every", 1)) * self.recipe["batch_real"]
        return drawn

    @property
    def work(self) -> str:
        """Its iterations and, unless they follow experts, the real images of each class in one."""
        real = "" if self.recipe.get("networks", "").startswith("experts:") else f" x {self.recipe['batch_real']}"
        return count(self.card["iterations_done"]) + real

    @property
    def tells_all_seconds(self) -> bool:
        """Whether the card's seconds are all that making the set took; earlier ones left networks out that are trained first."""
        return self.recipe["method"]["name"] != "calm" or "trained_first_seconds" in self.card

    def judged(self, of: str) -> dict[str, Any] | None:
        """The evaluation of the distilled, random or whole set on `net`: the one of the longest training, by the
        protocol `honest` where there is one."""
        found = [e for e in self.evaluations if e["of"] == of and e["net"] == self.net]
        return max(found, key=lambda e: (e["protocol"]["name"] == "honest", e["protocol"]["epochs"]), default=None)

    @property
    def otherwise(self) -> list[dict[str, Any]]:
        """The evaluations of the distilled set on `net` by other protocols than the one that stands in the table."""
        first = self.judged("distilled")
        return [e for e in self.evaluations if first and e["of"] == "distilled" and e["net"] == self.net
                and e["protocol"]["name"] != first["protocol"]["name"]]  # fmt: skip


def rows(results: Path) -> list[Row]:
    """Every kept run, the published sizes first."""
    found = []
    for scale in ("full", "small"):
        for path in sorted((results / scale).glob("*/card.json")):
            metrics = path.parent / "metrics.jsonl"
            evaluations = [json.loads(file.read_text("utf-8")) for file in sorted(path.parent.glob("evaluations/*.json"))]
            lines = [json.loads(line) for line in metrics.read_text("utf-8").splitlines()] if metrics.exists() else []
            card = json.loads(path.read_text("utf-8"))
            found.append(Row(scale, path.parent.name, card, lines, [e for e in evaluations if e["iteration"] is None]))
    order = list(TITLES)
    place = {name: number for number, name in enumerate(order)}
    return sorted(found, key=lambda r: (r.scale, place.get(r.card["data"]["name"], len(order)), r.recipe["ipc"], r.name))


def block(kept: list[Row], up: str = "") -> str:
    """The table and how each of its rows was made, as Markdown. `up` leads from the file to the root of the repository."""
    if not kept:
        return "No results yet."
    parts = []
    for scale, words in SCALES.items():
        if here := [row for row in kept if row.scale == scale]:
            parts += [f"**Measured here {words}.**", _table(here, kept, up), "How these rows were made:", _making(here, up)]
    sources = {source for row in kept for _, _, source in _published(row)}
    if sources:
        parts += ["Published numbers:", "\n".join(f"- [{key}] {SOURCES[key]}." for key in SOURCES if key in sources)]
    return "\n\n".join(parts)


def short(kept: list[Row]) -> str:
    """For the README: data, DataDAM, ours, random real images, what is published; of each the run that saw most real images, of
    our own method the one of plain images and the one of decoded ones, and where MTT has gone on from such a set, that."""
    if not kept:
        return "No results yet."
    parts = []
    for scale, words in SCALES.items():
        usual = _longest([row for row in kept if not row.decoded], scale, ("datadam",))
        ours = []
        for several in (False, True):
            same = [row for row in kept if row.decoded == several]
            alone, further = (_longest(same, scale, presets) for presets in (("calm-quick", "calm", "calm-long"), ("mtt-quick",)))
            ours.append(alone | further)
        lines = []
        order = [(row.card["data"]["name"], row.recipe["ipc"]) for row in kept]
        for key in sorted({key for each in (usual, *ours) for key in each}, key=order.index):
            row, own = usual.get(key), [each[key] for each in ours if key in each]
            either = row or own[0]
            random = _accuracy(_shared(either, kept, "random"))
            whitened = ", whitened too" if either.card["transform"]["zca"] and random != NONE else ""
            lines.append((
                f"{TITLES.get(key[0], key[0])}, {key[1]}",
                _linked(row, scale) if row else NONE,
                "; ".join(f"{_linked(found, scale)}, {_stored(found)}" for found in own) or NONE,
                f"{random}{whitened}",
                _joined(either),
            ))  # fmt: skip
        if lines:
            head = (
                "data, images per class",
                "`datadam`, %",
                "ours, %",
                "random real images, %",
                "published (its own protocol), %",
            )
            parts += [f"**Measured here {words.partition(':')[0]}.**", markdown(head, lines)]
    return "\n\n".join(parts) or "No results of the usual preset yet."


def _longest(kept: list[Row], scale: str, presets: tuple[str, ...]) -> dict[tuple[str, int], Row]:
    """By data and ipc, the run of these presets, judged on the network that it was made on, or on that one at its usual width,
    that comes last in the order of `_age`."""
    longest: dict[tuple[str, int], Row] = {}
    for row in kept:
        made_on, key = row.recipe["net"], (row.card["data"]["name"], row.recipe["ipc"])
        asked = row.scale == scale and row.recipe["preset"] in presets
        judged = row.judged("distilled") is not None and row.net in (made_on, made_on.partition(":width=")[0])
        if asked and judged and (key not in longest or _age(row) > _age(longest[key])):
            longest[key] = row
    return longest


def _stored(row: Row) -> str:
    """What a stored image is, and what made it."""
    return f"{row.recipe.get('decoder', 'plain')}, `calm`{' then `mtt`' if row.card.get('earlier_seconds') else ''}"


def _age(row: Row) -> tuple[float | str, ...]:
    """Real images seen, and of our own method, whose presets change, when it was made. MTT sees none: how long its students were
    trained, which is cut short in some rows, how many there are, and the seconds that it took."""
    judged = row.judged("distilled")
    if row.recipe["method"]["name"] == "mtt" and judged:
        return judged["protocol"]["epochs"], judged["students"], row.card["seconds"]
    return row.drawn, row.card.get("created", "") if row.recipe["method"]["name"] == "calm" else ""


def _linked(row: Row, scale: str) -> str:
    return f"[{_accuracy(row.judged('distilled'))}](results/{scale}/{row.name})"


def gradients(kept: list[Row]) -> str:
    """How strongly each term of the loss pulls at a pixel, and how far the pixels went, as Markdown."""
    lines = []
    for row in kept:
        terms = {name for line in row.metrics for name in line["terms"]}
        if not terms:
            continue
        norms = {name: [line["terms"][name]["grad_norm"] for line in row.metrics] for name in terms}
        pull = {name: _per_pixel(row, statistics.median(values)) for name, values in norms.items()}
        cells = (f"{pull[name]:.1e}" if name in pull else NONE for name in ("sam", "mmd"))
        method = row.recipe["method"]
        settings = f"{method['power']:g}" if "power" in method else NONE, f"{method.get('scale', 1):g}"
        lines.append((f"{row.name} ({row.scale})", *settings, *cells, f"{row.card['moved']:.2f}"))
    if not lines:
        return ""
    head = ("run", "p", "s", "gradient of SAM", "of MMD", "a pixel moved")
    return "\n\n".join((
        "What moved the images. A gradient is the root mean square over pixels, of the term as it enters the loss (with *s* and "
        "λ), the median over the run's `metrics.jsonl`. The last column is the mean absolute change of a pixel since the start, "
        "in network space: standard deviations of a channel, or units of the whitened images where the run is whitened.",
        markdown(head, lines),
    ))  # fmt: skip


def fidelity(results: Path) -> str:
    """How far released code and datadam are apart on one small input, as Markdown."""
    path = results / "fidelity.json"
    if not path.exists():
        return "Not run yet."
    kept = json.loads(path.read_text("utf-8"))
    lines = []
    for name, row in kept["rows"].items():
        apart = row.get("apart")
        if apart is None:
            lines.append((name, "equal" if row["equal"] else "**other**"))
            continue
        weights = f"; {row['weights'][0]} weights on either side" if "weights" in row else ""
        largest = max(apart) if isinstance(apart, list) else apart
        lines.append((name, (f"{largest:.0e}" if largest else "0") + weights))
    repositories = ", ".join(f"{name} at {commit}" for name, commit in kept["commits"].items())
    return "\n\n".join((
        markdown(("what", "largest difference, of the largest number"), lines),
        f"`{kept['command']}`: {repositories}. {machine(kept)}.",
    ))  # fmt: skip


def _table(here: list[Row], kept: list[Row], up: str) -> str:
    head = (
        "run", "data, images per class", "method: preset, network", "iterations x real images a class", "distilled, %",
        "random real images, %", "whole set, %", "published (its own protocol), %", "distilling",
    )  # fmt: skip
    lines = []
    for row in here:
        data, recipe, card = row.card["data"], row.recipe, row.card
        name = METHODS.get(recipe["method"]["name"], recipe["method"]["name"])
        zca = card["transform"]["zca"]
        other = [what for key, what in (("seed", "seed"), ("start", "start")) if str(recipe[key]) not in ("0", "real")]
        extra = "".join(f", {what} {recipe[what]}" for what in other) + (", ZCA" if zca else "")
        extra += Kind.of_card({"decoder": recipe.get("decoder", "plain"), "labels": card.get("labels")}).words
        extra += ", earlier normalisation" if _earlier(row) else ""
        random, whole = (_accuracy(_shared(row, kept, of)) for of in ("random", "whole"))
        if zca:
            random, whole = (cell if cell == NONE else f"{cell}, whitened too" for cell in (random, whole))
        lines.append((
            f"[{row.name}]({up}results/{row.scale}/{row.name})",
            f"{TITLES.get(data['name'], data['name'])}, {recipe['ipc']}",
            f"{name}: `{recipe['preset']}`, {recipe['net']}{extra}",
            row.work,
            "; ".join((
                f"**{cell}**" + f" on {row.net}" * (row.net != recipe["net"])
                if (cell := _accuracy(row.judged("distilled"))) != NONE
                else "not judged yet",
                *(f"by `{e['protocol']['name']}` {_accuracy(e)}" for e in row.otherwise),
            )),
            random,
            whole,
            _joined(row),
            f"{count(card['seconds'])} s, {_threads(card)}" + _before(card),
        ))  # fmt: skip
    return markdown(head, lines)


def _seconds(evaluation: dict[str, Any]) -> float:
    """Of an evaluation, or of its students where some were found that an interrupted one had kept."""
    told, students = evaluation["seconds"], sum(map(len, evaluation["accuracies"]))
    return max(told, evaluation.get("seconds_per_student", 0.0) * students / evaluation.get("workers", 1))


def _making(here: list[Row], up: str) -> str:
    """One line a row: command, seed, seconds; then what they share or not: hardware, versions, commit."""
    lines: list[str] = []
    machines: dict[str, list[str]] = {}
    for row in here:
        judged = [e for e in (row.judged(of) for of in ("distilled", "random", "whole")) if e] + row.otherwise
        seconds = "; ".join(f"{e['of']}: {e['words']}, seed {e['seed']}, {count(_seconds(e))} s" for e in judged)
        lines.append(
            f"- {row.name}, seed {row.recipe['seed']}: `{command(row.card)}`, {count(row.card['seconds'])} s"
            f"{_before(row.card)}. Judged: {seconds or 'not yet'}."
        )
        machines.setdefault(machine(row.card), []).append(row.name)
    if before := [row.name for row in here if _earlier(row)]:
        lines.append(f"- {', '.join(before)}: {EARLIER}.")
    if grids := [
        row.name
        for row in here
        if row.recipe["preset"].startswith("calm")
        and row.recipe.get("decoder", "plain").startswith("grid:")
        and row.card["data"]["shape"][0] == 3
        and "decoder=" not in row.card["command"]
    ]:
        lines.append(f"- {', '.join(grids)}: {GRIDS}.")
    again = f"python results/evidence.py --data FOLDER --scale {here[0].scale} NAME"
    lines.append(f"- Any of them again, with its evaluations: `{again}` ([evidence.py]({up}results/evidence.py)).")
    for words, names in machines.items():
        lines.append(f"- {'All' if len(machines) == 1 else ', '.join(names)}: {words}.")
    lines.append("- Seconds are those of the run as it was, on a machine that may have had other work to do.")
    return "\n".join(lines)


def _earlier(row: Row) -> bool:
    return earlier(row.recipe, row.card["data"]["name"], whitened=bool(row.card["transform"]["zca"]))


def _accuracy(e: dict[str, Any] | None) -> str:
    """Mean, half of the 95 % interval, and what it is over; of the whole set, or where they are few, also its epochs."""
    if e is None:
        return NONE
    many = e["interval"] is not None
    half = f" ± {50 * (e['interval']['high'] - e['interval']['low']):.1f}" if many else ""
    over = f"{e['sets']} sets" if e["sets"] > 1 else f"{e['students']} students" if e["students"] > 1 else "one student"
    number = e["protocol"]["epochs"]
    epochs = f", {number} epoch{'s' if number > 1 else ''}" if e["of"] == "whole" or number < USUAL else ""
    return f"{100 * e['mean']:.1f}{half} ({over}{epochs})"


def _shared(row: Row, kept: list[Row], of: str) -> dict[str, Any] | None:
    """A baseline kept beside the run, or beside another under the same conditions: it is the same number."""
    own = row.judged(of)
    beside = (other.judged(of) for other in kept if other.conditions == row.conditions)
    return own or next((e for e in beside if e and e["ipc"] in (None, row.recipe["ipc"])), None)


def _published(row: Row) -> list[tuple[str, str, str]]:
    """The published numbers for this data and ipc, save those of the method that this row is not."""
    table = PUBLISHED.get(row.card["data"]["name"], {})
    own = METHODS.get(row.recipe["method"]["name"], "")
    others = set(METHODS.values()) - {own}
    others -= {"DataDAM", "DM"} if own == "CALM" else set()  # which has none of its own
    found = (*table.get(row.recipe["ipc"], ()), *table.get(None, ()))
    return [entry for entry in found if entry[0] not in others]


def _joined(row: Row) -> str:
    return "; ".join(f"{what} {number} [{source}]" for what, number, source in _published(row)) or "none"


def _before(card: dict[str, Any]) -> str:
    """What of its seconds the experts took that a run has followed, and the set that it starts from."""
    said = ""
    if experts := card.get("experts"):
        said += (
            f", {count(card['trained_first_seconds'])} of them for {experts['networks']} experts of {experts['epochs']} epochs"
        )
    if seconds := card.get("earlier_seconds"):
        said += f", {count(seconds)} for the set that it starts from"
    return said


def _threads(card: dict[str, Any]) -> str:
    threads = card["plan"]["threads"]
    return f"{threads} thread{'' if threads == 1 else 's'}"


def _per_pixel(row: Row, norm: float) -> float:
    data = row.card["data"]
    return float(norm) / math.sqrt(len(data["classes"]) * row.recipe["ipc"] * math.prod(data["shape"]))


def rewritten(text: str, inside: str, name: str = "results") -> str:
    """The text with `inside` between the markers of that name. Raises ValueError unless it has both, once and in order."""
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise ValueError(f"the markers {begin} and {end} must be there, once and in this order")
    before, rest = text.split(begin)
    lines = f"{inside}\n" if inside else ""
    return f"{before}{begin}\n{lines}{end}{rest.split(end)[1]}"


def wanted(root: Path) -> dict[Path, str]:
    """The files that show results, and what they should say."""
    kept = rows(root / "results")
    readme, whole, page = root / "README.md", root / "results" / "README.md", root / "docs" / "methods" / "datadam.md"
    inside = {
        readme: short(kept),
        whole: block(kept, "../"),
        page: "\n\n".join(filter(None, (block(kept, "../../"), gradients(kept)))),
    }
    texts = {path: rewritten(path.read_text("utf-8"), text) for path, text in inside.items()}
    released = root / "docs" / "released.md"
    if released.exists():
        texts[released] = rewritten(released.read_text("utf-8"), fidelity(root / "results"), "fidelity")
    for place, names in TABLES.items():
        path, up = root / place, "../" * place.count("/")
        text = texts.get(path) or path.read_text("utf-8")
        for name in names:
            text = rewritten(text, shown(root / "results", name, up), name)
        texts[path] = text
    page = root / "docs" / "minutes.md"
    for name in minutes.NAMES:
        texts[page] = rewritten(texts.get(page) or page.read_text("utf-8"), minutes.shown(root / "results", name, "../"), name)
    return texts


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    """Write the files, or with --check tell which are out of date."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 when a file is out of date")
    check = parser.parse_args(arguments).check
    old = [path for path, text in wanted(root).items() if path.read_text("utf-8") != text]
    for path in old:
        if check:
            print(f"{path.relative_to(root)} is out of date: run python results/table.py")
        else:
            path.write_text(wanted(root)[path], "utf-8")
            print(f"{path.relative_to(root)} written")
    return 1 if check and old else 0


if __name__ == "__main__":
    sys.exit(main())
