"""Soft labels, a learned rate, decoded images, unequal classes: out and back, refused by name, and told beside the files."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from kinds import KINDS, LOGITS, set_of_kind

import datadam
from datadam.data import RealData
from datadam.errors import ArtifactError, InvalidInput
from datadam.evaluation.panel import protocol_named
from datadam.exchange import FORMATS, export, import_, rounded
from datadam.sets.distilled import DistilledSet

FLOAT = [name for name, form in FORMATS.items() if form.numbers is not None and not form.bare]
SOFT = [name for name, form in FORMATS.items() if form.soft]
SEVERAL: dict[str, Any] = {"decoder": "grid:2", "logits": LOGITS, "counts": (1, 3, 2), "rate": 0.02, "temperature": 2.0}


def test_which_formats_hold_what() -> None:
    assert SOFT == ["npz", "ddranking", "mtt"] == [name for name, form in FORMATS.items() if form.rated]
    assert [name for name, form in FORMATS.items() if form.equal] == ["eccv24"]


@pytest.mark.parametrize("to", FORMATS)
def test_decoded_images_are_what_readers_train_on(animals: RealData, tmp_path: Path, to: str) -> None:
    one = set_of_kind(animals, decoder="grid:2")
    done = export(one, to, tmp_path / "out")
    assert done.error.exact == (to in FLOAT)
    (back,) = import_(tmp_path / "out", to, animals, tmp_path / "run")
    assert (back.kind.usual, back.counts, back.ipc, len(back.images)) == (True, (8, 8, 8), 8, 24)
    tolerance = 0 if to in FLOAT else 0.5 / 255 / min(animals.transform.std) + 1e-6
    torch.testing.assert_close(back.images, one.training_images, rtol=0, atol=tolerance)
    assert back.labels.tolist() == [k for k in range(3) for _ in range(8)]
    assert any("were decoded by grid:2" in note for note in back.card["warnings"])
    told = json.loads((tmp_path / "out/datadam.json").read_text())
    assert (told["decoder"], told["images"], told["ipc"], told["counts"]) == ("grid:2", 24, 8, [8, 8, 8])
    assert told["stored"] == {"images": 6, "bytes": one.stored_bytes}
    page = (tmp_path / "out/README.md").read_text()
    assert "# animals: 8 images per class" in page
    assert "24 images of 3 x 8 x 8" in page
    assert (
        "The run stores 6 images (2 images per class, 4.7\u202fkB), which the decoder grid:2 makes these 24 training images"
        in page
    )
    assert "ipc in datadam.json, count training images" in page


def test_files_of_decoded_sets_count_training_images(animals: RealData, tmp_path: Path) -> None:
    one = set_of_kind(animals, decoder="grid:2")
    assert [file.name for file in export(one, "dm", tmp_path / "dm").files] == ["res_DataDAM_animals_ConvNet_8ipc_.pt"]
    assert "num_examples: 24\n" in (export(one, "parquet", tmp_path / "hub").folder / "README.md").read_text()


@pytest.mark.parametrize("to", SOFT)
@pytest.mark.parametrize("kind", ["soft", "rate", "unequal", "several"])
def test_soft_labels_and_rates_come_back(animals: RealData, tmp_path: Path, to: str, kind: str) -> None:
    one = set_of_kind(animals, **(SEVERAL if kind == "several" else KINDS[kind]))
    export(one, to, tmp_path / "out")
    (back,) = import_(tmp_path / "out", to, animals, tmp_path / "run")
    assert torch.equal(back.images, one.training_images)
    assert back.counts == one.as_plain().counts
    assert (back.rate is None) == (one.rate is None)
    assert back.rate is None or torch.equal(back.rate, one.rate)  # type: ignore[arg-type]
    exact = to == "npz" or not one.soft
    assert back.temperature == (one.temperature if to == "npz" else 1.0)
    assert torch.equal(back.labels if exact else back.labels * one.temperature, one.training_labels)  # by a power of two
    rule = protocol_named("honest", epochs=2, augment="none")
    ours, theirs = (datadam.evaluate(x, animals, net="convnet2:width=6", students=1, protocol=rule) for x in (one, back))
    assert ours.all == theirs.all
    assert torch.equal(DistilledSet.load(tmp_path / "run").labels, back.labels)
    (tmp_path / "out/datadam.json").unlink()  # what the files alone say
    (bare,) = import_(tmp_path / "out", to, animals)
    assert sorted(bare.labels.flatten().tolist()) == sorted(back.labels.flatten().tolist())
    assert bare.rate is not None if to != "npz" else (bare.rate is None) == (one.rate is None)


def test_numpy_alone_reads_soft_labels(animals: RealData, tmp_path: Path) -> None:
    done = export(set_of_kind(animals, **SEVERAL), "npz", tmp_path / "out")
    with np.load(done.files[0]) as found:
        assert found["labels"].tolist() == [0] * 4 + [1] * 12 + [2] * 8
        np.testing.assert_array_equal(found["logits"], LOGITS.repeat_interleave(4, 0))
        assert (found["temperature"].item(), found["rate"].item()) == (2.0, pytest.approx(0.02))
    with np.load(export(set_of_kind(animals), "npz", tmp_path / "plain").files[0]) as found:
        assert {"images", "labels", "classes", "mean", "std"} == set(found)


@pytest.mark.parametrize("to", SOFT)
def test_the_lines_of_the_readme_run(animals: RealData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, to: str) -> None:
    one = set_of_kind(animals, **SEVERAL)
    export(one, to, tmp_path / "out")
    text = (tmp_path / "out/README.md").read_text()
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert code is not None
    monkeypatch.chdir(tmp_path / "out")
    names: dict[str, Any] = {}
    exec(code[1], names)
    assert len(names["images"]) == 24
    labels = torch.softmax(names["labels"], 1) if to == "ddranking" else names["labels"]  # its reader takes the softmax
    torch.testing.assert_close(labels, torch.softmax(one.training_labels / 2, 1))
    assert "4 to 12 images per class" in text
    assert "Labels are soft: one number for each class, logits, " in text
    assert ("divided by their temperature 2, so that a softmax" in text) == (to != "npz")
    assert ("of which a softmax at temperature 2 is" in text) == (to == "npz")
    assert "has learned the rate of its students, 0.02" in text


@pytest.mark.parametrize("to", [name for name in FORMATS if name not in SOFT])
def test_soft_labels_are_refused_where_there_is_no_room_for_them(animals: RealData, tmp_path: Path, to: str) -> None:
    with pytest.raises(InvalidInput, match=f"{to} holds class numbers and no soft labels.* export it to npz or ddranking or mtt"):
        export(set_of_kind(animals, LOGITS), to, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_unequal_classes_are_refused_where_order_is_all(animals: RealData, tmp_path: Path) -> None:
    one = set_of_kind(animals, counts=(1, 4, 1))
    with pytest.raises(InvalidInput, match=r"eccv24 tells classes by their order alone.* 1 to 4; export it to npz"):
        export(one, "eccv24", tmp_path / "out")
    for to in sorted(set(FORMATS) - {"eccv24"}):
        export(one, to, tmp_path / to)
        (back,) = import_(tmp_path / to, to, animals)
        assert back.counts == (1, 4, 1)
        assert torch.equal(back.labels, one.labels)


def test_a_rate_that_a_format_has_no_place_for_is_told(animals: RealData, tmp_path: Path) -> None:
    one = set_of_kind(animals, rate=0.02)
    for to in FORMATS:
        done = export(one, to, tmp_path / to)
        assert any("no place for the rate of students" in note for note in done.notes) == (to not in SOFT)
        assert import_(tmp_path / to, to, animals)[0].rate == torch.tensor(0.02)  # datadam.json says it
    two = export([one, set_of_kind(animals)], "dm", tmp_path / "two")
    assert [back.rate for back in import_(two.folder, "dm", animals)] == [None, None]


def test_soft_labels_that_look_hard_stay_soft(animals: RealData, tmp_path: Path) -> None:
    """One-hot logits and logits that sum to 1 are what datadam.json says they are."""
    for number, logits in enumerate((torch.eye(3).repeat_interleave(2, 0), torch.softmax(LOGITS, 1))):
        one = set_of_kind(animals, logits)
        for to in SOFT:
            export(one, to, tmp_path / f"{to}{number}")
            (back,) = import_(tmp_path / f"{to}{number}", to, animals)
            assert torch.equal(back.labels, logits)
            assert not any("labels" in note for note in back.card["warnings"])
            (hard,) = import_(tmp_path / f"{to}{number}", to, animals, hard=True)
            assert torch.equal(hard.labels, logits.argmax(1).sort().values)


def test_sets_of_several_kinds_share_no_file(animals: RealData, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="different kinds of labels, or decoders"):
        export([set_of_kind(animals), set_of_kind(animals, decoder="grid:2")], "dm", tmp_path / "out")


def test_rounding_is_of_decoded_images(animals: RealData) -> None:
    one = set_of_kind(animals, decoder="grid:2")
    after = rounded(one)
    assert (len(after.images), after.decoder.word, after.ipc) == (24, "plain", 8)
    levels = after.pixels() * 255
    torch.testing.assert_close(levels, levels.round(), rtol=0, atol=0.01)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"rate": -1}, "parts of it are missing or wrong"),
        ({"rate": "fast"}, "parts of it are missing or wrong"),
        ({"counts": [6, 2, 0]}, "parts of it are missing or wrong"),
        ({"counts": [6, 2]}, "parts of it are missing or wrong"),
        ({"counts": None, "labels": "soft", "rate": True}, "parts of it are missing or wrong"),
        ({"counts": [1, 1, 1]}, "6 images, and 3 are told of"),
        ({"decoder": 3}, "parts of it are missing or wrong"),
    ],
)
def test_forged_notes_are_refused(animals: RealData, tmp_path: Path, changed: dict[str, Any], words: str) -> None:
    export(set_of_kind(animals, LOGITS), "mtt", tmp_path / "out")
    path = tmp_path / "out/datadam.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))
    with pytest.raises(ArtifactError, match=words):
        import_(tmp_path / "out", "mtt", animals)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"logits": LOGITS[:5].numpy()}, r"logits are \[5, 3\] for 6 images"),
        ({"logits": LOGITS.numpy() * np.nan}, "logits hold NaN"),
        ({"logits": LOGITS.numpy(), "labels": LOGITS.numpy()}, r"logits stand beside labels \[6, 3\]"),
        ({"temperature": np.array(0.0)}, "the temperature of soft labels is 0"),
        ({"temperature": np.array([1.0, 2.0])}, r"the temperature of soft labels is \[2\]"),
        ({"rate": np.array(np.inf)}, "the rate of students is inf"),
        ({"logits": np.array(["a"])}, "kind <U1"),
    ],
)
def test_forged_archives_are_refused(animals: RealData, tmp_path: Path, changed: dict[str, Any], words: str) -> None:
    done = export(set_of_kind(animals, **KINDS["soft"]), "npz", tmp_path / "out")
    (done.folder / "datadam.json").unlink()
    with np.load(done.files[0]) as found:
        arrays = dict(found) | changed
    np.savez(done.files[0], **arrays)
    with pytest.raises(ArtifactError, match=words):
        import_(done.folder, "npz", animals)


def test_learned_labels_of_kernels_are_no_logits(
    animals: RealData, tmp_path: Path, make_set: Callable[..., DistilledSet]
) -> None:
    done = export(make_set(), "kip", tmp_path / "out")
    with np.load(done.files[0]) as found:
        arrays = dict(found)
    (done.folder / "datadam.json").unlink()
    np.savez(done.files[0], images=arrays["images"], labels=arrays["labels"] * 1.3)
    with pytest.raises(ArtifactError, match=r"labels are soft .*readers of this format know class numbers alone.*hard takes"):
        import_(done.files[0], "kip", animals)
    assert import_(done.files[0], "kip", animals, hard=True)[0].labels.tolist() == [0, 0, 1, 1, 2, 2]
