"""Soft labels, a learned rate, decoders, unequal classes: they come back as they were saved, and forged ones are refused."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from kinds import KINDS, LOGITS, set_of_kind

from datadam import machine
from datadam.data import RealData
from datadam.errors import ArtifactError, NotEnoughMemory
from datadam.sets.card import digest, read_card
from datadam.sets.distilled import DistilledSet
from datadam.sets.kind import Kind, counts_of, per_class, stored_bytes, told, training_count

RESULTS = Path(__file__).parents[2] / "results" / "small"
Make = Callable[..., DistilledSet]


@pytest.fixture
def make(real: RealData) -> Make:
    """A set of a kind."""
    return partial(set_of_kind, real)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_comes_back_as_it_was_saved(make: Make, tmp_path: Path, kind: str) -> None:
    before = make(**KINDS[kind])
    before.save(tmp_path / "run")
    after = DistilledSet.load(tmp_path / "run")
    for name in ("images", "labels", "numbers", "training_images", "training_labels"):
        assert torch.equal(getattr(before, name), getattr(after, name)), name
    assert after.card == before.card
    assert (after.rate is None) == (before.rate is None)
    assert after.rate is None or torch.equal(after.rate, before.rate)  # type: ignore[arg-type]
    assert (after.counts, after.soft, after.temperature, after.decoder) == (
        before.counts, before.soft, before.temperature, before.decoder,
    )  # fmt: skip
    assert len(after.pixels()) == len(after.dataset()) == len(after.stored_pixels()) * after.decoder.each
    file = tmp_path / "run/distilled.safetensors"
    head = int.from_bytes(file.read_bytes()[:8], "little")
    assert after.stored_bytes == stored_bytes(after.card) == file.stat().st_size - 8 - head


def test_what_a_set_says_of_itself(make: Make) -> None:
    one = make(**KINDS["all"])
    assert one.numbers.tolist() == [0, 0, 0, 1, 2, 2]
    assert one.kind == Kind.of_card(one.card) == Kind("grid:4", "soft")
    assert (one.kind.short, one.kind.words) == ("grid:4, soft labels", ", decoded by grid:4, soft labels")
    assert counts_of(one.card) == (3, 1, 2)
    assert training_count(one.card) == len(one.training_images) == 96
    assert per_class(one.card) == "1 to 3 images"
    assert told(one.card) == (
        "decoded by grid:4 to 96 training images; soft labels at temperature 0.5; the rate of students is learned: 0.003; "
        "stored in 4.7\u202fkB"
    )
    plain = make()
    assert plain.kind.usual
    assert (plain.kind.short, plain.kind.words) == ("plain", "")
    assert (per_class(plain.card), told(plain.card)) == ("2 images", "stored in 4.7\u202fkB")
    assert Kind(labels="soft").short == "soft labels"
    assert Kind.of_evaluation({}) == Kind.of_evaluation({"labels": "hard", "decoder": "plain"}) == Kind()


def test_training_labels_stand_with_the_parts_of_their_image(make: Make) -> None:
    one = make(logits=LOGITS, decoder="grid:2")
    assert torch.equal(one.training_labels[4:8], LOGITS[1].expand(4, 3))
    assert torch.equal(one.training_images[4:8], one.decoder(one.images[1:2]))


def test_a_set_decoded_by_hand_is_a_plain_one(make: Make, tmp_path: Path) -> None:
    one = make(**KINDS["all"])
    plain = one.as_plain()
    assert torch.equal(plain.images, one.training_images)
    assert torch.equal(plain.training_labels, one.training_labels)
    assert (plain.counts, plain.ipc, plain.decoder.word, plain.temperature) == ((48, 16, 32), 48, "plain", 0.5)
    plain.save(tmp_path / "run")
    assert torch.equal(DistilledSet.load(tmp_path / "run").images, plain.images)
    assert make().as_plain().decoder.each == 1


def test_a_digest_is_of_images_labels_and_rate() -> None:
    images, labels = torch.zeros(2, 1, 2, 2), torch.tensor([0, 1])
    found = {
        digest(images, labels), digest(images + 1, labels), digest(images, labels + 1), digest(images, torch.eye(2)),
        digest(images, labels, torch.tensor(0.01)), digest(images, labels, torch.tensor(0.02)),
    }  # fmt: skip
    assert len(found) == 6


def forge(run: Path, tensors: dict[str, torch.Tensor | None] | None = None, **card: Any) -> None:
    """Other tensors (None: taken out) and parts of the card, the digest left as it was."""
    path = run / "distilled.safetensors"
    parts = safetensors.torch.load(path.read_bytes()) | (tensors or {})
    safetensors.torch.save_file({name: tensor for name, tensor in parts.items() if tensor is not None}, path)
    (run / "card.json").write_text(json.dumps(json.loads((run / "card.json").read_text()) | card))


@pytest.mark.parametrize(
    ("kind", "tensors", "card", "words"),
    [
        ("soft", {"labels": torch.zeros(6, 2)}, {}, r"float32 \(6, 2\); the card says soft labels, float32 \[M, 3\]"),
        ("soft", {"labels": torch.zeros(6, 3).double()}, {}, "float64"),
        ("soft", {"labels": torch.zeros(6, dtype=torch.int64)}, {}, "the card says soft labels"),
        ("soft", {"labels": None}, {}, "labels are none"),
        ("soft", {"labels": LOGITS * float("nan")}, {}, "soft labels hold NaN"),
        ("soft", {"labels": LOGITS / 0}, {}, "soft labels hold NaN or infinite"),
        ("soft", {"labels": torch.zeros(5, 3)}, {}, "5 soft labels for 6 images"),
        ("soft", {"labels": torch.zeros(9, 3), "images": torch.zeros(9, 3, 8, 8)}, {}, "9 images; the card says 6"),
        ("soft", {}, {"labels": "class"}, "not one int64 an image"),
        ("soft", {}, {"labels": "fuzzy"}, "lacks parts"),
        ("soft", {}, {"temperature": 0}, "lacks parts"),
        ("soft", {}, {"temperature": "hot"}, "lacks parts"),
        ("soft", {"labels": LOGITS + 1}, {}, "not the images that the card was written for"),
        ("plain", {}, {"labels": "soft"}, "the card says soft labels"),
        ("rate", {"rate": torch.tensor(-0.03)}, {}, "no number above 0"),
        ("rate", {"rate": torch.tensor(float("nan"))}, {}, "no number above 0"),
        ("rate", {"rate": torch.tensor(float("inf"))}, {}, "no number above 0"),
        ("rate", {"rate": torch.tensor([0.03])}, {}, "no number above 0"),
        ("rate", {"rate": torch.tensor(0.03).double()}, {}, "no number above 0"),
        ("rate", {"rate": None}, {}, "holds no rate of students; the card says 0.03"),
        ("rate", {"rate": torch.tensor(0.04)}, {}, "is 0.04; the card says 0.02"),
        ("rate", {}, {"rate": -1}, "lacks parts"),
        ("plain", {"rate": torch.tensor(0.04)}, {}, "the card says none"),
        ("unequal", {}, {"counts": [2, 2, 2]}, "lacks parts"),
        ("unequal", {}, {"counts": [4, 1, 1]}, "other numbers of images"),
        ("unequal", {}, {"counts": [1, 4]}, "lacks parts"),
        ("unequal", {}, {"counts": [0, 4, 2]}, "lacks parts"),
        ("unequal", {}, {"counts": [1, 4, 1.0]}, "lacks parts"),
        ("unequal", {}, {"counts": [4, 4, 1]}, "6 images; the card says 9"),
        ("plain", {"labels": torch.tensor([0, 1, 1, 1, 2, 2])}, {}, "other numbers of images"),
        ("grid", {}, {"decoder": "latents:vae"}, "unknown decoder"),
        ("grid", {}, {"decoder": "grid:3"}, "cuts both sides of an image into 3"),
        ("grid", {}, {"decoder": 2}, "lacks parts"),
    ],
)  # fmt: skip
def test_forged_kinds_are_refused(
    make: Make, tmp_path: Path, kind: str, tensors: dict[str, torch.Tensor | None], card: dict[str, Any], words: str
) -> None:
    run = tmp_path / "run"
    make(**KINDS[kind]).save(run)
    forge(run, tensors, **card)
    with pytest.raises(ArtifactError, match=words):
        DistilledSet.load(run)


def test_a_card_that_decodes_to_more_than_there_is_memory(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    one = make(decoder="grid:8")
    monkeypatch.setattr(machine, "available_memory", lambda device="cpu": 100_000)
    with pytest.raises(NotEnoughMemory, match=r"6 stored images, decoded by grid:8, take 294912 bytes"):
        one.training_images  # noqa: B018


def test_a_picture_of_frequencies_decodes_no_more_than_it_shows(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = make(decoder="dct:8", counts=(20, 20, 20), images=torch.zeros(60, 3, 8, 8))
    monkeypatch.setattr(machine, "available_memory", lambda device="cpu": 100_000)
    with pytest.raises(NotEnoughMemory):
        one.training_images  # noqa: B018
    one.save(tmp_path / "run")
    assert (tmp_path / "run" / "preview.png").stat().st_size > 0


def test_runs_of_the_first_format_load(make: Make, tmp_path: Path) -> None:
    make().save(tmp_path / "run")
    card = json.loads((tmp_path / "run/card.json").read_text())
    del card["decoder"]
    card["format"] = "datadam/1"
    (tmp_path / "run/card.json").write_text(json.dumps(card))
    one = DistilledSet.load(tmp_path / "run")
    assert one.kind.usual
    assert one.rate is None
    assert torch.equal(one.training_images, one.images)


OLD = [path for path in sorted(RESULTS.glob("*/card.json")) if '"format": "datadam/1"' in path.read_text()]


@pytest.mark.parametrize("folder", OLD, ids=lambda path: path.parent.name)
def test_cards_of_published_results_are_read(folder: Path) -> None:
    card = read_card(folder.parent)
    assert card["format"] == "datadam/1"
    assert Kind.of_card(card).usual
    images = card["recipe"]["ipc"] * len(card["data"]["classes"])
    assert (sum(counts_of(card)), training_count(card)) == (images, images)
    assert stored_bytes(card) == images * (4 * torch.Size(card["data"]["shape"]).numel() + 8)
