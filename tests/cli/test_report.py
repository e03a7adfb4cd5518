"""`datadam report`: the page with the real images, without them, and again from what is kept."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cli.conftest import Outcome, write_pictures

Command = Callable[..., Outcome]


def test_the_real_images_are_looked_at_once_and_the_page_stays_the_same(cli: Command, run: Path) -> None:
    first = cli("report", run)
    assert first.code == 0, first
    assert "kept in inspection.json" in first.err
    html = (run / "report.html").read_bytes()
    assert b"Nearest real" in html
    again = cli("report", run)
    assert again.err == ""
    assert (run / "report.html").read_bytes() == html
    assert cli("report", run, "--no-data").code == 0
    assert (run / "report.html").read_bytes() == html


def test_features_of_a_trained_network_replace_those_of_random_ones(cli: Command, run: Path) -> None:
    assert cli("report", run).code == 0
    assert cli("report", run, "--features", "trained").code == 0
    assert json.loads((run / "inspection.json").read_text())["settings"]["features"] == "trained"
    assert "trained on the whole training set" in (run / "report.html").read_text()
    assert cli("report", run).err == "", "what is kept is taken, whatever its kind"


def test_without_data_the_page_says_so(cli: Command, run: Path) -> None:
    outcome = cli("report", run, "--no-data")
    assert outcome.code == 0
    assert not (run / "inspection.json").exists()
    assert "are not shown: the report was made without the real images." in (run / "report.html").read_text()


def test_data_that_have_gone_are_told_and_found_where_one_says(cli: Command, tmp_path: Path, pictures: Path, refused) -> None:
    here = tmp_path / "pictures"
    shutil.copytree(pictures, here)
    run = tmp_path / "run"
    tiny = ("--net", "convnet1:width=4", "--iterations", "1", "--batch-real", "2")
    assert cli("distill", here, "--ipc", "1", *tiny, "--out", run).code == 0
    here.rename(tmp_path / "moved")
    outcome = cli("report", run)
    assert outcome.code == 0
    assert "is shown without real images" in outcome.err
    assert "are not shown: the data that the run was made from could not be had here." in (run / "report.html").read_text()
    other = write_pictures(tmp_path / "other", train=7)
    assert "is not what the run was made from" in refused("report", run, "--root", other)
    assert cli("report", run, "--root", tmp_path / "moved").code == 0
    assert (run / "inspection.json").exists()


@pytest.mark.parametrize("options", [("--no-data", "--root", "x"), ("--no-data", "--features", "random"), ("--features", "best")])
def test_options_that_do_not_go_together_are_refused(refused, run: Path, options: tuple[str, ...]) -> None:
    told = refused("report", run, *options)
    assert "--no-data" in told or "random, trained" in told
    assert not (run / "report.html").exists()
