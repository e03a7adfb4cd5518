"""`datadam pretrain`: a pool from the command line, gone on with, and used by a run."""

from pathlib import Path

import pytest
from cli.conftest import TINY

from datadam.training.pool import Pool

NET = ("--net", "convnet1:width=4")


def test_a_pool_is_made_gone_on_with_and_drawn_from(cli, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "pool"
    first = cli("pretrain", pictures, *NET, "--count", 1, "--epochs", 2, "--out", out)
    assert first.code == 0
    assert f"states of 1 network {NET[1]}" in first.out
    told = cli("pretrain", pictures, *NET, "--count", 3, "--epochs", 2, "--out", out, "--json").json
    assert (told["networks"], told["states"]) == (3, sum(told["buckets"].values()))
    assert len(Pool.read(out).states) == told["states"]
    run = cli("distill", pictures, "--ipc", 1, *TINY, "--set", f"networks={out}@0-100", "--no-zca", "--out", tmp_path / "run",
              "--json")  # fmt: skip
    assert run.code == 0, run.err
    assert run.json["recipe"]["networks"].startswith(f"{out.resolve()}@0-100#")
    assert cli("evaluate", tmp_path / "run", "--students", 1, "--epochs", 1, "--augment", "randaugment").code == 0
    names = [path.name for path in (tmp_path / "run" / "evaluations").iterdir()]
    assert names == ["distilled-convnet1-width4-honest1x1-randaugment.json"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--count", 0), "count is 0"),
        (("--net", "convnet1,mlp"), "2 were named"),
        (("--augment", "mirror"), "unknown augmentation 'mirror'"),
        (("--zca", "yes"), "kornia"),
    ],
)
def test_wrong_options_are_refused(refused, pictures: Path, tmp_path: Path, arguments: tuple[object, ...], told: str) -> None:
    assert told in refused("pretrain", pictures, "--out", tmp_path / "pool", *arguments)
    assert not (tmp_path / "pool").exists()


def test_a_bucket_that_cannot_be_is_refused_before_any_work(refused, pictures: Path, tmp_path: Path) -> None:
    command = ("distill", pictures, "--ipc", 1, *TINY, "--out", tmp_path / "run")
    assert "pools/mnist@20-40" in refused(*command, "--set", "networks=pool")
    assert "is no pool" in refused(*command, "--set", f"networks={tmp_path / 'pool'}@0-20")
    assert "randaugment has no gradient" in refused(*command, "--set", "augment=randaugment")
    assert not (tmp_path / "run").exists()
