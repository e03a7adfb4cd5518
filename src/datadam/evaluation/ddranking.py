"""DD-Ranking's scores of a distilled set, from accuracies as fractions.

Li et al., DD-Ranking: Rethinking the Evaluation of Dataset Distillation (2025). The released package feeds per cent into the
exponential, so its numbers are other ones.
"""

import math
import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import stdev
from typing import Any

from datadam.errors import InvalidInput
from datadam.sets.kind import Kind, counts_of

WEIGHT = 0.5  # w of the label-robust and gamma of the augmentation-robust score
USUAL = ("color_crop_cutout_flip_scale_rotate", "color_crop_cutout_scale_rotate", "dsa")  # every protocol's own augmentation
Json = dict[str, Any]


def hlr(whole: float, distilled: float) -> float:
    """Hard label recovery: the accuracy that is missing to the whole real set, both with hard labels. Smaller is better."""
    _check(whole, distilled)
    return whole - distilled


def ior(distilled: float, random: float) -> float:
    """Improvement over random real images of the same number. Larger is better."""
    _check(distilled, random)
    return distilled - random


def lrs(improvement: float, missing: float, w: float = WEIGHT) -> float:
    """Label-robust score, in [0, 1]: (e^a - 1/e) / (e - 1/e) of a = w IOR - (1 - w) HLR.

    Arguments: `improvement` (IOR) and `missing` (HLR), in [-1, 1]; `w`, in [0, 1].
    """
    _check(w)
    return _squeezed(w * improvement - (1 - w) * missing)


def ars(augmented: float, plain: float, gamma: float = WEIGHT) -> float:
    """Augmentation-robust score, in [0, 1]: as `lrs`, of b = gamma I_aug + (1 - gamma) I.

    Arguments: the improvement over random images where students' images are `augmented` (I_aug) and where they are `plain` (I),
    in [-1, 1]; `gamma`, in [0, 1].
    """
    _check(gamma)
    return _squeezed(gamma * augmented + (1 - gamma) * plain)


def _squeezed(a: float) -> float:
    if not -1 <= a <= 1:
        raise InvalidInput(f"differences of accuracies lie in -1..1, and {a} came of them; give fractions, not per cent")
    return (math.exp(a) - math.exp(-1)) / (math.e - math.exp(-1))


def _check(*shares: float) -> None:
    for share in shares:
        if not 0 <= share <= 1:
            raise InvalidInput(f"{share} is no fraction of 0..1; give accuracies as fractions, not per cent")


def standing(card: Json, evaluation: Json) -> tuple[bool, bool, bool, bool, bool, float, int]:
    """By which of a run's evaluations the one is chosen that speaks for it: the greatest.

    In this order: of the end and not of a snapshot, on the run's own network, under the protocol of its card, with the protocol's
    own augmentation, in float32, of most epochs, of most students. File names and accuracies have no say.
    """
    rule, recipe = evaluation.get("protocol") or {}, card["recipe"]
    epochs = rule.get("epochs")
    return (
        evaluation.get("iteration") is None,
        evaluation["net"] == recipe.get("net"),
        rule.get("name") == recipe.get("protocol", "honest"),
        is_usual(evaluation),
        evaluation.get("precision", "float32") == "float32",
        epochs if isinstance(epochs, int | float) and not isinstance(epochs, bool) and epochs == epochs else 0,
        _students(evaluation),
    )


def _students(evaluation: Json) -> int:
    """How many students an evaluation counts; 0 for one that is damaged."""
    try:
        return sum(map(len, evaluation["accuracies"]))
    except (KeyError, TypeError):
        return 0


def is_usual(evaluation: Json) -> bool:
    """Whether students' images were augmented as the protocol has it (or it is not told)."""
    return (evaluation.get("protocol") or {}).get("augment", "dsa") in USUAL


@dataclass(frozen=True)
class Scores:
    """The scores of one run that its evaluations allow.

    `lrs`, `hlr`, `ior`, `ars`, None where something is missing; `intervals`, of each of them (95 %, None where the students do
    not tell it); `used`, the accuracies they come from; `evidence`, of each of those the students, sets and epochs; `missing`,
    commands that make the rest; `net` and `protocol` of the students.
    """

    lrs: float | None
    hlr: float | None
    ior: float | None
    ars: float | None
    intervals: dict[str, tuple[float, float] | None]
    used: dict[str, float]
    evidence: dict[str, dict[str, int]]
    missing: tuple[str, ...]
    net: str
    protocol: str

    def to_json(self) -> Json:
        """As told in the docstring of `datadam.audit`."""
        return vars(self) | {"missing": list(self.missing), "w": WEIGHT, "gamma": WEIGHT}


def scores(card: Json, evaluations: Sequence[Json], run: str) -> Scores:
    """The scores of a run from the evaluations kept beside it.

    Arguments: `card` of the run; `evaluations`, as an evaluation's JSON; `run`, its folder, for the commands. Only students of
    the run's own network, in float32, under one protocol by name are compared: set and random images of one decoder, with the
    same epochs and the same augmentation; the whole set may have had other epochs. Where there are several, those of the greatest
    `standing` count. For the intervals see `_interval`. The scores are of class numbers and of equally many images of each class:
    a set with soft labels or unequal classes has none, and nothing is missing for them.
    """
    net, protocol, kind = str(card["recipe"]["net"]), str(card["recipe"].get("protocol", "honest")), Kind.of_card(card)
    if kind.labels != "hard" or len(set(counts_of(card))) > 1:
        return Scores(None, None, None, None, dict.fromkeys(("lrs", "hlr", "ior", "ars")), {}, {}, (), net, protocol)
    alike = [e for e in evaluations if _sound(e) and e["net"] == net and e["protocol"]["name"] == protocol
             and e.get("iteration") is None and e.get("precision", "float32") == "float32"]  # fmt: skip
    of_size = [e for e in alike if e["images"] == sum(counts_of(card)) and Kind.of_evaluation(e) == kind]
    random = [e for e in of_size if e["of"] == "random"]
    ours = random if _is_random(card) else [e for e in of_size if e["of"] not in ("whole", "random")]
    whole = [e for e in alike if e["of"] == "whole"]
    pairs = [(a, b) for a in ours for b in random if a["protocol"] == b["protocol"]]

    def best(pairs: Sequence[tuple[Json, Json]], wanted: Callable[[Json], bool]) -> tuple[Json, Json] | None:
        suited = [pair for pair in pairs if wanted(pair[0])]
        return max(suited, key=lambda pair: min(standing(card, e) for e in pair), default=None)

    augmented, plain = best(pairs, lambda e: _augment(e) != "none"), best(pairs, lambda e: _augment(e) == "none")
    pair, word = (augmented, "augmented") if augmented or not plain else (plain, "plain")
    bar = best([(e, e) for e in whole], lambda e: pair is None or _augment(e) == _augment(pair[0]))
    of: dict[str, Json] = {}
    for name, two in (("augmented", augmented), ("plain", plain)):
        of |= {f"set_{name}": two[0], f"random_{name}": two[1]} if two else {}
    of |= {"whole": bar[0]} if bar else {}

    # Every score is an increasing function of a weighted sum of mean accuracies.
    mine, theirs, w, g = f"set_{word}", f"random_{word}", WEIGHT, WEIGHT
    sums: dict[str, tuple[Json, Callable[[float], float]]] = {
        "ior": ({mine: 1, theirs: -1}, float),
        "hlr": ({"whole": 1, mine: -1}, float),
        "lrs": ({mine: w + (1 - w), theirs: -w, "whole": w - 1}, _squeezed),
        "ars": ({"set_augmented": g, "random_augmented": -g, "set_plain": 1 - g, "random_plain": g - 1}, _squeezed),
    }
    values: dict[str, float | None] = {}
    intervals: dict[str, tuple[float, float] | None] = {}
    for name, (weights, final) in sums.items():
        there = set(weights) <= set(of)
        a = math.fsum(weight * of[key]["mean"] for key, weight in weights.items()) if there else None
        half = _half([(weight, of[key]) for key, weight in weights.items()]) if there else None
        values[name] = None if a is None else final(a)
        ends = None if a is None or half is None else (max(-1.0, a - half), min(1.0, a + half))
        intervals[name] = ends and (final(ends[0]), final(ends[1]))
    return Scores(
        **values,
        intervals=intervals,
        used={name: float(e["mean"]) for name, e in of.items()},
        evidence={name: _evidence(e) for name, e in of.items()},
        missing=tuple(_commands(card, run, ours, random, augmented is not None, plain is not None, bar is not None)),
        net=net,
        protocol=protocol,
    )


def _evidence(e: Json) -> dict[str, int]:
    return {"students": sum(map(len, e["accuracies"])), "sets": len(e["accuracies"]), "epochs": int(e["protocol"]["epochs"])}


def _half(terms: Sequence[tuple[float, Json]]) -> float | None:
    """Half of the 95 % interval of a weighted sum of mean accuracies, from the spread of each evaluation's students.

    The evaluations are taken as independent: the squares of weight x standard error add up, over the sets where there are two
    or more, else over the students; Student's t has the degrees of freedom of Welch and Satterthwaite. The whole set usually has
    one student, which has no spread: it is taken as it is. None where another has but one.
    """
    from scipy.special import stdtrit

    parts = []
    for weight, e in terms:
        told = [math.fsum(one) / len(one) for one in e["accuracies"]] if len(e["accuracies"]) > 1 else e["accuracies"][0]
        if len(told) > 1:
            parts.append(((weight * stdev(told)) ** 2 / len(told), len(told) - 1))
        elif e["of"] != "whole":
            return None
    variance = math.fsum(part for part, _ in parts)
    if not variance:
        return 0.0
    freedom = variance**2 / math.fsum(part**2 / df for part, df in parts)
    return float(stdtrit(freedom, 0.975)) * math.sqrt(variance)


def _sound(e: Json) -> bool:
    """Whether an evaluation says all that is needed here."""
    try:
        sets, rule = e["accuracies"], e["protocol"]
        told = bool(sets) and all(sets) and all(0 <= a <= 1 for one in sets for a in one) and 0 <= e["mean"] <= 1
        return told and type(rule["epochs"]) is int and "augment" in rule and {"of", "images"} <= set(e)
    except (KeyError, TypeError):
        return False


def _is_random(card: Json) -> bool:
    method = card["recipe"].get("method")
    return (method.get("name") if isinstance(method, dict) else method) == "random"


def _augment(e: Json) -> str:
    return str(e["protocol"]["augment"])


def _commands(
    card: Json, run: str, ours: Sequence[Json], random: Sequence[Json], augmented: bool, plain: bool, whole: bool
) -> Iterable[str]:
    """What makes the missing evaluations, under the protocol's own epochs or under those that are there."""
    data, options = card["data"], card["data"].get("options") or {}
    source = shlex.quote(data["source"] or "DATA") + (f" --root {shlex.quote(options['root'])}" if options.get("root") else "")
    beside, kept = f"--beside {shlex.quote(run)}", [*ours, *random]
    for there, words in ((augmented, ""), (plain, " --augment none")):
        if not there:
            mine = [e for e in kept if (_augment(e) == "none") == bool(words)]
            epochs = f" --epochs {max(e['protocol']['epochs'] for e in mine)}" if mine else ""
            if not any(e in mine for e in ours):
                yield f"datadam evaluate {shlex.quote(run)}{words}{epochs}"
            yield f"datadam baseline {source} --ipc {card['recipe']['ipc']} {beside}{words}{epochs}"
    if not whole:
        yield f"datadam baseline {source} --whole {beside}" + ("" if augmented or not plain else " --augment none")
