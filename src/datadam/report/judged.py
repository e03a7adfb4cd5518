"""What students trained on the images reached: accuracies beside each other, by network, by class, and their mistakes."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from datadam.report import plots
from datadam.report.folder import Json, Run
from datadam.report.words import count, duration, method_name, percent, plural, shorten

LARGEST_TABLE = 20  # classes of a confusion matrix that is shown whole
COLUMNS = 4  # evaluations beside each other in the table of classes
SCHEDULES = {"step": "a tenth of it after epoch {drop}", "every15": "half of it every 15 epochs"}


def is_own(evaluation: Json, card: Json) -> bool:
    """Whether this run's own images were judged, and not what they are compared with."""
    return bool(evaluation["of"] == "distilled" or (card["kind"] == "coreset" and evaluation["of"] == method_name(card)))


def title(evaluation: Json) -> str:
    """What was judged, in words."""
    known = {"distilled": "Distilled images", "random": "Random real images", "whole": "Whole training set"}
    name = known.get(evaluation["of"], f"Coreset: {evaluation['of']}")
    return name if evaluation.get("iteration") is None else f"{name}, iteration {count(evaluation['iteration'])}"


def accuracy(told: Sequence[tuple[Json, str, bool]]) -> Json | None:
    """Plot and table of evaluations (with title, and whether it is the run's own), the best of a network first."""
    if not told:
        return None
    nets = list(dict.fromkeys([e["net"] for e, _, own in told if own] + [e["net"] for e, _, _ in told]))
    told = sorted(told, key=lambda entry: (nets.index(entry[0]["net"]), -entry[0]["mean"]))
    rules = list(dict.fromkeys(_words(e) for e, _, _ in told))
    rows, table = [], []
    for evaluation, name, own in told:
        interval = evaluation.get("interval") or {}
        low, high = interval.get("low"), interval.get("high")
        detail = f"{evaluation['net']}, {_trained(evaluation)}"
        rows.append(plots.Row(name, detail, evaluation["accuracies"], evaluation["mean"], low, high, own))
        known = f"{100 * low:.1f} – {percent(high)}" if low is not None and high is not None else ""
        seconds = evaluation.get("seconds_per_student")
        table.append({
            "title": name,
            "own": own,
            "note": evaluation.get("note") or "",
            "images": evaluation.get("images") or "",
            "net": evaluation["net"],
            "value": evaluation["mean"],
            "mean": percent(evaluation["mean"]),
            "interval": known or "no interval",
            "over": f"over {interval['over']}" if known and interval.get("over") else "",
            "students": _trained(evaluation),
            "seconds": duration(seconds) if seconds is not None else "",
            "time": "" if seconds is None else seconds,
            "rule": rules.index(_words(evaluation)) + 1 if len(rules) > 1 else 0,
        })  # fmt: skip
    plain = [protocol for e, _, _ in told if (protocol := explained(e))]
    narrow = [replace(row, label=f"{row.label}, {e['net']}") for row, (e, _, _) in zip(rows, told, strict=True)]
    return {
        "rules": rules,
        "plain": plain[0] if len(set(plain)) == 1 else "",
        "wide": plots.accuracy(rows, width=1120),
        "narrow": plots.accuracy(narrow, width=340),
        "table": table,
    }


def _trained(evaluation: Json) -> str:
    students, sets = sum(map(len, evaluation["accuracies"])), len(evaluation["accuracies"])
    return plural(students, "student") + (f", {plural(sets, 'set')}" if sets > 1 else "")


def _words(evaluation: Json) -> str:
    return str(evaluation.get("words") or _trained(evaluation))


def explained(evaluation: Json) -> str:
    """The training of a student in plain words; "" where the evaluation does not tell it."""
    rule = evaluation.get("protocol") or {}
    epochs, batch, lr, schedule = (rule.get(name) for name in ("epochs", "batch", "lr", "schedule"))
    if type(epochs) is not int or type(batch) is not int or not isinstance(lr, int | float) or schedule not in SCHEDULES:
        return ""
    drop = rule.get("drop_after")
    falls = SCHEDULES[schedule].format(drop=count(drop if type(drop) is int else max(1, epochs // 2)))
    augment = rule.get("augment")
    seen = f" Images are augmented: {', '.join(str(augment).split('_'))}." if augment not in (None, "none", "") else ""
    if rule.get("selects"):
        return ""
    return (
        f"A student begins with random weights and sees the images {count(epochs)} times, {count(batch)} at once (all where "
        f"there are fewer), with stochastic gradient descent at a rate of {lr:g}, {falls}.{seen} What counts is its accuracy on "
        "the test part after the last epoch; nothing is chosen by it."
    )


def across(run: Run) -> Json | None:
    """The run's own accuracy under each network that was judged, as bars, beside random images and the whole set; or None."""
    final = [e for e in run.evaluations if e.get("iteration") is None]
    own: dict[str, Json] = {}
    for evaluation in final:
        if is_own(evaluation, run.card) and (evaluation["net"] not in own or _count(evaluation) > _count(own[evaluation["net"]])):
            own[evaluation["net"]] = evaluation
    if len(own) < 2:
        return None
    rivals = {of: {e["net"]: e["mean"] for e in final if e["of"] == of} for of in ("random", "whole")}
    bars = []
    for net, evaluation in sorted(own.items(), key=lambda entry: -entry[1]["mean"]):
        interval = evaluation.get("interval") or {}
        marks = {name: rivals[of][net] for of, name in (("random", "random"), ("whole", "whole set")) if net in rivals[of]}
        made = net == run.card["recipe"].get("net")
        bars.append(plots.Bar(net, evaluation["mean"], interval.get("low"), interval.get("high"), marks, made))
    different = len({_words(e) for e in own.values()}) > 1
    return {"wide": plots.bars(bars, width=760), "narrow": plots.bars(bars, width=340), "different": different}


def _count(evaluation: Json) -> int:
    return sum(map(len, evaluation["accuracies"]))


def _by_class(run: Run) -> list[Json]:
    """The evaluations that tell classes apart, the run's own first."""
    told = [e for e in run.evaluations if e.get("per_class") and e.get("classes")]
    return sorted(told, key=lambda e: (not is_own(e, run.card), e.get("iteration") is not None))


def _name(evaluation: Json) -> str:
    return f"{title(evaluation)}, {evaluation['net']}"


def _short(classes: Sequence[str]) -> list[str]:
    return [shorten(name, 32) for name in classes]


def classes(run: Run) -> Json | None:
    """Accuracy of each class under a few evaluations of the same classes."""
    told = _by_class(run)
    told = [e for e in told if e["classes"] == told[0]["classes"]][:COLUMNS]
    if not told:
        return None
    rows = zip(_short(told[0]["classes"]), *(e["per_class"] for e in told), strict=True)
    return {"columns": [_name(e) for e in told], "own": is_own(told[0], run.card), "rows": list(rows)}


def confusions(run: Run) -> Iterator[Json]:
    """For each evaluation what a class (row) was taken for (column), in shares of the row; the commonest mistakes."""
    for evaluation in _by_class(run):
        if not evaluation.get("confusion"):
            continue
        names, table = _short(evaluation["classes"]), evaluation["confusion"]
        shares = [[cell / max(sum(row), 1) for cell in row] for row in table]
        wrong = [
            (cell, names[true], names[taken])
            for true, row in enumerate(shares)
            for taken, cell in enumerate(row)
            if true != taken and cell > 0
        ]
        wrong.sort(key=lambda entry: -entry[0])
        yield {
            "name": _name(evaluation),
            "classes": names,
            "rows": list(zip(names, shares, strict=True)) if len(names) <= LARGEST_TABLE else [],
            "worst": wrong[0][0] if wrong else 1.0,
            "mistakes": wrong[:5] if len(names) <= LARGEST_TABLE else wrong[:20],
        }
