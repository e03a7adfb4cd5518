"""Decoded, soft-labelled and unequal sets on the command line: every line says what they are, and nothing ranks them together."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from cli.conftest import QUICK, TINY, Command
from kinds import KINDS, set_of_kind

from datadam.cli.options import data_of_card
from datadam.data import RealData
from datadam.sets.card import read_card
from datadam.sets.distilled import DistilledSet

Refused = Callable[..., str]


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Path:
    """A run of two stored images a class, each of four training images. Not to be changed."""
    from datadam.cli import app

    out = tmp_path_factory.mktemp("grid") / "run"
    arguments = ["--ipc", "2", *TINY, "--set", "decoder=grid:2", "--snapshots", "1", "--out", str(out)]
    assert app.run(["distill", str(pictures), *arguments]) == 0
    return out


@pytest.fixture
def data(finished: Path) -> RealData:
    """The pictures, as the finished run was made from them."""
    return data_of_card(read_card(finished), None)


TOLD = "6 images, 2 for each of 3 classes; decoded by grid:2 to 24 training images; stored in 4.7\u202fkB"


def test_every_verb_says_what_is_stored(cli: Command, grid: Path, pictures: Path, tmp_path: Path) -> None:
    again = cli("distill", pictures, "--ipc", 2, *TINY, "--set", "decoder=grid:2", "--out", tmp_path / "run")
    assert again.out.splitlines()[0] == f"{tmp_path / 'run'}: {TOLD}"
    assert "kind      decoded by grid:2 to 24 training images; stored in 4.7" in cli("show", grid).out
    exported = cli("export", tmp_path / "run", "--to", "npz", "--out", tmp_path / "npz", "--measure", *QUICK)
    assert f"the run: {TOLD}" in exported.out
    assert "+0.00 points" in exported.out
    back = cli("import", tmp_path / "npz", "--as", "npz", "--data", pictures, "--out", tmp_path / "back")
    assert "24 images, 8 for each of 3 classes; stored in 18.6\u202fkB" in back.out
    assert "note: these images were decoded by grid:2 of fewer stored ones" in back.out
    trained = cli("train", tmp_path / "run", "--out", tmp_path / "net.safetensors", "--epochs", 1)
    assert f"trained on {TOLD}" in trained.out


def test_evaluations_stand_in_groups(cli: Command, grid: Path, run: Path, pictures: Path, tmp_path: Path) -> None:
    outcome = cli("evaluate", run, grid, *QUICK)
    head, _, plain, decoded = (line.split() for line in outcome.out.splitlines()[:4])
    assert head[:6] == ["run", "of", "images", "kind", "stored", "net"]
    assert (plain[2:4], decoded[2:4]) == (["6", "plain"], ["6", "grid:2"])
    told = cli("evaluate", grid, *QUICK, "--json").json[0]
    assert (told["decoder"], told["labels"], told["stored_bytes"]) == ("grid:2", "hard", 4656)


def test_a_baseline_beside_a_run_is_stored_as_it_is(cli: Command, grid: Path, pictures: Path) -> None:
    outcome = cli("baseline", pictures, "--ipc", 1, *QUICK, "--beside", grid, "--json")
    assert (outcome.json[0]["decoder"], outcome.json[0]["images"]) == ("grid:2", 3)
    assert cli("baseline", pictures, "--ipc", 1, *QUICK, "--json").json[0]["decoder"] == "plain"


def test_coresets_are_stored_so_too(cli: Command, pictures: Path, tmp_path: Path) -> None:
    assert (
        cli("distill", pictures, "--ipc", 1, "--method", "random", "--set", "decoder=grid:2", "--out", tmp_path / "run").code == 0
    )
    one = DistilledSet.load(tmp_path / "run")
    assert (len(one.images), len(one.training_images), one.card["kind"]) == (3, 12, "coreset")


def test_a_run_starts_from_images_stored_alike(
    cli: Command, refused: Refused, grid: Path, run: Path, pictures: Path, tmp_path: Path
) -> None:
    begin = ("distill", pictures, "--ipc", 2, *TINY)
    for start, decoder, told in ((run, "grid:2", "for the decoder plain"), (grid, "plain", "for the decoder grid:2")):
        words = refused(*begin, "--start", start, "--set", f"decoder={decoder}", "--out", tmp_path / "no")
        assert told in words
        assert f"--set decoder={'plain' if decoder == 'grid:2' else 'grid:2'}" in words
    assert not (tmp_path / "no").exists()
    on = cli(*begin, "--start", grid, "--set", "decoder=grid:2", "--snapshots", "0", "--out", tmp_path / "on")
    assert on.code == 0, on.err
    from safetensors.torch import load_file

    first = load_file(tmp_path / "on/snapshots/00000000.safetensors")["images"]
    assert torch.equal(first, DistilledSet.load(grid).images)


def test_unequal_classes(cli: Command, refused: Refused, data: RealData, pictures: Path, tmp_path: Path) -> None:
    one = set_of_kind(data, **KINDS["unequal"])
    one.save(tmp_path / "run")
    assert "1 to 4 images for each of 3 classes" in cli("show", tmp_path / "run").out
    outcome = cli("evaluate", tmp_path / "run", *QUICK, "--net", "convnet1:width=4")
    assert outcome.code == 0, outcome.err
    words = refused("distill", pictures, "--ipc", 4, *TINY, "--start", tmp_path / "run", "--out", tmp_path / "no")
    assert "has 1 to 4 images a class; start from a run with equally many" in words


def test_no_scores_are_asked_for_where_none_can_be(cli: Command, data: RealData, tmp_path: Path) -> None:
    """DD-Ranking's are of class numbers and of equally many images of each class."""
    for kind in ("soft", "unequal"):
        set_of_kind(data, **KINDS[kind]).save(tmp_path / kind)
        assert cli("evaluate", tmp_path / kind, *QUICK, "--net", "convnet2:width=6").code == 0
        outcome = cli("show", tmp_path / kind)
        assert outcome.code == 0, outcome.err
        assert "DD-Ranking" not in outcome.out


def test_snapshots_of_learned_labels_need_the_labels_of_that_time(cli: Command, data: RealData, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    run = tmp_path / "run"
    one = set_of_kind(data, **KINDS["soft"], iterations_done=9)
    one.save(run)
    (run / "snapshots").mkdir()
    save_file({"images": one.images}, run / "snapshots/00000001.safetensors")
    outcome = cli("evaluate", run, *QUICK, "--net", "convnet1:width=4", "--snapshots")
    assert outcome.code != 0
    assert "holds images without the soft labels of that time" in outcome.err
    save_file({"images": one.images, "labels": one.labels}, run / "snapshots/00000001.safetensors")
    end, then = cli("evaluate", run, *QUICK, "--net", "convnet1:width=4", "--snapshots", "--json").json
    assert end["accuracies"] == then["accuracies"]


def test_snapshots_of_a_learned_rate_are_judged_at_the_rate_of_that_time(cli: Command, data: RealData, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    run = tmp_path / "run"
    one = set_of_kind(data, **KINDS["rate"], iterations_done=9)
    one.save(run)
    other = set_of_kind(data, rate=0.002, images=one.images)
    other.save(tmp_path / "other")
    (run / "snapshots").mkdir()
    save_file({"images": one.images}, run / "snapshots/00000001.safetensors")
    outcome = cli("evaluate", run, *QUICK, "--net", "convnet1:width=4", "--snapshots")
    assert outcome.code != 0
    assert "holds images without the learned rate of that time; judge the end, without --snapshots" in outcome.err
    save_file({"images": one.images, "rate": other.rate}, run / "snapshots/00000001.safetensors")
    told = cli("evaluate", run, *QUICK, "--net", "convnet1:width=4", "--snapshots", "--json").json
    (apart,) = cli("evaluate", tmp_path / "other", *QUICK, "--net", "convnet1:width=4", "--json").json
    assert [one["iteration"] for one in told] == [None, 1]
    assert told[1]["accuracies"] == apart["accuracies"]
    assert told[1]["words"] == apart["words"]


def test_decoders_are_listed(cli: Command) -> None:
    lines = cli("list", "decoders").out.splitlines()
    assert [line.split()[0] for line in lines] == ["plain", "grid:2", "dct:32"]
