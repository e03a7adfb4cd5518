"""Audits of decoded, soft-labelled and unequal sets: of the images that students see, beside as many random real ones."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from kinds import set_of_kind
from small import make_real

from datadam.cli.audit import text_of
from datadam.data import RealData
from datadam.errors import InvalidInput
from datadam.evaluation.evaluate import evaluate
from datadam.evaluation.panel import protocol_named
from datadam.privacy import Audit, audit
from datadam.sets.distilled import DistilledSet

QUICK = {"students": 2, "references": 2, "samples": 40}
RULE = protocol_named("honest", epochs=3, augment="none")
NET = "convnet1:width=8"


@pytest.fixture(scope="module")
def real() -> RealData:
    return make_real(classes=3, per_class=40, shape=(3, 8, 8))


def audited(one: DistilledSet, real: RealData, start: torch.Tensor | None = None) -> Audit:
    return audit(one, real, start=start, net=NET, protocol=RULE, **QUICK)


def alike(one: Audit, other: Audit) -> bool:
    """The same numbers, whatever the sets are called."""
    parts = ("memorisation", "membership", "balance")
    return all(one.found[part] == other.found[part] for part in parts) and all(
        torch.equal(one.tensors[name], other.tensors[name]) for name in one.tensors
    )


def test_a_decoded_set_is_audited_as_its_training_images(real: RealData) -> None:
    one = set_of_kind(real, decoder="grid:2", counts=(1, 2, 1))
    start = one.images.flip(0)
    ours = audited(one, real, start)
    theirs = audited(one.as_plain(), real, one.decoder(start))
    assert alike(ours, theirs)
    run = ours.found["run"]
    assert (run["images"], run["training_images"], run["decoder"], run["labels"]) == (4, 16, "grid:2", "hard")
    assert ours.tensors["nearest_pixels"].shape == (16,)
    assert "trained on 4 to 8 random real images per class" in ours.found["settings"]["features"]
    assert "4 of each stored image, side by side" in ours.found["notes"][0]
    assert "real images that were stored coarsely" in ours.found["notes"][1]
    assert "4 images, decoded by grid:2 (16 training images), 3.1\u202fkB, distilled" in text_of(Path("run"), ours.found)


def test_copies_among_decoded_images_are_found(real: RealData) -> None:
    """Real images of one colour come out of a grid as they went in."""
    chosen = torch.cat([torch.from_numpy(members[:4]) for members in real.by_class])
    pixels = real.train.pixels.copy()
    pixels[chosen] = pixels[chosen].mean((2, 3), keepdims=True)
    flat = replace(real, train=replace(real.train, pixels=pixels))
    one = set_of_kind(flat, counts=(1, 1, 1), decoder="grid:2")
    found = audited(replace(one, images=one.decoder.encode(flat.images(chosen))), flat)
    assert found.found["memorisation"]["copies"] == 12
    assert found.tensors["origin"].tolist() == chosen.tolist()


def test_students_of_soft_labels(real: RealData) -> None:
    """Logits of certainty are class numbers; others are told, and teach something else."""
    hard = set_of_kind(real)
    sure, soft = (set_of_kind(real, x * torch.eye(3)[hard.labels], images=hard.images) for x in (1e4, 0.5))
    assert alike(audited(sure, real), audited(hard, real))
    made = audited(soft, real)
    assert made.found["balance"]["distilled"]["students"] == 2
    assert made.found["balance"]["distilled"]["mean"] == pytest.approx(
        evaluate(soft, real, net=NET, protocol=RULE, students=2).mean
    )
    assert "students of the set learn its soft labels, those of random real images class numbers" in made.found["notes"]
    assert made.found["run"]["labels"] == "soft"


def test_a_decoded_set_needs_as_many_real_images_as_it_has_training_images(real: RealData) -> None:
    with pytest.raises(
        InvalidInput, match=r"40 training images, and the set 24 a class \(6 stored ones, decoded\).* at least 48"
    ):
        audited(set_of_kind(real, decoder="grid:2", counts=(1, 6, 1)), real)
    one = set_of_kind(real, decoder="grid:2")
    with pytest.raises(InvalidInput, match="the start images are not finite numbers of the shape of the set"):
        audited(one, real, one.training_images)
