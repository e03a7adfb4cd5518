"""`datadam experts`: made, gone on with, and followed by a run from the command line."""

from pathlib import Path

import pytest
from cli.conftest import TINY

from datadam.training.experts import Experts

NET = ("--net", "convnet1:width=4")


def test_experts_are_made_gone_on_with_and_followed(cli, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "experts"
    first = cli("experts", pictures, *NET, "--count", 1, "--epochs", 3, "--out", out)
    assert first.code == 0, first.err
    assert "1 expert convnet1:width=4, weights after each of 3 epochs" in first.out
    assert "on the disk" in first.err
    told = cli("experts", pictures, *NET, "--count", 2, "--epochs", 3, "--out", out, "--json").json
    assert (told["networks"], Experts.read(out).networks) == (2, 2)
    window = ("--set", "max_start=2", "--set", "expert_epochs=2", "--set", "steps=2")
    run = cli("distill", pictures, "--ipc", 1, "--method", "mtt", *TINY, "--set", f"networks=experts:{out}", *window, "--no-zca",
              "--out", tmp_path / "run", "--json")  # fmt: skip
    assert run.code == 0, run.err
    assert run.json["recipe"]["networks"].startswith(f"experts:{out.resolve()}#")
    assert cli("evaluate", tmp_path / "run", "--students", 1, "--epochs", 1, "--protocol", "mtt").code == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--count", 0), "count is 0"),
        (("--lr", "-1"), "lr is -1"),
        (("--net", "convnet1,mlp"), "2 were named"),
        (("--kept", "float8"), "float16"),
        (("--epochs", 0), "epochs is 0"),
    ],
)
def test_wrong_options_are_refused(refused, pictures: Path, tmp_path: Path, arguments: tuple[object, ...], told: str) -> None:
    assert told in refused("experts", pictures, "--out", tmp_path / "experts", *arguments)
    assert not (tmp_path / "experts").exists()
