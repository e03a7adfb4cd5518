"""DD-Ranking's scores of a distilled set, from accuracies as fractions.

Li et al., DD-Ranking: Rethinking the Evaluation of Dataset Distillation (2025). The released package feeds per cent into the
exponential, so its numbers are other ones.
"""

import math
import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from datadam.errors import InvalidInput

WEIGHT = 0.5  # w of the label-robust and gamma of the augmentation-robust score
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


@dataclass(frozen=True)
class Scores:
    """The scores of one run that its evaluations allow.

    `lrs`, `hlr`, `ior`, `ars`, None where something is missing; `used`, the accuracies they come from; `missing`, commands that
    make the rest; `net` and `protocol` of the students.
    """

    lrs: float | None
    hlr: float | None
    ior: float | None
    ars: float | None
    used: dict[str, float]
    missing: tuple[str, ...]
    net: str
    protocol: str

    def to_json(self) -> Json:
        """As told in the docstring of `datadam.audit`."""
        return vars(self) | {"missing": list(self.missing), "w": WEIGHT, "gamma": WEIGHT}


def scores(card: Json, evaluations: Sequence[Json], run: str) -> Scores:
    """The scores of a run from the evaluations kept beside it.

    Arguments: `card` of the run; `evaluations`, as an evaluation's JSON; `run`, its folder, for the commands. Only students of
    the run's own network, in float32, under one protocol by name are compared: set and random images with the same epochs and
    the same augmentation; the whole set may have had other epochs. Where there are several, the one of most epochs counts, then
    the one of most students.
    """
    net, protocol = str(card["recipe"]["net"]), str(card["recipe"].get("protocol", "honest"))
    alike = [e for e in evaluations if _sound(e) and e["net"] == net and e["protocol"]["name"] == protocol
             and e.get("iteration") is None and e.get("precision", "float32") == "float32"]  # fmt: skip
    of_size = [e for e in alike if e["images"] == _images(card)]
    random = [e for e in of_size if e["of"] == "random"]
    ours = random if _is_random(card) else [e for e in of_size if e["of"] not in ("whole", "random")]
    whole = [e for e in alike if e["of"] == "whole"]
    pairs = [(a, b) for a in ours for b in random if a["protocol"] == b["protocol"]]
    augmented = _best(pairs, lambda pair: pair[0]["protocol"]["augment"] != "none")
    plain = _best(pairs, lambda pair: pair[0]["protocol"]["augment"] == "none")
    used: dict[str, float] = {}
    for name, pair in (("augmented", augmented), ("plain", plain)):
        if pair:
            used |= {f"set_{name}": float(pair[0]["mean"]), f"random_{name}": float(pair[1]["mean"])}
    pair, word = (augmented, "augmented") if augmented or not plain else (plain, "plain")
    bar = _best([(e, e) for e in whole], lambda one: pair is None or _augment(one[0]) == _augment(pair[0]))
    if bar:
        used["whole"] = float(bar[0]["mean"])
    improvement = ior(used[f"set_{word}"], used[f"random_{word}"]) if pair else None
    missing = hlr(used["whole"], used[f"set_{word}"]) if pair and bar else None
    return Scores(
        lrs=lrs(improvement, missing) if improvement is not None and missing is not None else None,
        hlr=missing,
        ior=improvement,
        ars=ars(ior(used["set_augmented"], used["random_augmented"]), ior(used["set_plain"], used["random_plain"]))
        if augmented and plain
        else None,
        used=used,
        missing=tuple(_commands(card, run, ours, random, augmented is not None, plain is not None, bar is not None)),
        net=net,
        protocol=protocol,
    )


def _sound(e: Json) -> bool:
    """Whether an evaluation says all that is needed here."""
    try:
        counts = [len(one) for one in e["accuracies"]]
        return bool(counts) and 0 <= e["mean"] <= 1 and {"augment", "epochs"} <= set(e["protocol"]) and {"of", "images"} <= set(e)
    except (KeyError, TypeError):
        return False


def _images(card: Json) -> int:
    return int(card["recipe"]["ipc"]) * len(card["data"]["classes"])


def _is_random(card: Json) -> bool:
    method = card["recipe"].get("method")
    return (method.get("name") if isinstance(method, dict) else method) == "random"


def _augment(e: Json) -> str:
    return str(e["protocol"]["augment"])


def _best(pairs: Sequence[tuple[Json, Json]], wanted: Callable[[tuple[Json, Json]], bool]) -> tuple[Json, Json] | None:
    """The wanted pair of most epochs, then of most students."""
    return max(filter(wanted, pairs), key=lambda pair: (pair[0]["protocol"]["epochs"], _students(pair)), default=None)


def _students(pair: tuple[Json, Json]) -> int:
    return min(sum(map(len, e["accuracies"])) for e in pair)


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
