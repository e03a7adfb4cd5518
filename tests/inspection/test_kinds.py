"""Looking at decoded and soft-labelled sets: at the images that students see, whatever is stored of them."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from kinds import KINDS, set_of_kind

from datadam.data import RealData
from datadam.inspection import Inspection, Settings, inspect, is_fresh

QUICK = Settings(samples=24, networks=2)


def numbers(made: Inspection) -> dict[str, object]:
    return {name: made.found[name] for name in ("classes", "drawn", "neighbours", "attention", "scatter")}


@pytest.mark.parametrize("kind", ["grid", "soft", "unequal", "all"])
def test_what_is_seen_is_what_students_see(real: RealData, kind: str) -> None:
    one = set_of_kind(real, **KINDS[kind])
    plain = one.as_plain()
    hard = replace(plain, labels=plain.numbers, card=plain.card | {"labels": "class"})
    ours, theirs = inspect(one, real, QUICK), inspect(hard, real, QUICK)
    assert numbers(ours) == numbers(theirs)
    assert all(torch.equal(ours.tensors[name], theirs.tensors[name]) for name in ours.tensors)
    assert ours.found["neighbours"]["image"] == list(range(len(one.training_images)))
    assert (ours.tensors["point_kinds"] == 1).sum() == len(one.training_images)


def test_another_rate_is_another_set(real: RealData, tmp_path: Path) -> None:
    one = set_of_kind(real, **KINDS["rate"])
    made = inspect(one, real, QUICK)
    assert made.found["run"]["digest"] == one.card["digest"]
    made.save(tmp_path)
    assert is_fresh(tmp_path, one, QUICK)
    assert not is_fresh(tmp_path, set_of_kind(real, rate=0.04), QUICK)
