"""What students trained on the images reached: accuracies beside each other, by network, by class, and their mistakes."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from datadam.evaluation.ddranking import is_usual, standing
from datadam.evaluation.told import FEW, balanced, class_sizes, images_judged, in_percent, verdict
from datadam.report import plots
from datadam.report.folder import Json, Run
from datadam.sets.kind import Kind
from datadam.wording import THIN, count, duration, method_name, percent, plural, shorten
from datadam.wording import size as in_bytes

LARGEST_TABLE = 20  # classes of a confusion matrix that is shown whole
COLUMNS = 4  # evaluations beside each other in the table of classes
SCHEDULES = {"step": "a tenth of it after epoch {drop}", "every15": "half of it every 15 epochs"}


def is_own(evaluation: Json, card: Json) -> bool:
    """Whether this run's own images were judged, and not what they are compared with."""
    return bool(evaluation["of"] == "distilled" or (card["kind"] == "coreset" and evaluation["of"] == method_name(card)))


def title(evaluation: Json) -> str:
    """What was judged, in words."""
    known = {"distilled": "Distilled images", "random": "Random real images", "whole": "Whole training set"}
    prefix = re.fullmatch(r"first(\d+)", evaluation["of"])
    name = f"The first {prefix[1]} of each class" if prefix else known.get(evaluation["of"], f"Coreset: {evaluation['of']}")
    when = "" if evaluation.get("iteration") is None else f", iteration {count(evaluation['iteration'])}"
    return name + when + marked(evaluation)


def marked(evaluation: Json) -> str:
    """What a row must say of its set and of its students where they are other than the usual; else ""."""
    return Kind.of_evaluation(evaluation).words + unusual(evaluation)


def unusual(evaluation: Json) -> str:
    """What a row must say where its students were not augmented as the protocol has it, or computed otherwise; else ""."""
    augment = str((evaluation.get("protocol") or {}).get("augment"))
    seen = "" if is_usual(evaluation) else ", not augmented" if augment == "none" else f", augmented by {augment}"
    precision = evaluation.get("precision") or "float32"
    return seen + ("" if precision == "float32" else f", {precision}")


def best(evaluations: Sequence[Json], card: Json) -> Json | None:
    """The evaluation that speaks for all of these: of the greatest standing, whatever their files are called."""
    return max(evaluations, key=lambda e: standing(card, e), default=None)


def by_standing(run: Run) -> list[Json]:
    """All evaluations of a run, the one that speaks for it first, so that its own network leads."""
    return sorted(run.evaluations, key=lambda e: standing(run.card, e), reverse=True)


def headline(run: Run) -> Json | None:
    """The evaluation of the run's own images by which the run is known."""
    return best([e for e in run.evaluations if is_own(e, run.card) and e.get("iteration") is None], run.card)


def rival(run: Run, of: str, own: Json) -> Json | None:
    """What `own` is held against: random images of its kind ("random") or the whole set ("whole") under the same network and
    protocol, with the same augmentation and precision; None where there is none."""
    return rival_of(run.card, run.evaluations, of, own)


def rival_of(card: Json, evaluations: Sequence[Json], of: str, own: Json) -> Json | None:
    """As `rival`, of the evaluations of a set with this card."""

    def like(e: Json) -> tuple[object, ...]:
        rule, kind = e.get("protocol") or {}, None if of == "whole" else Kind.of_evaluation(e)
        return e["net"], rule.get("name"), rule.get("augment"), e.get("precision") or "float32", kind

    return best([e for e in evaluations if e["of"] == of and e.get("iteration") is None and like(e) == like(own)], card)


def not_better(run: Run) -> str:
    """Where the run's own images are not better than random real ones, that; else ""."""
    own = headline(run)
    random = rival(run, "random", own) if own and own["of"] != "random" else None
    return verdict(own["accuracies"], random["accuracies"]) if own and random else ""


def accuracy(told: Sequence[tuple[Json, str, bool]]) -> Json | None:
    """Plot and table of evaluations (with title, and whether it is the run's own), the best of a network and kind first."""
    if not told:
        return None
    nets = list(dict.fromkeys([e["net"] for e, _, own in told if own] + [e["net"] for e, _, _ in told]))
    kinds = list(dict.fromkeys([Kind.of_evaluation(e) for e, _, own in sorted(told, key=lambda entry: not entry[2])]))
    told = sorted(
        told, key=lambda entry: (nets.index(entry[0]["net"]), kinds.index(Kind.of_evaluation(entry[0])), -entry[0]["mean"])
    )
    rules = list(dict.fromkeys(_words(e) for e, _, _ in told))
    rows, labels, table = [], [], []
    for evaluation, name, own in told:
        interval = evaluation.get("interval") or {}
        low, high = interval.get("low"), interval.get("high")
        kind, few = Kind.of_evaluation(evaluation), plots.is_cut(low, high)
        odd, group = ("" if kind.usual else f", {kind.short}") + unusual(evaluation), kinds.index(kind)
        label, students = name.removesuffix(marked(evaluation)), ("only " if few else "") + _trained(evaluation)
        rows.append(
            plots.Row(
                label,
                f"{evaluation['net']}{odd}, {students}",
                evaluation["accuracies"],
                evaluation["mean"],
                low,
                high,
                own,
                group,
            )
        )
        more = f", {students}" if few else odd or (f", {evaluation['net']}" if len(nets) > 1 else "")
        labels.append(shorten(label, plots.NARROW - len(more)) + more)
        known = f"{100 * max(low, 0):.1f} – {percent(min(high, 1))}" if low is not None and high is not None else ""
        seconds = evaluation.get("seconds_per_student")
        table.append({
            "title": name,
            "own": own,
            "note": evaluation.get("note") or "",
            "images": evaluation.get("images") or "",
            "stored": in_bytes(evaluation["stored_bytes"]) if evaluation.get("stored_bytes") else "",
            "group": group,
            "net": evaluation["net"],
            "value": evaluation["mean"],
            "mean": in_percent(evaluation["mean"], images_judged(evaluation)),
            "balanced": "" if (even := balanced(evaluation)) is None else f"{percent(even)} balanced over classes",
            "interval": known or "no interval",
            "over": _over(evaluation) if known else "",
            "students": _trained(evaluation),
            "seconds": duration(seconds) if seconds is not None else "",
            "time": "" if seconds is None else seconds,
            "rule": rules.index(_words(evaluation)) + 1 if len(rules) > 1 else 0,
        })  # fmt: skip
    plain = [protocol for e, _, _ in told if (protocol := explained(e))]
    narrow = [replace(row, label=label) for row, label in zip(rows, labels, strict=True)]
    return {
        "rules": rules,
        "kinds": len(kinds),
        "plain": plain[0] if len(set(plain)) == 1 else "",
        "wide": plots.accuracy(rows, width=1120),
        "narrow": plots.accuracy(narrow, width=340),
        "table": table,
    }


def _over(evaluation: Json) -> str:
    """What an interval is over; where it reaches beyond what an accuracy can be, of how few it comes."""
    interval = evaluation["interval"]
    if plots.is_cut(interval["low"], interval["high"]):
        return f"cut: wider than 0 – 100{THIN}%, from {_trained(evaluation)} only"
    return f"over {interval['over']}" if interval.get("over") else ""


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
    nets: dict[str, list[Json]] = {}
    for evaluation in run.evaluations:
        if is_own(evaluation, run.card) and evaluation.get("iteration") is None:
            nets.setdefault(evaluation["net"], []).append(evaluation)
    own = {net: max(told, key=lambda e: standing(run.card, e)) for net, told in nets.items()}
    if len(own) < 2:
        return None
    bars = []
    for net, evaluation in sorted(own.items(), key=lambda entry: -entry[1]["mean"]):
        interval = evaluation.get("interval") or {}
        rivals = {name: rival(run, of, evaluation) for of, name in (("random", "random"), ("whole", "whole set"))}
        marks = {name: e["mean"] for name, e in rivals.items() if e}
        made = net == run.card["recipe"].get("net")
        label = net + unusual(evaluation)
        bars.append(plots.Bar(label, evaluation["mean"], interval.get("low"), interval.get("high"), marks, made))
    different = len({_words(e) for e in own.values()}) > 1
    return {"wide": plots.bars(bars, width=760), "narrow": plots.bars(bars, width=340), "different": different}


def _by_class(run: Run) -> list[Json]:
    """The evaluations that tell classes apart, the run's own first, each of them by standing."""
    told = [e for e in run.evaluations if e.get("per_class") and e.get("classes")]
    return sorted(told, key=lambda e: (is_own(e, run.card), standing(run.card, e)), reverse=True)


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
    sizes = class_sizes(told[0])
    names = [
        f"{name} ({plural(size, 'test image')})" if size < FEW else name
        for name, size in zip(_short(told[0]["classes"]), sizes or [FEW] * len(told[0]["classes"]), strict=True)
    ]
    rows = zip(names, *(e["per_class"] for e in told), strict=True)
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
