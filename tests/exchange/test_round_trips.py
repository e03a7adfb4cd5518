"""What goes out comes back: every bit of float formats, and order, labels and class names of all."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small import make_real

import datadam
from datadam.data import RealData, Transform
from datadam.errors import InvalidInput
from datadam.evaluation.panel import protocol_named
from datadam.exchange import FORMATS, export, import_, rounded
from datadam.sets.distilled import DistilledSet

FLOAT = [name for name, form in FORMATS.items() if form.numbers is not None and not form.bare]
PIXELS = [name for name, form in FORMATS.items() if form.numbers is None]


def true_pixels(one: DistilledSet) -> np.ndarray:
    """Pixels by hand, in float64, not clamped."""
    x, t = one.images.double().numpy(), one.transform
    if t.zca is not None:
        x = (x.reshape(len(x), -1) @ t.zca.inverse.double().numpy() + t.zca.mean.double().numpy()).reshape(x.shape)
    return x * np.array(t.std)[:, None, None] + np.array(t.mean)[:, None, None]


@pytest.mark.parametrize("to", FLOAT)
def test_float_formats_keep_every_bit(small: DistilledSet, animals: RealData, tmp_path: Path, to: str) -> None:
    done = export(small, to, tmp_path / "out")
    assert done.error.exact
    assert str(done.error) == "every number is kept as it is"
    (back,) = import_(tmp_path / "out", to, animals)
    assert torch.equal(back.images, small.images)
    assert torch.equal(back.labels, small.labels)
    assert back.classes == small.classes
    assert back.transform.to_card() == small.transform.to_card()
    assert back.ipc == 2


@pytest.mark.parametrize("to", PIXELS)
def test_pixels_are_rounded_and_clipped_and_it_is_told_how_far(
    small: DistilledSet, animals: RealData, tmp_path: Path, to: str
) -> None:
    done = export(small, to, tmp_path / "out")
    before = true_pixels(small)
    after = np.clip(np.rint(before * 255), 0, 255) / 255
    assert done.error.largest == pytest.approx(np.abs(after - before).max(), abs=1e-6)
    assert done.error.mean == pytest.approx(np.abs(after - before).mean(), abs=1e-6)
    assert done.error.clipped == ((before < -1e-6) | (before > 1 + 1e-6)).sum() > 0
    assert done.error.values == before.size
    (back,) = import_(tmp_path / "out", to, animals)
    np.testing.assert_allclose(back.pixels(), after, atol=1e-6)
    assert torch.equal(back.labels, small.labels)
    assert back.classes == small.classes


@pytest.mark.parametrize("to", PIXELS)
def test_real_images_lose_nothing_as_pictures(
    make_set: Callable[..., DistilledSet], animals: RealData, tmp_path: Path, to: str
) -> None:
    chosen = make_set(method="random")
    assert export(chosen, to, tmp_path / "out").error.exact
    (back,) = import_(tmp_path / "out", to, animals)
    torch.testing.assert_close(back.images, chosen.images, rtol=0, atol=1e-6)


@pytest.mark.parametrize("to", [name for name in FLOAT if name != "npz"])
@pytest.mark.parametrize("zca", ["kornia", "official"])
def test_whitening_is_undone_or_kept(
    make_set: Callable[..., DistilledSet], animals: RealData, tmp_path: Path, to: str, zca: str
) -> None:
    white = make_set(zca)
    undone = export(white, to, tmp_path / "undone")
    assert 0 < undone.error.largest < 1e-5
    assert any("whitening was undone" in note for note in undone.notes)
    (back,) = import_(tmp_path / "undone", to, animals)
    assert back.transform.zca is None
    np.testing.assert_allclose(true_pixels(back), true_pixels(white), atol=1e-5)
    kept = export(white, to, tmp_path / "kept", keep_zca=True)
    assert kept.error.exact
    assert any("must whiten its test images likewise" in note for note in kept.notes)
    (back,) = import_(tmp_path / "kept", to, animals)
    assert torch.equal(back.images, white.images)
    assert back.transform.to_card() == white.transform.to_card()
    torch.testing.assert_close(back.pixels(), white.pixels())


def test_npz_holds_the_whitening_itself(make_set: Callable[..., DistilledSet], animals: RealData, tmp_path: Path) -> None:
    white = make_set("kornia")
    done = export(white, "npz", tmp_path / "out")
    (tmp_path / "out/datadam.json").unlink()
    (back,) = import_(done.files[0], "npz", animals)
    assert torch.equal(back.images, white.images)
    assert torch.equal(back.pixels(), white.pixels())
    assert back.card["imported"]["normalisation"] == "the file"


def test_pictures_of_a_whitened_set_are_whitened_again(
    make_set: Callable[..., DistilledSet], animals: RealData, tmp_path: Path
) -> None:
    white = make_set("kornia", method="random")  # real pixels, so that 8 bits lose nothing
    export(white, "folder", tmp_path / "out")
    (back,) = import_(tmp_path / "out", "folder", animals)
    torch.testing.assert_close(back.images, white.images, rtol=1e-3, atol=1e-3)
    assert back.transform.to_card() == white.transform.to_card()
    (tmp_path / "out/datadam.json").unlink()
    (plain,) = import_(tmp_path / "out", "folder", animals)
    assert plain.transform.zca is None
    (asked,) = import_(tmp_path / "out", "folder", animals, zca="kornia")
    assert torch.equal(asked.images, back.images)


def test_the_normalisation_of_the_reader_is_written_and_told(animals: RealData, tmp_path: Path) -> None:
    real = replace(animals, name="cifar100", transform=Transform((0.5071, 0.4866, 0.4409), (0.2673, 0.2564, 0.2762)))
    one = datadam.distill(real, datadam.preset("random", real, ipc=1).change({"net": "convnet2:width=6"}))
    for to, mean, std in (
        ("ddranking", (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
        ("mtt", (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
        ("dm", (0.5071, 0.4866, 0.4409), (0.2673, 0.2564, 0.2762)),
    ):
        done = export(one, to, tmp_path / to)
        images = torch.load(next(f for f in done.files if "images" in f.name or to == "dm"), weights_only=True)
        images = images["data"][0][0] if to == "dm" else images
        expected = (true_pixels(one) - np.array(mean)[:, None, None]) / np.array(std)[:, None, None]
        np.testing.assert_allclose(images.numpy(), expected, atol=1e-5)
        note = json.loads((tmp_path / to / "datadam.json").read_text())
        assert (note["numbers"]["mean"], note["numbers"]["std"]) == (list(mean), list(std))
        assert f"mean {mean[0]:g}" in (tmp_path / to / "README.md").read_text()
        (tmp_path / to / "datadam.json").unlink()
        (back,) = import_(tmp_path / to, to, real)  # without the note: what the readers of the format expect
        np.testing.assert_allclose(true_pixels(back), true_pixels(one), atol=1e-6)
        assert torch.equal(back.images, images)


def test_data_that_are_only_called_like_known_ones(animals: RealData, tmp_path: Path) -> None:
    real = replace(animals, name="mnist")  # a folder of that name, in colour
    one = datadam.distill(real, datadam.preset("random", real, ipc=1).change({"net": "convnet2:width=6"}))
    for to in FLOAT:
        assert export(one, to, tmp_path / to).error.exact


def test_one_channel_and_many_classes(tmp_path: Path) -> None:
    real = make_real(classes=12, per_class=4, shape=(1, 8, 8))
    one = datadam.distill(real, datadam.preset("random", real, ipc=1).change({"net": "convnet2:width=6"}))
    for to in FORMATS:
        export(one, to, tmp_path / to)
        (back,) = import_(tmp_path / to, to, real)
        assert back.labels.tolist() == list(range(12))
        torch.testing.assert_close(back.images, one.images, rtol=0, atol=1e-6)
    two = make_real(classes=2, per_class=4, shape=(2, 8, 8))
    odd = datadam.distill(two, datadam.preset("random", two, ipc=1).change({"net": "convnet2:width=6"}))
    for to in PIXELS:
        with pytest.raises(InvalidInput, match="1 or 3 channels and these images 2"):
            export(odd, to, tmp_path / "odd")
    assert not (tmp_path / "odd").exists()


def test_several_sets_in_one_file(make_set: Callable[..., DistilledSet], animals: RealData, tmp_path: Path) -> None:
    sets = [make_set(), make_set("none", method="random")]
    export(sets, "dm", tmp_path / "out")
    back = import_(tmp_path / "out", "dm", animals, tmp_path / "run")
    assert len(back) == 2
    for n, one in enumerate(sets):
        assert torch.equal(back[n].images, one.images)
        assert torch.equal(DistilledSet.load(tmp_path / "run" / str(n)).images, one.images)
    with pytest.raises(InvalidInput, match="holds one set and 2 came"):
        export(sets, "mtt", tmp_path / "other")
    white = make_set("kornia")
    with pytest.raises(InvalidInput, match="different sizes or normalisations"):
        export([sets[0], white], "dm", tmp_path / "other")


def test_the_run_is_an_ordinary_one(small: DistilledSet, animals: RealData, tmp_path: Path) -> None:
    export(small, "ddranking", tmp_path / "out")
    (back,) = import_(tmp_path / "out", "ddranking", animals, tmp_path / "run", note="by others")
    read = DistilledSet.load(tmp_path / "run")
    assert torch.equal(read.images, back.images)
    card = read.card
    assert (card["kind"], card["note"], card["recipe"]["method"]) == ("imported", "by others", {"name": "datadam"})
    came = card["imported"]
    assert (came["file"], came["format"]) == ("out", "ddranking")
    assert came["sha256"].startswith("sha256:")
    assert "seed" in came["unknown"]
    rule = protocol_named("honest", epochs=2)
    judged = datadam.evaluate(read, animals, students=1, protocol=rule)
    assert judged.of == "distilled"
    same = datadam.evaluate(small, animals, net=judged.net, students=1, protocol=rule)
    assert judged.all == same.all
    assert "Imported from out" in (tmp_path / "run/README.md").read_text()


def test_an_earlier_export_is_replaced_only_when_asked(small: DistilledSet, tmp_path: Path) -> None:
    export(small, "npz", tmp_path / "out")
    with pytest.raises(InvalidInput, match="replace it with overwrite"):
        export(small, "folder", tmp_path / "out")
    assert (tmp_path / "out/distilled.npz").exists()
    export(small, "folder", tmp_path / "out", overwrite=True)
    assert not (tmp_path / "out/distilled.npz").exists()
    assert (tmp_path / "out/cat/00000.png").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("all of it")
    with pytest.raises(InvalidInput, match="not replaced"):
        export(small, "folder", tmp_path / "mine", overwrite=True)
    assert (tmp_path / "mine/thesis.txt").read_text() == "all of it"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mine", "out"]


def test_what_a_format_cannot_do_is_refused(
    small: DistilledSet, make_set: Callable[..., DistilledSet], animals: RealData, tmp_path: Path
) -> None:
    with pytest.raises(InvalidInput, match="Did you mean 'ddranking'"):
        export(small, "dd-ranking", tmp_path / "out")
    with pytest.raises(InvalidInput, match="keep_zca is for sets that are ZCA-whitened"):
        export(small, "mtt", tmp_path / "out", keep_zca=True)
    with pytest.raises(InvalidInput, match="true colours"):
        export(make_set("kornia"), "folder", tmp_path / "out", keep_zca=True)
    with pytest.raises(InvalidInput, match="no set to export"):
        export([], "dm", tmp_path / "out")
    with pytest.raises(InvalidInput, match="does not exist"):
        import_(tmp_path / "nothing", "mtt", animals)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("zca", ["none", "kornia"])
def test_rounding_without_clipping(make_set: Callable[..., DistilledSet], zca: str) -> None:
    before = make_set(zca)
    after = rounded(before)
    levels, wanted = true_pixels(after) * 255, true_pixels(before) * 255
    assert wanted.max() > 255.5 or wanted.min() < -0.5  # some lie outside, and stay there
    np.testing.assert_allclose(levels, levels.round(), atol=0.05)
    assert np.abs(levels - wanted).max() < 0.55
