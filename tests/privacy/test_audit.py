"""The whole audit on small data: real images as a set are found out, noise is not, and the same seed tells the same."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small import make_real

import datadam
from datadam.data import RealData
from datadam.data.real import Split
from datadam.errors import InvalidInput
from datadam.evaluation.panel import protocol_named
from datadam.files.kept import Entry
from datadam.files.whole import read_json, read_tensors
from datadam.parallel import Tell
from datadam.privacy import Audit, audit
from datadam.sets.distilled import DistilledSet
from datadam.training.students import Student, StudentTrainer

QUICK = {"students": 2, "references": 3, "samples": 60}
RULE = protocol_named("honest", epochs=120, augment="none")
HARD = replace(RULE, training=replace(RULE.training, lr=0.05))  # learned by heart


@pytest.fixture(scope="module")
def real() -> RealData:
    return make_real(classes=3, per_class=40, shape=(3, 8, 8))


def small(real: RealData, **settings: object) -> DistilledSet:
    return datadam.distill(real, datadam.preset("random", real, ipc=6).change({"net": "convnet1:width=16"} | settings))


@pytest.fixture(scope="module")
def chosen(real: RealData) -> tuple[DistilledSet, Audit]:
    """Eighteen random real images, and what students that know them by heart tell of them."""
    images = small(real)
    return images, audit(images, real, start=images.images, protocol=HARD, **QUICK)


def test_real_images_are_recognised_as_such(real: RealData, chosen) -> None:
    images, made = chosen
    found = made.found["memorisation"]
    assert found["copies"] == 18
    for space in ("pixels", "features"):
        assert max(found[space]["distance"]["synthetic"]) < 1e-3 < found[space]["distance"]["test"][0]
        assert found[space]["nearer"]["1"]["value"] == found[space]["relatively_nearer"]["1"]["value"] == 1
        assert found["start"]["still_nearest"][space]["value"] == 1
    expected = torch.cat([torch.from_numpy(members) for members in real.by_class])
    origin = made.tensors["origin"]
    assert set(origin.tolist()) < set(expected.tolist())
    assert torch.allclose(real.images(origin), images.images)
    assert torch.equal(made.tensors["nearest_pixels"], origin)
    assert torch.equal(made.tensors["nearest_features"], origin)
    assert torch.equal(made.tensors["closest_synthetic"], made.tensors["closest_real"])


def test_students_that_know_them_by_heart_are_found_out(chosen) -> None:
    found = chosen[1].found["membership"]
    assert found["own_kind"] == "chosen"
    for group in ("distilled", "random"):
        own = found[group]["own"]
        assert min(own["loss"]["auc"]["low"], own["ratio"]["auc"]["low"]) > 0.6
        assert (own["loss"]["members"], own["loss"]["others"]) == (18, 18)
        assert 12 <= own["ratio"]["members"] <= 18  # without those that two of three references have learned from
    control = found["random"]["training"]["ratio"]["auc"]
    assert control["low"] < 0.5 < control["high"]


def test_the_same_seed_tells_the_same(real: RealData, chosen) -> None:
    images, made = chosen
    again = audit(images, real, start=images.images, protocol=HARD, **QUICK)
    timeless = [{k: v for k, v in one.found.items() if k not in ("seconds", "made")} for one in (made, again)]
    assert timeless[0] == timeless[1]
    assert all(torch.equal(made.tensors[name], again.tensors[name]) for name in made.tensors)


def test_an_audit_that_was_killed_trains_only_what_is_missing(
    real: RealData, chosen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, whole = chosen
    taught: list[tuple[int, int]] = []
    teach = StudentTrainer._train_student

    def counted(self: StudentTrainer, item: tuple[int, int], tell: Tell, unfinished: Entry | None) -> Student:
        if len(taught) == 3:
            raise KeyboardInterrupt
        taught.append(item)
        return teach(self, item, tell, unfinished)

    monkeypatch.setattr(StudentTrainer, "_train_student", counted)
    options = {"start": images.images, "protocol": HARD, "keep": tmp_path / "evaluations", **QUICK}
    with pytest.raises(KeyboardInterrupt):
        audit(images, real, **options)
    names = [path.name for path in (tmp_path / "evaluations" / ".partial").glob("*/*")]
    assert sorted(names) == ["0-0.safetensors", "0-1.safetensors", "1-0.safetensors"]
    taught[:] = [(9, 9)] * 4
    made = audit(images, real, **options)
    assert taught[4:] == [(1, 1), (2, 0), (3, 0), (4, 0)]
    for key in ("memorisation", "membership", "balance"):
        assert made.found[key] == whole.found[key]
    assert all(torch.equal(tensor, whole.tensors[name]) for name, tensor in made.tensors.items())
    made.save(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"audit.json", "audit.safetensors"}


def test_what_is_written_is_what_was_found(chosen, tmp_path) -> None:
    chosen[1].save(tmp_path)
    assert read_json(tmp_path / "audit.json") == chosen[1].found
    tensors, _ = read_tensors(tmp_path / "audit.safetensors")
    assert {name: (tuple(t.shape), t.dtype) for name, t in tensors.items()} == {
        "nearest_pixels": ((18,), torch.int64), "nearest_features": ((18,), torch.int64), "origin": ((18,), torch.int64),
        "distance_pixels": ((18,), torch.float64), "distance_features": ((18,), torch.float64),
        "closest_synthetic": ((18, 3, 8, 8), torch.uint8), "closest_real": ((18, 3, 8, 8), torch.uint8),
    }  # fmt: skip


def test_noise_is_no_memory_and_has_no_start(real: RealData) -> None:
    images = small(real, zca="kornia")
    noise = replace(images, images=torch.randn(18, 3, 8, 8, generator=torch.Generator().manual_seed(0)))
    made = audit(noise, real, start=noise.images, protocol=protocol_named("honest", epochs=2), **QUICK)
    found = made.found
    assert found["memorisation"]["copies"] == found["memorisation"]["start"]["found"] == 0
    assert found["memorisation"]["pixels"]["nearer"]["1"]["count"] == 0
    assert found["memorisation"]["start"]["still_nearest"] == {"pixels": None, "features": None}
    assert found["membership"]["distilled"]["own"] is None
    assert found["membership"]["own_kind"] is None
    assert found["membership"]["random"]["own"]["loss"]["members"] == 18
    assert made.tensors["origin"].tolist() == [-1] * 18
    assert any("none of the start images" in note for note in found["notes"])
    assert any("below 100" in note for note in found["notes"])


def test_a_set_without_start_is_audited_without_it(real: RealData) -> None:
    made = audit(small(real), real, protocol=protocol_named("honest", epochs=1), **QUICK | {"students": 1, "references": 2})
    assert made.found["memorisation"]["start"] is None
    assert made.found["memorisation"]["pixels"]["distance"]["start"] is None
    assert all(pair["is_start"] is None for pair in made.found["memorisation"]["closest"])
    assert any("no start images" in note for note in made.found["notes"])
    assert len(made.found["balance"]["random"]["classes"][0]["students"]) == 1 + 2


def test_real_images_that_came_from_elsewhere_are_their_own_members(real: RealData, chosen) -> None:
    """An imported set has no start. Seventeen of its images are training images, one is a blend of two."""
    images = chosen[0].images.clone()
    images[4] = (images[3] + images[5]) / 2
    foreign = replace(chosen[0], images=images, card=chosen[0].card | {"kind": "imported"})
    made = audit(foreign, real, protocol=HARD, **QUICK)
    found = made.found
    assert found["memorisation"]["copies"] == 17
    assert found["membership"]["own_kind"] == "chosen"
    own = found["membership"]["distilled"]["own"]["loss"]
    assert own["members"] == 17
    assert own["auc"]["low"] > 0.5
    origin = made.tensors["origin"]
    assert origin[4] == -1
    assert torch.equal(origin[:4], chosen[1].tensors["origin"][:4])
    assert found["memorisation"]["start"] is None
    assert all(pair["is_start"] is None for pair in found["memorisation"]["closest"])
    assert any("17 images of the set are training images" in note for note in found["notes"])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"students": 0}, "students is 0"),
        ({"references": 1}, "references is 1"),
        ({"samples": 3}, "samples is 3"),
        ({"precision": "int8"}, "precision is 'int8'"),
        ({"workers": 0}, "workers is 0"),
        ({"start": torch.zeros(2, 3, 8, 8)}, "start images"),
        ({"start": torch.full((18, 3, 8, 8), torch.nan)}, "start images"),
    ],
)
def test_wrong_settings_are_refused(real: RealData, settings, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        audit(small(real), real, **settings)


def test_data_that_tell_nothing_are_refused(real: RealData) -> None:
    images = small(real)
    with pytest.raises(InvalidInput, match="no test part"):
        audit(images, replace(real, test=Split(real.test.pixels[:0], real.test.labels[:0])))
    few = make_real(per_class=(40, 11, 40))
    with pytest.raises(InvalidInput, match=r"class '1' has 11 training images.* at least 12"):
        audit(small(few), few)
    single = make_real(classes=2, per_class=1)
    with pytest.raises(InvalidInput, match="has 1 training images, and the set 1 a class"):
        audit(datadam.distill(single, datadam.preset("random", single, ipc=1).change({"net": "convnet1:width=4"})), single)
    one = datadam.load(
        (np.zeros((4, 8, 8, 3), np.uint8), np.zeros(4, np.int64), np.zeros((4, 8, 8, 3), np.uint8), np.zeros(4, int))
    )
    with pytest.raises(InvalidInput, match="one class"):
        audit(datadam.distill(one, datadam.preset("random", one, ipc=1).change({"net": "convnet1:width=4"})), one)
    with pytest.raises(InvalidInput, match="other class names"):
        audit(images, make_real(classes=4, per_class=20))
