"""`datadam experts`: made, gone on with, and followed by a run from the command line."""

from pathlib import Path

import pytest
import torch
from cli.conftest import TINY

from datadam import nets
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
    assert "comes first" not in run.err  # they are there
    assert cli("evaluate", tmp_path / "run", "--students", 1, "--epochs", 1, "--protocol", "mtt").code == 0


def test_experts_by_a_curriculum_towards_flat_minima_and_those_of_released_code(cli, pictures: Path, tmp_path: Path) -> None:
    how = ("--optimizer", "gsam", "--rho", 0.02, "--curriculum", "el2n", "--whole", 1, "--drop", "1:0.3", "--averaged", 1,
           "--looked", 1)  # fmt: skip
    made = cli("experts", pictures, *NET, "--count", 1, "--epochs", 3, *how, "--out", tmp_path / "experts", "--json")
    assert made.code == 0, made.err
    assert made.json["optimizer"] == "gsam:rho=0.02:alpha=0.3"
    assert made.json["curriculum"]["drops"] == [[1, 0.3]]
    experts = Experts.read(tmp_path / "experts")
    network = nets.build(NET[1], shape=tuple(experts.about["shape"]), classes=len(experts.about["classes"]))
    sizes = [parameter.shape for parameter in network.parameters()]
    stamps = [
        [part.view(shape) for part, shape in zip(stamp.split([s.numel() for s in sizes]), sizes, strict=True)]
        for stamp in experts.weights(0, 0, 1, 2, 3)
    ]
    torch.save([[[part.clone() for part in stamp] for stamp in stamps]], tmp_path / "replay_buffer_0.pt")
    read = cli("experts", pictures, *NET, "--buffers", tmp_path, "--out", tmp_path / "again")
    assert read.code == 0, read.err
    assert "1 expert convnet1:width=4, weights after each of 3 epochs" in read.out
    assert Experts.read(tmp_path / "again").digests == experts.digests


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--count", 0), "count is 0"),
        (("--lr", "-1"), "lr is -1"),
        (("--net", "convnet1,mlp"), "2 were named"),
        (("--kept", "float8"), "float16"),
        (("--epochs", 0), "epochs is 0"),
        (("--rho", 0.1), "rho: for --optimizer gsam alone"),
        (("--first", 0.5), "first: for --curriculum el2n alone"),
        (("--curriculum", "el2n", "--drop", "40"), "epochs with shares"),
        (("--curriculum", "grand", "--drop", "10:0.1"), "from whole=20 on"),
        (("--buffers", "nowhere"), "has no replay_buffer_N.pt"),
        (("--buffers", "nowhere", "--epochs", 3, "--rho", 0.1), "epochs, rho belong to a training"),
        (("--buffers", "nowhere", "--time-limit", 9, "--workers", 2), "workers, time_limit belong to a training"),
        (("--time-limit", 0), "time_limit is 0"),
        (("--workers", 0), "workers is 0"),
        (("--address", "auto"), "--address are for Ray"),
    ],
)
def test_wrong_options_are_refused(refused, pictures: Path, tmp_path: Path, arguments: tuple[object, ...], told: str) -> None:
    assert told in refused("experts", pictures, "--out", tmp_path / "experts", *arguments)
    assert not (tmp_path / "experts").exists()


@pytest.mark.parametrize(("verb", "what"), [("experts", "expert"), ("pretrain", "network")])
def test_what_a_time_limit_stops_goes_on(cli, pictures: Path, tmp_path: Path, verb: str, what: str) -> None:
    begin = (verb, pictures, *NET, "--count", 2, "--epochs", 1, "--out", tmp_path / "out")
    stopped = cli(*begin, "--time-limit", 1e-6)
    assert stopped.code == 0, stopped.err
    assert f"stopped by --time-limit: 0 of 2 {what}s are made; the same command goes on" in stopped.err
    made = cli(*begin, "--time-limit", 1e6, "--json")  # seconds since the process began, which here are those of all tests
    assert made.json["networks"] == 2
    assert "stopped" not in made.err
