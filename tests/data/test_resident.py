"""Images kept ready are those that would be read: exactly as bytes, to rounding in network space."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from small import make_real
from tolerance import assert_sums_close

import datadam
from datadam.data import RealData
from datadam.data import resident as module
from datadam.data.cache import pixels
from datadam.data.real import Split
from datadam.data.resident import InFile, keep, take
from datadam.distillation.recipe import Recipe
from datadam.files.kept import default_folder
from datadam.methods.plan import Plan

CPU = torch.device("cpu")
CHOSEN = torch.tensor([35, 0, 7, 7, 20])
EVERY = torch.arange(36)


@pytest.fixture(params=["none", "kornia", "official"])
def whitened(request: pytest.FixtureRequest) -> RealData:
    real = make_real()
    return real if request.param == "none" else real.with_zca(request.param)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts that do not divide the 36 images, so that seams would show."""
    monkeypatch.setattr(module, "WHITENED_TOGETHER", 7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bytes_are_kept_as_they_are(whitened: RealData, dtype: torch.dtype) -> None:
    kept = keep(whitened, "uint8", CPU)
    assert np.array_equal(kept.numpy(), whitened.train.pixels)
    taken = take(kept, CHOSEN, whitened, dtype)
    assert taken.dtype == dtype
    assert torch.equal(taken, whitened.images(CHOSEN, dtype=dtype))


def sums_of(real: RealData, chosen: torch.Tensor) -> tuple[int, torch.Tensor]:
    """What makes a number of these images: a sum of so many terms, and their absolute values added up."""
    plain = dataclasses.replace(real.transform, zca=None)
    pixels = torch.from_numpy(real.train.pixels)[chosen].double() / 255
    scaled = (pixels.abs() + torch.tensor(plain.mean)[:, None, None]) / torch.tensor(plain.std)[:, None, None]
    zca = real.transform.zca
    if zca is None:
        return 2, scaled
    return 4 + len(zca.mean), ((scaled.flatten(1) + zca.mean.abs()) @ zca.matrix.abs().double()).reshape(pixels.shape)


def test_network_space_is_kept_as_it_is_read(whitened: RealData) -> None:
    kept = keep(whitened, "float32", CPU)
    assert kept.dtype == torch.float32
    assert_sums_close(kept[EVERY], whitened.images(range(36), dtype=torch.float64), *sums_of(whitened, EVERY))
    taken = take(kept, CHOSEN, whitened, torch.float32)
    assert torch.equal(taken, kept[CHOSEN])


def test_float16_is_kept_to_its_rounding(whitened: RealData) -> None:
    kept = keep(whitened, "float16", CPU)
    assert kept.dtype == torch.float16
    taken, fine = take(kept, CHOSEN, whitened, torch.float32), keep(whitened, "float32", CPU)[CHOSEN]
    assert taken.dtype == torch.float32
    assert torch.equal(taken, fine.half().float())
    assert not torch.equal(taken, fine)


def test_what_is_taken_may_be_changed(whitened: RealData) -> None:
    for form in ("uint8", "float32", "float16"):
        kept = keep(whitened, form, CPU)
        before = kept[EVERY].clone()
        take(kept, CHOSEN, whitened, torch.float32).zero_()
        take(kept, EVERY, whitened, torch.float32).zero_()
        assert torch.equal(kept[EVERY], before)


def test_a_memory_map_is_kept_in_memory(whitened: RealData) -> None:
    def fill(start: int, stop: int, out: np.ndarray) -> None:
        out[:] = whitened.train.pixels[start:stop]

    mapped = pixels(36, whitened.shape, fill, key="a test of kept", memory_limit=0)
    assert isinstance(mapped, np.memmap)
    on_disk = dataclasses.replace(whitened, train=Split(mapped, whitened.train.labels))
    for form in ("uint8", "float32"):
        assert torch.equal(keep(on_disk, form, CPU)[EVERY], keep(whitened, form, CPU)[EVERY])


@pytest.mark.parametrize("form", ["float32", "float16"])
def test_network_space_lies_in_a_file_that_nobody_else_sees(whitened: RealData, form: str) -> None:
    folder = default_folder()
    before = sorted(folder.glob("*"))
    kept = keep(whitened, form, CPU)
    assert isinstance(kept, InFile)
    assert sorted(folder.glob("*")) == before
    with pytest.raises(IndexError, match="image 36"):
        kept[torch.tensor([0, 36])]


@pytest.mark.parametrize("form", ["float32", "float16"])
def test_the_memory_serves_where_the_disk_cannot(
    whitened: RealData, form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filed = keep(whitened, form, CPU)
    (tmp_path / "cache").write_text("a file where the folder should be")
    monkeypatch.setenv("DATADAM_CACHE", str(tmp_path / "cache"))
    kept = keep(whitened, form, CPU)
    assert isinstance(kept, torch.Tensor)
    assert torch.equal(kept, filed[EVERY])


def plan(kept: str) -> Plan:
    return Plan(compiled=False, chunk=4, threads=1, kept=kept)


@pytest.mark.parametrize("preset", ["datadam", "dc", "cafe"])
@pytest.mark.parametrize(("form", "tolerance"), [("uint8", 0.0), ("float32", 1e-4), ("float16", 0.05)])
def test_a_run_with_kept_images_is_the_run_without(
    real, recipe: Callable[..., Recipe], preset: str, form: str, tolerance: float
) -> None:
    asked = recipe(preset, zca="kornia", precision="float32", iterations=2)
    read, kept = (datadam.distill(real, asked, plan=plan(form)) for form in ("", form))
    assert (read.card["plan"]["kept"], kept.card["plan"]["kept"]) == ("", form)
    moved = (read.images - datadam.distill(real, asked.change({"iterations": 0})).images).norm()
    assert float(moved) > 0
    assert float((kept.images - read.images).norm()) <= tolerance * float(moved)


def test_nothing_is_kept_where_nothing_is_drawn(real, recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    asked = recipe(zca="kornia", precision="float32", iterations=2)
    run = datadam.begin(real, asked, plan=plan("float32"), out=tmp_path / "run")
    assert run.draws.kept is not None
    list(run.steps())
    run.result()
    assert datadam.resume(tmp_path / "run", real).draws.kept is None  # it is at its end
    assert datadam.begin(real, asked.change({"iterations": 0}), plan=plan("float32")).draws.kept is None


@pytest.mark.parametrize("form", ["float32", "float16"])
def test_a_resumed_run_keeps_what_it_kept(real, recipe: Callable[..., Recipe], tmp_path: Path, form: str) -> None:
    asked = recipe(zca="official", precision="float32", iterations=5)
    straight = datadam.distill(real, asked, plan=plan(form))
    cut = datadam.begin(real, asked, plan=plan(form), out=tmp_path / "cut")
    for step in cut.steps():
        if step.iteration == 2:
            break
    again = datadam.resume(tmp_path / "cut", real)
    assert (again.state.iteration, again.plan.kept) == (2, form)
    assert torch.equal(again.draws.kept[EVERY], cut.draws.kept[EVERY])
    list(again.steps())
    assert torch.equal(again.result().images, straight.images)
