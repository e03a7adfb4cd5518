"""The readers withstand damaged files: a short piece of benchmarks/fuzz.py, and what it has found."""

import importlib.util
import sys
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
SEEDS = (11_139, 1_008_197, 1_010_660, 1_023_797, 1_024_613)
"""Inputs that failed once: heads of parquet columns that contradict one another, at which Arrow aborted the process; and letters
beyond Unicode in the names of classes (.npz), at which numpy raises SystemError."""


@pytest.fixture(scope="module")
def fuzz() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fuzz", ROOT / "benchmarks" / "fuzz.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where its dataclass looks for itself
    spec.loader.exec_module(module)
    return module


def test_damaged_files_are_read_or_refused(fuzz: ModuleType, tmp_path: Path) -> None:
    real = fuzz.tiny()
    found = fuzz.targets(real, tmp_path)
    outcomes = {i: fuzz.judge(i, found, real) for i in (*SEEDS, *range(INPUTS))}
    failed = {i: why for i, (_, outcome, why) in outcomes.items() if outcome == "failed"}
    assert not failed
    assert {outcome for _, outcome, _ in outcomes.values()} == {"read", "refused"}
    assert {name for name, _, _ in outcomes.values()} == {target.name for target in found}


def test_inputs_are_the_same_every_time(fuzz: ModuleType, tmp_path: Path) -> None:
    found = fuzz.targets(fuzz.tiny(), tmp_path)
    kinds = {fuzz.make(i, found)[2] for i in range(60)}
    assert kinds == {"made up", "inside", "changed"}
    assert all(fuzz.make(i, found)[1] == fuzz.make(i, found)[1] for i in range(60))


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
