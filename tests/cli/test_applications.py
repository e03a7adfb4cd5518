"""`datadam search`, `lossless`, `continual`, `federated`: from data to page, after a kill too; what is refused before work."""

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from cli.conftest import spawn
from waiting import until

import datadam

NET = ("--net", "convnet1:width=4")
MAKE = ("--iterations", "2", "--batch-real", "4")
SEARCH = ("--proxy", "random,early", "--ipc", "1", "--epochs", "2", "--whole-epochs", "1", "--augment", "none", "--workers", "1",
          "--precision", "float32")  # fmt: skip
LOSSLESS = ("--method", "dm", "--tolerance", "90", "--students", "2", "--epochs", "2", "--whole-epochs", "1", "--ipc-list", "1",
            "--augment", "none", "--workers", "1", *NET, *MAKE)  # fmt: skip
CONTINUAL = ("--methods", "random,dm", "--ipc", "1", "--orders", "2", "--epochs", "2", "--augment", "none", "--workers", "1",
             *NET, *MAKE)  # fmt: skip
FEDERATED = ("--clients", "2", "--ipc", "1", "--students", "2", "--rounds", "2", "--epochs", "2",
             "--augment", "none", "--workers", "1", *NET, *MAKE)  # fmt: skip
STUCK = """
import sys, time
from pathlib import Path
from datadam.training import trainer
from datadam.cli import app
told, trained = Path(sys.argv.pop(1)), []
step = trainer.Trainer.step
def stuck(self):
    if not any(self is one for one in trained):
        trained.append(self)  # itself, not its id: a later one may take the place of one that is gone
    if len(trained) == 3:
        told.touch()
        time.sleep(300)
    return step(self)
trainer.Trainer.step = stuck
sys.exit(app.run())
"""  # in the third training


@pytest.fixture
def space(tmp_path: Path) -> Path:
    file = tmp_path / "nets.txt"
    file.write_text("convnet1:width=4\nmlp:width=4\nconvnet1:width=4:norm=batch\n")
    return file


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATADAM_CACHE", str(tmp_path / "cache"))


def command(verb: str, space: Path) -> tuple[str, ...]:
    given = {
        "search": (*SEARCH, "--space", str(space)), "lossless": LOSSLESS, "continual": (*CONTINUAL, "--steps", "3"),
        "federated": (*FEDERATED, "--split", "classes:2"),
    }  # fmt: skip
    return given[verb]


def numbers(file: Path) -> object:
    """All that was measured."""
    found = json.loads(file.read_text())
    for name in ("created", "command", "commit"):
        found.pop(name)
    for one in found.get("proxies", []):
        one.pop("seconds")
    return found


@pytest.mark.parametrize("verb", ["search", "lossless", "continual", "federated"])
def test_a_killed_command_goes_on_to_the_same(
    verb: str, cli, pictures: Path, space: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, out = tmp_path / "whole", tmp_path / "out"
    done = cli(verb, pictures, *command(verb, space), "--out", whole)
    assert done.code == 0, done.err
    assert "<svg" in (whole / f"{verb}.html").read_text()
    monkeypatch.setenv("DATADAM_CACHE", str(tmp_path / "other"))
    threads = f"import torch\ntorch.set_num_threads({torch.get_num_threads()})\n"  # as here: others round otherwise
    process = spawn(
        ["-c", threads + STUCK, str(tmp_path / "stuck"), verb, str(pictures), *command(verb, space), "--out", str(out)]
    )
    assert until((tmp_path / "stuck").exists, process), process.communicate(timeout=60)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    assert not (out / f"{verb}.json").exists()
    again = cli(verb, pictures, *command(verb, space), "--out", out)
    assert again.code == 0, again.err
    if verb == "search":
        assert "2 of them are there" in again.err
    assert numbers(out / f"{verb}.json") == numbers(whole / f"{verb}.json")


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    """Thirty training and ten test images of each digit of MNIST."""
    real = datadam.load("mnist")
    arrays = {}
    for part, count in ((real.train, 30), (real.test, 10)):
        rows = np.concatenate([np.flatnonzero(part.labels == k)[:count] for k in range(10)])
        name = "train" if part is real.train else "test"
        arrays |= {f"x_{name}": part.pixels[rows, 0], f"y_{name}": part.labels[rows]}
    np.savez(tmp_path / "digits.npz", **arrays)
    return tmp_path / "digits.npz"


def test_all_on_digits(cli, digits: Path, space: Path, tmp_path: Path) -> None:
    found = cli("search", digits, *SEARCH, "--space", space, "--whole-images", "100", "--out", tmp_path / "s", "--json")
    assert found.code == 0, found.err
    assert [one["name"] for one in found.json["proxies"]] == ["random", "early", "whole"]
    assert len((tmp_path / "s" / "search.csv").read_text().splitlines()) == 4
    found = cli("continual", digits, *CONTINUAL, "--steps", "5", "--out", tmp_path / "c", "--json")
    assert found.code == 0, found.err
    assert [len(row["curve"]) for row in found.json["methods"]] == [5, 5]
    assert sorted(path.name for path in (tmp_path / "c" / "memory").iterdir()) == ["dm.npz", "random.npz"]
    found = cli("lossless", digits, *LOSSLESS, "--out", tmp_path / "l", "--json")
    assert found.code == 0, found.err
    assert found.json["steps"][0]["verdict"] in ("within", "open")
    found = cli("federated", digits, *FEDERATED, "--split", "dirichlet:1", "--out", tmp_path / "f", "--json")
    assert found.code == 0, found.err
    assert "the bytes of the sets pay for" in found.err
    assert sum(map(sum, found.json["dealt"])) == 300


def test_nothing_is_written_for_what_is_refused(refused, pictures: Path, space: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert "unknown space" in refused("search", pictures, *SEARCH, "--space", "convnet721", "--out", out)
    assert "ipc_list is 'few'" in refused("lossless", pictures, "--ipc-list", "few", "--out", out)
    assert "does not cut 3 classes" in refused("continual", pictures, *CONTINUAL, "--steps", "2", "--out", out)
    assert "at most 2 of 3 classes" in refused("federated", pictures, *FEDERATED, "--split", "classes:1", "--out", out)
    assert not out.exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    for verb in ("search", "lossless", "continual", "federated"):
        told = refused(verb, pictures, *command(verb, space), "--out", tmp_path / "mine")
        assert f"holds files that are no {verb}" in told
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]
