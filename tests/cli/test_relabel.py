"""`datadam relabel`: a run's images with soft labels of teachers, as a run of its own."""

from collections.abc import Callable
from pathlib import Path

import torch
from cli.conftest import QUICK, TINY, Command

from datadam.sets.distilled import DistilledSet

LABELS = "soft labels of 2 networks convnet1:width=4"
NET = ("--teacher", "convnet1:width=4", "--count", "2", "--epochs", "1")


def test_a_run_becomes_a_soft_labelled_one(cli: Command, run: Path, tmp_path: Path) -> None:
    out = tmp_path / "soft"
    outcome = cli("relabel", run, *NET, "--temperature", "4", "--out", out)
    assert outcome.code == 0, outcome.err
    lines = outcome.out.splitlines()
    assert lines[0] == f"{out}: 6 images, 2 for each of 3 classes; {LABELS} at temperature 4; stored in 4.7\u202fkB"
    assert lines[1].startswith("teachers: 2 networks convnet1:width=4, trained for 1 epoch; they find ")
    before, after = DistilledSet.load(run), DistilledSet.load(out)
    assert torch.equal(before.images, after.images)
    assert after.label_kind == "soft"
    assert after.card["command"].startswith("datadam")
    assert "softmax at temperature 4" in (out / "README.md").read_text()
    judged = cli("evaluate", run, out, *QUICK, "--json").json
    assert [one["labels"] for one in judged] == ["hard", "soft"]
    assert "soft labels" in cli("evaluate", out, *QUICK).out
    assert f"{LABELS} at temperature 4; stored in" in cli("show", out).out
    assert cli("report", out, "--no-data").code == 0


def test_a_pool_teaches(cli: Command, refused: Callable[..., str], run: Path, pictures: Path, tmp_path: Path) -> None:
    pool = tmp_path / "pool"
    assert cli("pretrain", pictures, "--net", "convnet1:width=4", "--count", 1, "--epochs", 1, "--out", pool).code == 0
    told = cli("relabel", run, "--teacher", f"{pool}@0-100", "--out", tmp_path / "soft", "--json").json
    assert told["cards"][0]["relabelled"]["teacher"]["pool"].startswith(f"{pool}@0-100#")
    assert "convnet1:width=4, of " in cli("relabel", run, "--teacher", f"{pool}@0-100", "--out", tmp_path / "again").out
    assert "leave epochs and count out" in refused(
        "relabel", run, "--teacher", f"{pool}@0-100", "--epochs", 2, "--out", tmp_path / "a"
    )
    assert "holds" in refused("relabel", run, "--teacher", f"{pool}@99.9-100", "--out", tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_what_is_there_is_replaced_only_when_asked(cli: Command, refused: Callable[..., str], run: Path, tmp_path: Path) -> None:
    out = tmp_path / "soft"
    assert cli("relabel", run, *NET, "--out", out).code == 0
    assert "--overwrite" in refused("relabel", run, *NET, "--out", out)
    assert cli("relabel", run, *NET, "--out", out, "--overwrite").code == 0
    assert "--overwrite" in refused("relabel", run, *NET, "--out", run)  # not over itself by accident
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("all of it")
    assert "not replaced" in refused("relabel", run, *NET, "--out", tmp_path / "mine", "--overwrite")
    assert "temperature is 0.0" in refused("relabel", run, *NET, "--temperature", 0, "--out", tmp_path / "a")


def test_every_repeat_is_relabelled(cli: Command, pictures: Path, tmp_path: Path) -> None:
    run, out = tmp_path / "run", tmp_path / "soft"
    assert cli("distill", pictures, "--ipc", 1, *TINY, "--repeats", 2, "--out", run).code == 0
    outcome = cli("relabel", run, *NET, "--out", out)
    assert outcome.out.startswith(f"{out}: 2 sets of 3 images, 1 for each of 3 classes; soft labels")
    for number in ("0", "1"):
        assert torch.equal(DistilledSet.load(run / number).images, DistilledSet.load(out / number).images)
    assert cli("evaluate", out, *QUICK, "--json").json[0]["sets"] == 2
