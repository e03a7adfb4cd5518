"""Reading a run folder: what is whole is read, what is broken is named."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from datadam.data.whitening import ZCA, Transform
from datadam.errors import ArtifactError
from datadam.report.folder import read, repeats


def change(folder: Path, where: str, value: Any) -> None:
    """Replace one part of the card; Ellipsis removes it."""
    card = json.loads((folder / "card.json").read_text())
    *path, last = where.split(".")
    part = card
    for key in path:
        part = part[key]
    if value is ...:
        del part[last]
    else:
        part[last] = value
    (folder / "card.json").write_text(json.dumps(card))


def test_images_come_in_true_colours(made: SimpleNamespace, tmp_path: Path) -> None:
    run = read(made.run(tmp_path / "run"))
    images = made.images(3, 2, (3, 8, 8))
    torch.testing.assert_close(run.pixels(range(6)), images)
    torch.testing.assert_close(run.pixels([4, 1]), images[[4, 1]])


@pytest.mark.parametrize("variant", ["kornia", "official"])
def test_whitened_images_come_in_true_colours(made: SimpleNamespace, tmp_path: Path, variant: str) -> None:
    folder = made.run(tmp_path / "run")
    draw = torch.Generator().manual_seed(0)
    root = torch.randn(192, 192, generator=draw) / 14
    covariance = (root @ root.T + 0.1 * torch.eye(192)).double()
    s, u = torch.linalg.eigh(covariance)
    matrix, inverse = (u / s.sqrt()) @ u.T, (u * s.sqrt()) @ u.T
    mean, std = ((0.0,) * 3, (1.0,) * 3) if variant == "kornia" else ((0.5, 0.4, 0.3), (0.2, 0.3, 0.25))
    offset = torch.randn(192, generator=draw)
    images = made.images(3, 2, (3, 8, 8))
    normal = (images - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    white = ((normal.flatten(1) - offset).double() @ matrix).float().reshape(images.shape)
    save_file({"images": white, "labels": torch.arange(3).repeat_interleave(2)}, folder / "distilled.safetensors")
    tensors = {"mean": offset, "matrix": matrix.float().contiguous(), "inverse": inverse.float().contiguous()}
    save_file(tensors, folder / "zca.safetensors")
    change(folder, "transform", {"mean": mean, "std": std, "zca": {"variant": variant, "eps": 0.1}})
    torch.testing.assert_close(read(folder).pixels(range(6)), images, atol=2e-3, rtol=0)


def test_snapshots_are_read_in_order_and_only_when_asked_for(made: SimpleNamespace, tmp_path: Path) -> None:
    folder = made.run(tmp_path / "run", snapshots=(150, 0, 75))
    (folder / "snapshots" / "notes.safetensors").write_text("not a snapshot")
    run = read(folder)
    assert [iteration for iteration, _ in run.snapshots] == [0, 75, 150]
    middle = (made.images(3, 2, (3, 8, 8)) + made.images(3, 2, (3, 8, 8), seed=1)) / 2
    torch.testing.assert_close(run.pixels([3], run.snapshots[1][1]), middle[[3]])


def test_metrics_survive_an_interruption_and_a_resumed_run(made: SimpleNamespace, tmp_path: Path) -> None:
    folder = made.run(tmp_path / "run")
    lines = ['{"iteration": 10, "loss": 3}', '{"iteration": 20, "loss": 2}', '{"iteration": 10, "loss": 1}', '{"iter']
    (folder / "metrics.jsonl").write_text("\n".join(lines))
    assert [(metric["iteration"], metric["loss"]) for metric in read(folder).metrics] == [(10, 1), (20, 2)]
    (folder / "metrics.jsonl").write_text("\n".join([lines[3], lines[0]]))
    with pytest.raises(ArtifactError, match="line 1"):
        read(folder)


def test_soft_labels_count_for_their_likeliest_class(made: SimpleNamespace, tmp_path: Path) -> None:
    folder = made.run(tmp_path / "run")
    images = Transform((0.5,) * 3, (0.2,) * 3).to_network(made.images(3, 2, (3, 8, 8)))
    soft = torch.eye(3)[[0, 0, 1, 1, 2, 2]] * 0.6 + 0.1
    save_file({"images": images, "labels": soft}, folder / "distilled.safetensors")
    assert read(folder).labels == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("format", "datadam/99"),
        ("kind", "miracle"),
        ("recipe", ...),
        ("data.name", 7),
        ("data.classes", ["cat", "cat", "dog"]),
        ("data.classes", ["cat", "dog"]),
        ("data.shape", [3, 8, 9]),
        ("data.train", -5),
        ("transform.std", [0.1, 0.0, 0.1]),
        ("transform.mean", [0.1]),
        ("transform.zca", {"variant": "kornia", "eps": 0.1}),
        ("seconds", "soon"),
        ("moved", True),
        ("warnings", "one"),
        ("citations", [1]),
    ],
)
def test_a_broken_card_is_refused(made: SimpleNamespace, tmp_path: Path, where: str, value: Any) -> None:
    folder = made.run(tmp_path / "run")
    change(folder, where, value)
    with pytest.raises(ArtifactError):
        read(folder)


def test_every_fault_of_a_card_is_told_at_once(made: SimpleNamespace, tmp_path: Path) -> None:
    folder = made.run(tmp_path / "run", seconds="soon", note=3, warnings="one")
    with pytest.raises(ArtifactError) as caught:
        read(folder)
    assert len(caught.value.faults) == 3
    assert "seconds is 'soon'; a number is needed" in str(caught.value)


@pytest.mark.parametrize("text", ["", "[1]", "{", "\x00", "[" * 100_000])
def test_a_card_or_evaluation_that_is_no_json_object_is_refused(made: SimpleNamespace, tmp_path: Path, text: str) -> None:
    folder = made.run(tmp_path / "run", evaluations={"a": {}})
    (folder / "evaluations" / "a.json").write_text(text)
    with pytest.raises(ArtifactError, match=r"a\.json"):
        read(folder)
    (folder / "card.json").write_text(text)
    with pytest.raises(ArtifactError, match=r"card\.json"):
        read(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"format": "x"},
        {"mean": 1.5},
        {"mean": float("nan")},
        {"accuracies": [[]]},
        {"accuracies": [[0.5, "high"]]},
        {"interval": {"low": "0"}},
        {"per_class": [0.5]},
        {"confusion": [[1, 2], [3, 4], [5, 6]]},
        {"classes": None},
    ],
)
def test_a_broken_evaluation_is_refused(made: SimpleNamespace, tmp_path: Path, changes: dict[str, Any]) -> None:
    evaluation = made.evaluation("distilled", 0.5, ("cat", "dog", "ship")) | changes
    with pytest.raises(ArtifactError, match=r"broken\.json"):
        read(made.run(tmp_path / "run", evaluations={"broken": evaluation}))


def test_damaged_images_are_refused(made: SimpleNamespace, tmp_path: Path) -> None:
    folder = made.run(tmp_path / "run", snapshots=(0,))
    file = folder / "distilled.safetensors"
    whole, labels = file.read_bytes(), torch.arange(3).repeat_interleave(2)
    file.write_bytes(whole[:-10])
    with pytest.raises(ArtifactError, match="damaged"):
        read(folder)
    for tensors in (
        {"images": torch.zeros(6, 3, 8, 8)},
        {"images": torch.zeros(6, 192), "labels": labels},
        {"images": torch.zeros(6, 3, 8, 8), "labels": labels + 1},
        {"images": torch.zeros(5, 3, 8, 8), "labels": labels},
    ):
        save_file(tensors, file)
        with pytest.raises(ArtifactError, match="distilled"):
            read(folder)
    save_file({"images": torch.full((6, 3, 8, 8), float("nan")), "labels": labels}, file)
    with pytest.raises(ArtifactError, match="NaN"):
        read(folder).pixels([0])
    file.write_bytes(whole)
    save_file({"images": torch.zeros(6, 3, 4, 4)}, folder / "snapshots" / "00000000.safetensors")
    run = read(folder)
    with pytest.raises(ArtifactError, match="00000000"):
        run.pixels([0], run.snapshots[0][1])


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="nowhere"):
        read(tmp_path / "nowhere")


def test_repeats_stand_for_their_runs_in_order(made: SimpleNamespace, tmp_path: Path) -> None:
    for number in (10, 2, 0):
        made.run(tmp_path / "run" / str(number))
    assert [path.name for path in repeats(tmp_path / "run")] == ["0", "2", "10"]
    assert repeats(tmp_path / "run" / "2") == [tmp_path / "run" / "2"]


def test_zca_of_other_images_is_refused(made: SimpleNamespace, tmp_path: Path) -> None:
    folder = made.run(tmp_path / "run", transform={"mean": [0] * 3, "std": [1] * 3, "zca": {"variant": "kornia", "eps": 0.1}})
    zca = ZCA("kornia", 0.1, torch.zeros(12), torch.eye(12), torch.eye(12))
    save_file({"mean": zca.mean, "matrix": zca.matrix, "inverse": zca.inverse}, folder / "zca.safetensors")
    with pytest.raises(ArtifactError, match="does not fit"):
        read(folder)
