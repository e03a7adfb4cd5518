"""A part of a table that is an architecture search: its proxies are made as sets, then every network is trained on each.

Trainings are kept in the cache, so parts of the same search that show another measure cost nothing.
"""

from dataclasses import replace
from pathlib import Path

from datadam.applications import place
from datadam.applications.reproduce.bench import Bench
from datadam.applications.reproduce.rows import ABSENT, DONE, Json, cells, row_of
from datadam.applications.reproduce.tables import WHOLE_SET, Part
from datadam.applications.search import EARLY, RANDOM, WHOLE, Asked, plan, search
from datadam.applications.search_page import csv_text, sheet
from datadam.evaluation.panel import protocol_named
from datadam.files.whole import write_text
from datadam.wording import plural

TRUTH = "nasbench201"  # the folder of the data's root with the table of accuracies
ASK = (
    "there is no table of accuracies in {folder}: put a CSV file with the columns arch and cifar10_test there, in percent after "
    "200 epochs; its numbers are in NAS-Bench-201-v1_1, on request of the authors: https://github.com/D-X-Y/NAS-Bench-201"
)


def lacks(part: Part, root: Path | None) -> str:
    """Why the table of a benchmark that a search is held against is not there; "" where it is, or none is needed."""
    return ASK.format(folder=_folder(root)) if part.settings.get("truth") == TRUTH and _table(root) is None else ""


def searched(bench: Bench) -> tuple[list[Json], str]:
    """The rows of a part, and the protocol in words."""
    part, how = bench.part, bench.how
    words = {row: word if word in (EARLY, RANDOM) else bench.word(word) for row, word in part.methods.items()}
    out = bench.folder / f"search-{part.data}"
    sets = bench.sets([word for word in words.values() if word not in (EARLY, RANDOM)], out)
    proxies = tuple(str(sets[word][0]) if word in sets else word for word in words.values())
    asked = _asked(bench, proxies)
    made = plan(bench.real, asked, device=how.device, workers=how.workers)
    found = search(made, bench.real, bench.advance()) | {"command": how.command, "note": bench.note}
    place.save(out, "search", found, sheet(found, command=how.command, note=bench.note))
    write_text(out / "search.csv", csv_text(found))
    by_row = dict(zip(words, found["proxies"], strict=False))
    if found["proxies"][-1]["name"] == WHOLE:
        by_row[WHOLE_SET] = found["proxies"][-1]
    rows = []
    for row, ipc, net in cells(part):
        if row not in by_row:
            rows.append(row_of(part, row, ipc, net, status=ABSENT, reason=part.absent.get(row, "")))
            continue
        given = row_of(part, row, ipc, net, status=DONE) | {"word": words.get(row, ""), "made_on": asked.space}
        rows.append(given | _measured(part, by_row[row]))
    rule = protocol_named(part.protocol).with_epochs(asked.epochs)
    told = f"{plural(len(made.networks), 'network')} of {asked.space}, {plural(asked.students, 'student')} each by {rule.name}, "
    return rows, f"{told}{plural(asked.epochs, 'epoch')} on a proxy and {asked.whole_epochs} on the whole set"


def _asked(bench: Bench, proxies: tuple[str, ...]) -> Asked:
    part, scale = bench.part, bench.scale
    told = dict(part.settings)
    truth = _table(bench.how.root) if told.pop("truth", None) and not scale.part else None
    asked = Asked(
        proxies=proxies, ipc=part.ipc[0], protocol=part.protocol, truth=None if truth is None else f"{truth}@cifar10_test", **told
    )
    return replace(asked, **scale.search.get(asked.space, {}))


def _measured(part: Part, proxy: Json) -> Json:
    """A rank correlation, the minutes of all trainings, or the accuracy in % of the network that was chosen."""
    if part.measure == "minutes":
        return {"value": round(proxy["seconds"] / 60, 4)}
    if part.measure == "accuracy":
        return {"value": round(100 * proxy["chosen_accuracy"], 4)}
    rate = proxy[f"correlation_{'top' if part.measure == 'correlation of the best' else 'all'}"]
    if rate is None:
        return {"reason": "too few networks for a rank correlation"}
    return {name: round(rate[name], 4) for name in ("value", "low", "high")}


def _folder(root: Path | None) -> Path:
    return (root or Path("data")) / TRUTH


def _table(root: Path | None) -> Path | None:
    """The one CSV file of the benchmark's folder."""
    found = sorted(_folder(root).glob("*.csv"))
    return found[0] if len(found) == 1 else None
