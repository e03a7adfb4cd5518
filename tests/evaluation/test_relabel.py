"""Soft labels of teachers: the mean of their logits over the training images of each stored one, and who the teachers were."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from kinds import KINDS, set_of_kind
from torch import Tensor

import datadam
from datadam import nets
from datadam.data import RealData
from datadam.errors import ArtifactError, InvalidInput, UnknownName
from datadam.evaluation.panel import protocol_named
from datadam.evaluation.relabel import relabel, stored_logits
from datadam.nets import Network
from datadam.rng import stream
from datadam.sets.card import digest
from datadam.sets.distilled import DistilledSet
from datadam.training.insight import Insight
from datadam.training.pool import Pool
from datadam.training.pretrain import pretrain
from datadam.training.trainer import Training

NET = "convnet1:width=4"


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    """Two networks on the small data. Not to be changed."""
    from small import make_real

    return pretrain(make_real(), tmp_path_factory.mktemp("pools") / "pool", net=NET, count=2, epochs=2, augment="none")


def network(real: RealData, number: int) -> Network:
    made = nets.build(NET, shape=real.shape, classes=len(real.classes))
    nets.initialise(made, stream(number, "teacher"))
    return made


@pytest.mark.parametrize("kind", ["plain", "grid", "unequal", "all"])
def test_labels_are_means_over_teachers_and_parts(real: RealData, kind: str) -> None:
    one = set_of_kind(real, **KINDS[kind])
    asked = [network(real, number) for number in range(3)]
    rows: list[Tensor] = []
    for stored in one.images:  # by hand, image by image
        parts = one.decoder(stored[None])
        with torch.no_grad():
            rows.append(torch.stack([teacher.eval()(parts).double().mean(0) for teacher in asked]).mean(0))
    torch.testing.assert_close(stored_logits(one, asked).double(), torch.stack(rows), rtol=1e-5, atol=1e-6)


def test_a_set_is_the_same_but_for_its_labels(real: RealData, pool: Pool, tmp_path: Path) -> None:
    one = set_of_kind(real, rate=0.02, decoder="grid:2", note="before")
    soft = relabel(one, real, f"{pool.folder}@0-100", temperature=4.0, command="datadam relabel ...")
    assert torch.equal(soft.images, one.images)
    assert (soft.kind.decoder, soft.kind.labels, soft.temperature, soft.counts) == ("grid:2", "soft", 4.0, one.counts)
    assert soft.rate is None
    assert "rate" not in soft.card
    assert soft.card["digest"] == digest(soft.images, soft.labels) != one.card["digest"]
    told = soft.card["relabelled"]
    assert told["before"]["digest"] == one.card["digest"]
    assert told["before"]["rate"] == one.card["rate"]
    assert told["teacher"]["net"] == NET
    assert told["teacher"]["networks"] == len(pool.states)
    assert told["teacher"]["pool"].startswith(f"{pool.folder.resolve()}@0-100#")
    assert 0 <= told["agree"] <= 1
    assert (soft.card["command"], soft.card["note"]) == ("datadam relabel ...", "before")
    soft.save(tmp_path / "run")
    again = DistilledSet.load(tmp_path / "run")
    assert torch.equal(again.labels, soft.labels)
    rule = protocol_named("honest", epochs=2, augment="none")
    judged = datadam.evaluate(again, real, net=NET, students=1, protocol=rule)
    assert (judged.labels, judged.decoder) == ("soft", "grid:2")


def test_teachers_that_are_trained_now(real: RealData) -> None:
    one = set_of_kind(real)
    soft = relabel(one, real, NET, count=2, epochs=1, seed=3)
    training = Training(epochs=1, augment="color_crop_cutout_flip_scale_rotate")
    insight = Insight(real, 3, NET, "cpu")
    asked = (insight.trained(training, number) for number in range(2))
    torch.testing.assert_close(soft.labels, stored_logits(one, asked))
    assert soft.card["relabelled"]["teacher"] == {"net": NET, "count": 2, "epochs": 1, "seed": 3, "networks": 2}
    assert torch.equal(relabel(one, real, NET, count=2, epochs=1, seed=3).labels, soft.labels)
    assert not torch.equal(relabel(one, real, NET, count=2, epochs=1, seed=4).labels, soft.labels)


def test_soft_labels_can_be_given_anew(real: RealData, pool: Pool) -> None:
    """What teachers answer does not depend on the labels that were there."""
    soft, hard = (relabel(set_of_kind(real, **KINDS[k]), real, f"{pool.folder}@0-100") for k in ("soft", "plain"))
    assert torch.equal(soft.labels, hard.labels)
    assert soft.card["relabelled"]["before"]["temperature"] == 4.0
    assert soft.temperature == 1.0


def test_what_does_not_fit_is_refused_before_anything_is_asked(
    real: RealData, pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from small import make_real

    def asked(images: Tensor, networks: Iterator[Network]) -> Tensor:
        raise AssertionError

    monkeypatch.setattr("datadam.evaluation.relabel.teacher_logits", asked)
    one, whole = set_of_kind(real), f"{pool.folder}@0-100"
    for temperature in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(InvalidInput, match=r"temperature is .*; it must be a number above 0"):
            relabel(one, real, whole, temperature=temperature)
    with pytest.raises(InvalidInput, match="give the data the set was made from"):
        relabel(one, make_real(2), whole)
    other = make_real(seed=1)
    with pytest.raises(InvalidInput, match=r"the pool .* was made for another run: checksum"):
        relabel(set_of_kind(other), other, whole)
    with pytest.raises(InvalidInput, match=r"has no state of 99.9-100 %"):
        relabel(one, real, f"{pool.folder}@99.9-100")
    with pytest.raises(InvalidInput, match="trained already; leave epochs and count out"):
        relabel(one, real, whole, epochs=3)
    with pytest.raises(ArtifactError, match="is no pool of networks"):
        relabel(one, real, f"{tmp_path}@0-100")
    with pytest.raises(UnknownName, match="Did you mean"):
        relabel(one, real, "convnot3")
    with pytest.raises(InvalidInput, match="count is 0"):
        relabel(one, real, NET, count=0)
    white = real.with_zca("kornia")
    with pytest.raises(InvalidInput, match=r"with whitening none \(mean .*\), this run has with whitening kornia"):
        relabel(set_of_kind(white), white, whole)
