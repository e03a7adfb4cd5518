"""What accuracies say in words: the same in the terminal, on the page and in tables.

An evaluation is told as the mapping that its file holds. Letters: K classes, S sets, n students.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from datadam.evaluation.statistics import std, t95
from datadam.wording import count, percent

FEW = 100  # test images below which their number stands beside a percentage
UNEQUAL = 1.5  # times as many test images as the smallest class has, from which accuracy and balanced accuracy are both told
Accuracies = Sequence[Sequence[float]]


def spread(low: float, high: float, digits: int = 1) -> str:
    """A 95 % interval in per cent: "± 1.2", or, where that would reach beyond 0 and 100, its ends: "0.0 to 84.3"."""
    if low >= 0 and high <= 1:
        return f"± {50 * (high - low):.{digits}f}"
    return f"{100 * max(0.0, low):.{digits}f} to {100 * min(1.0, high):.{digits}f}"


def around(mean: float, interval: Mapping[str, Any] | None, digits: int = 1) -> str:
    """A mean in per cent with its interval: "97.1 ± 1.2", "42.0 (0.0 to 84.3)"; alone without one."""
    words = f"{100 * mean:.{digits}f}"
    if not interval:
        return words
    wide = spread(interval["low"], interval["high"], digits)
    return f"{words} {wide}" if wide.startswith("±") else f"{words} ({wide})"


def in_percent(value: float, of: int | None, digits: int = 1) -> str:
    """An accuracy in per cent, and of how many test images where these are few: "97.1 %", "100.0 % of 2"."""
    return percent(value, digits) + (f" of {count(of)}" if of is not None and 0 < of < FEW else "")


def class_sizes(evaluation: Mapping[str, Any]) -> list[int]:
    """Test images of each class [K]; [] where the evaluation does not tell."""
    try:
        students = sum(map(len, evaluation["accuracies"]))
        return [sum(row) // students for row in evaluation["confusion"]]
    except (KeyError, TypeError, ZeroDivisionError):
        return []


def images_judged(evaluation: Mapping[str, Any]) -> int | None:
    """Test images; None where the evaluation does not tell."""
    return sum(class_sizes(evaluation)) or None


def balanced(evaluation: Mapping[str, Any]) -> float | None:
    """The mean of the classes' accuracies, where the classes of the test part are so unequal that it says something else."""
    sizes = [size for size in class_sizes(evaluation) if size]
    told = [share for share in evaluation.get("per_class") or [] if share is not None]
    if not sizes or not told or max(sizes) < UNEQUAL * min(sizes):
        return None
    return math.fsum(told) / len(told)


def better(ours: Accuracies, theirs: Accuracies) -> bool:
    """Whether the mean of ours lies above theirs by more than chance gives.

    Where both are of several (set means of several sets, else students): the 95 % interval of the difference of means lies above
    zero (Welch's t). Where one side is a single number: the difference is more than the spread of the other explains; where both
    are, it is enough to be greater, since nothing is known of chance.
    """
    first, second = _values(ours), _values(theirs)
    difference = math.fsum(first) / len(first) - math.fsum(second) / len(second)
    parts = [(std(values) ** 2, len(values)) for values in (first, second) if len(values) > 1]
    if difference <= 0 or not parts:
        return difference > 0
    if len(parts) == 1:
        (variance, n), freedom = parts[0], parts[0][1] - 1.0
        variances = variance * (1 + 1 / n)
    else:
        errors = [variance / n for variance, n in parts]
        variances = math.fsum(errors)
        weights = math.fsum(error**2 / (n - 1) for error, (_, n) in zip(errors, parts, strict=True))
        freedom = variances**2 / weights if weights else 1.0
    return difference > t95(max(1, int(freedom))) * math.sqrt(variances)


def verdict(ours: Accuracies, random: Accuracies) -> str:
    """Where images are not better than random real ones, that, in a sentence without its full stop; else ""."""
    if better(ours, random):
        return ""
    first, second = (_values(one) for one in (ours, random))
    means = [math.fsum(values) / len(values) for values in (first, second)]
    chance = ", a difference within what chance gives" if means[0] > means[1] else ""
    return f"not better than random real images: {percent(means[0])} against {percent(means[1])}{chance}"


def _values(accuracies: Accuracies) -> list[float]:
    """Set means of several sets, else the students of the one."""
    means = [math.fsum(one) / len(one) for one in accuracies]
    return means if len(means) > 1 else list(accuracies[0])
