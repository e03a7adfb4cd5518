"""`--nested` and `--ipc`: a run whose first images are judged and exported by themselves, and what is refused."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from cli.conftest import QUICK, TINY, Command

from datadam.files.whole import read_json
from datadam.sets.distilled import DistilledSet


def test_first_images_are_judged_and_exported(cli: Command, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert cli("distill", pictures, "--ipc", 3, "--nested", *TINY, "--out", out).code == 0
    assert DistilledSet.load(out).card["recipe"]["nested"] is None
    for ipc in (3, 2):
        outcome = cli("evaluate", out, *QUICK, "--ipc", ipc)
        assert outcome.code == 0, outcome.err
    assert "first2" in outcome.out
    kept = {path.name.partition("-")[0]: read_json(path)["images"] for path in (out / "evaluations").iterdir()}
    assert kept == {"distilled": 9, "first2": 6}
    assert cli("report", out).code == 0
    assert "The first 2 of each class" in (out / "report.html").read_text()
    assert cli("export", out, "--to", "npz", "--ipc", 1, "--out", tmp_path / "one").code == 0
    with np.load(next((tmp_path / "one").glob("*.npz"))) as arrays:
        assert {len(arrays[name]) for name in arrays if arrays[name].ndim == 4} == {3}


def test_other_runs_cannot_be_cut(refused: Callable[..., str], cli: Command, run: Path, pictures: Path, tmp_path: Path) -> None:
    told = refused("evaluate", run, *QUICK, "--ipc", 1)
    assert "was made without --nested" in told
    assert "make a set of --ipc 1" in told
    assert "was made without --nested" in refused("export", run, "--to", "npz", "--ipc", 1, "--out", tmp_path / "x")
    assert "ask for 1 to 2" in refused("evaluate", run, *QUICK, "--ipc", 3)
    assert cli("evaluate", run, *QUICK, "--ipc", 2).code == 0
    for more, words in (
        (("--set", "nested=1,2"), "nested is given twice"),
        (("--method", "random"), "leave out nested"),
    ):
        assert words in refused("distill", pictures, "--ipc", 2, "--nested", *more, "--out", tmp_path / "x")
    assert "rise up to ipc, 2" in refused("distill", pictures, "--ipc", 2, "--set", "nested=1,3", "--out", tmp_path / "x")
    assert not (tmp_path / "x").exists()
