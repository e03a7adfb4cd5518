"""A run whose driver was killed on another machine goes on where its user says so, as the examples of clusters do."""

import json
import re
import shlex
import time
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from datadam.cli import app
from datadam.cli.app import run as cli
from datadam.files.lock import LOCK

ROOT = Path(__file__).resolve().parents[2]
SMALL = ["distill", "mnist", "--ipc", "1", "--iterations", "4", "--batch-real", "4", "--net", "convnet1:width=4"]


def left_by_a_pod(folder: Path) -> None:
    """The lock of a driver that was killed on a machine of another name."""
    folder.mkdir(exist_ok=True)
    owner = {"pid": 7, "host": "pod-1", "command": "datadam distill", "since": time.time() - 3 * 3600}
    (folder / LOCK).write_text(json.dumps(owner))


@pytest.mark.parametrize("repeats", [1, 2])
def test_a_run_goes_on_on_another_machine(tmp_path: Path, capsys: pytest.CaptureFixture[str], repeats: int) -> None:
    more = ["--repeats", str(repeats)] if repeats > 1 else []
    plain, out = tmp_path / "plain", tmp_path / "run"
    assert cli([*SMALL, *more, "--out", str(plain)]) == 0
    assert cli([*SMALL, *more, "--out", str(out), "--time-limit", "0.001"]) == 0  # stopped as it began
    left_by_a_pod(out)
    capsys.readouterr()
    assert cli(["distill", "--resume", str(out)]) == 2
    assert (
        "process 7 on pod-1 (datadam distill), for 3.0 h: another machine. When it is no longer at work there, add --take-over"
        in (" ".join(capsys.readouterr().err.split()))
    )
    assert cli(["distill", "--resume", str(out), "--take-over"]) == 0
    told = " ".join(capsys.readouterr().err.split())
    assert "note: took over the lock of process 7 on pod-1" in told
    assert "another machine, as was asked for" in told
    names = [path.relative_to(plain) for path in plain.rglob("distilled.safetensors")]
    assert len(names) == repeats
    assert all(torch.equal(load_file(out / name)["images"], load_file(plain / name)["images"]) for name in names)
    assert not (out / LOCK).exists()


def test_a_run_that_had_begun_nothing_is_begun_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    left_by_a_pod(tmp_path / "run")
    words = [*SMALL, "--out", str(tmp_path / "run")]
    assert cli(words) == 2
    assert "add --take-over" in capsys.readouterr().err
    assert cli([*words, "--take-over", "--repeats", "2"]) == 0
    assert "took over" in capsys.readouterr().err
    assert "take_over" not in (tmp_path / "run" / "repeats.json").read_text().split('"command"')[0]  # each time anew


def commands(name: str) -> list[str]:
    """The commands of an example, in the order in which they stand there."""
    text = (ROOT / "docs" / "examples-cluster" / name).read_text().replace("\\\n", " ")
    if name.endswith("yaml"):
        entry = yaml.safe_load(text)["spec"]["entrypoint"]
        assert not set(entry) & {"$", '"'}  # two shells read it before bash does
        shell, option, text = shlex.split(entry)
        assert (shell, option) == ("bash", "-c")
        text = text.replace(";", "\n").replace("else ", "\n")
    return [
        re.sub(r'"\$\w+"', "x", line.strip())
        for line in text.splitlines()
        if line.strip().removeprefix("then ").startswith("datadam")
    ]


@pytest.mark.parametrize("name", ["slurm.sh", "kuberay.yaml"])
def test_the_examples_of_clusters_go_on(name: str) -> None:
    found = [shlex.split(line.removeprefix("then ")) for line in commands(name)]
    assert ["--resume" in words for words in found] == [True, False]
    for words in found:
        assert "--take-over" in words
        app.app.parse_args(words[1:], exit_on_error=False, print_error=False)
