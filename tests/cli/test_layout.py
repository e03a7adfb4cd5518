"""How pictures are laid out, how deep they are and what lies behind them is said once, kept in the card, and known again."""

import json
from pathlib import Path

import numpy as np
import pytest
from cli.conftest import TINY
from PIL import Image

from datadam.cli.config import merge


def ink(path: Path, seed: int) -> None:
    """Black ink on nothing."""
    alpha = np.random.default_rng(seed).integers(0, 2, (8, 8), dtype=np.uint8) * np.uint8(255)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.dstack([0 * alpha, alpha])).save(path)


def again(cli, run: Path) -> dict[str, object]:
    """What the card keeps, after a later command has read the same data by it."""
    assert cli("evaluate", run, "--students", 1, "--epochs", 1).code == 0
    return json.loads((run / "card.json").read_text())["data"]["options"]


def test_background_and_bits(cli, refused, tmp_path: Path) -> None:
    for i in range(12):
        ink(tmp_path / "data" / "ab"[i % 2] / f"{i}.png", i)
        deep = np.random.default_rng(i).integers(0, 1024, (8, 8)).astype(np.uint16)
        Image.fromarray(deep).save(tmp_path / "data" / "ab"[i % 2] / f"deep{i}.png")
    command = ("distill", tmp_path / "data", "--ipc", 1, *TINY, "--out", tmp_path / "run")
    assert "--bits 16, 12 (cameras) or 10, or --bits auto" in refused(*command)
    assert "--background black|white|VALUE" in refused(*command, "--bits", "10")
    outcome = cli(*command, "--bits", "auto", "--background", "white")
    assert outcome.code == 0
    assert "0 .. 1023 became 0 .. 255" in outcome.err
    assert "what is transparent became white" in outcome.err
    assert again(cli, tmp_path / "run") == {"bits": "auto", "background": "white"}


def test_folders_declared_to_be_classes(cli, refused, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("color", "gray"):
        for inside in ("indoors", "outdoors"):
            for i in range(3):
                path = tmp_path / "data" / name / inside / f"{i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(path)
    command = ("distill", tmp_path / "data", "--ipc", 1, *TINY, "--out", tmp_path / "run")
    assert "--layout classes" in refused(*command)
    assert cli(*command, "--layout", "classes", "--json").json["data"]["classes"] == ["color", "gray"]
    assert again(cli, tmp_path / "run") == {"layout": "classes"}
    assert "can only be 'classes'" in refused(*command, "--layout", "NHWC")


def test_axes_of_arrays(cli, refused, tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (8, 8, 3, 24), dtype=np.uint8)
    np.savez(tmp_path / "a.npz", x=images, y=np.arange(24) % 2)
    command = ("distill", tmp_path / "a.npz", "--ipc", 1, *TINY, "--out", tmp_path / "run")
    assert "--layout HWCN" in refused(*command)
    assert cli(*command, "--layout", "HWCN", "--json").json["data"]["shape"] == [3, 8, 8]
    assert again(cli, tmp_path / "run") == {"layout": "HWCN"}


def test_size_without_fit_records_what_it_did(cli, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for i in range(8):
        path = tmp_path / "data" / "ab"[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (8, 12, 3), dtype=np.uint8)).save(path)
    assert cli("distill", tmp_path / "data", "--ipc", 1, "--size", 8, *TINY, "--out", tmp_path / "run").code == 0
    assert again(cli, tmp_path / "run") == {"size": 8, "fit": "crop"}


@pytest.mark.parametrize("value", ["12", "auto"])
def test_in_a_file(tmp_path: Path, value: str) -> None:
    (tmp_path / "c.yaml").write_text(f"data: x\nipc: 1\nbits: {value}\nbackground: 200\nlayout: classes\n")
    asked = merge({}, tmp_path / "c.yaml")
    assert (str(asked["bits"]), asked["background"], asked["layout"]) == (value, 200, "classes")
