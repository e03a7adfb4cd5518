"""Sets as other programs leave them: what they leave unsaid is taken from the data, and what must be changed is told."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small import make_real

from datadam.data import RealData
from datadam.errors import ArtifactError, InvalidInput
from datadam.exchange import export, import_
from datadam.sets.distilled import DistilledSet

Bare = Callable[[DistilledSet, str], Path]
IMAGES = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 0, 1, 1, 2, 2])


@pytest.mark.parametrize("old", [False, True])
def test_a_file_of_the_field_with_scalars_of_numpy(animals: RealData, tmp_path: Path, old: bool) -> None:
    accuracies = {"ConvNet": [np.float64(0.5), np.float32(0.25), np.array([0.1, 0.2])], "MLP": [0.5], "counts": np.int64(3)}
    path = tmp_path / "res_DSA_CIFAR10_ConvNet_2ipc.pt"
    pairs = [[IMAGES, LABELS], [IMAGES.double() * 2, LABELS]]
    torch.save({"data": pairs, "accs_all_exps": accuracies}, path, _use_new_zipfile_serialization=not old)
    first, second = import_(path, "dm", animals)
    assert torch.equal(first.images, IMAGES)
    assert torch.equal(second.images, IMAGES * 2)
    assert first.card["recipe"]["method"] == {"name": "DSA"}
    assert first.card["imported"]["sets"] == 2
    assert first.card["imported"]["normalisation"] == "what the readers of the format expect"
    assert first.transform.to_card() == animals.transform.to_card()  # readers do not know these data


def test_numpys_names_of_both_versions_are_known(animals: RealData, tmp_path: Path) -> None:
    import io
    import zipfile

    path, out = tmp_path / "res_DM_X_Y_2ipc.pt", io.BytesIO()
    torch.save({"data": [[IMAGES, LABELS]], "accs_all_exps": {"a": [np.float64(0.5)]}}, path)
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(out, "w") as made:
        for name in archive.namelist():
            record = archive.read(name)
            if name.endswith("data.pkl"):
                assert b"numpy._core.multiarray" in record
                record = record.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
            made.writestr(name, record)
    path.write_bytes(out.getvalue())
    assert torch.equal(import_(path, "dm", animals)[0].images, IMAGES)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (LABELS.float(), "labels were float32, all of them whole"),
        (LABELS.double()[:, None], "labels were float64"),
        (LABELS.int(), ""),
        (LABELS.to(torch.uint8), ""),
        (LABELS.numpy().astype(np.uint16), ""),
        (LABELS.numpy().astype(">i4"), ""),
        (torch.eye(3)[LABELS], "labels were one-hot: read"),
        (torch.eye(3)[LABELS] - 1 / 3, "one-hot shifted by -0.333"),
        (list(LABELS), ""),
    ],
)  # fmt: skip
def test_labels_in_many_forms(animals: RealData, tmp_path: Path, labels: object, words: str) -> None:
    torch.save({"data": [IMAGES, labels]}, tmp_path / "syn_data_x_ipc_2.pt")
    (one,) = import_(tmp_path, "datadam", animals)
    assert torch.equal(one.labels, LABELS)
    assert one.labels.dtype == torch.int64
    notes = [note for note in one.card["warnings"] if "label" in note]
    assert (words in notes[0]) if words else not notes


SCORES = torch.eye(3)[LABELS] * 2 + torch.rand(6, 3, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("soft", [torch.eye(3)[LABELS] * 2 - 1, torch.eye(3)[LABELS] + torch.arange(6.0)[:, None], SCORES])
def test_soft_labels_of_trajectories_stay_soft(animals: RealData, tmp_path: Path, soft: torch.Tensor) -> None:
    images = animals.transform.to_network(IMAGES)
    for name, value in (("images", images), ("labels", soft), ("lr", torch.tensor(0.03))):
        torch.save(value, tmp_path / f"{name}_best.pt")
    (one,) = import_(tmp_path, "mtt", animals, tmp_path / "run")
    assert torch.equal(one.labels, soft)
    assert (one.kind.labels, one.counts, one.temperature, one.card.get("warnings")) == ("soft", (2, 2, 2), 1.0, [])
    assert one.rate == torch.tensor(0.03)
    assert torch.equal(DistilledSet.load(tmp_path / "run").labels, soft)
    (one,) = import_(tmp_path, "mtt", animals, hard=True)
    assert one.labels.tolist() == LABELS.tolist() == soft.argmax(1).tolist()
    assert any("soft" in note for note in one.card["warnings"])


def test_probabilities_become_logits(animals: RealData, tmp_path: Path) -> None:
    shares = torch.softmax(SCORES, 1)
    shares[0] = torch.tensor([1.0, 0.0, 0.0])
    for name, value in (("images", IMAGES), ("labels", shares)):
        torch.save(value, tmp_path / f"{name}.pt")
    (one,) = import_(tmp_path, "ddranking", animals)
    torch.testing.assert_close(torch.softmax(one.labels, 1), shares)
    assert any("probabilities" in note for note in one.card["warnings"])
    assert one.rate is None


def test_soft_labels_that_doubt_stay_in_their_place(animals: RealData, tmp_path: Path) -> None:
    """Class after class, as all programs write them, also where a label finds another class likelier; else by what they find."""
    doubting = SCORES.clone()
    doubting[1] = torch.tensor([0.0, 1.0, 0.5])
    turned = SCORES[[4, 0, 2, 5, 1, 3]]
    fewer = SCORES[[0, 1, 2, 3, 4]]
    for labels, counts, order in (
        (doubting, (2, 2, 2), range(6)), (turned, (2, 2, 2), [1, 4, 2, 5, 0, 3]), (fewer, (2, 2, 1), range(5)),
    ):  # fmt: skip
        torch.save(IMAGES[: len(labels)], tmp_path / "images.pt")
        torch.save(labels, tmp_path / "labels.pt")
        (one,) = import_(tmp_path, "mtt", animals)
        assert one.counts == counts
        assert torch.equal(one.labels, labels[list(order)])
        assert torch.equal(one.images, IMAGES[list(order)])


def test_classes_of_unequal_count(animals: RealData, tmp_path: Path) -> None:
    torch.save({"data": [IMAGES, torch.tensor([2, 0, 2, 1, 2, 0])]}, tmp_path / "syn_data_x_ipc_2.pt")
    (one,) = import_(tmp_path, "datadam", animals, tmp_path / "run")
    assert torch.equal(one.images, IMAGES[[1, 5, 3, 0, 2, 4]])
    assert one.labels.tolist() == [0, 0, 1, 2, 2, 2]
    assert (one.counts, one.ipc, one.card["counts"]) == ((2, 1, 3), 3, [2, 1, 3])
    assert "the classes have 1 to 3 images" in one.card["warnings"]
    assert DistilledSet.load(tmp_path / "run").counts == (2, 1, 3)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("lr", torch.tensor(-0.01), "the rate of students is -0.01; one number above 0"),
        ("lr", torch.tensor(float("nan")), "the rate of students is nan"),
        ("lr", torch.tensor([0.1, 0.2]), r"\[2\] of torch.float32"),
        ("lr", torch.tensor(1), "torch.int64"),
        ("lr", "0.01", "kind str"),
        ("labels", SCORES * float("nan"), "labels hold NaN"),
        ("labels", SCORES.double() * 1e300, "too large for float32"),
        ("labels", torch.zeros(6, 3), "0 to 6 images a class"),
        ("labels", SCORES[:5], r"labels are \[5, 3\] for 6 images"),
        ("labels", SCORES[:, :2], r"labels are \[6, 2\]; the data have 3 classes"),
        ("labels", SCORES[..., None], r"labels are \[6, 3, 1\]"),
    ],
)  # fmt: skip
def test_rates_and_soft_labels_that_are_none(animals: RealData, tmp_path: Path, name: str, value: object, words: str) -> None:
    for part, whole in {"images": IMAGES, "labels": SCORES, "lr": torch.tensor(0.03), name: value}.items():
        torch.save(whole, tmp_path / f"{part}_best.pt")
    with pytest.raises(ArtifactError, match=words):
        import_(tmp_path, "mtt", animals)


def test_a_rate_that_is_a_plain_number(animals: RealData, tmp_path: Path) -> None:
    for part, whole in {"images": IMAGES, "labels": LABELS, "lr": 0.25}.items():
        torch.save(whole, tmp_path / f"{part}_best.pt")
    (one,) = import_(tmp_path, "mtt", animals)
    assert one.rate == torch.tensor(0.25)
    assert one.card["rate"] == 0.25


def test_images_are_put_class_after_class(animals: RealData, tmp_path: Path) -> None:
    torch.save({"data": [IMAGES, torch.tensor([2, 0, 1, 0, 2, 1])]}, tmp_path / "syn_data_x_ipc_2.pt")
    (one,) = import_(tmp_path, "datadam", animals)
    assert torch.equal(one.images, IMAGES[[1, 3, 2, 5, 0, 4]])
    assert any("class after class" in note for note in one.card["warnings"])


def test_kinds_of_numbers(animals: RealData, tmp_path: Path) -> None:
    path = tmp_path / "images.pt"
    for images, words in ((IMAGES.half(), ""), (IMAGES.bfloat16(), ""), (IMAGES.double(), "rounded from float64")):
        torch.save(images, path)
        (one,) = import_(path, "eccv24", animals)
        assert torch.equal(one.images, images.float())
        assert any("rounded" in note for note in one.card["warnings"]) == bool(
            words and not torch.equal(images.float().double(), images)
        )
    torch.save(IMAGES.double() / 3, path)
    assert any("rounded from float64" in note for note in import_(path, "eccv24", animals)[0].card["warnings"])
    pixels = (IMAGES * 255).to(torch.uint8)
    torch.save(pixels, path)
    (one,) = import_(path, "eccv24", animals)
    np.testing.assert_allclose(one.pixels(), pixels.numpy() / 255, atol=1e-6)


def test_a_normalisation_can_be_given(animals: RealData, tmp_path: Path) -> None:
    path = tmp_path / "images.pt"
    torch.save((IMAGES - 0.5) / 0.25, path)
    (one,) = import_(path, "eccv24", animals, mean=(0.5,) * 3, std=(0.25,) * 3)
    torch.testing.assert_close(one.pixels(), IMAGES)
    assert one.card["imported"]["normalisation"] == "whoever imported it"
    for words, given in (
        ("belong together", {"mean": (0.5,) * 3}),
        ("one for each of the 3 channels", {"mean": (0.5,), "std": (0.5,)}),
        ("positive std", {"mean": (0.5,) * 3, "std": (0.0,) * 3}),
    ):
        with pytest.raises(InvalidInput, match=words):
            import_(path, "eccv24", animals, **given)
    torch.save((IMAGES - 0.5) / 0.01, path)
    (doubtful,) = import_(path, "eccv24", animals)
    assert any("outside [0, 1]" in note for note in doubtful.card["warnings"])


def test_folders_of_pictures(animals: RealData, tmp_path: Path) -> None:
    pixels = (IMAGES * 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()
    for k, name in enumerate(("new000", "new001", "new002")):  # SRe2L
        (tmp_path / "sre2l" / name).mkdir(parents=True)
        (tmp_path / "named" / animals.classes[k]).mkdir(parents=True)  # in no order
        for n in range(2):
            Image.fromarray(pixels[2 * k + n]).save(tmp_path / "sre2l" / name / f"class00{k}_id00{n}.png")
            Image.fromarray(pixels[2 * k + n]).save(tmp_path / "named" / animals.classes[k] / f"{n}.PNG", format="PNG")
    for name in ("sre2l", "named"):
        (one,) = import_(tmp_path / name, "folder", animals)
        np.testing.assert_allclose(one.pixels(), pixels.transpose(0, 3, 1, 2) / 255, atol=1e-6)
        assert one.labels.tolist() == LABELS.tolist()
        assert any("in the order of their numbers" in note for note in one.card["warnings"]) == (name == "sre2l")
    Image.fromarray(pixels[0]).save(tmp_path / "sre2l/new000/class000_id000.png", format="JPEG")  # as RDED saves them
    assert import_(tmp_path / "sre2l", "folder", animals)[0].ipc == 2
    shutil.rmtree(tmp_path / "sre2l/new002")
    with pytest.raises(ArtifactError, match="has 2 classes"):
        import_(tmp_path / "sre2l", "folder", animals)


def test_the_whitening_of_kip_is_refused(small: DistilledSet, animals: RealData, bare: Bare) -> None:
    path = bare(small, "kip")
    released = path.with_name("kip_cifar10_ConvNet3_ssize6_zca_nol_noaug_ckpt1000.npz")
    path.rename(released)
    with pytest.raises(ArtifactError, match="made with the whitening of KIP, which first gives every image mean 0 and length 1"):
        import_(released, "kip", animals)
    plain = released.rename(path.with_name("kip_cifar10_ConvNet3_ssize6_nozca_nol_noaug_ckpt1000.npz"))
    assert torch.equal(import_(plain, "kip", animals)[0].images, small.images)


def test_the_note_must_fit(small: DistilledSet, animals: RealData, tmp_path: Path) -> None:
    export(small, "ddranking", tmp_path / "out")
    note = tmp_path / "out/datadam.json"
    whole = json.loads(note.read_text())
    with pytest.raises(ArtifactError, match="import it as ddranking"):
        import_(tmp_path / "out", "mtt", animals)
    for change, words in (
        ({"classes": ["a", "b", "c"]}, "the data set lacks: a, b, c"),
        ({"digest": "sha256:0"}, "is not what datadam.json beside it was written for"),
        ({"numbers": {"mean": [0.5], "std": [0.5], "zca": None}}, "of 1 channels"),
        ({"numbers": {"mean": [0.5] * 3, "std": [0.0] * 3, "zca": None}}, "missing or wrong"),
        ({"numbers": {"mean": [0.5] * 3, "std": None, "zca": None}}, "missing or wrong"),
        ({"numbers": {"mean": [0.5] * 3, "std": [0.5] * 3, "zca": {"variant": "mine", "eps": 0.1}}}, "missing or wrong"),
        ({"numbers": {"mean": [0.5] * 3, "std": [0.5] * 3, "zca": {"variant": "kornia", "eps": 9}}}, "missing or wrong"),
        ({"set": None}, "it is no datadam-exchange/1"),
        ({"format": "datadam-exchange/9"}, "it is no datadam-exchange/1"),
    ):
        note.write_text(json.dumps(whole | change))
        with pytest.raises(ArtifactError, match=words):
            import_(tmp_path / "out", "ddranking", animals)
    for text in ("", "[]", "{", "[" * 100_000, '{"format": NaN}'):
        note.write_text(text)
        with pytest.raises(ArtifactError):
            import_(tmp_path / "out", "ddranking", animals)
    note.write_text(json.dumps(whole | {"set": whole["set"] | {"method": "<script>alert(1)</script> " + "x" * 100}}))
    (one,) = import_(tmp_path / "out", "ddranking", animals)
    assert one.card["recipe"]["method"]["name"] == "scriptalert1script " + "x" * 21
    images = tmp_path / "out/images.pt"
    images.write_bytes(images.read_bytes()[:-1] + b"\x01")
    with pytest.raises(ArtifactError, match="was changed or is another file"):
        import_(tmp_path / "out", "ddranking", animals)


def test_folders_with_numbers_that_are_not_padded(tmp_path: Path) -> None:
    real = replace(make_real(classes=12), classes=tuple(f"kind {k}" for k in range(12)))
    for k in range(12):
        (tmp_path / "set" / str(k)).mkdir(parents=True)
        Image.fromarray(np.full((8, 8, 3), 20 * k, np.uint8)).save(tmp_path / "set" / str(k) / "0.png")
    (one,) = import_(tmp_path / "set", "folder", real)
    np.testing.assert_allclose(one.pixels().mean((1, 2, 3)), 20 * np.arange(12) / 255, atol=1e-6)
    assert any("in the order of their numbers: 0 is kind 0, 1 is kind 1" in note for note in one.card["warnings"])
    (tmp_path / "set" / "11").rename(tmp_path / "set" / "01")
    with pytest.raises(ArtifactError, match="two classes of one number"):
        import_(tmp_path / "set", "folder", real)


def test_our_own_folders_need_no_note(small: DistilledSet, animals: RealData, tmp_path: Path) -> None:
    export(small, "folder", tmp_path / "out")
    assert not any("class names" in note for note in import_(tmp_path / "out", "folder", animals)[0].card["warnings"])
    (tmp_path / "out/datadam.json").unlink()
    assert any(
        "punctuation and leading zeros: the _bird_ is" in note
        for note in import_(tmp_path / "out", "folder", animals)[0].card["warnings"]
    )
