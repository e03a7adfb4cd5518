"""The readers withstand damaged files: a short piece of benchmarks/formats/fuzz.py, and what it has found."""

import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from datadam.data import RealData
from datadam.errors import InvalidInput
from datadam.exchange import import_

ROOT = Path(__file__).resolve().parents[2]
INPUTS = 300


@pytest.fixture(scope="module")
def fuzz() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "benchmarks" / "formats")
        return importlib.import_module("fuzz")


def test_damaged_files_are_read_or_refused(fuzz: ModuleType, tmp_path: Path) -> None:
    real = fuzz.tiny()
    found = fuzz.targets(real, tmp_path)
    outcomes = {i: fuzz.judge(i, found, real) for i in (*fuzz.SEEDS, *range(INPUTS))}
    failed = {i: why for i, (_, outcome, why) in outcomes.items() if outcome == "failed"}
    assert not failed
    assert {outcome for _, outcome, _ in outcomes.values()} == {"read", "refused"}
    assert {name for name, _, _ in outcomes.values()} == {target.name for target in found}


def test_inputs_are_the_same_every_time(fuzz: ModuleType, tmp_path: Path) -> None:
    found = fuzz.targets(fuzz.tiny(), tmp_path)
    kinds = {fuzz.make(i, found)[2] for i in range(60)}
    assert kinds == {"made up", "inside", "changed", "bomb"}
    assert all(fuzz.make(i, found)[1] == fuzz.make(i, found)[1] for i in range(60))


def test_a_folder_left_by_a_refused_input_is_found(fuzz: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = fuzz.tiny()
    found = fuzz.targets(real, tmp_path)

    def careless(path: Path, form: str, data: RealData, out: Path | None) -> None:
        assert out is not None
        out.mkdir(parents=True)
        raise InvalidInput("refused too late")

    monkeypatch.setattr(fuzz, "import_", careless)
    _, outcome, why = fuzz.judge(0, found, real)
    assert outcome == "failed"
    assert "was written, and the input was refused: refused too late" in why
    assert not (tmp_path / "made").exists()


def test_the_kept_result_is_of_this_program(fuzz: ModuleType) -> None:
    told = json.loads((ROOT / "results" / "fuzz.json").read_text())
    assert told["inputs"] >= 100_000
    assert not told["failures"]
    assert not told["commit"].endswith("-dirty")
    assert told["seeds_that_mattered"] == {str(seed): why for seed, why in fuzz.SEEDS.items()}
    assert told["guided"]["inputs"] > 0
    assert not told["guided"]["failure"]


def tensors() -> st.SearchStrategy[Any]:
    """Arrays of all kinds and shapes, among them those of a sound set."""
    kinds = st.sampled_from([np.float32, np.float64, np.float16, np.int64, np.int32, np.uint8, np.bool_])
    shapes = st.one_of(
        st.sampled_from([(6, 3, 8, 8), (6,), (6, 3), (6, 1), (3, 3, 8, 8)]), arrays.array_shapes(max_dims=5, max_side=6)
    )
    return kinds.flatmap(
        lambda kind: arrays.arrays(kind, shapes, elements=arrays.from_dtype(np.dtype(kind)), fill=st.just(kind(1)))
    )


LEAVES = st.one_of(
    tensors().map(torch.from_numpy), tensors(), st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5),
    st.floats(width=32).map(np.float32), st.integers(0, 9).map(np.int64),
)  # fmt: skip
KEYS = st.sampled_from(["data", "accs_all_exps", "net_parameters", "x"])
THINGS = st.recursive(
    LEAVES, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)), max_leaves=6
)


@settings(max_examples=80, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(value=THINGS, images=tensors(), labels=tensors(), old=st.booleans())
def test_whatever_is_in_a_file_a_set_comes_out_or_a_reason(
    animals: RealData, tmp_path: Path, value: Any, images: Any, labels: Any, old: bool
) -> None:
    pair = [torch.from_numpy(images), torch.from_numpy(labels)]
    saved = {"a.pt": value, "res_a_b_c_2ipc.pt": {"data": [pair]}, "syn_data_a_ipc_2.pt": {"data": pair}, "images.pt": pair[0]}
    for name, one in saved.items():
        torch.save(one, tmp_path / name, _use_new_zipfile_serialization=not old)
    np.savez(tmp_path / "a.npz", images=images, labels=labels)
    tries = [("a.pt", to) for to in ("dm", "eccv24", "datadam")] + [("a.npz", to) for to in ("npz", "kip")]
    tries += [("res_a_b_c_2ipc.pt", "dm"), ("syn_data_a_ipc_2.pt", "datadam"), ("images.pt", "eccv24")]
    for name, to in tries:
        try:
            sets = import_(tmp_path / name, to, animals, hard=True)
        except InvalidInput:
            continue
        for one in sets:
            assert torch.isfinite(one.images).all()
            assert torch.bincount(one.labels).tolist() == [one.ipc] * 3
            assert tuple(one.images.shape[1:]) == (3, 8, 8)
