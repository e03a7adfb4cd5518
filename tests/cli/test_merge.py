"""`datadam merge`: the sets of several runs as a run, which every other verb takes."""

import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from cli.conftest import QUICK, TINY, Command

from datadam.sets.distilled import DistilledSet


def test_a_merged_run_is_a_run(cli: Command, run: Path, tmp_path: Path) -> None:
    out = tmp_path / "merged"
    outcome = cli("merge", run, run, "--out", out, "--note", "twice")
    assert outcome.code == 0, outcome.err
    assert outcome.out.startswith(f"{out}: 12 images, 4 for each of 3 classes; ")
    assert "merged from 2 sets" in outcome.out
    card = DistilledSet.load(out).card
    assert card["note"] == "twice"
    assert card["command"].startswith("datadam")
    assert cli("evaluate", out, *QUICK).code == 0
    assert cli("show", out).code == 0
    assert cli("report", out).code == 0
    assert "merged from" in (out / "report.html").read_text()
    assert cli("export", out, "--to", "npz", "--out", tmp_path / "npz").code == 0


def test_classes_of_two_folders(cli: Command, refused: Callable[..., str], pictures: Path, tmp_path: Path) -> None:
    runs = []
    for name, classes in (("pets", ("cat", "dog")), ("boats", ("ship",))):
        for part in ("train", "test"):
            for one in classes:
                shutil.copytree(pictures / part / one, tmp_path / name / part / one)
        if name == "boats":
            for part in ("train", "test"):
                shutil.copytree(pictures / part / "cat", tmp_path / name / part / "cat")
        runs.append(tmp_path / f"run-{name}")
        assert cli("distill", tmp_path / name, "--ipc", 1, *TINY, "--out", runs[-1]).code == 0
    out = tmp_path / "all"
    assert "different data (pets, boats); say with --data" in refused("merge", *runs, "--out", out)
    assert "--size says how data are read" in refused("merge", *runs, "--size", 8, "--out", out)
    assert not out.exists()
    assert cli("merge", *runs, "--data", pictures, "--out", out).code == 0
    merged = DistilledSet.load(out)
    assert merged.classes == ("cat", "dog", "ship")
    assert merged.counts == (2, 1, 1)
    assert torch.equal(merged.images[0], DistilledSet.load(runs[0]).images[0])
    assert cli("evaluate", out, *QUICK).code == 0
    assert "not empty" in refused("merge", *runs, "--data", pictures, "--out", out)


def test_classes_that_come_later(cli: Command, refused: Callable[..., str], pictures: Path, tmp_path: Path) -> None:
    for part in ("train", "test"):
        for one in ("cat", "ship"):
            shutil.copytree(pictures / part / one, tmp_path / "some" / part / one)
    early, out = tmp_path / "early", tmp_path / "out"
    ask = (*TINY, "--method", "dm", "--precision", "float64")
    assert cli("distill", tmp_path / "some", "--ipc", 1, *ask, "--out", early).code == 0
    assert "no class that the run lacks" in refused("add-class", early, tmp_path / "some", "--out", out)
    assert not out.exists()
    outcome = cli("add-class", early, pictures, "--out", out)
    assert outcome.code == 0, outcome.err
    assert "1 class to add: dog; by dm" in outcome.err
    assert "1 class added, as one run of all classes would have made it" in outcome.out
    assert DistilledSet.load(out).classes == ("cat", "dog", "ship")
    assert cli("evaluate", out, *QUICK).code == 0
    assert cli("report", out).code == 0
    assert "is not empty" in refused("add-class", early, pictures, "--out", out)
