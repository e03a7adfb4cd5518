"""Evaluations as the command line shows them: a table, and below it how they were judged."""

from pathlib import Path
from typing import Any


def judged(evaluations: list[tuple[str, dict[str, Any]]], runs: bool = True) -> str:
    """A table of evaluations with their runs, and below it how they were judged; numbered where that differs.

    Sets of different kinds stand in groups, and each row says its kind where one is other than the usual.
    """
    from datadam.cli.screen import table
    from datadam.sets.kind import Kind

    kinds = list(dict.fromkeys(Kind.of_evaluation(e) for _, e in evaluations))
    evaluations = sorted(evaluations, key=lambda told: kinds.index(Kind.of_evaluation(told[1])))
    left_out = {"run": not runs, "kind": all(kind.usual for kind in kinds)}
    left_out["stored"] = all(e.get("stored_bytes") is None for _, e in evaluations)
    left_out["balanced"] = all(e.get("balanced") is None for _, e in evaluations)
    shown = [number for number, name in enumerate(HEAD) if not left_out.get(name)]
    words = list(dict.fromkeys(e["words"] for _, e in evaluations))
    marks = {word: f"[{number}]" for number, word in enumerate(words, 1)} if len(words) > 1 else {}
    head = (*(HEAD[number] for number in shown), *(["judged"] if marks else []))
    cells = [(row_of(run, e), e) for run, e in evaluations]
    rows = [(*(row[number] for number in shown), *([marks[e["words"]]] if marks else [])) for row, e in cells]
    return "\n".join([table(head, rows), *(f"{marks[word]} {word}" if marks else word for word in words)])


def verdicts(card: dict[str, Any], evaluations: list[dict[str, Any]], name: str = "") -> list[str]:
    """What must be said of a set whose students are not better than those of random real images, by network."""
    from datadam.evaluation.told import verdict
    from datadam.report.judged import is_own, rival_of

    found = []
    for e in evaluations:
        random = rival_of(card, evaluations, "random", e)
        judged = is_own(e, card) and e["of"] != "random" and e.get("iteration") is None
        if judged and random and (words := verdict(e["accuracies"], random["accuracies"])):
            found.append(f"{name}{': ' if name else ''}{words} ({e['net']})")
    return list(dict.fromkeys(found))


HEAD = ("run", "of", "images", "kind", "stored", "net", "accuracy", "95 % interval", "balanced", "s a student")


def row_of(run: str, e: dict[str, Any]) -> tuple[str, ...]:
    """One evaluation as cells under `HEAD`."""
    from datadam.evaluation.told import images_judged, in_percent, spread
    from datadam.sets.kind import Kind
    from datadam.wording import percent, size

    interval = e["interval"]
    width = f"{spread(interval['low'], interval['high'], 2)} ({interval['over']})" if interval else "one student"
    even = "-" if e.get("balanced") is None else percent(e["balanced"], 2)
    of = f"{e['of']}" + ("" if e["iteration"] is None else f" @{e['iteration']}") + (f" [{e['note']}]" if e["note"] else "")
    stored = "-" if e.get("stored_bytes") is None else size(e["stored_bytes"])
    return (
        run, of, str(e["images"]), Kind.of_evaluation(e).short, stored, e["net"], in_percent(e["mean"], images_judged(e), 2),
        width, even, f"{e['seconds_per_student']:.1f}",
    )  # fmt: skip


def kept_evaluations(run: Path) -> list[tuple[Path, dict[str, Any]]]:
    """The evaluations kept in a run folder; a damaged one is told and left out."""
    from datadam.cli.screen import say
    from datadam.errors import ArtifactError
    from datadam.files.whole import read_json

    found = []
    for path in sorted((run / "evaluations").glob("*.json")):
        try:
            e = read_json(path)
            row_of("", e)
            if not isinstance(e["protocol"]["name"], str) or not isinstance(e["words"], str):
                raise TypeError
            found.append((path, e))
        except (ArtifactError, KeyError, TypeError, ValueError):
            say(f"note: {path} is no evaluation, or damaged, and was left out")
    return found
