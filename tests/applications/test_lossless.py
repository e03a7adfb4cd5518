"""The smallest set: which size is tried next, what intervals decide, sets that begin from smaller ones, what is refused."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from datadam.applications import lossless as module
from datadam.applications.lossless import OPEN, SHORT, WITHIN, Asked, lossless, next_ipc, plan
from datadam.applications.lossless_page import sentence, sheet, text
from datadam.data import RealData
from datadam.errors import InvalidInput
from datadam.sets.distilled import DistilledSet
from datadam.testing import small_data
from datadam.where import Where

TINY = {
    "net": "convnet1:width=4",
    "epochs": 2,
    "whole_epochs": 1,
    "iterations": 2,
    "batch_real": 4,
    "students": 2,
    "augment": "none",
}


def asked(**changes: object) -> Asked:
    return Asked(**{"method": "dm", "tolerance": 50.0} | TINY | changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("answer", range(1, 41))
def test_doubling_and_bisection_find_every_answer(answer: int) -> None:
    verdicts: dict[int, bool] = {}
    while (ipc := next_ipc(verdicts, 40)) is not None:
        assert ipc not in verdicts
        verdicts[ipc] = ipc >= answer
    assert min(n for n, within in verdicts.items() if within) == answer
    assert len(verdicts) <= 12


def test_where_no_size_will_do_the_largest_was_tried() -> None:
    verdicts: dict[int, bool] = {}
    while (ipc := next_ipc(verdicts, 20)) is not None:
        verdicts[ipc] = False
    assert sorted(verdicts) == [1, 2, 4, 8, 16, 20]


def test_a_list_is_tried_up_to_the_first_that_will_do() -> None:
    assert next_ipc({}, 99, (3, 5, 9)) == 3
    assert next_ipc({3: False}, 99, (3, 5, 9)) == 5
    assert next_ipc({3: False, 5: True}, 99, (3, 5, 9)) is None


@pytest.mark.parametrize(
    ("students", "verdict"),
    [((0.9, 0.91, 0.905), WITHIN), ((0.80, 0.81, 0.805), SHORT), ((0.70, 0.99, 0.95), OPEN)],
)
def test_the_interval_decides(students: tuple[float, ...], verdict: str) -> None:
    step = module._weighed({"set": students, "random": (0.5, 0.6, 0.5)}, (0.9, 0.91, 0.905), asked(tolerance=5.0))
    assert step["verdict"] == verdict
    assert ("students_needed" in step) == (verdict == OPEN)


def test_students_that_spread_too_much_are_told_how_many_it_takes() -> None:
    with pytest.raises(InvalidInput, match=r"spread by 7.07 points.*it takes (\d+) students.*ask for students") as met:
        module._require_resolved(asked(tolerance=2.0), (0.8, 0.9))
    wanted = int(str(met.value).partition("it takes ")[2].split()[0])
    draws = torch.randn(400, 2, wanted, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 0.0707
    half = 1.96 * (draws.var(2).sum(1) / wanted).sqrt()
    assert 0.9 < float(half.mean()) / 0.02 < 1.02


def test_a_search_is_found_again_and_starts_from_smaller_sets(
    real: RealData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = plan(real, asked(tolerance=99.0, ipc_list=(1, 2)))
    monkeypatch.setattr(module, "_require_resolved", lambda asked, whole: None)
    monkeypatch.setattr(module, "unpaired", short_of(module.unpaired))
    where = Where(device="cpu")
    found = lossless(made, tmp_path, where)
    assert [(step["ipc"], step["start"], step["verdict"]) for step in found["steps"]] == [(1, None, SHORT), (2, 1, SHORT)]
    small, large = (DistilledSet.load(tmp_path / "runs" / name / "0") for name in ("dm-ipc1", "dm-ipc2-from1"))
    assert large.ipc == 2
    assert (large.images[::2] - small.images).abs().mean() < (large.images[::2] - small.images.roll(1, 0)).abs().mean()

    def never(*given: object, **options: object) -> None:
        raise AssertionError("made again")

    for name in ("begin", "evaluate", "evaluate_whole"):
        monkeypatch.setattr(f"datadam.applications.sets.{name}", never)
    again = lossless(plan(real, asked(tolerance=99.0, ipc_list=(1, 2))), tmp_path, where)
    assert {k: v for k, v in again.items() if k != "created"} == {k: v for k, v in found.items() if k != "created"}
    assert "no set of" in sentence(found)
    assert "<svg" in sheet(found).html()
    assert len(text(found)[1]) == 2


def short_of(really):
    """As unpaired, but every set is far short."""

    def unpaired(first, second, confidence=0.95):
        rate = really(first, second, confidence)
        return type(rate)(1.0, 0.995, 1.0)

    return unpaired


def test_one_answer_ends_the_search(real: RealData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_require_resolved", lambda asked, whole: None)
    monkeypatch.setattr(module, "judged", lambda *given, **options: {"accuracies": [[0.5, 0.5001]]})
    found = lossless(plan(real, asked(tolerance=1.0)), tmp_path, Where(device="cpu"))
    assert (found["answer"], found["random_answer"], [step["ipc"] for step in found["steps"]]) == (1, 1, [1])
    assert "1 image per class of" in sentence(found)


def test_a_set_starts_from_a_smaller_one_of_the_same_decoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = small_data(shape=(3, 32, 32), per_class=8, classes=2)
    planned = plan(real, asked(method="calm", tolerance=1.0))
    assert planned.most == 8  # dct:8 of one image per class, plain of eight
    monkeypatch.setattr(module, "_require_resolved", lambda asked, whole: None)
    monkeypatch.setattr(module, "judged", lambda *given, **options: {"accuracies": [[0.5, 0.5001]]})
    monkeypatch.setattr(module, "made_set", lambda *given, earlier, **options: SimpleNamespace(images=starts.append(earlier)))
    monkeypatch.setattr(module, "_weighed", lambda step, whole, asked: step | {"verdict": OPEN})
    monkeypatch.setattr(module, "_found", lambda plan, whole, steps, device: {"steps": steps})
    starts: list[object] = []
    found = lossless(planned, tmp_path, Where(device="cpu"))
    assert [(step["ipc"], step["start"]) for step in found["steps"]] == [(1, None), (2, None), (4, None), (8, None)]
    assert [planned.recipe(ipc).decoder for ipc in (1, 2, 4, 8)] == ["dct:8", "dct:4", "dct:2", "plain"]
    assert starts == [None] * 8


def test_everything_wrong_is_told_at_once(real: RealData) -> None:
    with pytest.raises(InvalidInput) as met:
        plan(real, asked(tolerance=0.0, confidence=1.0, students=1, epochs=0, ipc_list=(0, 2), most=3, method="dmm"))
    told = "\n".join(met.value.faults)
    for words in ("tolerance is 0", "confidence is 1", "students is 1", "epochs is 0", "ipc_list is 0, 2", "most ends", "'dmm'"):
        assert words in told
    with pytest.raises(InvalidInput, match="ipc_list asks for 99 images per class, and the smallest class gives 12"):
        plan(real, asked(ipc_list=(99,)))
